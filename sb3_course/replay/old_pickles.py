"""Replay buffers that version 0.1 pickled, when storage and draw were attributes of the buffer itself."""

from __future__ import annotations

from typing import Any

from sb3_course.replay.parts import Draw
from sb3_course.replay.proportional import ProportionalDraw
from sb3_course.replay.rows import Rows
from sb3_course.replay.uniform import UniformDraw


def is_old(state: dict[str, Any]) -> bool:
    """Return whether the attributes are those of version 0.1."""
    return "_rows" in state


def upgraded(state: dict[str, Any]) -> dict[str, Any]:
    """Return a buffer's attributes of today from those of version 0.1."""
    state = dict(state)
    slots, n_envs = state["buffer_size"], state["n_envs"]
    state["_storage"] = Rows.around(state.pop("_rows").reshape(slots, n_envs))
    state["_draw"] = _prioritized(state) if "tree" in state else UniformDraw(slots * n_envs)
    return state


def _prioritized(state: dict[str, Any]) -> Draw:
    tree = state.pop("tree")
    arguments = {name: state.pop(name) for name in ("alpha", "beta", "priority_eps")}
    draw = ProportionalDraw(tree.capacity, **arguments)
    draw.tree, draw.max_priority = tree, state.pop("max_priority")
    return draw
