"""The DQN from scratch: no torch arithmetic, the course's update written out once more, and its two decays."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from stable_baselines3.common.monitor import Monitor
from torch.utils._python_dispatch import TorchDispatchMode

from sb3_course import DoubleDQN, NumpyDQN, StopTrainingOnSolved, TerminalReward
from sb3_course.config.errors import InputError

SGD = {"optimizer_class": th.optim.SGD}
ADAM: dict[str, Any] = {}
# What moves no number: views and copies of memory that NumPy fills.
BOOKKEEPING = {
    "aten.detach.default",
    "aten.alias.default",
    "aten.view.default",
    "aten._to_copy.default",
    "aten.lift_fresh.default",
}


class NoTorch(TorchDispatchMode):
    """Refuses every operation of torch that computes something."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if str(func) not in BOOKKEEPING:
            raise AssertionError(f"torch computed {func}")
        return func(*args, **(kwargs or {}))


def make(optimizer: dict[str, Any], env: Any = None, **kwargs: Any) -> NumpyDQN:
    env = env or TerminalReward(Monitor(gym.make("CartPole-v1")), -1)
    return NumpyDQN("MlpPolicy", env, seed=0, policy_kwargs={"net_arch": [16, 16], **optimizer}, **kwargs)


@pytest.mark.parametrize("target", [(1, "update"), 50, (2, "episode")])
@pytest.mark.parametrize("optimizer", [SGD, ADAM], ids=["sgd", "adam"])
def test_torch_computes_nothing(optimizer: dict[str, Any], target: Any) -> None:
    model = make(optimizer, target_update_interval=target)
    before = model.policy.state_dict()["q_net.q_net.0.weight"].clone()
    with NoTorch():
        model.learn(200)
        observation = np.zeros(4, np.float32)
        for deterministic in (True, False):
            model.predict(observation, deterministic=deterministic)
    assert not th.equal(before, model.policy.state_dict()["q_net.q_net.0.weight"])


def test_the_guard_notices_torch() -> None:
    model = DoubleDQN("MlpPolicy", "CartPole-v1", learning_starts=10, train_freq=1, backend="torch")
    with NoTorch(), pytest.raises(AssertionError, match="torch computed"):
        model.learn(20)


def written_out(weights: list[np.ndarray], batches: list[Any], rate: float, gamma: float) -> list[np.ndarray]:
    """Take one plain SGD step for each transition, as the course prints it: two ReLU layers and a linear one."""
    W1, b1, W2, b2, W3, b3 = (array.astype(np.float64) for array in weights)

    def forward(s: np.ndarray) -> Any:
        h1 = np.maximum(W1 @ s + b1, 0)
        h2 = np.maximum(W2 @ h1 + b2, 0)
        return h1, h2, W3 @ h2 + b3

    for batch in batches:
        s, a, r = batch.observations[0], int(batch.actions.reshape(-1)[0]), float(batch.rewards[0])
        y = r + float(batch.discounts[0]) * forward(batch.next_observations[0])[2].max()
        h1, h2, q = forward(s)
        d3 = np.zeros_like(q)
        d3[a] = 2 * (q[a] - y)
        d2 = (W3.T @ d3) * (h2 > 0)
        d1 = (W2.T @ d2) * (h1 > 0)
        W3 -= rate * np.outer(d3, h2)
        b3 -= rate * d3
        W2 -= rate * np.outer(d2, h1)
        b2 -= rate * d2
        W1 -= rate * np.outer(d1, s)
        b1 -= rate * d1
        assert abs(float(batch.discounts[0]) - gamma) < 1e-6 or batch.discounts[0] == 0
    return [W1, b1, W2, b2, W3, b3]


def test_twenty_updates_are_the_ones_written_out() -> None:
    model = make(SGD, learning_rate=0.01, learning_rate_decay=1.0, learning_starts=60)
    model.learn(60)
    seen: list[Any] = []
    update = model._update
    model._update = lambda batch: seen.append(batch) or update(batch)  # type: ignore[method-assign,func-returns-value]
    before = [parameter.detach().numpy().copy() for parameter in model.policy.q_net.parameters()]
    model.train(20, 1)
    expected = written_out(before, seen, 0.01, 0.95)
    assert len(seen) == 20
    assert any(batch.discounts[0] == 0 and batch.rewards[0] == -1 for batch in seen)  # a fallen pole
    for mine, theirs in zip(model.policy.q_net.parameters(), expected, strict=True):
        np.testing.assert_allclose(mine.detach().numpy(), theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("unit", "k"), [("sample", 20 * 20), ("replay", 20)])
@pytest.mark.parametrize(("batch_size", "gradient_steps"), [(1, 20), (20, 1)])
def test_epsilon_and_learning_rate_fall_geometrically(unit: str, k: int, batch_size: int, gradient_steps: int) -> None:
    arguments = {"batch_size": batch_size, "gradient_steps": gradient_steps, "decay_unit": unit}
    model = make(ADAM, learning_rate_decay=0.998, learning_rate_floor=1e-9, exploration_final_eps=1e-9, **arguments)
    model.learn(40)  # the first 20 steps fill the memory
    assert model.exploration_rate == pytest.approx(0.995**k, rel=1e-12)  # that of the next action
    assert model.policy.optimizer.param_groups[0]["lr"] == pytest.approx(1e-3 * 0.998 ** (k - k // 20), rel=1e-12)


def test_both_have_a_floor() -> None:
    model = make(SGD, learning_rate=0.5, exploration_final_eps=0.25, learning_rate_floor=0.125).learn(60)
    assert model.exploration_rate == 0.25
    assert model.policy.optimizer.param_groups[0]["lr"] == 0.125


def test_a_schedule_below_the_floor_is_followed() -> None:
    model = make(ADAM, learning_rate=lambda left: 1e-5, learning_rate_decay=0.5).learn(40)
    assert model.policy.optimizer.param_groups[0]["lr"] == 1e-5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"exploration_decay": 1.5}, "exploration_decay: "),
        ({"learning_rate_floor": -1}, "learning_rate_floor: "),
        ({"decay_unit": "episode"}, "decay_unit: "),
        ({"dueling": True, "backend": "jax"}, "backend: "),
    ],
)
def test_bad_arguments_are_refused_in_one_line(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make(ADAM, **arguments)


class Returns:
    """A run with given returns of episodes, for the callback to look at."""

    def __init__(self, callback: StopTrainingOnSolved, returns: list[float]) -> None:
        self.n = 0
        for value in returns:
            self.n += 1
            callback.num_timesteps = 10 * self.n
            callback.locals = {"infos": [{}, {"episode": {"r": value}}]}
            if not callback._on_step():
                break


def test_solved_is_the_mean_of_consecutive_episodes() -> None:
    callback = StopTrainingOnSolved(195, 3)
    run = Returns(callback, [300, 90, 100, 200, 285, 100, 199, 500])
    assert (run.n, callback.solved_after, callback.solved_at) == (5, 5, 50)
    going_on = StopTrainingOnSolved(195, 3, stop=False)
    assert Returns(going_on, [195, 195, 195, 0]).n == 4
    assert going_on.solved_after == 3
    never = StopTrainingOnSolved(195, 3)
    assert Returns(never, [1000, 1000]).n == 2
    assert never.solved_at is None
    with pytest.raises(InputError, match="n_episodes"):
        StopTrainingOnSolved(n_episodes=0)


def test_solved_counts_the_unwrapped_reward() -> None:
    callback = StopTrainingOnSolved(5, 2)
    make(ADAM).learn(300, callback)
    assert callback.solved_after == 2  # with the wrapper's -1 in place of the last reward, returns would differ
    assert all(value == int(value) and value > 5 for value in callback.returns)
