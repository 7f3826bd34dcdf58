"""What a replay buffer is asked for and handed, refused in one line."""

from __future__ import annotations

from typing import Any

import numpy as np
from stable_baselines3.common.preprocessing import get_action_dim, get_obs_shape

from sb3_course.config import parameters
from sb3_course.config.errors import InputError
from sb3_course.functional.finite import all_finite


def check_buffer_arguments(given: dict[str, Any]) -> None:
    """Refuse arguments of a buffer, each by its row, and spaces that no row can hold."""
    parameters.check(given)
    if given["optimize_memory_usage"]:
        raise InputError("optimize_memory_usage", "this buffer keeps both observations", got=True, want="False")
    if given["n_steps"] is None:
        raise InputError("n_steps", "a window has at least one step", got=None, want="an integer >= 1")
    if not isinstance(given["handle_timeout_termination"], bool):
        got = given["handle_timeout_termination"]
        raise InputError("handle_timeout_termination", "not accepted", got, "True or False")
    for name in ("storage", "draw"):
        if not callable(given[name]):
            raise InputError(name, "makes nothing", given[name], "a class, as in sb3_course.replay.parts")
    if given["rng"] is not None and not any(hasattr(given["rng"], name) for name in ("random", "integers")):
        raise InputError("rng", "draws no numbers", given["rng"], "a numpy.random.Generator")
    for name, shape_of in (("observation_space", get_obs_shape), ("action_space", get_action_dim)):
        try:
            shape_of(given[name])
        except NotImplementedError:
            want = "Box, Discrete, MultiDiscrete, MultiBinary" + (", Dict" if name[0] == "o" else "")
            raise InputError(name, "no row can hold it", given[name], want) from None


def check_draw(batch_size: Any, stored: int) -> None:
    """Refuse to draw from nothing, and to draw nothing.

    :raises InputError: naming what is wrong
    """
    if stored == 0:
        raise InputError("replay buffer", "there is nothing to sample from", got="0 transitions", want="at least 1")
    if type(batch_size) is not int or batch_size < 1:
        parameters.check({"batch_size": batch_size})


def check_rewards(rewards: Any, n_envs: int) -> None:
    """Refuse rewards that are not one finite number for each env: one NaN would spoil every weight.

    :raises InputError: naming them
    """
    numbers = np.asarray(rewards)
    if numbers.size != n_envs or not all_finite(numbers):
        raise InputError("reward", "not one finite number for each env", rewards, f"{n_envs} finite numbers")


def check_numbers(buffer: Any, obs: Any, next_obs: Any, action: Any, reward: Any, done: Any) -> None:
    """Refuse a transition with NaN or infinity in it, which would be in every weight learned from it, too.

    :param buffer: is it for; it may know of observations that were looked at (``vouched``)
    :raises InputError: naming the part
    """
    check_rewards(reward, buffer.n_envs)
    vouched = vars(buffer).pop("vouched", None)  # once; a buffer that is put back has nothing of it
    if vouched is not None and obs is vouched[0] and next_obs is vouched[1]:
        return
    if not all(type(part) is np.ndarray and all_finite(part) for part in (obs, next_obs, action, done)):
        _look_closely(obs=obs, next_obs=next_obs, action=action, done=done)


def _look_closely(**parts: Any) -> None:
    """Refuse the first part that is not finite: arrays, what makes arrays, and dicts of either."""
    for name, part in parts.items():
        for key, values in part.items() if isinstance(part, dict) else (("", part),):
            if not all_finite(np.asarray(values)):
                field = f"{name}[{key!r}]" if key else name
                raise InputError(field, "not finite", values, "finite numbers, of a mended environment")


def not_a_transition(error: Exception, buffer: Any) -> InputError:
    """Return what to say of a transition that no row can hold."""
    shape, n_envs = get_obs_shape(buffer.observation_space), buffer.n_envs
    want = f"observations {shape}, an action, a reward, an end and a dict of info for each of {n_envs} env"
    return InputError("transition", f"does not fit the buffer: {error}", want=want)
