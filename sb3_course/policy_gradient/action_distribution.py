"""Which law over actions a policy's outputs describe."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from sb3_course.backends import compiled
from sb3_course.config.errors import InputError
from sb3_course.functional.array_api import Array
from sb3_course.functional.distributions import (
    Bernoulli,
    Categorical,
    Distribution,
    Gaussian,
    MultiCategorical,
    Scores,
)


class CompiledCategorical(Categorical):
    """The same in compiled passes, for NumPy arrays of the networks' precision."""

    def sample(self, outputs: Array, random: Array) -> Array:
        """Return actions (B, 1) from uniform numbers (B, 1)."""
        return compiled.sample(outputs, random) if _quick(outputs) else super().sample(outputs, random)

    def scores(self, outputs: Array, actions: Array) -> tuple[Scores, Scores]:
        """Return `log_prob` and `entropy`."""
        if not _quick(outputs):
            return super().scores(outputs, actions)
        chosen, grad_chosen, entropy, grad_entropy = compiled.scores(outputs, actions)
        return Scores(chosen, grad_chosen), Scores(entropy, grad_entropy)


def _quick(outputs: Array) -> bool:
    return isinstance(outputs, np.ndarray) and outputs.dtype == np.float32


def distribution_of(action_space: spaces.Space[Any]) -> Distribution:
    """Return the law over `action_space` that the outputs describe.

    :raises InputError: for a space without one
    """
    if isinstance(action_space, spaces.Discrete):
        law = CompiledCategorical if compiled.available() else Categorical
        return law(int(action_space.n))
    if isinstance(action_space, spaces.MultiDiscrete):
        return MultiCategorical([int(n) for n in action_space.nvec])
    if isinstance(action_space, spaces.MultiBinary):
        return Bernoulli(spaces.flatdim(action_space))
    if isinstance(action_space, spaces.Box):
        return Gaussian(spaces.flatdim(action_space))
    raise InputError("action_space", "no distribution over it", action_space, "Discrete, MultiDiscrete, ... or Box")
