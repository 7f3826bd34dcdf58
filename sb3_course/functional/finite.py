"""Whether all numbers of an array are finite, asked at every step."""

from __future__ import annotations

from math import isfinite

import numpy as np

#: Up to here Python looks at the numbers one by one in less time than NumPy needs to begin.
_FEW = 32


def all_finite(values: np.ndarray) -> bool:
    """Return whether an array holds neither NaN nor infinity; one that cannot hold them is not looked at."""
    if values.dtype.kind not in "fcO":
        return True
    if values.size <= _FEW and values.dtype.kind == "f":
        return all(map(isfinite, values.ravel().tolist()))
    return bool(np.isfinite(values.astype(np.float64) if values.dtype.kind == "O" else values).all())
