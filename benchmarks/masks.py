"""How many invalid actions are taken: for each algorithm, one and four environments, both backends, 10,000 steps.

    OMP_NUM_THREADS=1 python benchmarks/masks.py --rows vpg reinforce reinforce_baseline actor_critic pqn

The steps are those of learning; as many follow that are greedy. The environment is GridWorld with random masks.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.vec_env import DummyVecEnv

from sb3_course import registry


class Counting(gym.Wrapper[Any, Any, Any, Any]):
    """GridWorld with other valid actions in each state, at least one, which counts what is taken of the others."""

    def __init__(self) -> None:
        super().__init__(gym.make("sb3_course/GridWorld-v0", slip=0.2, max_episode_steps=20))
        self.masks = np.random.default_rng(3).random((12, 4)) < 0.5
        self.masks[np.arange(12), np.random.default_rng(4).integers(4, size=12)] = True
        self.steps = self.invalid = 0

    def reset(self, **kwargs: Any) -> Any:
        """Begin an episode."""
        self.state, info = self.env.reset(**kwargs)
        return self.state, info

    def action_masks(self) -> np.ndarray:
        """Return which actions are valid here, (4,)."""
        valid: np.ndarray = self.masks[self.state]
        return valid

    def step(self, action: Any) -> Any:
        """Take a step and look at the action."""
        self.steps, self.invalid = self.steps + 1, self.invalid + (not self.masks[self.state][int(action)])
        self.state, *rest = self.env.step(int(action))
        return self.state, *rest


def main() -> None:
    """Print a line for each algorithm, backend and number of environments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", default=["vpg", "reinforce", "reinforce_baseline", "actor_critic", "pqn"])
    parser.add_argument("--steps", type=int, default=10_000)
    arguments = parser.parse_args()
    for name in arguments.rows:
        for backend in ("numpy", "torch"):
            for n_envs in (1, 4):
                envs, start = [Counting() for _ in range(n_envs)], time.perf_counter()
                venv = DummyVecEnv([lambda env=env: env for env in envs])  # type: ignore[misc]
                model: Any = registry.find(name).load()("MlpPolicy", venv, backend=backend, seed=0, device="cpu")
                model.learn(arguments.steps)
                observations = venv.reset()
                for _ in range(arguments.steps // n_envs):
                    masks = np.stack(venv.env_method("action_masks"))
                    actions, _ = model.predict(observations, deterministic=True, action_masks=masks)
                    observations, *_ = venv.step(actions)
                steps, invalid = sum(env.steps for env in envs), sum(env.invalid for env in envs)
                seconds = time.perf_counter() - start
                print(
                    f"{name}, {backend}, {n_envs} envs: {invalid} invalid of {steps} steps, {seconds:.0f} s", flush=True
                )


if __name__ == "__main__":
    main()
