"""A replay buffer lent out: as it lies in memory, for a backend that draws, reads and weighs there by itself."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from sb3_course.config.overridden import as_written
from sb3_course.replay.buffers import ReplayBuffer
from sb3_course.replay.parts import LentPriorities
from sb3_course.replay.proportional import ProportionalDraw
from sb3_course.replay.rows import Rows
from sb3_course.replay.uniform import UniformDraw

#: What makes a batch and learns of its priorities: in a subclass, or a buffer, that has its own, a batch is another.
METHODS = frozenset((
    "sample_batch", "gather", "draw", "weights", "update", "size", "_gather", "_window", "_newest", "_powers", "_batch",
    "_normalize_obs", "_normalize_reward", "wants_priorities",
))  # fmt: skip

#: And of what it draws with.
DRAWS = frozenset(("draw", "numbers", "weights", "update"))
TAKES = frozenset(("take",))


class LentBuffer(NamedTuple):
    """A buffer of rows as it lies in memory; it must not be added to before it is given back."""

    rows: np.ndarray  # records, by flat index: see `replay.rows.row_dtype`
    n_batch: int  # B, transitions of a draw
    n_envs: int
    newest: int  # the flat index of the newest slot's first row
    powers: np.ndarray  # γ^0 … γ^n, (n + 1,)
    stored: int  # transitions, the flat indices below this number
    numbers: Callable[[], np.ndarray]  # of one draw: flat indices, or where in the priorities' sum they lie, (B,)
    rng: np.random.Generator  # who draws them; indices are its `integers` below `stored`
    priorities: LentPriorities | None  # None: all weigh the same
    generators: tuple[np.random.Generator, ...]  # of all numbers, put back where fewer of them are used


def lend(buffer: Any, batch_size: int, rng: np.random.Generator) -> LentBuffer | None:
    """Return a buffer as it lies in memory; None where a batch is not just rows of it, drawn in one of two ways.

    :param rng: what else the steps draw from
    """
    if not (isinstance(buffer, ReplayBuffer) and as_written(buffer, ReplayBuffer, METHODS)):
        return None
    generators = (rng,) if rng is buffer.rng else (rng, buffer.rng)
    storage, draw, stored = buffer._storage, buffer._draw, buffer.size() * buffer.n_envs
    if type(storage) is not Rows or stored == 0 or type(batch_size) is not int or batch_size < 1:
        return None
    if type(draw) is ProportionalDraw:
        priorities: LentPriorities | None = draw.lend()
    elif type(draw) is UniformDraw:
        priorities = None
    else:
        return None
    if not (as_written(draw, type(draw), DRAWS) and as_written(storage, Rows, TAKES)):
        return None
    numbers, powers = partial(draw.numbers, batch_size, buffer.rng, stored), buffer._powers()
    return LentBuffer(
        storage.flat, batch_size, buffer.n_envs, buffer._newest(), powers, stored, numbers, buffer.rng, priorities,
        generators,
    )  # fmt: skip


def give_back(buffer: ReplayBuffer, lent: LentBuffer) -> None:
    """Let a buffer take notice of what was done in its memory."""
    if lent.priorities is not None:
        draw: Any = buffer._draw
        draw.take_back(lent.priorities)
