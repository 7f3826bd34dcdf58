"""Prioritized replay: transitions that surprised are drawn more often, and weigh less in return."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from sb3_course.replay.buffers import ReplayBuffer
from sb3_course.replay.proportional import ProportionalDraw
from sb3_course.replay.sum_tree import SumTree


class PrioritizedReplayBuffer(ReplayBuffer):
    """Proportional prioritized replay (Schaul et al. 2016): `ReplayBuffer` with the draws of `ProportionalDraw`.

    A window of n steps has the priority of its first transition.

    SB3's own algorithms can hold this buffer (``replay_buffer_class``), but they neither read weights nor call
    `update`: every transition keeps the priority it came with, so that their draws are uniform, by strata.

    :param alpha: the exponent α of the priorities, 0 for uniform replay; 0.6 in table 3 of the paper
    :param beta: the exponent β of the weights at the start, from 0.4 (table 3); `progress` moves it to 1
    :param priority_eps: the ε, "a small positive constant" in the paper; 1e-6 as in OpenAI Baselines
    :raises InputError: for arguments outside their ranges, and for those that `ReplayBuffer` refuses
    """

    _draw: ProportionalDraw

    def __init__(
        self,
        buffer_size: int,
        *args: Any,
        alpha: float = 0.6,
        beta: float = 0.4,
        priority_eps: float = 1e-6,
        **kwargs: Any,
    ) -> None:
        draw = partial(ProportionalDraw, alpha=alpha, beta=beta, priority_eps=priority_eps)
        super().__init__(buffer_size, *args, draw=draw, **kwargs)

    @property
    def alpha(self) -> float:
        """The exponent α of the priorities."""
        return self._draw.alpha

    @property
    def beta(self) -> float:
        """The exponent β of the weights, as it is now."""
        return self._draw.beta

    @beta.setter
    def beta(self, beta: float) -> None:
        self._draw.beta = beta

    @property
    def priority_eps(self) -> float:
        """What is added to every priority."""
        return self._draw.priority_eps

    @property
    def max_priority(self) -> float:
        """The largest priority seen, which new transitions get."""
        return self._draw.max_priority

    @property
    def tree(self) -> SumTree:
        """The sum tree of the powers ``p^α``, by flat index."""
        return self._draw.tree

    def probabilities(self, indices: np.ndarray) -> np.ndarray:
        """Return ``P(i) = p_i^α / Σ_j p_j^α`` of the transitions at flat `indices`, (B,) -> (B,)."""
        return self._draw.probabilities(indices)
