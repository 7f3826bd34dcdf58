"""What may go around the checks that SB3's ``predict`` makes of an observation, and what may not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space

from sb3_course.config.errors import InputError
from sb3_course.functional.finite import all_finite


def is_batch(observation: Any, space: spaces.Space[Any]) -> bool | None:
    """Tell whether an observation that is just as its space says is several ones, and None of any other.

    Images with the channels last, lists, ``(observation, info)`` and Dict observations are left to SB3's ``predict``,
    which turns them round, takes them or refuses them.
    """
    if type(observation) is np.ndarray:
        shape = observation.shape
    elif isinstance(observation, int | np.integer):
        shape = ()
    else:
        return None
    if shape == space.shape:
        return False
    return True if shape and shape[1:] == space.shape else None


def require_observation(observation: Any, space: spaces.Space[Any], field: str = "observation") -> None:
    """Refuse what no network can say anything of: no numbers, numbers that are not finite, no such state or shape.

    ``(observation, info)`` is left to SB3's ``predict``, which says what it is.

    :param observation: one, or several, as for ``predict``
    :param space: of one
    :raises InputError: naming what came and what is wanted
    """
    if type(observation) is np.ndarray and observation.dtype.kind in "fiub" and type(space) is spaces.Box:
        array = observation
    elif isinstance(space, spaces.Dict):
        want = f"a dict of {', '.join(space)}"
        if not isinstance(observation, dict):
            raise InputError(field, "is no dict", observation, want)
        if missing := space.keys() - observation.keys():
            raise InputError(field, f"lacks {min(missing)!r}", list(observation), want)
        for name, part in space.items():
            require_observation(observation[name], part, f"{field}[{name!r}]")
        _require_as_many(observation, space, field)
        return
    elif isinstance(observation, tuple):
        return
    else:
        array = _as_numbers(observation, space, field)
    if array.size == 0:
        raise InputError(field, "there is none", f"shape {array.shape}", "at least one")
    if not all_finite(array):
        raise InputError(field, "not finite", observation, "finite numbers; numpy.nan_to_num, or a mended environment")
    shape, wanted = array.shape, space.shape or ()
    if shape != wanted and shape[1:] != wanted and not _is_turned(shape, space):
        several = ", ".join(map(str, ("n", *wanted)))
        want = f"{wanted}, or ({several}{'' if wanted else ','}) for n of them; observation.reshape(...) where it is so"
        raise InputError(field, "has another shape than the observation space", shape, want)


def _is_turned(shape: tuple[int, ...], space: spaces.Space[Any]) -> bool:
    """Tell whether these are pictures with their channels last of a space with its channels first."""
    if len(shape) not in (3, 4) or not is_image_space(space):
        return False
    return (shape[-1], *shape[-3:-1]) == space.shape


def _require_as_many(observation: dict[str, Any], space: spaces.Dict, field: str) -> None:
    """Refuse a dict of which one part is several observations and another one is as many others."""
    ranks = {name: len(part.shape or ()) for name, part in space.items()}
    numbers = {name: np.shape(observation[name])[: np.ndim(observation[name]) - ranks[name]] for name in ranks}
    if len({number or (1,) for number in numbers.values()}) > 1:
        raise InputError(field, "its parts are not equally many", numbers, "one of each, or n of each")


def _as_numbers(observation: Any, space: spaces.Space[Any], field: str) -> np.ndarray:
    """Return what is no array of a Box as an array of numbers.

    :raises InputError: for what holds none, and for a state that a Discrete space has not
    """
    want = f"numbers of {space}"
    if isinstance(observation, dict):
        raise InputError(field, "is a dict", observation, want)
    try:
        array = np.asarray(observation)
    except ValueError:  # rows of different lengths
        array = np.asarray(None)
    if array.dtype.kind not in ("iu" if isinstance(space, spaces.Discrete) else "fiub"):
        raise InputError(field, "holds no such numbers", observation, want)
    counted = isinstance(space, spaces.Discrete) and array.size > 0
    if counted and (array.min() < space.start or array.max() >= space.start + space.n):  # type: ignore[attr-defined]
        raise InputError(field, "there is no such state", observation, want)
    return array


def arrays_of(observations: Any) -> Iterator[np.ndarray]:
    """Yield the arrays in tuples and dicts of observations; None has none."""
    if isinstance(observations, dict | tuple):
        for part in observations.values() if isinstance(observations, dict) else observations:
            yield from arrays_of(part)
    elif observations is not None:
        yield np.asarray(observations)
