"""Whole Q networks that are compiled: what their passes are told, and the greedy choice in one call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sb3_course.backends.compiled import network_passes as passes
from sb3_course.backends.compiled.chain import P
from sb3_course.backends.compiled.replay_steps import VALUED, greedy_actions
from sb3_course.backends.numpy_chain import CompiledChain, few_of, tables_of, width_of
from sb3_course.backends.numpy_heads import NumpyDueling, NumpyStateAction
from sb3_course.backends.numpy_layers import Array, Chain
from sb3_course.backends.numpy_noise import Draw
from sb3_course.functional.td import Formula

NOTHING = np.empty(0, np.float32)
_NO_DRAW = np.empty(0)


class WholeNetwork:
    """What the compiled passes are told of a network.

    :param head: `NumpyQNetwork`'s
    :param parts: its chains, each compiled unless it is empty
    :param n_actions: A
    """

    def __init__(self, head: Any, parts: Sequence[Any], n_actions: int) -> None:
        rows = [part.rows if part.layers else [] for part in parts]
        rows = [[]] * (passes.N_CHAINS - len(rows)) + rows  # the last one is there in every head
        self.numbers, kind = np.zeros(passes.N_NUMBERS, np.int64), passes.PLAIN
        if isinstance(head, NumpyDueling):
            kind = passes.DUELING
        elif isinstance(head, NumpyStateAction):
            kind = passes.STATE_ACTION
        widths = list(map(width_of, rows))
        self.numbers[[passes.HEAD, passes.ACTIONS]] = kind, n_actions
        self.numbers[passes.ENDS : passes.WIDTHS] = np.cumsum([0, *map(len, rows)])
        self.numbers[passes.WIDTHS :] = widths
        every = [row for each in rows for row in each]
        self.table, self.shapes, self.norms, self.n_scratch = tables_of(every)
        #: numbers of an observation; rows of a pass and outputs that it keeps, for each observation
        self.n_inputs = int(self.table[0, P]) - (n_actions if kind == passes.STATE_ACTION else 0)
        self.n_rows = n_actions if kind == passes.STATE_ACTION else 1
        self._few = few_of(self.table)
        self.n_kept = self.n_rows * sum(widths)
        self.factor = float(getattr(head, "factor", 1.0))

    def says_the_same_as(self, other: WholeNetwork | None) -> bool:
        """Tell whether another network has the same layers at the same places."""
        names = "numbers", "table", "shapes", "norms"
        return other is not None and all(np.array_equal(getattr(self, name), getattr(other, name)) for name in names)

    def serves(self, formula: Formula, x: Any, noise: bool) -> bool:
        """Tell whether `greedy` knows the estimate, observations lie as the passes take them, and so does the noise."""
        plain = type(x) is np.ndarray and x.dtype == np.float32 and x.flags.carray and x.shape[1:] == (self.n_inputs,)
        return noise and plain and formula.name in VALUED

    def greedy(self, formula: Formula, x: Array, values: Array, noise: Array, draw: Draw | None) -> Array:
        """Return the greedy actions, (B, F) -> (B,).

        :param values: the parameters
        :param noise: the samples, of which fresh ones are drawn first where there is a `draw`
        """
        drawn = _NO_DRAW if draw is None else drawn_by(draw, len(noise))
        outputs = None if len(x) * self.n_rows <= self._few else NOTHING
        actions: Array = greedy_actions(
            x, self.numbers, self.table, self.shapes, self.norms, values, noise, outputs, drawn, formula.support
        )
        return actions

    def updates(self, *asked: Any) -> Any:
        """Return what takes updates of this network; see `sb3_course.backends.numpy_updates`."""
        from sb3_course.backends.numpy_updates import ReplayUpdates  # which knows this module

        return ReplayUpdates(*asked)


def drawn_by(draw: Draw, size: int) -> Array:
    """Return so many numbers; compiled loops would read on beyond fewer."""
    drawn = np.asarray(draw(size), np.float64)
    if drawn.shape != (size,):
        raise ValueError(f"the generator draws {drawn.shape} numbers, which cannot be broadcast to ({size},)")
    return drawn


def whole_network(head: Any, parts: Sequence[Chain], n_actions: int) -> WholeNetwork | None:
    """Return what is told of a network whose chains are compiled, None for others."""
    if not all(isinstance(part, CompiledChain) for part in parts if part.layers):
        return None
    return WholeNetwork(head, parts, n_actions)
