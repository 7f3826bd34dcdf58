"""What may go around the checks that SB3's ``predict`` makes of an observation, and what may not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from gymnasium import spaces


def is_batch(observation: Any, space: spaces.Space[Any]) -> bool | None:
    """Tell whether an observation that is just as its space says is several ones, and None of any other.

    Images with the channels last, lists, ``(observation, info)``, Dict observations and wrong shapes are left to SB3's
    ``predict``, which turns them round, takes them or refuses them.
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


def arrays_of(observations: Any) -> Iterator[np.ndarray]:
    """Yield the arrays in tuples and dicts of observations; None has none."""
    if isinstance(observations, dict | tuple):
        for part in observations.values() if isinstance(observations, dict) else observations:
            yield from arrays_of(part)
    elif observations is not None:
        yield np.asarray(observations)
