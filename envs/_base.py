"""What the three environments share: rendering in three modes and exact save and restore of their state."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, TypeVar

import gymnasium as gym
import numpy as np
from gymnasium.core import RenderFrame
from gymnasium.utils import seeding
from numpy.typing import NDArray

from sb3_course.envs._checks import choice, refusal, whole
from sb3_course.envs._pygame_window import Window

ObsType = TypeVar("ObsType")
ActType = TypeVar("ActType")
RENDER_MODES = ("human", "rgb_array", "ansi")


def task_generator(seed: Any) -> np.random.Generator:
    """Return the generator from which a constructor draws its task.

    It is not the environment's ``np_random``: a default seed there would give every environment that is never seeded
    the same noise.
    """
    return seeding.np_random(None if seed is None else whole("seed", seed, low=0))[0]


class CourseEnv(gym.Env[ObsType, ActType]):
    """Base class: a subclass gives ``_frame``, ``_text``, ``_get_fields`` and ``_set_fields``.

    :param render_mode: None, "human", "rgb_array" or "ansi"
    :raises ValueError: an unknown render mode
    """

    metadata: dict[str, Any] = {"render_modes": list(RENDER_MODES), "render_fps": 4}

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = None if render_mode is None else choice("render_mode", render_mode, RENDER_MODES)
        self._window = Window(type(self).__name__)

    @abstractmethod
    def _frame(self) -> NDArray[np.uint8]:
        """Return the picture, shape (height, width, 3)."""

    @abstractmethod
    def _text(self) -> str:
        """Return the picture as text."""

    @abstractmethod
    def _get_fields(self) -> dict[str, Any]:
        """Return the variables of the state as new plain numbers and lists."""

    @abstractmethod
    def _set_fields(self, fields: dict[str, Any]) -> None:
        """Take over what ``_get_fields`` returned, checked before anything is changed."""

    def render(self) -> RenderFrame | list[RenderFrame] | None:
        """Return the picture as an array or as text, or show it, as ``render_mode`` says.

        :return: "rgb_array": uint8 (height, width, 3); "ansi": str; "human": None
        :raises DependencyNotInstalled: "human" without pygame
        """
        if self.render_mode == "rgb_array":
            return self._frame()
        if self.render_mode == "ansi":
            return self._text()
        if self.render_mode == "human":
            self._window.show(self._frame(), float(self.metadata["render_fps"]))
        else:
            gym.logger.warn(
                'render() was called without a render_mode: make the environment with render_mode="rgb_array".'
            )
        return None

    def close(self) -> None:
        """Close the window, if there is one."""
        self._window.close()

    def get_state(self) -> dict[str, Any]:
        """Return everything that decides the future, the random generator included, as plain numbers and lists."""
        generator = {"np_random": self.np_random.bit_generator.state, "np_random_seed": self._np_random_seed}
        return {**generator, **self._get_fields()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Return to a state saved by :meth:`get_state` of an environment with the same options.

        :raises ValueError: the state is not of this environment; nothing has been changed then
        """
        names = {"np_random", "np_random_seed", *self._get_fields()}
        if set(state) != names:
            raise refusal("state", "has the wrong fields", sorted(state), f"the result of get_state(): {sorted(names)}")
        generator = np.random.Generator(type(self.np_random.bit_generator)())
        try:
            generator.bit_generator.state = state["np_random"]
        except (TypeError, ValueError, KeyError) as error:
            raise refusal(
                "state", f"has an unfit np_random ({error})", state["np_random"], "that of get_state()"
            ) from None
        self._set_fields({name: state[name] for name in names - {"np_random", "np_random_seed"}})
        self._np_random = generator
        self._np_random_seed = state["np_random_seed"]
