"""Products of weights, activations and gradients, by SciPy's BLAS, which Numba calls, or by a loop over few rows."""

from __future__ import annotations

import numpy as np

from sb3_course.backends.compiled.jit import Array, inner

#: OpenBLAS has kernels for small matrices, a tenth faster, which it uses for up to `BLOCK` multiplications. Larger
#: products go by blocks of rows, unless both matrices are large as well: with those it makes no odds.
SMALL, BLOCK = 20_000, 1_000_000


@inner
def dense(x: Array, weight: Array, y: Array) -> None:
    """``y = x Wᵀ`` for few rows, (B, p) -> (B, q)."""
    q, p = weight.shape
    for i in range(x.shape[0]):
        for j in range(q):
            total = np.float32(0)
            for k in range(p):
                total += weight[j, k] * x[i, k]
            y[i, j] = total


@inner
def rows_of_a_block(m: int, k: int, n: int) -> int:
    """Return how many of the m rows of an (m, k) by (k, n) product to compute at a time: see `BLOCK`."""
    n_blocks = 1
    if min(m * k, m * n) <= SMALL:
        n_blocks = max((m * k * n + BLOCK - 1) // BLOCK, 1)
    n_rows: int = max((m + n_blocks - 1) // n_blocks, 1)
    return n_rows


@inner
def product(left: Array, right: Array, total: Array) -> None:
    """``C = A B`` for contiguous matrices, (m, k) and (k, n) -> (m, n), by blocks of A's rows."""
    m, k = left.shape
    n_rows = rows_of_a_block(m, k, right.shape[1])
    for first in range(0, m, n_rows):
        np.dot(left[first : first + n_rows], right, total[first : first + n_rows])


@inner
def product_down(left: Array, right: Array, total: Array) -> None:
    """``C = Aᵀ B`` for contiguous matrices, (k, m) and (k, n) -> (m, n)."""
    k, m = left.shape
    if rows_of_a_block(m, k, right.shape[1]) >= m:
        np.dot(left.T, right, total)
    else:  # a block of columns is copied anyway
        product(transposed(left, m), right, total)


@inner
def product_across(left: Array, right: Array, total: Array) -> None:
    """``C = A Bᵀ`` for an A of few rows, (m, k) and (n, k or more) -> (m, n); what B has beyond k is left out."""
    for i in range(left.shape[0]):
        for j in range(right.shape[0]):
            entry = np.float32(0)
            for k in range(left.shape[1]):
                entry += left[i, k] * right[j, k]
            total[i, j] = entry


@inner
def transposed(matrix: Array, n_columns: int) -> Array:
    """Return the first columns as rows, (m, n) -> (n', m), eight lines at a time: three times as fast as one by one."""
    m = matrix.shape[0]
    total = np.empty((n_columns, m), np.float32)
    whole = m // 8 * 8
    for first in range(0, whole, 8):
        for k in range(n_columns):
            for j in range(8):
                total[k, first + j] = matrix[first + j, k]
    for j in range(whole, m):
        for k in range(n_columns):
            total[k, j] = matrix[j, k]
    return total
