"""This package, SB3 and sb3-contrib with the settings of `theirs.py`; run by `compare.py` in the project's venv."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium as gym
import torch as th
from stable_baselines3.common.env_util import make_vec_env
from torch import nn
from turns import Advance, serve

from sb3_course.registry import find

ATOMS = {"n_atoms": 101, "v_min": 0.0, "v_max": 100.0}
NET: dict[str, Any] = {"net_arch": [120, 84], "activation_fn": nn.ReLU}


def loop(model: Any, warm_up: int) -> Advance:
    """Let `learn` take the steps; it may take a few more, which are counted."""

    def advance(n_steps: int) -> int:
        before = model.num_timesteps
        model.learn(n_steps, reset_num_timesteps=False, log_interval=10**9)
        return int(model.num_timesteps - before)

    advance(warm_up)
    return advance


def value(name: str, batch_size: int, **arguments: Any) -> Advance:
    """Return an off-policy contestant: one update for each env step."""
    model = find(name).load()(
        "MlpPolicy", gym.make("CartPole-v1"), batch_size=batch_size, train_freq=1, learning_starts=500,
        buffer_size=100_000, target_update_interval=500, learning_rate=1e-4, policy_kwargs=NET,
        exploration_fraction=1e-6, exploration_final_eps=0.05, device="cpu", seed=0, **arguments,
    )  # fmt: skip
    return loop(model, 600)


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


CONTESTANTS: dict[str, Callable[[int], Advance]] = {
    "switches off": partial(value, "double_dqn", double=False),
    "double_dqn": partial(value, "double_dqn"),
    "c51": partial(value, "c51", **ATOMS),
    "c51 double": partial(value, "c51", double=True, **ATOMS),
    "rainbow": partial(value, "rainbow", **{**ATOMS, "n_atoms": 51}),
    "rainbow without dueling": partial(value, "rainbow", dueling=False, **{**ATOMS, "n_atoms": 51}),
    "per_dqn": partial(value, "per_dqn"),
    "reinforce": partial(episodes, "reinforce"),
    "actor_critic": partial(rollouts, "actor_critic"),
    "sb3 dqn": partial(value, "dqn"),
    "contrib qrdqn": partial(value, "qrdqn"),
    "sb3 a2c": partial(rollouts, "a2c"),
}

if __name__ == "__main__":
    th.set_num_threads(1)
    serve(CONTESTANTS)
