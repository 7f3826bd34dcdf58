"""PQN: the targets of a rollout, one update by hand, exact values, and what is refused."""

from __future__ import annotations

import copy
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv

from sb3_course import PQN, DoubleDQN, to_sb3
from sb3_course.config.errors import InputError
from sb3_course.envs.planning import reachable_states, value_iteration

GRID = "sb3_course/GridWorld-v0"


class Corridor(gym.Env[Any, Any]):
    """Counts steps up to `length`, and ends there in one of two ways; actions 5 and 6, the reward is the count."""

    observation_space = spaces.Box(0, 10, (2,), np.float32)

    def __init__(self, length: int, terminates: bool) -> None:
        self.length, self.terminates, self.action_space = length, terminates, spaces.Discrete(2, start=5)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.n = 0
        return self._see(), {}

    def _see(self) -> np.ndarray:
        return np.array([self.n, self.length], np.float32)

    def step(self, action: int) -> Any:
        assert action in (5, 6)
        self.n += 1
        ended = self.n == self.length
        return self._see(), float(self.n), ended and self.terminates, ended and not self.terminates, {}


def small(**changes: Any) -> PQN:
    envs = DummyVecEnv([lambda: Corridor(3, True), lambda: Corridor(4, False)])
    arguments = {"n_steps": 6, "batch_size": 12, "n_epochs": 1, "gamma": 0.9, "q_lambda": 0.7, "learning_rate": 1e-2}
    kwargs = {"net_arch": [8, 7]} | changes.pop("policy_kwargs", {})
    return PQN("MlpPolicy", envs, seed=0, device="cpu", policy_kwargs=kwargs, **{**arguments, **changes})  # type: ignore[arg-type]


def expected_targets(net: Any, gamma: float, trace: float) -> np.ndarray:
    """Return G of six steps of each of the two corridors, by the equation, one after the other."""

    @th.no_grad()
    def best(n: int, length: int) -> float:
        return float(net(th.tensor([[n, length]], dtype=th.float32)).max())

    targets = []
    for length, terminates in ((3, True), (4, False)):
        steps = [(t % length, t % length + 1 == length) for t in range(6)]
        following = 0.0
        column = []
        for t in reversed(range(6)):
            n, ended = steps[t]
            bootstrap = 0.0 if ended and terminates else best(n + 1, length)
            last = ended or t == 5
            after = bootstrap if last else trace * following + (1 - trace) * bootstrap
            following = n + 1 + gamma * after
            column.append(following)
        targets.append(column[::-1])
    return np.array(targets)


def batches_of(model: PQN) -> list[Any]:
    """Return the list to which the transitions of each rollout, and their targets, are going to be added."""
    batches: list[Any] = []
    with_targets = model._with_targets
    model._with_targets = lambda rollout: (batches.append(with_targets(rollout)), batches[-1])[1]  # type: ignore[method-assign,func-returns-value]
    return batches


@pytest.mark.parametrize("backend", ["torch", "numpy"])
@pytest.mark.parametrize("head", [False, True], ids=["plain", "dueling"])
def test_one_update_is_the_equations_by_hand(backend: str, head: bool) -> None:
    """Targets with terminations, truncations and a rollout's end; loss, clipping and RAdam as torch has them."""
    model = small(backend=backend, dueling=head, max_grad_norm=0.5)
    net = copy.deepcopy(model.policy.q_net)
    optimizer = th.optim.RAdam(net.parameters(), lr=1e-2)
    expected = expected_targets(net, 0.9, 0.7)
    taken = batches_of(model)
    model.learn(12)
    (batch,) = taken
    order = np.lexsort((batch.observations[:, 1], batch.rewards))
    observations, actions = batch.observations[order], batch.actions[order].reshape(-1) - 5
    np.testing.assert_allclose(np.sort(batch.rewards), np.sort(expected.ravel()), rtol=1e-5)
    for observation, target in zip(batch.observations, batch.rewards, strict=True):  # each where it belongs
        row = expected[int(observation[1] == 4)]
        assert np.isclose(row[[int(observation[0]) == t % int(observation[1]) for t in range(6)]], target).any()
    values = net(th.tensor(observations)).gather(1, th.tensor(actions)[:, None])[:, 0]
    th.nn.functional.mse_loss(values, th.tensor(batch.rewards[order])).backward()
    th.nn.utils.clip_grad_norm_(net.parameters(), 0.5)
    optimizer.step()
    for mine, theirs in zip(model.policy.q_net.parameters(), net.parameters(), strict=True):
        np.testing.assert_allclose(mine.detach(), theirs.detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("trace", [0.0, 1.0])
def test_the_ends_of_lambda(trace: float) -> None:
    model = small(q_lambda=trace)
    expected = expected_targets(copy.deepcopy(model.policy.q_net), 0.9, trace)
    seen = batches_of(model)
    model.learn(12)
    np.testing.assert_allclose(np.sort(seen[0].rewards), np.sort(expected.ravel()), rtol=1e-5)


@pytest.mark.parametrize("backend", ["torch", "numpy"])
def test_every_transition_is_in_one_minibatch_of_each_epoch(backend: str) -> None:
    model = small(n_epochs=3, batch_size=5, backend=backend)
    sizes: list[int] = []
    rows: list[np.ndarray] = []
    step = model._step
    model._step = lambda batch: (sizes.append(len(batch.rewards)), rows.append(batch.rewards), step(batch))[2]  # type: ignore[method-assign,func-returns-value]
    model.learn(12)
    assert sizes == [5, 5, 2] * 3
    epochs = [np.concatenate(rows[i : i + 3]) for i in (0, 3, 6)]
    assert all((np.sort(epoch) == np.sort(epochs[0])).all() for epoch in epochs)
    assert not (epochs[0] == epochs[1]).all()
    assert model._n_updates == 9


def one_by_one(*asked: Any) -> None:
    """Say, in place of `Backend.regress`, that steps are taken one by one."""


@pytest.mark.parametrize("loss", ["mse", "huber"])
@pytest.mark.parametrize("optimizer", [th.optim.RAdam, th.optim.Adam])
def test_all_steps_in_one_call_are_the_steps_one_by_one(loss: str, optimizer: Any) -> None:
    """To the bit: weights, moments, losses, what the log says; with clipping and a last minibatch that is smaller."""
    models = []
    for at_once in (True, False):
        kwargs = {"optimizer_class": optimizer}
        models.append(small(n_epochs=3, batch_size=5, loss=loss, policy_kwargs=kwargs, max_grad_norm=2.0))
        backend = models[-1]._backend
        made: list[Any] = []
        real = type(backend).regress if at_once else one_by_one
        vars(backend)["regress"] = lambda *asked, real=real, it=backend, made=made: (
            made.append(real(it, *asked) if real is not one_by_one else None),
            made[-1],
        )[1]
        models[-1].learn(36)
        assert len(made) == 3
        assert all((each is not None) == at_once for each in made)
    one, two = models
    for name, mine in one.policy.state_dict().items():
        assert th.equal(mine, two.policy.state_dict()[name]), name
    states = [model.policy.optimizer.state_dict()["state"] for model in models]
    assert all(th.equal(states[0][i][key], states[1][i][key]) for i in states[0] for key in states[0][i])
    assert one._n_updates == two._n_updates == 27
    assert one.latest_logs() == two.latest_logs()
    assert one.logger.name_to_value["train/loss"] == two.logger.name_to_value["train/loss"]


@pytest.mark.parametrize("at_once", [True, False])
def test_a_gradient_that_is_not_finite_takes_no_step(at_once: bool) -> None:
    model = small()
    if not at_once:
        vars(model._backend)["regress"] = one_by_one
    with th.no_grad():
        model.policy.q_net.q_net[-1].bias.fill_(float("nan"))
    before = model.policy.parameters_to_vector()
    with pytest.raises(FloatingPointError, match=r"^loss: not finite at step 12"):
        model.learn(12)
    np.testing.assert_array_equal(model.policy.parameters_to_vector(), before)


def test_rate_and_epsilon_fall_linearly() -> None:
    """The rate of an update is that of its rollout's beginning; ε falls with every step, to its end at half-time."""
    seen: list[tuple[float, float]] = []
    model = small(learning_rate=lambda left: 1e-2 * left)
    choose = model._choose
    model._choose = lambda first: (choose(first), seen.append((model.exploration_rate, rate(model))))[0]  # type: ignore[method-assign,func-returns-value]
    model.learn(48)
    epsilons, rates = np.array(seen).T
    steps = np.arange(24) * 2
    np.testing.assert_allclose(epsilons, np.maximum(1 - 0.95 * steps / 24, 0.05))
    np.testing.assert_allclose(rates, 1e-2 * (1 - np.repeat(np.arange(4), 6) / 4))


def rate(model: PQN) -> float:
    return float(model.policy.optimizer.param_groups[0]["lr"])


@pytest.mark.learning
@pytest.mark.parametrize("kind", ["scalar", "batched"])
def test_finds_the_optimal_values_of_the_grid_world(kind: str) -> None:
    """Over every reachable state |Q − Q*| < 0.05, with one-step targets: those of Q(λ) follow what was explored."""
    scalar: Any = gym.make(GRID)
    env = scalar if kind == "scalar" else to_sb3(gym.make_vec(GRID, 8, vectorization_mode="vector_entry_point"))
    model = PQN(
        "MlpPolicy", env, n_steps=64 if kind == "scalar" else 8, batch_size=64, n_epochs=4, gamma=0.9, q_lambda=0.0,
        learning_rate=lambda left: 5e-3 * left, exploration_final_eps=1.0, seed=0, policy_kwargs={"net_arch": [64]},
    )  # fmt: skip
    assert model._backend.name == "numpy"
    model.learn(30_000)
    grid = scalar.unwrapped
    states = np.flatnonzero(reachable_states(grid.P, grid.initial_state_distrib))
    values = model.policy.q_net(model.policy.obs_to_tensor(states)[0]).detach().numpy()
    assert np.abs(values - value_iteration(grid.P, 0.9)[states]).max() < 0.05


def test_there_is_no_target_network() -> None:
    model = small()
    assert model.policy.q_net_target is None
    assert not [name for name in model.policy.state_dict() if "target" in name]


def test_layer_norm_stands_before_each_activation_and_can_be_left_out() -> None:
    names = [type(layer).__name__ for layer in small().policy.q_net.q_net]
    assert names == ["Linear", "LayerNorm", "ReLU", "Linear", "LayerNorm", "ReLU", "Linear"]
    model = small(policy_kwargs={"layer_norm": False, "optimizer_class": th.optim.Adam})
    assert [type(layer).__name__ for layer in model.policy.q_net.q_net] == [
        "Linear",
        "ReLU",
        "Linear",
        "ReLU",
        "Linear",
    ]
    assert type(model.policy.optimizer) is th.optim.Adam
    assert type(small().policy.optimizer) is th.optim.RAdam


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"policy_kwargs": {"distribution": "quantile"}}, "distribution"),
        ({"policy_kwargs": {"n_atoms": 51}}, "distribution"),
        ({"policy_kwargs": {"noisy": True}}, "noisy"),
        ({"n_steps": None}, "n_steps"),
        ({"q_lambda": 1.5}, "q_lambda"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_what_it_has_not_is_refused_in_one_line(arguments: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError, match=rf"\A{field}: [^\n]+\Z"):
        small(**arguments)


HEADS: dict[str, dict[str, Any]] = {
    "plain": {}, "dueling": {"dueling": True}, "noisy": {"noisy": True}, "atoms": {"n_atoms": 5},
    "state and action": {"head": "state_action"},
}  # fmt: skip


@pytest.mark.parametrize("head", HEADS)
def test_layer_norm_serves_the_whole_family_on_both_backends(head: str) -> None:
    arguments = HEADS[head].copy()
    kwargs = {"net_arch": [12, 9], "layer_norm": True}
    kwargs |= {"head": arguments.pop("head")} if "head" in arguments else {}
    found = []
    for backend in ("torch", "numpy"):
        model = DoubleDQN(
            "MlpPolicy", gym.make("CartPole-v1"), seed=0, device="cpu", backend=backend, learning_rate=1e-3,
            learning_starts=10, batch_size=16, buffer_size=100, train_freq=1, policy_kwargs=kwargs, **arguments,
        ).learn(60)  # fmt: skip
        assert model._backend.name == backend
        found.append(np.concatenate([value.numpy().ravel() for value in model.policy.state_dict().values()]))
    np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-5)
