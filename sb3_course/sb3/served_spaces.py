"""Which spaces SB3's networks and buffers can serve."""

from __future__ import annotations

from typing import Any

from gymnasium import spaces

from sb3_course.config.errors import InputError

WANT = "Box, Discrete, MultiDiscrete of one dimension, MultiBinary, or a Dict of these"


class UnsupportedSpaceError(InputError, AssertionError):
    """A space the algorithm cannot serve; an ``AssertionError`` too, which SB3's contract has there."""


def require_actions_served(name: str, space: spaces.Space[Any], kinds: tuple[type[spaces.Space[Any]], ...]) -> None:
    """Refuse actions that an algorithm cannot choose.

    :param name: the algorithm's
    :param kinds: of spaces that it can
    :raises UnsupportedSpaceError: naming the space
    """
    if not isinstance(space, kinds):
        want = " or ".join(kind.__name__ for kind in kinds)
        raise UnsupportedSpaceError("action_space", f"{name} only supports {want} as action spaces", space, want)
    if isinstance(space, spaces.MultiDiscrete) and len(space.shape) != 1:
        want = "one dimension of them: gymnasium.wrappers.TransformAction(env, reshape, MultiDiscrete(nvec.ravel()))"
        raise UnsupportedSpaceError("action_space", "a table of choices", space, want)


def require_observations_served(space: spaces.Space[Any]) -> None:
    """Refuse what SB3 would meet with an error from its inside, or read in a wrong shape.

    :raises InputError: naming the space, and the key where it lies in a Dict
    """
    parts = space.spaces.items() if isinstance(space, spaces.Dict) else [("", space)]
    for key, part in parts:
        field = f"observation_space[{key!r}]" if key else "observation_space"
        if isinstance(part, spaces.MultiDiscrete):
            if len(part.shape) != 1:
                want = "one dimension: gymnasium.wrappers.FlattenObservation(env)"
                raise InputError(field, f"MultiDiscrete of {len(part.shape)} dimensions", part, want)
        elif isinstance(part, spaces.Box) and 0 in part.shape:
            raise InputError(field, "there is nothing to observe", part, "a Box of at least one number")
        elif not isinstance(part, spaces.Box | spaces.Discrete | spaces.MultiBinary):
            hint = "; gymnasium.wrappers.FlattenObservation(env) makes a Box of a Tuple or a nested Dict"
            raise InputError(field, f"{type(part).__name__} cannot be served", part, WANT + hint)
