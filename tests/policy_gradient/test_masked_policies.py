"""Action masks of policy gradients: contrib's distributions to the last digits, and no invalid action is ever taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from masked_grid import Strict, masked_model, masks_of_states
from sb3_contrib.common.envs import (
    InvalidActionEnvDiscrete,
    InvalidActionEnvMultiBinary,
    InvalidActionEnvMultiDiscrete,
)
from sb3_contrib.common.maskable.distributions import make_masked_proba_distribution
from sb3_contrib.common.maskable.evaluation import evaluate_policy
from sb3_contrib.common.wrappers import ActionMasker
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv

from sb3_course import PQN, REINFORCE, ActorCritic, SaveCheckpoints, registry, to_sb3
from sb3_course.backends.twins import best
from sb3_course.config.errors import InputError
from sb3_course.envs.planning import optimal_actions, reachable_states, value_iteration
from sb3_course.policy_gradient.action_distribution import distribution_of
from sb3_course.sb3.masking import KeepsTerminalMasks, choices_of, mask_rows

ROWS = ["vpg", "reinforce", "reinforce_baseline", "actor_critic"]
SPACES = [spaces.Discrete(5), spaces.MultiDiscrete([2, 4, 3]), spaces.MultiBinary(3)]
NETWORK: dict[str, Any] = {"policy_kwargs": {"net_arch": [8]}, "device": "cpu", "seed": 0}


def plain(function: Any) -> Any:
    """Return a function itself, which has no twin."""
    return function


def masked_case(space: spaces.Space[Any], n: int, seed: int = 0) -> tuple[Any, Any, Any]:
    """Return outputs, masks that leave every part of an action something, and valid actions of them."""
    rng, choices = np.random.default_rng(seed), choices_of(space)
    outputs = 3 * rng.standard_normal((n, distribution_of(space, plain).n_outputs))
    masks, actions = [], []
    for size in choices:
        part = rng.random((n, size)) < 0.6
        part[np.arange(n), rng.integers(size, size=n)] = True
        masks.append(part)
        actions.append((part * rng.random((n, size))).argmax(1))
    return outputs, np.concatenate(masks, axis=1), np.stack(actions, axis=1)


def by_contrib(space: spaces.Space[Any], outputs: Any, masks: Any, actions: Any) -> list[tuple[Any, Any]]:
    """Return contrib's log-probability and entropy, each with autograd's gradient with respect to the outputs."""
    leaf, theirs = th.tensor(outputs, requires_grad=True), make_masked_proba_distribution(space)
    logits = leaf
    if isinstance(space, spaces.MultiBinary):  # theirs has a logit for off and one for on
        logits = th.stack([th.zeros_like(leaf), leaf], dim=2).flatten(1)
    theirs.proba_distribution(logits)
    theirs.apply_masking(masks)
    chosen, found = th.tensor(actions), []
    for values in (theirs.log_prob(chosen[:, 0] if isinstance(space, spaces.Discrete) else chosen), theirs.entropy()):
        (gradients,) = th.autograd.grad(values.sum(), leaf, retain_graph=True, allow_unused=True)
        found.append((values.detach().numpy(), gradients.numpy()))
    return found


@pytest.mark.parametrize("space", SPACES, ids=str)
@pytest.mark.parametrize("kind", ["numpy", "torch", "compiled"])
def test_scores_and_their_gradients_are_those_of_contrib_s_distributions(space: spaces.Space[Any], kind: str) -> None:
    outputs, masks, actions = masked_case(space, 60)
    expected = by_contrib(space, outputs, masks, actions)
    law = distribution_of(space, best if kind == "compiled" else plain)
    given: list[Any] = [outputs.astype(np.float32) if kind == "compiled" else outputs, masks, actions]
    given = [th.tensor(array) for array in given] if kind == "torch" else given
    exactness = 2e-5 if kind == "compiled" else 1e-9
    among = law.among(*given[:2])
    for mine, theirs in zip(law.scores(among, given[2]), expected, strict=True):
        for part, wanted in zip(mine, theirs, strict=True):
            np.testing.assert_allclose(np.asarray(part), wanted, rtol=exactness, atol=exactness)
    if not isinstance(space, spaces.MultiBinary):  # not nearly: exactly 0
        assert not any(np.asarray(scores.gradients)[~masks].any() for scores in law.scores(among, given[2]))


@pytest.mark.parametrize("space", SPACES, ids=str)
@pytest.mark.parametrize("best_of", [plain, best])
def test_no_number_draws_an_invalid_action(space: spaces.Space[Any], best_of: Any) -> None:
    outputs, masks, _ = masked_case(space, 500)
    law, starts = distribution_of(space, best_of), np.cumsum([0, *choices_of(space)[:-1]])
    among = law.among(outputs.astype(np.float32), masks)
    shape = len(outputs), law.n_random
    numbers = [np.zeros(shape), np.full(shape, np.nextafter(1.0, 0)), np.random.default_rng(0).random(shape)]
    for actions in [law.mode(among), *(law.sample(among, random) for random in numbers)]:
        assert np.take_along_axis(masks, starts + actions, axis=1).all()
    assert not np.take_along_axis(masks, starts + law.mode(outputs), axis=1).all()  # without them it does


@pytest.mark.parametrize(("n_envs", "backend"), [(1, "numpy"), (4, "torch"), (4, "numpy"), (1, "torch")])
@pytest.mark.parametrize("name", [*ROWS, "pqn"])
def test_no_invalid_action_is_taken(name: str, n_envs: int, backend: str) -> None:
    env = Strict() if n_envs == 1 else DummyVecEnv([Strict] * n_envs)
    rollout = {"n_steps": 16} if name == "pqn" else {}
    model = registry.find(name).load()("MlpPolicy", env, backend=backend, **NETWORK, **rollout).learn(160)
    venv = model.get_env()
    observations = venv.reset()
    for deterministic in (True, False) * 15:
        masks = np.stack(venv.env_method("action_masks"))
        actions, _ = model.predict(observations, deterministic=deterministic, action_masks=masks)
        observations, *_ = venv.step(actions)


@pytest.mark.usefixtures("workers_from_one_server")
def test_a3c_s_workers_ask_their_own_environment() -> None:
    model = registry.find("a3c").load()("MlpPolicy", Strict(), n_workers=2, **NETWORK).learn(200)
    state = model.get_env().reset()
    masks = np.stack(model.get_env().env_method("action_masks"))
    assert masks[0, int(model.predict(state, action_masks=masks)[0][0])]


@pytest.mark.parametrize("n_steps", [None, 3])
def test_masks_stay_with_their_rows(n_steps: int | None) -> None:
    cls = REINFORCE if n_steps is None else ActorCritic
    taken: list[Any] = []
    env = DummyVecEnv([lambda: KeepsTerminalMasks(Strict())] * 3)
    model = cls("MlpPolicy", env, **({} if n_steps is None else {"n_steps": n_steps}), **NETWORK)
    model._update = lambda batch: taken.append(batch) or {}  # type: ignore[method-assign]
    model.learn(150)
    table, ends_seen = masks_of_states(), 0
    for batch in taken:
        np.testing.assert_array_equal(batch.masks, table[batch.observations.reshape(-1)])
        if batch.open_masks is not None:
            np.testing.assert_array_equal(batch.open_masks, table[batch.open_observations.reshape(-1)])
            ends_seen += 1
    assert len(taken) > 1
    assert ends_seen


def test_the_backends_take_the_same_step() -> None:
    found = []
    for backend in ("numpy", "torch"):
        model = ActorCritic("MlpPolicy", Strict(), backend=backend, **NETWORK).learn(64)
        found.append([parameter.detach().numpy() for parameter in model.policy.parameters()])
    for mine, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.learning
def test_the_greedy_policy_is_optimal_in_the_masked_problem() -> None:
    gamma, masks = 0.9, masks_of_states()
    masks[8, 2] = False  # no way up from the start, which would be the safer one
    env = DummyVecEnv([lambda: Strict(0.2, masks)] * 16)
    model = ActorCritic(
        "MlpPolicy", env, gamma=gamma, seed=0, backend="numpy", n_steps=4, ent_coef=0.1,
        learning_rate=LinearSchedule(0.05, 0.0, 1.0), policy_kwargs={"net_arch": []},
    ).learn(40_000)  # fmt: skip
    grid: Any = gym.make("sb3_course/GridWorld-v0", slip=0.2).unwrapped
    exact = value_iteration(masked_model(grid, masks), gamma)
    best_of_valid = optimal_actions(np.where(masks, exact, -np.inf))
    actions, _ = model.predict(np.arange(12), deterministic=True, action_masks=masks)
    path = reachable_states(masked_model(grid, masks), grid.initial_state_distrib, actions)
    assert best_of_valid[path, actions[path]].all()
    free = optimal_actions(value_iteration(grid.P, gamma))
    assert not free[path, actions[path]].all()  # the masks matter


@pytest.mark.parametrize(
    "env",
    [
        InvalidActionEnvDiscrete(dim=20, n_invalid_actions=15),
        InvalidActionEnvMultiDiscrete(dims=[2, 6, 3], n_invalid_actions=6),
        InvalidActionEnvMultiBinary(dims=4, n_invalid_actions=3),
    ],
    ids=lambda env: type(env).__name__,
)
def test_contrib_s_environments_and_evaluation_run(env: Any) -> None:
    model = ActorCritic("MlpPolicy", env, **NETWORK)
    seen: list[bool] = []
    starts, step = np.cumsum([0, *choices_of(env.action_space)[:-1]]), env.step

    def watched(action: Any) -> Any:
        valid = np.asarray(env.action_masks())
        seen.append(bool(valid[starts + np.reshape(action, -1).astype(int)].all()))
        return step(action)

    env.step = watched
    model.learn(300)
    evaluate_policy(model, Monitor(env), n_eval_episodes=2, warn=False)
    evaluate_policy(model, Monitor(env), n_eval_episodes=2, warn=False, deterministic=False)
    assert len(seen) >= 700
    assert all(seen)


def test_one_valid_action_is_taken_for_certain_and_pulls_nowhere() -> None:
    around = ActionMasker(gym.make("CartPole-v1"), lambda env: np.array([False, True]))
    model = REINFORCE("MlpPolicy", around, **NETWORK)
    before = [parameter.detach().clone() for parameter in model.policy.parameters()]
    model.learn(30)
    assert all(map(th.equal, before, model.policy.parameters()))
    assert model._n_updates > 0


def test_a_masked_run_is_saved_loaded_and_resumed_exactly(tmp_path: Path) -> None:
    whole = REINFORCE("MlpPolicy", Strict(0.2), episodes_per_update=2, **NETWORK)
    whole.learn(400, callback=SaveCheckpoints(150, tmp_path / "kept", keep=1))
    (checkpoint,) = (tmp_path / "kept").iterdir()
    model = REINFORCE.load_checkpoint(checkpoint, Strict(0.2))
    assert 0 < model.num_timesteps < 400
    model.learn(400 - model.num_timesteps, reset_num_timesteps=False)
    assert model.num_timesteps == whole.num_timesteps
    for mine, theirs in zip(model.policy.parameters(), whole.policy.parameters(), strict=True):
        assert th.equal(mine, theirs)
    model.save(tmp_path / "model")
    again, masks = REINFORCE.load(tmp_path / "model", device="cpu"), masks_of_states()
    seen = np.arange(12)
    expected = model.predict(seen, deterministic=True, action_masks=masks)[0]
    assert np.array_equal(again.predict(seen, deterministic=True, action_masks=masks)[0], expected)
    assert masks[seen, expected].all()


def test_processes_and_gymnasium_s_vector_environments_are_asked() -> None:
    model = ActorCritic("MlpPolicy", SubprocVecEnv([Strict] * 2, "fork"), **NETWORK).learn(60)
    model.get_env().close()
    vector = gym.vector.SyncVectorEnv([Strict] * 2, autoreset_mode=gym.vector.AutoresetMode.SAME_STEP)
    ActorCritic("MlpPolicy", to_sb3(vector), **NETWORK).learn(60)  # Strict asserts
    assert model._masked


def test_a_process_without_masks_survives_the_question() -> None:
    vector = gym.vector.AsyncVectorEnv(
        [lambda: gym.make("CartPole-v1")] * 2, autoreset_mode=gym.vector.AutoresetMode.SAME_STEP, context="fork"
    )
    model = ActorCritic("MlpPolicy", to_sb3(vector), **NETWORK).learn(20)
    model.get_env().close()
    assert not model._masked


def test_without_masks_environments_are_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, asked = ActorCritic("MlpPolicy", "CartPole-v1", **NETWORK), []
    own = DummyVecEnv.has_attr
    monkeypatch.setattr(DummyVecEnv, "has_attr", lambda self, name: asked.append(name) or own(self, name))
    monkeypatch.setattr(DummyVecEnv, "env_method", lambda self, name, *rest, **kwargs: asked.append(name) or [])
    model.learn(200)
    assert asked.count("action_masks") == 1


def test_bad_masks_are_refused_in_one_line() -> None:
    with pytest.raises(InputError, match=r"^action_masks: leave no valid action \(got \[1\]"):
        mask_rows([[True, False, True], [True, False, False]], 2, spaces.MultiDiscrete([1, 2]))
    with pytest.raises(InputError, match=r"^action_masks: are of another shape"):
        mask_rows(np.ones(3), 1, spaces.MultiBinary(2))
    box = ActionMasker(gym.make("Pendulum-v1"), lambda env: np.ones(1, bool))
    with pytest.raises(InputError, match=r"^action_masks: only discrete actions can be invalid"):
        REINFORCE("MlpPolicy", box, device="cpu")


def test_pqn_bootstraps_from_valid_actions_only() -> None:
    model, masks = PQN("MlpPolicy", Strict(), n_steps=16, **NETWORK), masks_of_states()
    values = model.policy.q_net(model.policy.obs_to_tensor(np.arange(12))[0]).detach().numpy()
    found = model._best_values(np.arange(12), masks)
    np.testing.assert_allclose(found, np.where(masks, values, -np.inf).max(1), rtol=1e-5)
    assert (found < model._best_values(np.arange(12), None)).any()
