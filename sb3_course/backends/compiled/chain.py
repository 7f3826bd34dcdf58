"""Chains of linear and noisy layers with their activations, products included: one call forwards and one backwards.

A chain is a table, one row a layer, of places in the flat arrays in which the network lies anyway. The products are
those of SciPy's BLAS, which Numba calls.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sb3_course.backends.compiled.jit import Array, jit
from sb3_course.backends.compiled.noise import noisy_bias, noisy_dense, noisy_gradient, noisy_weight

#: The columns of a table: p inputs, q outputs, the places of weights, biases, their σ and the noise (−1: there are
#: none), the activation, and the place in the scratch memory.
P, Q, WEIGHT, BIAS, WEIGHT_SIGMA, BIAS_SIGMA, NOISE, KIND, SCRATCH = range(9)
#: `ACTIVATIONS`
IDENTITY, RELU, TANH, SIGMOID, LEAKY_RELU, ELU, SOFTPLUS = range(7)
#: Up to so many rows a loop is faster than a product: with a plain weight, and with one that the noise is in.
FEW, FEW_NOISY = 2, 8
#: A weight of up to so many entries is transposed once it has changed: OpenBLAS is quicker then, as long as rows times
#: entries are no more than `BLOCK`, where it stops using its kernels for small matrices. With others it makes no odds.
SMALL, BLOCK = 20_000, 1_000_000


@jit
def part(flat: Array, start: int, size: int) -> Array:
    """Return a part of a flat array, an empty one for a place that is none."""
    return flat[start : start + size] if start >= 0 else flat[:0]


@jit
def hyperbolic_tangent(x: Any) -> Any:
    """Return tanh x in float32 to its last digits: a quotient of polynomials, the processor's sixteen at a time.

    The coefficients are those of Eigen's ``ptanh_float``; beyond 7.9053 the quotient is 1 to float32's precision.
    """
    edge = np.float32(7.90531110763549805)
    x = edge if x > edge else x  # NaN stays NaN
    x = -edge if x < -edge else x
    s = x * x
    above = np.float32(-2.76076847742355e-16)
    above = above * s + np.float32(2.00018790482477e-13)
    above = above * s + np.float32(-8.60467152213735e-11)
    above = above * s + np.float32(5.12229709037114e-08)
    above = above * s + np.float32(1.48572235717979e-05)
    above = above * s + np.float32(6.37261928875436e-04)
    above = above * s + np.float32(4.89352455891786e-03)
    below = np.float32(1.19825839466702e-06)
    below = below * s + np.float32(1.18534705686654e-04)
    below = below * s + np.float32(2.26843463243900e-03)
    below = below * s + np.float32(4.89352518554385e-03)
    return x * above / below


@jit
def activated(x: Any, kind: int, shape: Any) -> Any:
    """Return an activation that `activate` does not write out; `shape` is its slope or its α, if it has one."""
    if kind == SIGMOID:
        return np.float32(1) / (np.float32(1) + np.exp(-x))
    if kind == LEAKY_RELU:
        return x if x > 0 else shape * x
    if kind == ELU:
        return x if x > 0 else shape * np.float32(np.expm1(x))
    return x + np.float32(np.log1p(np.exp(-x))) if x > 0 else np.float32(np.log1p(np.exp(x)))


@jit
def derivative(y: Any, kind: int, shape: Any) -> Any:
    """Return ∂y/∂x of an activation, from y."""
    if kind == SIGMOID:
        return y * (np.float32(1) - y)
    if kind == LEAKY_RELU:
        return np.float32(1) if y > 0 else shape
    if kind == ELU:
        return np.float32(1) if y > 0 else y + shape
    return -np.float32(np.expm1(-y))  # of Softplus: σ(x)


@jit
def activate(y: Array, bias: Array, kind: int, shape: Any) -> None:
    """``y = activation(y + b)`` in place, (B, q); `bias` is (q,) or (0,)."""
    n_batch, q = y.shape
    for i in range(n_batch):
        for j in range(bias.size):
            y[i, j] += bias[j]
        if kind == RELU:
            for j in range(q):
                y[i, j] = np.float32(0) if y[i, j] < 0 else y[i, j]  # NaN stays NaN
        elif kind == TANH:
            for j in range(q):
                y[i, j] = hyperbolic_tangent(y[i, j])
        elif kind != IDENTITY:
            for j in range(q):
                y[i, j] = activated(y[i, j], kind, shape)


@jit
def unactivate(grad: Array, y: Array, sums: Array, kind: int, shape: Any) -> None:
    """Multiply the gradient by the activation's derivative, in place, and write ``Σ_b g`` to `sums`, (q,) or (0,)."""
    n_batch, q = grad.shape
    sums[:] = 0
    for i in range(n_batch):
        if kind == RELU:
            for j in range(q):
                grad[i, j] = grad[i, j] if y[i, j] > 0 else np.float32(0)
        elif kind == TANH:
            for j in range(q):
                grad[i, j] *= np.float32(1) - y[i, j] * y[i, j]
        elif kind != IDENTITY:
            for j in range(q):
                grad[i, j] *= derivative(y[i, j], kind, shape)
        for j in range(sums.size):
            sums[j] += grad[i, j]


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


@jit
def chain_forward(
    x: Array,
    table: Array,
    shapes: Array,
    values: Array,
    noise: Array,
    scratch: Array,
    made: Array,
    remember: bool,
    outputs: Array,
) -> Array:
    """Return the last layer's outputs, (B, p) -> (B, q).

    :param table: what the layers are, (L, 9)
    :param shapes: of their activations, (L,)
    :param values: all parameters
    :param noise: all samples
    :param scratch: where weights lie that were transposed, and noisy ones that a backward pass needs
    :param made: which weights lie there transposed since they changed, (L,)
    :param remember: whether a backward pass follows
    :param outputs: memory for the outputs of all layers, one behind the other, where one does
    """  # fmt: skip
    n_batch, start = x.shape[0], 0
    if x.shape[1] != table[0, P]:  # compiled indices are not checked
        raise ValueError("observations are not as wide as the network's first layer")
    for i in range(len(table)):
        p, q = table[i, P], table[i, Q]
        # What nobody asks for again is put where the layer before has just been: there the cache still knows it.
        y = outputs[start : start + n_batch * q].reshape(n_batch, q) if remember else np.empty((n_batch, q), np.float32)
        start += n_batch * q
        weight = part(values, table[i, WEIGHT], q * p).reshape(q, p)
        bias = part(values, table[i, BIAS], q)
        transposed = part(scratch, table[i, SCRATCH], p * q).reshape(p, q)
        if table[i, WEIGHT_SIGMA] >= 0:
            sigma = part(values, table[i, WEIGHT_SIGMA], q * p).reshape(q, p)
            bias_sigma, sample = part(values, table[i, BIAS_SIGMA], q), part(noise, table[i, NOISE], p + q)
            if n_batch <= FEW_NOISY and not remember:
                noisy_dense(x, weight, sigma, sample, y)
            else:
                total = transposed if remember else np.empty((p, q), np.float32)
                noisy_weight(weight, sigma, sample, total)
                product(x, total, y)
            bias = noisy_bias(bias, bias_sigma, sample[p:])
        elif n_batch <= FEW:
            dense(x, weight, y)
        elif p * q <= SMALL:
            if made[i] == 0:
                transpose(weight, transposed)
                made[i] = 1
            product(x, transposed, y)
        else:
            np.dot(x, weight.T, y)
        activate(y, bias, table[i, KIND], shapes[i])
        x = y
    return x


@jit
def chain_backward(
    grad: Array,
    x: Array,
    table: Array,
    shapes: Array,
    values: Array,
    grads: Array,
    noise: Array,
    scratch: Array,
    outputs: Array,
    n_rows: int,
    wanted: bool,
) -> Array:
    """Write the parameters' gradients; return that of the inputs, (B, q) -> (B, p), or anything unless it is `wanted`.

    :param grad: of the outputs of the first B rows; it is overwritten
    :param x: the inputs of those rows
    :param grads: of all parameters
    :param n_rows: how many rows the forward pass had that wrote `outputs`
    """
    n_batch, end = grad.shape[0], outputs.size
    if grad.shape[1] != table[-1, Q] or n_batch > n_rows:  # compiled indices are not checked
        raise ValueError("a gradient is not of the shape of the outputs")
    for step in range(len(table)):
        i = len(table) - 1 - step
        p, q = table[i, P], table[i, Q]
        end -= n_rows * q
        y = outputs[end : end + n_batch * q].reshape(n_batch, q)
        noisy = table[i, WEIGHT_SIGMA] >= 0
        sums, grad_bias_sigma = part(grads, table[i, BIAS], q), part(grads, table[i, BIAS_SIGMA], q)
        if noisy and not sums.size and grad_bias_sigma.size:
            sums = np.empty(q, np.float32)
        unactivate(grad, y, sums, table[i, KIND], shapes[i])
        inputs = x
        if i > 0:
            inputs = outputs[end - n_rows * p : end - n_rows * p + n_batch * p].reshape(n_batch, p)
        grad_weight = part(grads, table[i, WEIGHT], q * p).reshape(q, p)
        product_over_rows(grad, inputs, grad_weight)
        if noisy:
            sample = part(noise, table[i, NOISE], p + q)
            noisy_gradient(part(grads, table[i, WEIGHT_SIGMA], q * p).reshape(q, p), grad_weight, sample)
            for j in range(grad_bias_sigma.size):
                grad_bias_sigma[j] = sums[j] * sample[p + j]
        if i > 0 or wanted:
            below, weight = np.empty((n_batch, p), np.float32), part(values, table[i, WEIGHT], q * p).reshape(q, p)
            if noisy:
                weight = np.empty((q, p), np.float32)
                transpose(part(scratch, table[i, SCRATCH], p * q).reshape(p, q), weight)
            product(grad, weight, below)
            grad = below
    return grad
