"""Loops that Numba compiles, where the extra `fast` has installed it: what NumPy says in ten passes they do in one.

Each stands in for a function in NumPy of the same formula, which remains what is read, taught and used without Numba;
the tests hold them against each other. The first use compiles, which takes seconds; the result is kept on disk.
``SB3_COURSE_COMPILED=0`` leaves them out.
"""

from __future__ import annotations

import importlib.util
import os
from typing import Any

#: The activations that compiled chains know, by their torch names.
ACTIVATIONS = ("Identity", "ReLU", "Tanh", "Sigmoid", "LeakyReLU", "ELU", "Softplus")


def available() -> bool:
    """Return whether compiled loops are to be used."""
    installed = all(importlib.util.find_spec(name) is not None for name in ("numba", "scipy"))
    return installed and os.environ.get("SB3_COURSE_COMPILED", "1") != "0"


def __getattr__(name: str) -> Any:
    """Return a loop; Numba is imported when the first is asked for."""
    if not name.startswith("_"):
        try:
            import sb3_course.backends.compiled.loops as loops
        except ModuleNotFoundError as error:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r} without Numba") from error
        if name in loops.__all__:
            loop = globals()[name] = getattr(loops, name)
            return loop
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
