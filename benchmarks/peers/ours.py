"""This package, SB3 and sb3-contrib with the settings of `theirs.py`; run by `compare.py` in the project's venv."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import torch as th
from stable_baselines3.common.env_util import make_vec_env
from torch import nn
from turns import Advance, serve

from sb3_course.networks import NoisyLinear
from sb3_course.registry import find

Array = np.ndarray
ATOMS = {"n_atoms": 101, "v_min": 0.0, "v_max": 100.0}
FEWER_ATOMS = {**ATOMS, "n_atoms": 51}
NET: dict[str, Any] = {"net_arch": [120, 84], "activation_fn": nn.ReLU}


def loop(model: Any, warm_up: int) -> Advance:
    """Let `learn` take the steps; it may take a few more, which are counted."""

    def advance(n_steps: int) -> int:
        before = model.num_timesteps
        model.learn(n_steps, reset_num_timesteps=False, log_interval=10**9)
        return int(model.num_timesteps - before)

    advance(warm_up)
    return advance


def make_value(name: str, batch_size: int, **arguments: Any) -> Any:
    """Return an off-policy algorithm that takes one update for each env step."""
    return find(name).load()(
        "MlpPolicy", gym.make("CartPole-v1"), batch_size=batch_size, train_freq=1, learning_starts=500,
        buffer_size=100_000, target_update_interval=500, learning_rate=1e-4, policy_kwargs=NET,
        exploration_fraction=1e-6, exploration_final_eps=0.05, device="cpu", seed=0, **arguments,
    )  # fmt: skip


def value(name: str, batch_size: int, **arguments: Any) -> Advance:
    """Return an off-policy contestant."""
    return loop(make_value(name, batch_size, **arguments), 600)


def update(name: str, batch_size: int, **arguments: Any) -> Advance:
    """Return a contestant that only learns: a "step" is one call of `train`."""
    model = make_value(name, batch_size, **arguments)
    model.learn(600, log_interval=10**9)

    def advance(n_steps: int) -> int:
        for _ in range(n_steps):
            model.train(1, batch_size)
        return n_steps

    return advance


def limit(name: str, batch_size: int, act: bool, **arguments: Any) -> Advance:
    """Return the limit: the matrix products of one update and, with `act`, those of one action and a bare env step.

    Products of every linear layer, each as the library takes least time for it: forward once for the loss, once for
    the target and once more for Double DQN's choice; backward for the weights and, above the first layer, the inputs.
    """
    model = make_value(name, batch_size, **arguments)
    products: list[tuple[Array, Array, Array]] = []

    def product(n: int, p: int, q: int) -> None:
        products.append((np.ones((n, p), np.float32), np.ones((p, q), np.float32), np.empty((n, q), np.float32)))

    for module in model.q_net.modules():
        if isinstance(module, nn.Linear | NoisyLinear):
            q, p = module.weight.shape
            for _ in range(2 + model.double):
                product(batch_size, p, q)
            product(q, batch_size, p)
            if p != 4:  # CartPole's observation needs no gradient
                product(batch_size, q, p)
            if act:
                product(1, p, q)
    env: Any = gym.make("CartPole-v1").unwrapped
    env.reset(seed=0)

    def advance(n_steps: int) -> int:
        for _ in range(n_steps):
            for left, right, out in products:
                np.dot(left, right, out=out)
            if act and env.step(0)[2]:
                env.reset()
        return n_steps

    return advance


def episodes(name: str, episodes_per_update: int) -> Advance:
    """Return a contestant that learns from whole episodes, as many an update as the "batch size" says."""
    model = find(name).load()(
        "MlpPolicy", gym.make("CartPole-v1"), episodes_per_update=episodes_per_update, learning_rate=1e-4,
        policy_kwargs=NET, device="cpu", seed=0,
    )  # fmt: skip
    return loop(model, 500)


def rollouts(name: str, n_steps: int) -> Advance:
    """Return an on-policy contestant on 8 envs, with rollouts of as many steps as the "batch size" says."""
    model = find(name).load()(
        "MlpPolicy", make_vec_env("CartPole-v1", 8), n_steps=n_steps, learning_rate=1e-4,
        policy_kwargs=NET, device="cpu", seed=0,
    )  # fmt: skip
    return loop(model, 2000)


VALUE: dict[str, tuple[str, dict[str, Any]]] = {
    "switches off": ("double_dqn", {"double": False}),
    "double_dqn": ("double_dqn", {}),
    "c51": ("c51", ATOMS),
    "quantile_dqn": ("quantile_dqn", {"n_quantiles": 200}),  # contrib's default
    "c51 double": ("c51", {"double": True, **ATOMS}),
    "three switches": ("double_dqn", {"dueling": True, "prioritized": True, "n_steps": 3}),
    "rainbow": ("rainbow", FEWER_ATOMS),
    "rainbow without dueling": ("rainbow", {"dueling": False, **FEWER_ATOMS}),
    **{name: (name, {}) for name in ("dueling_dqn", "per_dqn", "nstep_dqn", "noisy_dqn")},
}
CONTESTANTS: dict[str, Callable[[int], Advance]] = {
    **{name: partial(value, algo, **arguments) for name, (algo, arguments) in VALUE.items()},
    **{f"{name} update": partial(update, algo, **arguments) for name, (algo, arguments) in VALUE.items()},
    **{f"{name} products": partial(limit, algo, act=False, **arguments) for name, (algo, arguments) in VALUE.items()},
    **{f"{name} limit": partial(limit, algo, act=True, **arguments) for name, (algo, arguments) in VALUE.items()},
    "reinforce": partial(episodes, "reinforce"),
    "actor_critic": partial(rollouts, "actor_critic"),
    "sb3 dqn": partial(value, "dqn"),
    "contrib qrdqn": partial(value, "qrdqn"),
    "sb3 a2c": partial(rollouts, "a2c"),
}

if __name__ == "__main__":
    th.set_num_threads(1)
    serve(CONTESTANTS)
