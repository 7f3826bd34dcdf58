"""Prioritized replay: transitions that surprised are drawn more often, and weigh less in return."""

from __future__ import annotations

from typing import Any

import numpy as np

from sb3_course.config.text import InputError
from sb3_course.replay.buffers import ReplayBuffer
from sb3_course.replay.sum_tree import SumTree

FIRST_PRIORITY = 1.0  # Schaul et al. 2016, Algorithm 1: p_1 = 1
# A large exponent must not round a small priority down to never.
SMALLEST_LEAF = np.finfo(np.float64).tiny


class PrioritizedReplayBuffer(ReplayBuffer):
    """Proportional prioritized replay (Schaul et al. 2016, section 3.3 and appendix B.2.1).

    Transition i is drawn with probability ``P(i) = p_i^α / Σ_j p_j^α`` (Eq. 1), ``p_i = |δ_i| + ε``, one from each of
    B equal strata of the sum. Its update is weighted by ``w_i = (N·P(i))^−β / max_j w_j`` (section 3.4), with j over
    the batch and N the number of stored transitions. A new transition gets the largest priority seen, 1 at the
    start. A window of n steps has the priority of its first transition.

    SB3's own algorithms can hold this buffer (``replay_buffer_class``), but they neither read weights nor call
    `update`: every transition keeps the priority it came with, so that their draws are uniform, by strata.

    :param alpha: the exponent α of the priorities, 0 for uniform replay; 0.6 in table 3 of the paper
    :param beta: the exponent β of the weights, from 0.4 (table 3) to 1; whoever trains moves the attribute
    :param priority_eps: the ε, "a small positive constant" in the paper; 1e-6 as in OpenAI Baselines
    :raises InputError: for arguments outside these ranges, and for those that `ReplayBuffer` refuses
    """

    wants_priorities = True

    def __init__(
        self,
        buffer_size: int,
        *args: Any,
        alpha: float = 0.6,
        beta: float = 0.4,
        priority_eps: float = 1e-6,
        **kwargs: Any,
    ) -> None:
        super().__init__(buffer_size, *args, **kwargs)
        if not 0 <= alpha < np.inf:
            raise InputError("alpha", "not an exponent of priorities", got=alpha, want="a finite number >= 0")
        if not 0 <= beta <= 1:
            raise InputError("beta", "not an exponent of importance weights", got=beta, want="a number from 0 to 1")
        if not 0 < priority_eps < np.inf:
            what = "without it an error of 0 is never drawn again"
            raise InputError("priority_eps", what, got=priority_eps, want="a finite number > 0")
        self.alpha = alpha  # the leaves are p^α: fixed from here on
        self.beta = beta
        self.priority_eps = priority_eps
        self._forget_priorities()

    def _forget_priorities(self) -> None:
        self.tree = SumTree(self.buffer_size * self.n_envs)  # one leaf p^α a transition, 0 where none is stored
        self.max_priority = FIRST_PRIORITY

    def reset(self) -> None:
        """Empty the buffer."""
        super().reset()
        self._forget_priorities()

    def add(self, *args: Any, **kwargs: Any) -> None:
        """Store one transition of every env in the next slot, with the largest priority seen."""
        first = self.pos * self.n_envs
        super().add(*args, **kwargs)
        self.tree.fill(first, first + self.n_envs, float(self._leaves(self.max_priority)))

    def _leaves(self, priorities: Any) -> Any:
        """Return ``p^α``, the one place where α is applied."""
        return np.maximum(priorities**self.alpha, SMALLEST_LEAF)

    def draw(self, batch_size: int) -> np.ndarray:
        """Draw one flat index from each of `batch_size` equal strata of the priorities' sum, (B,)."""
        quantiles = (np.arange(batch_size) + self.rng.random(batch_size)) / batch_size
        return self.tree.find(quantiles * self.tree.total)

    def probabilities(self, indices: np.ndarray) -> np.ndarray:
        """Return ``P(i) = p_i^α / Σ_j p_j^α`` of the transitions at flat `indices`, (B,)."""
        leaves: np.ndarray = self.tree[indices]
        return leaves / self.tree.total

    def weights(self, indices: np.ndarray) -> np.ndarray:
        """Return the importance weights ``(N·P(i))^−β / max_j (N·P(j))^−β`` of a batch, (B,)."""
        leaves = self.tree[indices]
        if len(leaves) == 0:
            return np.ones(0, dtype=np.float32)
        # N and the sum are the same in every entry and cancel; the largest weight is that of the smallest leaf.
        weights: np.ndarray = (leaves.min() / leaves) ** self.beta
        return weights.astype(np.float32)

    def update(self, indices: np.ndarray | None, priorities: np.ndarray) -> None:
        """Give drawn transitions new priorities: ``p_i = priorities_i + ε``.

        :param indices: the `indices` of the batch, (B,)
        :param priorities: |δ|, or the KL divergence of a categorical law, without importance weights, (B,)
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
        stored = self.size() * self.n_envs
        if not self.full and indices.max() >= stored:
            raise InputError("indices", "nothing is stored there", got=indices.max(), want=f"0 to {stored - 1}")
        self.tree.set(indices, self._leaves(priorities + self.priority_eps))
        self.max_priority = max(self.max_priority, largest + self.priority_eps)

    def get_state(self) -> dict[str, Any]:
        """Return the parent's state, the leaves of the tree and what else the draws depend on."""
        own = {"max_priority": self.max_priority, "alpha": self.alpha, "beta": self.beta}
        return {**super().get_state(), **self.tree.get_state(), **own}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore what `get_state` returned, into a buffer of the same spaces, size and α."""
        if state.get("alpha") != self.alpha:
            got = state.get("alpha", "uniform replay")
            raise InputError("replay buffer", "the state has another alpha", got=got, want=repr(self.alpha))
        tree = SumTree(self.tree.capacity)
        tree.set_state(state)
        if np.count_nonzero(state["leaves"]) != state["rows"].size:
            what = "the priorities are not those of the transitions"
            got = f"{np.count_nonzero(state['leaves'])} priorities"
            raise InputError("replay buffer", what, got=got, want=f"{state['rows'].size}")
        super().set_state(state)
        self.tree, self.max_priority, self.beta = tree, float(state["max_priority"]), float(state["beta"])
