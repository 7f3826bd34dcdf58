"""Action masks, as sb3-contrib has them: an environment's ``action_masks()`` says which actions are valid now."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported
from stable_baselines3.common.vec_env import VecEnv

from sb3_course.config.errors import InputError

#: Where the masks of an observation that a reset replaces lie in the infos, and what Gymnasium's own envs call them.
TERMINAL, GYMNASIUMS = "terminal_action_masks", "action_mask"


def has_masks(env: Any) -> bool:
    """Return whether an environment, or a `VecEnv`, says which actions are valid."""
    return bool(is_masking_supported(env))


def current_masks(env: VecEnv, n_actions: int) -> np.ndarray:
    """Return which actions are valid now, (E, A).

    :raises InputError: for masks of another shape, and for one under which no action is valid
    """
    masks = np.asarray(get_action_masks(env), dtype=bool)
    return checked(masks, (env.num_envs, n_actions))


def checked(masks: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Return masks as an array of booleans.

    :raises InputError: for another shape, and for a mask under which no action is valid
    """
    array = np.asarray(masks, dtype=bool)
    if array.shape != shape:
        raise InputError("action_masks", "are of another shape than the actions", array.shape, f"shape {shape}")
    if not array.any(axis=-1).all():
        raise InputError("action_masks", "leave no valid action", np.flatnonzero(~array.any(axis=-1)).tolist(), "one")
    return array


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
