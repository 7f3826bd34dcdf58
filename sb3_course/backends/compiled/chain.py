"""Chains of linear and noisy layers with their activations, products included: one call forwards and one backwards.

A chain is a table, one row a layer, of places in the flat arrays in which the network lies anyway.
"""

from __future__ import annotations

import numpy as np

from sb3_course.backends.compiled.activations import ACTIVATIONS, activate, unactivate
from sb3_course.backends.compiled.jit import Array, jit
from sb3_course.backends.compiled.noise import noisy_bias, noisy_dense, noisy_gradient, noisy_weight
from sb3_course.backends.compiled.products import SMALL, dense, product, product_over_rows, transpose

#: The columns of a table: p inputs, q outputs, the places of weights, biases, their σ and the noise (−1: there are
#: none), the activation's number, and the place in the scratch memory.
P, Q, WEIGHT, BIAS, WEIGHT_SIGMA, BIAS_SIGMA, NOISE, KIND, SCRATCH = range(9)
N_KINDS = len(ACTIVATIONS)
#: Up to so many rows a loop is faster than a product: with a plain weight, and with one that the noise is in.
FEW, FEW_NOISY = 2, 8


@jit
def part(flat: Array, start: int, size: int) -> Array:
    """Return a part of a flat array, an empty one for a place that is none."""
    return flat[start : start + size] if start >= 0 else flat[:0]


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
    :param outputs: memory for the outputs of all layers, one after the other, where one does
    """  # fmt: skip
    n_batch, start = x.shape[0], 0
    if x.shape[1] != table[0, P]:  # compiled indices are not checked
        raise ValueError("observations are not as wide as the network's first layer")
    for i in range(len(table)):
        p, q = table[i, P], table[i, Q]
        if not 0 <= table[i, KIND] < N_KINDS:
            raise ValueError("a layer has an activation that is none of those known here")
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
