"""Action masks: no invalid action is ever taken, and what is learned are the values of the masked problem."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from masked_grid import Strict, masked_model, masks_of_states
from sb3_contrib.common.envs import InvalidActionEnvDiscrete
from sb3_contrib.common.wrappers import ActionMasker
from stable_baselines3.common.logger import configure
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv

from sb3_course import PQN, DoubleDQN, MunchausenDQN, NStepDQN, Rainbow, registry
from sb3_course.config.errors import InputError
from sb3_course.envs.planning import reachable_states, soft_value_iteration, value_iteration
from sb3_course.replay import PrioritizedReplayBuffer, ReplayBuffer
from sb3_course.sb3.masking import KeepsTerminalMasks, terminal_masks

GAMMA = 0.9
OURS = [name for name, row in registry.ALGORITHMS.items() if row.family == "value" and row.source == "sb3_course"]
SMALL: dict[str, Any] = {
    "n_atoms": 5, "n_quantiles": 5, "n_levels": 4, "n_target_levels": 4, "n_choice_levels": 4, "learning_starts": 30,
    "batch_size": 8, "policy_kwargs": {"net_arch": [8]}, "gamma": GAMMA, "device": "cpu", "seed": 0,
}  # fmt: skip


def brief(name: str) -> dict[str, Any]:
    """Return the arguments in `SMALL` that an algorithm takes."""
    taken = registry.constructor_arguments(name)
    arguments = {key: value for key, value in SMALL.items() if key in taken}
    left_out = (
        {"policy_kwargs", "batch_size", "learning_starts"} if name in ("q_table", "neural_q", "numpy_dqn") else set()
    )
    left_out |= set() if name in ("c51", "rainbow") else {"n_atoms"}
    rollout = {"n_steps": 10} if name == "pqn" else {}
    return rollout | {key: value for key, value in arguments.items() if key not in left_out}


@pytest.mark.parametrize(("n_envs", "backend"), [(1, "auto"), (4, "torch")])
@pytest.mark.parametrize("name", OURS)
def test_no_invalid_action_is_taken(name: str, n_envs: int, backend: str) -> None:
    cls, arguments = registry.find(name).load(), brief(name)
    if "backend" in registry.constructor_arguments(name) and name != "numpy_dqn":
        arguments["backend"] = backend
    env = Strict() if n_envs == 1 else DummyVecEnv([Strict] * n_envs)
    model = cls("MlpPolicy", env, **arguments).learn(160)
    venv = model.get_env()
    observations = venv.reset()
    for deterministic in (True, False) * 15:
        masks = np.stack(venv.env_method("action_masks"))
        actions, _ = model.predict(observations, deterministic=deterministic, action_masks=masks)
        observations, *_ = venv.step(actions)


def trained_on_the_model(cls: Any, grid: gym.Env[Any, Any], **arguments: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return Q of all states after training on every valid transition, and which states can be reached."""
    masks, inner = masks_of_states(), grid.unwrapped
    model = cls(
        "MlpPolicy", Strict(0.2), gamma=GAMMA, seed=0, policy_kwargs={"net_arch": []}, loss="l2", max_grad_norm=None,
        learning_rate=LinearSchedule(0.05, 1e-4, 1.0), buffer_size=5_000, backend="numpy", **arguments,
    )  # fmt: skip
    for s, actions in inner.P.items():  # type: ignore[attr-defined]
        for a, outcomes in actions.items():
            for probability, following, reward, terminated in outcomes if masks[s, a] else ():
                for _ in range(round(10 * probability)):
                    info = {"action_masks": np.stack([masks[s], masks[following]])}
                    model.replay_buffer.add(*map(np.array, ([s], [following], [a], [reward], [terminated])), [info])
    model.set_logger(configure(None, []))
    for update in range(0, 4_000, 50):
        model._current_progress_remaining = 1 - update / 4_000
        model.train(50, batch_size=256)
        model._backend.update_target(1.0)
    states = np.flatnonzero(reachable_states(inner.P, inner.initial_state_distrib))  # type: ignore[attr-defined]
    return model.q_net(model.policy.obs_to_tensor(np.arange(12))[0]).detach().numpy(), states


@pytest.mark.parametrize("double", [False, True])
def test_what_is_learned_is_the_optimum_of_the_masked_problem(double: bool) -> None:
    grid = gym.make("sb3_course/GridWorld-v0", slip=0.2)
    values, states = trained_on_the_model(DoubleDQN, grid, double=double, target_update_interval=10**6)
    exact, masks = value_iteration(masked_model(grid.unwrapped), GAMMA), masks_of_states()
    assert np.abs(values - exact)[states][masks[states]].max() < 0.05
    free = value_iteration(grid.unwrapped.P, GAMMA)  # type: ignore[attr-defined]
    assert np.abs(free - exact)[states][masks[states]].max() > 0.1  # the masks matter


@pytest.mark.learning
@pytest.mark.parametrize(("n_envs", "backend"), [(1, "numpy"), (4, "numpy"), (4, "torch")])
def test_pqn_learns_the_optimum_of_the_masked_problem(n_envs: int, backend: str) -> None:
    """More than 10,000 exploring steps, none of them invalid, and |Q − Q*| < 0.05."""
    model = PQN(
        "MlpPolicy", DummyVecEnv([Strict] * n_envs), n_steps=64 // n_envs, batch_size=64, n_epochs=2, gamma=GAMMA,
        q_lambda=0.0, learning_rate=lambda left: 2e-2 * left, exploration_final_eps=1.0, backend=backend, seed=0,
        device="cpu", policy_kwargs={"net_arch": [32]},
    )  # fmt: skip
    model.learn(10_240)
    assert model._backend.name == backend
    grid, masks = Strict().unwrapped, masks_of_states()
    states = np.flatnonzero(reachable_states(masked_model(grid), grid.initial_state_distrib))  # type: ignore[attr-defined]
    values = model.policy.q_net(model.policy.obs_to_tensor(states)[0]).detach().numpy()
    exact = value_iteration(masked_model(grid), GAMMA)[states]
    assert np.abs(values - exact)[masks[states]].max() < 0.05
    free = value_iteration(grid.P, GAMMA)[states]  # type: ignore[attr-defined]
    assert np.abs(free - exact)[masks[states]].max() > 0.1  # the masks matter


def test_munchausen_s_policy_knows_them() -> None:
    """At α = 0 it is soft value iteration over the valid actions: an invalid one has no share."""
    grid = gym.make("sb3_course/GridWorld-v0", slip=0.2)
    arguments = {"munchausen_tau": 0.05, "munchausen_alpha": 0.0, "munchausen_clip": -1e9}
    values, states = trained_on_the_model(MunchausenDQN, grid, **arguments)
    masks, inner = masks_of_states(), grid.unwrapped
    only = {s: {a: each for a, each in of.items() if masks[s, a]} for s, of in inner.P.items()}  # type: ignore[attr-defined]
    exact = np.zeros((12, 4))
    for _ in range(300):  # soft value iteration on lists of valid actions
        soft = {s: 0.05 * np.logaddexp.reduce([exact[s, a] / 0.05 for a in of]) for s, of in only.items()}
        for s, of in only.items():
            for a, outcomes in of.items():
                exact[s, a] = sum(p * (r + GAMMA * (not end) * soft[n]) for p, n, r, end in outcomes)
    assert np.abs(values - exact)[states][masks[states]].max() < 0.05
    free = soft_value_iteration(inner.P, GAMMA, 0.05)  # type: ignore[attr-defined]
    assert np.abs(free - exact)[states][masks[states]].max() > 0.1


def test_masks_come_with_windows_and_go_through_files(tmp_path: Path) -> None:
    model = NStepDQN(
        "MlpPolicy", DummyVecEnv([lambda: KeepsTerminalMasks(Strict())] * 2), **SMALL | {"n_atoms": 1}
    ).learn(200)
    buffer = model.replay_buffer
    batch = buffer.gather(np.arange(150))
    table = masks_of_states()
    assert np.array_equal(batch.masks, table[batch.observations.reshape(-1)])
    assert np.array_equal(batch.next_masks, table[batch.next_observations.reshape(-1)])  # those of truncations, too
    model.save(tmp_path / "model")
    model.save_replay_buffer(tmp_path / "replay")
    again = NStepDQN.load(tmp_path / "model", device="cpu")  # without an env
    again.load_replay_buffer(tmp_path / "replay")
    assert np.array_equal(again.replay_buffer.gather(np.arange(150)).next_masks, batch.next_masks)


@pytest.mark.parametrize("cls", [ReplayBuffer, PrioritizedReplayBuffer])
def test_without_masks_there_are_none(cls: Any) -> None:
    buffer = cls(10, gym.spaces.Discrete(3), gym.spaces.Discrete(2))
    buffer.add(np.array([0]), np.array([1]), np.array([0]), np.zeros(1), np.zeros(1), [{}])
    assert buffer.sample_batch(2).masks is None
    with pytest.raises(InputError, match=r"^masked: only discrete actions"):
        cls(10, gym.spaces.Discrete(3), gym.spaces.Box(-1, 1), masked=True)


def test_masks_of_episodes_that_ended() -> None:
    before, after = np.eye(3, dtype=bool), np.ones((3, 3), dtype=bool)
    infos: list[dict[str, Any]] = [{}, {"terminal_action_masks": [0, 0, 1]}, {"action_mask": np.int8([0, 0, 0])}]
    found = terminal_masks(infos, np.array([True, True, True]), before, after)
    assert found.tolist() == [[True, False, False], [False, False, True], [True, True, True]]
    assert terminal_masks(infos, np.zeros(3, bool), before, after) is after


def test_contrib_s_environments_run() -> None:
    env = InvalidActionEnvDiscrete(dim=20, n_invalid_actions=10)
    model = Rainbow("MlpPolicy", env, learning_starts=30, seed=0, device="cpu").learn(60)
    masks = env.action_masks()
    assert masks[int(model.predict(env.reset()[0], deterministic=True, action_masks=masks)[0])]
    PQN("MlpPolicy", env, n_steps=16, batch_size=16, seed=0, device="cpu").learn(64)
    around = ActionMasker(gym.make("CartPole-v1"), lambda env: np.array([False, True]))
    model = DoubleDQN("MlpPolicy", around, learning_starts=30, seed=0, device="cpu").learn(60)
    assert (model.replay_buffer.actions[:60] == 1).all()


def test_processes_are_asked_through_their_workers() -> None:
    model = DoubleDQN("MlpPolicy", SubprocVecEnv([Strict] * 2, "fork"), learning_starts=20, seed=0, device="cpu").learn(
        60
    )
    model.get_env().close()
    assert model.replay_buffer.masked


def test_masks_of_another_shape_and_empty_ones_are_refused() -> None:
    model = DoubleDQN("MlpPolicy", "CartPole-v1", device="cpu")
    with pytest.raises(InputError, match=r"^action_masks: are of another shape"):
        model.predict(np.zeros(4, np.float32), deterministic=True, action_masks=[True, True, False])
    with pytest.raises(InputError, match=r"^action_masks: leave no valid action"):
        model.predict(np.zeros((2, 4), np.float32), action_masks=[[True, True], [False, False]])
