"""Integer spaces that do not start at 0: where an environment says ``start + i``, a network has its i-th number.

What environments say and hear, what replay keeps and what `predict` returns counts from the space's start; only a
network's inputs and outputs, and the arithmetic on them, count from 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import PyTorchObs


def start_of(space: spaces.Space[Any]) -> np.ndarray | None:
    """Return what a space counts from, () or (K,); None for 0, and for spaces that do not count.

    :param space: Discrete, MultiDiscrete of K parts, or any other
    """
    if isinstance(space, spaces.Discrete):
        return np.asarray(space.start, np.int64) if space.start else None
    if isinstance(space, spaces.MultiDiscrete):
        return space.start.astype(np.int64) if space.start.any() else None
    return None


def from_zero(values: Any, space: spaces.Space[Any]) -> Any:
    """Return an environment's numbers as a network counts them; arrays, tensors, and dicts of such for a ``Dict``.

    :param values: (B, …)
    :param space: that they are from
    :return: ``values − start``, (B, …)
    """
    if isinstance(space, spaces.Dict):
        return {key: from_zero(value, space.spaces[key]) for key, value in values.items()}
    start = start_of(space)
    if start is None:
        return values
    if isinstance(values, th.Tensor):
        return values.long() - th.as_tensor(start, device=values.device)
    return np.asarray(values).astype(np.int64) - start


def from_start(numbers: Any, space: spaces.Space[Any]) -> Any:
    """Return a network's numbers as the environment counts them: the inverse of `from_zero`, for an array or tensor.

    :param numbers: (B, …)
    :param space: that they are to be from
    :return: ``numbers + start``, (B, …)
    """
    start = start_of(space)
    if start is None:
        return numbers
    return numbers + (th.as_tensor(start, device=numbers.device) if isinstance(numbers, th.Tensor) else start)


class CountsFromZero(BasePolicy):
    """A network of SB3's that sees observations counted from 0, wherever their space starts."""

    def extract_features(self, obs: PyTorchObs, features_extractor: Any = None) -> Any:
        """Return the features of observations, (B, …) -> (B, F); see SB3."""
        return super().extract_features(from_zero(obs, self.observation_space), features_extractor)
