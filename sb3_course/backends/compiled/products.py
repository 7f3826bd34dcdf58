"""Products of observations, weights and gradients, by SciPy's BLAS, which Numba calls, or by a loop over few rows."""

from __future__ import annotations

import numpy as np

from sb3_course.backends.compiled.jit import Array, jit

#: A weight of up to so many entries is transposed once it has changed: OpenBLAS is quicker then, as long as rows times
#: entries are no more than `BLOCK`, where it stops using its kernels for small matrices. With others it makes no odds.
SMALL, BLOCK = 20_000, 1_000_000


@jit
def dense(x: Array, weight: Array, y: Array) -> None:
    """``y = x Wᵀ`` for few rows, (B, p) -> (B, q)."""
    q, p = weight.shape
    for i in range(x.shape[0]):
        for j in range(q):
            total = np.float32(0)
            for k in range(p):
                total += weight[j, k] * x[i, k]
            y[i, j] = total


@jit
def rows_of_a_block(n_batch: int, size: int) -> int:
    """Return how many of the rows to multiply at a time by a matrix of `size` entries: see `BLOCK`."""
    n_blocks = max((n_batch * size + BLOCK - 1) // BLOCK, 1) if size <= SMALL else 1
    return max((n_batch + n_blocks - 1) // n_blocks, 1)


@jit
def product(x: Array, matrix: Array, y: Array) -> None:
    """``y = x M`` for a contiguous M, (B, p) and (p, q) -> (B, q), by blocks of rows."""
    n_batch = x.shape[0]
    n_rows = rows_of_a_block(n_batch, matrix.size)
    for first in range(0, n_batch, n_rows):
        np.dot(x[first : first + n_rows], matrix, y[first : first + n_rows])


@jit
def transpose(weight: Array, transposed: Array) -> None:
    """Write Wᵀ, (q, p) -> (p, q), eight lines at a time, in a third of the time of one after the other."""
    q, p = weight.shape
    whole = q // 8 * 8
    for first in range(0, whole, 8):
        for k in range(p):
            for j in range(8):
                transposed[k, first + j] = weight[first + j, k]
    for j in range(whole, q):
        for k in range(p):
            transposed[k, j] = weight[j, k]


@jit
def product_over_rows(grad: Array, x: Array, total: Array) -> None:
    """``∂W = gᵀ x``, (B, q) and (B, p) -> (q, p), the sum over blocks of rows."""
    n_batch = x.shape[0]
    n_rows = rows_of_a_block(n_batch, total.size)
    np.dot(grad[:n_rows].T, x[:n_rows], total)
    more = np.empty(total.shape, np.float32)
    for first in range(n_rows, n_batch, n_rows):
        np.dot(grad[first : first + n_rows].T, x[first : first + n_rows], more)
        for i in range(total.shape[0]):
            for j in range(total.shape[1]):
                total[i, j] += more[i, j]
