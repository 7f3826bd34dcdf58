"""Loops that Numba compiles: what NumPy says in ten passes they do in one. `sb3_course.backends.twins` lists them."""

# All below goes once replay asks its backend for twins.
from __future__ import annotations

from typing import Any

import numpy as np

from sb3_course.backends.twins import in_use

available = in_use


def tree_parents(children: np.ndarray, parents: np.ndarray, nodes: np.ndarray, fan_out: int) -> None:
    """Recompute parents in NumPy; there is no twin."""
    nodes //= fan_out
    parents[nodes] = np.add.reduce(children.reshape(-1, fan_out).take(nodes, axis=0), axis=1)


def __getattr__(name: str) -> Any:
    """Return a loop of replay, which does not ask for its twins yet."""
    if name in ("tree_children", "tree_roots", "windows"):
        import sb3_course.backends.compiled.replay as replay

        loop = globals()[name] = getattr(replay, name)
        return loop
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
