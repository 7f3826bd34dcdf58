"""Which distribution over actions a policy's outputs describe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gymnasium import spaces

from sb3_course.config.errors import InputError
from sb3_course.functional.distributions import (
    ActionDistribution,
    BernoulliActions,
    CategoricalActions,
    MultiCategoricalActions,
)
from sb3_course.functional.gaussians import GaussianActions


def distribution_of(action_space: spaces.Space[Any], best: Callable[[Any], Any]) -> ActionDistribution:
    """Return the distribution over `action_space` that the outputs describe.

    :param best: a backend's, which knows the fastest twin of a function
    :raises InputError: for a space without one
    """
    if isinstance(action_space, spaces.Discrete):
        return CategoricalActions(int(action_space.n), best)
    if isinstance(action_space, spaces.MultiDiscrete):
        return MultiCategoricalActions([int(n) for n in action_space.nvec], best)
    if isinstance(action_space, spaces.MultiBinary):
        return BernoulliActions(spaces.flatdim(action_space))
    if isinstance(action_space, spaces.Box):
        return GaussianActions(spaces.flatdim(action_space), best)
    raise InputError("action_space", "no distribution over it", action_space, "Discrete, MultiDiscrete, ... or Box")
