"""Proportional prioritized draws: what surprised is drawn more often, and weighs less in return."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from sb3_course.config import parameters
from sb3_course.config.argument import Argument
from sb3_course.config.argument_types import Fraction, Positive
from sb3_course.config.errors import InputError
from sb3_course.replay.parts import Best, LentPriorities
from sb3_course.replay.sum_tree import SumTree

FIRST_PRIORITY = 1.0  # Schaul et al. 2016, Algorithm 1: p_1 = 1
# A large exponent must not round a small priority down to never.
SMALLEST_LEAF = float(np.finfo(np.float64).tiny)


parameters.add(
    Argument("beta", Fraction, "exponent of the importance weights at the start; it rises to 1", 0.4,
             "Schaul et al. 2016, table 3"),
    Argument("priority_eps", Positive, "added to every priority: an error of 0 is drawn again", 1e-6,
             "OpenAI Baselines"),
)  # fmt: skip


class ProportionalDraw:
    """Draws in proportion to priorities (Schaul et al. 2016, section 3.3 and appendix B.2.1).

    Transition i is drawn with probability ``P(i) = p_i^α / Σ_j p_j^α`` (Eq. 1), ``p_i = |δ_i| + ε``, one from each of
    B equal strata of the sum. Its update is weighted by ``w_i = (N·P(i))^−β / max_j w_j`` (section 3.4), with j over
    the batch and N the number of stored transitions. A new transition gets the largest priority seen, 1 at the
    start.

    :param capacity: the largest number of transitions
    :param alpha: the exponent α of the priorities, 0 for uniform replay; 0.6 in table 3 of the paper
    :param beta: the exponent β of the weights at the start, from 0.4 (table 3); it rises to 1 over training
    :param priority_eps: the ε, "a small positive constant" in the paper; 1e-6 as in OpenAI Baselines
    :raises InputError: for arguments outside these ranges
    """

    wants_priorities: ClassVar[bool] = True

    def __init__(self, capacity: int, alpha: float = 0.6, beta: float = 0.4, priority_eps: float = 1e-6) -> None:
        parameters.check({"alpha": alpha, "beta": beta, "priority_eps": priority_eps})
        self.alpha = alpha  # the leaves are p^α: fixed from here on
        self.beta0 = self.beta = beta
        self.priority_eps = priority_eps
        self.tree = SumTree(capacity)  # one leaf p^α a transition, 0 where none is drawn
        self.max_priority = FIRST_PRIORITY

    def connect(self, best: Best | None = None, beta0: float | None = None) -> None:
        """Compute with these functions, and weigh with this β at the start of training."""
        if best is not None:
            self.tree.connect(best)
        if beta0 is not None:
            self.beta0 = beta0

    def progress(self, remaining: float) -> None:
        """Let β rise linearly to 1 over training (section 3.4 of the paper)."""
        self.beta = 1 - (1 - self.beta0) * remaining

    def logs(self) -> dict[str, float]:
        """Return β."""
        return {"beta": self.beta}

    def reset(self) -> None:
        """Forget all transitions and their priorities."""
        self.tree.clear()
        self.max_priority = FIRST_PRIORITY

    def stored(self, first: int, count: int) -> None:
        """Give new transitions the largest priority seen."""
        self.tree.fill(first, first + count, self._newest_leaf())

    def include(self, indices: np.ndarray) -> None:
        """Give the transitions at flat `indices` (B,) the largest priority seen."""
        self.tree.set(indices, self._newest_leaf())

    def exclude(self, indices: np.ndarray) -> None:
        """Draw from the transitions at flat `indices` (B,) no longer."""
        self.tree.set(indices, 0.0)

    def _newest_leaf(self) -> float:
        return max(float(self.max_priority**self.alpha), SMALLEST_LEAF)

    def inherit(self, other: Any) -> None:
        """Take over the priorities of other draws from as many transitions, where they have any."""
        if not isinstance(other, ProportionalDraw) or other.alpha == 0:  # which left no trace of them
            return
        leaves = other.tree[np.arange(other.tree.capacity)]
        drawn = np.flatnonzero(leaves)
        self.tree.set(drawn, np.maximum(leaves[drawn] ** (self.alpha / other.alpha), SMALLEST_LEAF))
        self.max_priority = other.max_priority

    def draw(self, batch_size: int, rng: np.random.Generator, stored: int) -> np.ndarray:
        """Return one flat index from each of `batch_size` equal strata of the priorities' sum, (B,)."""
        return self.tree.find(self.numbers(batch_size, rng, stored) * self.tree.total)

    def numbers(self, batch_size: int, rng: np.random.Generator, stored: int) -> np.ndarray:
        """Return where in the priorities' sum a batch lies, as shares of it: one in each stratum, (B,)."""
        quantiles: np.ndarray = (np.arange(batch_size) + rng.random(batch_size)) / batch_size
        return quantiles

    def lend(self) -> LentPriorities:
        """Return the priorities as they lie in memory: they may be written to."""
        bounds = np.array([SMALLEST_LEAF, self.tree.largest, self.max_priority])
        return LentPriorities(*self.tree.lend(), self.alpha, self.beta, self.priority_eps, bounds)

    def take_back(self, lent: LentPriorities) -> None:
        """Take notice of the largest priority that was seen meanwhile."""
        self.max_priority = float(lent.bounds[2])

    def probabilities(self, indices: np.ndarray) -> np.ndarray:
        """Return ``P(i) = p_i^α / Σ_j p_j^α`` of the transitions at flat `indices`, (B,) -> (B,)."""
        leaves: np.ndarray = self.tree[indices]
        return leaves / self.tree.total

    def weights(self, indices: np.ndarray) -> np.ndarray:
        """Return the importance weights ``(N·P(i))^−β / max_j (N·P(j))^−β`` at flat `indices`, (B,) -> (B,)."""
        leaves = self.tree[indices]
        if len(leaves) == 0:
            return np.ones(0, dtype=np.float32)
        # N and the sum are the same in every entry and cancel; the largest weight is that of the smallest leaf.
        weights: np.ndarray = (leaves.min() / leaves) ** self.beta
        return weights.astype(np.float32)

    def update(self, indices: np.ndarray | None, priorities: np.ndarray, stored: int) -> None:
        """Give drawn transitions new priorities: ``p_i = priorities_i + ε``.

        :param indices: of the batch, (B,)
        :param priorities: ``|δ|``, or the KL divergence of a categorical distribution, without importance weights, (B,)
        :param stored: how many transitions there are
        :raises InputError: for NaN, negative or infinite priorities and for transitions that are not stored
        """
        priorities = np.asarray(priorities, dtype=np.float64)
        indices = np.asarray(indices)
        if priorities.shape != indices.shape:
            want = f"the shape {indices.shape}"
            raise InputError("priorities", "there must be one for each index", got=priorities.shape, want=want)
        if priorities.size == 0:
            return
        largest = float(priorities.max())
        if not (priorities.min() >= 0 and largest < np.inf):  # a comparison with NaN is false
            wrong = priorities[~((priorities >= 0) & (priorities < np.inf))]
            raise InputError("priorities", "not the size of an error", got=float(wrong[0]), want="finite numbers >= 0")
        if stored < self.tree.capacity and indices.max() >= stored:
            raise InputError("indices", "nothing is stored there", got=indices.max(), want=f"0 to {stored - 1}")
        leaves = np.maximum((priorities + self.priority_eps) ** self.alpha, SMALLEST_LEAF)
        self.tree.set(indices, leaves)
        self.max_priority = max(self.max_priority, largest + self.priority_eps)

    def get_state(self) -> dict[str, Any]:
        """Return the leaves of the tree and what else the draws depend on."""
        return {
            **self.tree.get_state(), "max_priority": self.max_priority, "alpha": self.alpha, "beta": self.beta,
        }  # fmt: skip

    def set_state(self, state: dict[str, Any], drawable: int) -> None:
        """Restore what `get_state` returned, into a draw of the same size and α."""
        if state.get("alpha") != self.alpha:
            got = state.get("alpha", "uniform replay")
            raise InputError("replay buffer", "the state has another alpha", got=got, want=repr(self.alpha))
        if (found := np.count_nonzero(state["leaves"])) != drawable:
            what = "the priorities are not those of the transitions"
            raise InputError("replay buffer", what, got=f"{found} priorities", want=f"{drawable}")
        self.tree.set_state(state)
        self.max_priority, self.beta = float(state["max_priority"]), float(state["beta"])
