"""Environments whose states a checkpoint has to keep in other ways than CartPole's; `kills.py` trains on them."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium as gym
import numpy as np


class Lasting(gym.Env[np.ndarray, int]):
    """A walk that grows harder with every episode: ``level`` outlives episodes, and no seed brings it back.

    The level shows in the rewards alone, so that playing an episode again does not tell.
    """

    observation_space: gym.Space[Any] = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space: gym.Space[Any] = gym.spaces.Discrete(2)
    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}

    def __init__(self) -> None:
        self.level = 0
        self.visits = np.zeros(5, int)
        self.place, self.time = 0.0, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Begin the next level."""
        super().reset(seed=seed)
        self.level += 1
        self.place, self.time = float(self.np_random.normal()), 0
        return self._shown(), {}

    def step(self, action: int) -> Any:
        """Walk to a side, and a bit by chance."""
        self.place += (0.3 if action else -0.3) + 0.1 * float(self.np_random.normal())
        self.time += 1
        self.visits[min(4, int(abs(self.place)))] += 1
        pay = 1.0 - abs(self.place) * (1 + 0.1 * self.level) + 0.001 * float(self.visits[0])
        return self._shown(), pay, abs(self.place) > 4, self.time >= 40, {}

    def _shown(self) -> Any:
        return np.array([self.place, self.time / 40], np.float32)


class Curriculum(Lasting):
    """The same with a state that it gives and takes itself; the level shows."""

    def _shown(self) -> Any:
        return np.array([self.place, self.level / 10], np.float32)

    def get_state(self) -> dict[str, Any]:
        """Return everything that decides the future."""
        plain = {"level": self.level, "place": self.place, "time": self.time, "visits": self.visits.tolist()}
        return {**plain, "rng": self.np_random.bit_generator.state}

    def set_state(self, state: dict[str, Any]) -> None:
        """Put it back."""
        self.level, self.place, self.time = state["level"], state["place"], state["time"]
        self.visits = np.array(state["visits"])
        self.np_random.bit_generator.state = state["rng"]


class Named(Lasting):
    """The same with a dictionary for an observation."""

    observation_space = gym.spaces.Dict(
        place=gym.spaces.Box(-np.inf, np.inf, (1,), np.float32), time=gym.spaces.Discrete(41)
    )

    def _shown(self) -> Any:
        return {"place": np.array([self.place], np.float32), "time": self.time}


for _name, _cls in {"Lasting": Lasting, "Curriculum": Curriculum, "Named": Named}.items():
    gym.register(f"kills/{_name}-v0", entry_point=f"{__name__}:{_cls.__qualname__}")
