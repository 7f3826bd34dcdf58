"""What a sample of factorised noise becomes."""

from __future__ import annotations

import numpy as np

from sb3_course.compiled.jit import Array, exact


@exact
def roots(drawn: Array, values: Array) -> None:
    """Write ``f(x) = sign(x)·√|x|`` in float32, (n,), to the last bit as NumPy (Fortunato et al. 2018, section 3.1)."""
    for i in range(values.size):
        x = np.float32(drawn[i])
        values[i] = np.copysign(np.sqrt(np.abs(x)), x)
