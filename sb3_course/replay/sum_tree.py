"""A sum tree: numbers kept so that one is found in proportion to its size, and changed, without adding up all."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np

from sb3_course.config.errors import InputError
from sb3_course.replay.parts import Best, as_written

# Children of a node. A NumPy call costs about as much on 32 numbers as on two: few wide levels beat many narrow ones.
FAN_OUT = 32
# The root may be far wider: its prefix sums are one call, and each draw then looks into them by bisection.
WIDEST_ROOT = 4096


class SumTree:
    """Leaves ``v_i ≥ 0``, of which one is found with probability ``v_i / Σ_j v_j`` (Schaul et al. 2016, B.2.1).

    A parent is always recomputed from its children, in float64. Adding differences to it, as binary trees commonly
    do, leaves the rounding errors of large values behind when the values become small.

    :param capacity: the number of leaves, all 0 at first
    :raises InputError: for a capacity below 1
    """

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise InputError("capacity", "a tree has at least one leaf", got=capacity, want="an integer >= 1")
        self.capacity = int(capacity)
        # Flat arrays from the leaves to the root; all but the root are padded with zeros to whole blocks of children.
        lengths = [_padded(self.capacity)]
        while len(lengths) == 1 or lengths[-1] > WIDEST_ROOT:
            blocks = lengths[-1] // FAN_OUT
            lengths.append(blocks if blocks <= WIDEST_ROOT else _padded(blocks))
        self._memory, self._starts = np.zeros(sum(lengths)), np.cumsum([0, *lengths], dtype=np.int64)
        self._levels = [self._memory[start:end] for start, end in pairwise(self._starts.tolist())]
        self.largest = np.finfo(np.float64).max / (2 * len(self._levels[0]))  # a sum of such leaves is finite
        self.connect(as_written)
        self._prefixes: np.ndarray | None = None  # 0 and the prefix sums of the root, once they are asked for

    def connect(self, best: Best) -> None:
        """Compute with the best twins of `tree_parents`, `tree_children` and `tree_roots`."""
        self._parents, self._children, self._roots = best(tree_parents), best(tree_children), best(tree_roots)

    def lend(self) -> tuple[np.ndarray, np.ndarray]:
        """Return all levels one after the other (L,), and where each begins and the last ends: they may be written to.

        Whoever changes a leaf recomputes its parents, as `set` does.
        """
        self._prefixes = None
        return self._memory, self._starts

    @property
    def total(self) -> float:
        """The sum of all leaves."""
        return float(self._root_prefixes()[-1])

    def __getitem__(self, indices: Any) -> Any:
        """Return the leaves at `indices`: an array of their shape, or a number for one index."""
        return self._levels[0].take(self._checked_indices(indices))

    def set(self, indices: Any, values: Any) -> None:
        """Give the leaves at `indices` (B,) new values; where an index is repeated, its last value stays.

        :param indices: flat indices, 0 to capacity − 1
        :param values: finite numbers ≥ 0, (B,), or one for all
        :raises InputError: for any other index or value; nothing has changed then
        """
        nodes = self._checked_indices(indices).reshape(-1)
        values = self._checked_values(values)
        if values.size not in (1, nodes.size):
            raise InputError("values", "there must be one for each index", got=values.size, want=str(nodes.size))
        self._levels[0][nodes] = values.reshape(-1)
        self._prefixes = None
        nodes = nodes.copy()
        for children, parents in pairwise(self._levels):
            self._parents(children, parents, nodes, FAN_OUT)

    def fill(self, start: int, stop: int, value: float) -> None:
        """Give the leaves from `start` to `stop` − 1 the same value; for few of them it is faster than `set`.

        :raises InputError: for leaves outside of the tree, and for a value that `set` refuses
        """
        if not 0 <= start < stop <= self.capacity:
            want = f"0 <= start < stop <= {self.capacity}"
            raise InputError("indices", "outside of the tree", got=(start, stop), want=want)
        if not 0 <= value <= self.largest:
            self._checked_values(value)
        self._levels[0][start:stop] = value
        self._prefixes = None
        for children, parents in pairwise(self._levels):
            start, stop = start // FAN_OUT, (stop - 1) // FAN_OUT + 1
            blocks = children[start * FAN_OUT : stop * FAN_OUT].reshape(-1, FAN_OUT)
            np.add.reduce(blocks, axis=1, out=parents[start:stop])

    def clear(self) -> None:
        """Give every leaf the value 0."""
        for level in self._levels:
            level.fill(0)
        self._prefixes = None

    def find(self, targets: np.ndarray) -> np.ndarray:
        """Return for each target the leaf i with ``Σ_{j<i} v_j ≤ target < Σ_{j≤i} v_j``, (B,).

        An empty leaf is never returned, however the sums were rounded.

        :param targets: from 0 to `total`, (B,); `total` itself, which rounding may yield, is taken for the number below
        :raises InputError: for other targets, and when all leaves are 0
        """
        prefixes = self._root_prefixes()
        total = float(prefixes[-1])
        if total == 0:
            raise InputError("sum tree", "there is nothing to draw from", got="a total of 0", want="a leaf above 0")
        targets = np.array(targets, dtype=np.float64)
        nodes, before = np.empty(targets.size, np.intp), np.empty(targets.size)  # the sum left of each node, (B,)
        if not self._roots(prefixes, targets, nodes, before):
            wrong = targets[~((targets >= 0) & (targets <= total))]
            raise InputError("targets", "outside of the tree's sum", got=float(wrong[0]), want=f"0 to {total}")
        for children in self._levels[-2::-1]:
            self._children(children, nodes, targets, before, FAN_OUT)
        return nodes

    def get_state(self) -> dict[str, Any]:
        """Return the leaves; every other level follows from them."""
        return {"leaves": self._levels[0][: self.capacity].copy()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore what `get_state` returned, into a tree of the same capacity."""
        leaves = np.asarray(state["leaves"])
        if leaves.shape != (self.capacity,):
            raise InputError("sum tree", "the state is of another tree", got=leaves.shape, want=f"({self.capacity},)")
        self.set(np.arange(self.capacity), leaves)

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the leaves alone."""
        return {"capacity": self.capacity, **self.get_state()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Recompute the levels from the leaves."""
        SumTree.__init__(self, state["capacity"])
        self.set_state(state)

    def _root_prefixes(self) -> np.ndarray:
        """Return 0 and the prefix sums of the root's children, (children + 1,)."""
        prefixes = self._prefixes
        if prefixes is None:
            root = self._levels[-1]
            prefixes = self._prefixes = np.zeros(len(root) + 1)
            np.add.accumulate(root, out=prefixes[1:])
        return prefixes

    def _checked_indices(self, indices: Any) -> np.ndarray:
        indices = np.asarray(indices)
        if indices.size == 0:
            indices = indices.astype(np.intp)
        if indices.dtype.kind not in "iu":
            raise InputError("indices", "not integers", got=indices.dtype, want="an integer array")
        nodes: np.ndarray = indices.astype(np.intp, copy=False)
        if (
            nodes.size and nodes.view(np.uintp).max() >= self.capacity
        ):  # seen without its sign, a negative index is a large one
            wrong = indices[(indices < 0) | (indices >= self.capacity)].reshape(-1)[0]
            raise InputError("indices", "outside of the tree", got=int(wrong), want=f"0 to {self.capacity - 1}")
        return nodes

    def _checked_values(self, values: Any) -> np.ndarray:
        leaves: np.ndarray = np.asarray(values, dtype=np.float64)
        # A comparison with NaN is false.
        if leaves.size and not (leaves.min() >= 0 and leaves.max() <= self.largest):
            wrong = leaves[~((leaves >= 0) & (leaves <= self.largest))].reshape(-1)[0]
            want = f"finite numbers from 0 to {self.largest:.0e}"
            raise InputError("values", "a leaf cannot hold this", got=float(wrong), want=want)
        return leaves


def _padded(length: int) -> int:
    """Return the next multiple of the fan-out."""
    return -(-length // FAN_OUT) * FAN_OUT


def tree_parents(children: np.ndarray, parents: np.ndarray, nodes: np.ndarray, fan_out: int) -> None:
    """Recompute the parents of the children at `nodes` (B,), which become the parents' indices."""
    nodes //= fan_out
    blocks = children.reshape(-1, fan_out)
    if len(nodes) < len(blocks):
        # A parent named twice is computed twice, to the same number: cheaper than finding the unique ones.
        parents[nodes] = np.add.reduce(blocks.take(nodes, axis=0), axis=1)
    else:
        parents[: len(blocks)] = np.add.reduce(blocks, axis=1)


def tree_children(
    children: np.ndarray, nodes: np.ndarray, targets: np.ndarray, before: np.ndarray, fan_out: int
) -> None:
    """Go one level down: from `nodes` to the children in which `targets` lie, in place, (B,) each.

    :param before: what is taken off a target: the sum left of its node; then that left of its child, in its block
    """
    targets -= before
    sums = np.zeros((len(nodes), fan_out + 1))  # (B, 1 + children): 0 and the prefix sums of the children
    np.add.accumulate(children.reshape(-1, fan_out).take(nodes, axis=0), axis=1, out=sums[:, 1:])
    np.minimum(targets, np.nextafter(sums[:, -1], 0), out=targets)
    child = (sums > targets[:, None]).argmax(axis=1) - 1
    nodes *= fan_out
    nodes += child
    before[:] = sums[np.arange(len(nodes)), child]


def tree_roots(prefixes: np.ndarray, targets: np.ndarray, nodes: np.ndarray, before: np.ndarray) -> bool:
    """Begin `SumTree.find`: the root's child for each target, (B,), and the sum left of it; False for a wrong target.

    :param prefixes: 0 and the prefix sums of the root's children
    :param targets: made less than the total, in place
    """
    total = float(prefixes[-1])
    if targets.size and not (targets.min() >= 0 and targets.max() <= total):
        return False
    # At every level: target < sum, so that some prefix is larger, and the first larger one rises above the one
    # before it: that child is not empty. The minimum holds up the first part against rounding.
    np.minimum(targets, math.nextafter(total, 0.0), out=targets)
    np.subtract(prefixes.searchsorted(targets, side="right"), 1, out=nodes)
    prefixes.take(nodes, out=before)
    return True
