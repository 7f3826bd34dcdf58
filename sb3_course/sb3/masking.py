"""Action masks, as sb3-contrib has them: an environment's ``action_masks()`` says which actions are valid now."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported
from stable_baselines3.common.vec_env import VecEnv

from sb3_course.config.errors import InputError

#: Where the masks of an observation that a reset replaces lie in the infos, and what Gymnasium's own envs call them.
TERMINAL, GYMNASIUMS = "terminal_action_masks", "action_mask"


def has_masks(env: Any) -> bool:
    """Return whether an environment, or a `VecEnv`, says which actions are valid."""
    return bool(is_masking_supported(env))


def current_masks(env: VecEnv) -> np.ndarray:
    """Return which actions are valid now in environments that say so, (E, A).

    :raises InputError: as `mask_rows`
    """
    return mask_rows(get_action_masks(env), env.num_envs, env.action_space)


def choices_of(space: spaces.Space[Any]) -> list[int]:
    """Return how many values each part of an action can have; a mask says of each whether it is valid, in this order.

    Of MultiBinary these are off and on for each switch, as sb3-contrib has it.

    :raises InputError: for a space of which nothing can be invalid
    """
    if isinstance(space, spaces.Discrete):
        return [int(space.n)]
    if isinstance(space, spaces.MultiDiscrete):
        return [int(n) for n in space.nvec.reshape(-1)]
    if isinstance(space, spaces.MultiBinary):
        return [2] * spaces.flatdim(space)
    raise InputError("action_masks", "only discrete actions can be invalid", space, "an env without action_masks()")


def mask_rows(masks: Any, n_rows: int, space: spaces.Space[Any]) -> np.ndarray:
    """Return masks as booleans with a row for each env or observation, (E, A).

    :raises InputError: for masks of another size, and for one that leaves a part of the action without a valid value
    """
    choices, array = choices_of(space), np.asarray(masks, dtype=bool)
    shape = n_rows, sum(choices)
    if array.size != shape[0] * shape[1]:
        raise InputError("action_masks", "are of another shape than the actions", array.shape, f"shape {shape}")
    rows: np.ndarray = array.reshape(shape)
    left = np.logical_or.reduceat(rows, np.cumsum([0, *choices[:-1]]), axis=1).all(axis=1)
    if not left.all():
        raise InputError("action_masks", "leave no valid action", np.flatnonzero(~left).tolist(), "one")
    return rows


def terminal_masks(infos: list[dict[str, Any]], dones: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return which actions are valid in the observations that steps led to, (E, A).

    Of an episode that ended they are in the infos, where `KeepsTerminalMasks` or the environment put them; otherwise
    those of the step before have to do.

    :param before: masks before the step, (E, A)
    :param after: masks now, after a reset where an episode ended, (E, A)
    """
    if not dones.any():
        return after
    masks = after.copy()
    for env in np.flatnonzero(dones):
        told = infos[env].get(TERMINAL, infos[env].get(GYMNASIUMS))
        known = before[env] if told is None else np.asarray(told, dtype=bool)
        masks[env] = known if known.any() else True  # nothing follows where nothing can be done
    return masks


class KeepsTerminalMasks(gym.Wrapper[Any, Any, Any, Any]):
    """Tells which actions were valid where an episode ended: a vector of environments is reset before one can ask."""

    def step(self, action: Any) -> Any:
        """Step the environment; see Gymnasium."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        if terminated or truncated:
            info = {**info, TERMINAL: np.asarray(self.env.get_wrapper_attr("action_masks")(), dtype=bool)}
        return observation, reward, terminated, truncated, info


def keeping_terminal_masks(env: Any) -> Any:
    """Return a single environment with `KeepsTerminalMasks` around it where it has masks, any other as it is."""
    return KeepsTerminalMasks(env) if isinstance(env, gym.Env) and has_masks(env) else env


class MaskedActions:
    """A mixin of algorithms; environments that have ``action_masks()`` are asked for them, the others for nothing."""

    env: VecEnv | None
    #: Whether the environments say which actions are valid.
    _masked = False
    #: Their masks now, (E, A); None until they are asked.
    _masks_now: np.ndarray | None = None

    def _valid_now(self) -> np.ndarray | None:
        """Return which actions are valid now, (E, A), or None where all always are."""
        if self._masked and self._masks_now is None:
            assert self.env is not None
            self._masks_now = current_masks(self.env)
        return self._masks_now

    def _masks_of_step(self, infos: list[dict[str, Any]], dones: np.ndarray) -> np.ndarray:
        """Return the masks before and after the step that was just taken, (E, 2, A)."""
        before = self._valid_now()
        assert before is not None
        self._masks_now = None
        after = self._valid_now()
        assert after is not None
        return np.stack([before, terminal_masks(infos, dones, before, after)], axis=1)
