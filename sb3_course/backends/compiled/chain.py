"""Chains of linear and noisy layers, norms and activations, products included: one call forwards and one backwards.

A chain is a table, one row a layer, of places in the flat arrays in which the network lies anyway. Between the layers
activations and gradients lie with a line for each unit, (q, B): so every product but one takes weights as they lie, at
the speed of contiguous matrices, and nothing is made of them that could grow old.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sb3_course.backends.compiled.activations import ACTIVATIONS, activate, unactivate
from sb3_course.backends.compiled.jit import Array, inner, jit, joint
from sb3_course.backends.compiled.noise import noisy_bias, noisy_dense, noisy_gradient, noisy_weight
from sb3_course.backends.compiled.norms import normalise, unnormalise
from sb3_course.backends.compiled.products import dense, product, product_across, product_down, transposed

#: The columns of a table: p inputs, q outputs, the places of weights, biases, their σ and the noise (−1: there are
#: none), the activation's number, the place in the scratch memory, and those of the γ and the β of a layer norm.
P, Q, WEIGHT, BIAS, WEIGHT_SIGMA, BIAS_SIGMA, NOISE, KIND, SCRATCH, GAIN, SHIFT = range(11)
N_KINDS = len(ACTIVATIONS)
#: Up to so many units a loop over their gradients is faster than turning their inputs for a product.
FEW_UNITS = 4


@inner
def part(flat: Array, start: int, size: int) -> Array:
    """Return a part of a flat array, an empty one for a place that is none."""
    return flat[start : start + size] if start >= 0 else flat[:0]


@inner
def check_table(x: Array, table: Array) -> None:
    """Refuse what would be read outside of an array: compiled indices are not checked."""
    if x.shape[1] != table[0, P]:
        raise ValueError("observations are not as wide as the network's first layer")
    for i in range(len(table)):
        if not 0 <= table[i, KIND] < N_KINDS:
            raise ValueError("a layer has an activation that is none of those known here")


@inner
def between(each: Array | None, start: int, end: int) -> Array | None:
    """Return some rows of a table; where there is none, as its type says, none."""
    if each is not None:
        return each[start:end]
    else:  # noqa: RET505 - what stands behind a `return` would be compiled, too
        return None


@inner
def norm_of(layer_norms: Array | None, i: int) -> Any:
    """Return the ε of a layer's norm, 0 where it has none."""
    if layer_norms is not None:
        return layer_norms[i]
    else:  # noqa: RET505
        return np.float32(0)


@jit
def few_forward(x: Array, table: Array, shapes: Array, layer_norms: Array | None, values: Array, noise: Array) -> Array:
    """Return the last layer's outputs of few rows, (B, p) -> (B, q), by loops, which need no noisy weight."""
    check_table(x, table)
    n_batch = x.shape[0]
    for i in range(len(table)):
        p, q = table[i, P], table[i, Q]
        y = np.empty((n_batch, q), np.float32)
        weight, bias = part(values, table[i, WEIGHT], q * p).reshape(q, p), part(values, table[i, BIAS], q)
        if table[i, WEIGHT_SIGMA] >= 0:
            sigma, sample = part(values, table[i, WEIGHT_SIGMA], q * p), part(noise, table[i, NOISE], p + q)
            noisy_dense(x, weight, sigma.reshape(q, p), sample, y)
            bias = noisy_bias(bias, part(values, table[i, BIAS_SIGMA], q), sample[p:])
        else:
            dense(x, weight, y)
        if layer_norms is not None:  # noqa: SIM102 - by its type alone, or it would be compiled for all
            if layer_norms[i] > 0:
                gain, shift = part(values, table[i, GAIN], q), part(values, table[i, SHIFT], q)
                turned, scale = transposed(y, q), np.empty(n_batch, np.float32)
                normalise(turned, bias, gain, shift, layer_norms[i], np.empty((q, n_batch), np.float32), scale)
                y, bias = transposed(turned, n_batch), bias[:0]
        for row in range(n_batch):
            for j in range(bias.size):
                y[row, j] += bias[j]
        activate(y, bias[:0], table[i, KIND], shapes[i])
        x = y
    return x


@jit
def chain_forward(
    x: Array,
    table: Array,
    shapes: Array,
    layer_norms: Array | None,
    values: Array,
    noise: Array,
    scratch: Array,
    remember: bool,
    outputs: Array,
) -> Array:
    """Return the last layer's outputs, (B, p) -> (B, q).

    :param table: what the layers are, (L, 11)
    :param shapes: the numbers of their activations, (L,)
    :param layer_norms: the ε of the layer norms, 0 where there is none, (L,); None if there are none at all
    :param values: all parameters
    :param noise: all samples
    :param scratch: where the noisy weights lie that a backward pass needs
    :param remember: whether a backward pass follows
    :param outputs: memory for the outputs of all layers, one after the other, where one does; those of a layer with a
        norm come after x̂, (q, B), and the scale, (B,)
    """  # fmt: skip
    check_table(x, table)
    n_batch, start = x.shape[0], 0
    x = transposed(x, x.shape[1])
    for i in range(len(table)):
        p, q = table[i, P], table[i, Q]
        before = start  # in the outputs, where x̂ and the scale lie if there is a norm
        if norm_of(layer_norms, i) > 0:
            start += n_batch * (q + 1)
        # What nobody asks for again is put where the layer before has just been: there the cache still knows it.
        y = outputs[start : start + n_batch * q].reshape(q, n_batch) if remember else np.empty((q, n_batch), np.float32)
        start += n_batch * q
        weight, bias = part(values, table[i, WEIGHT], q * p).reshape(q, p), part(values, table[i, BIAS], q)
        if table[i, WEIGHT_SIGMA] >= 0:
            sigma, sample = part(values, table[i, WEIGHT_SIGMA], q * p), part(noise, table[i, NOISE], p + q)
            total = part(scratch, table[i, SCRATCH], q * p).reshape(q, p) if remember else np.empty((q, p), np.float32)
            noisy_weight(weight, sigma.reshape(q, p), sample, total)
            weight, bias = total, noisy_bias(bias, part(values, table[i, BIAS_SIGMA], q), sample[p:])
        product(weight, x, y)
        if layer_norms is not None:  # noqa: SIM102 - as above
            if layer_norms[i] > 0:
                gain, shift = part(values, table[i, GAIN], q), part(values, table[i, SHIFT], q)
                place = (
                    outputs[before : before + n_batch * (q + 1)]
                    if remember
                    else np.empty(n_batch * (q + 1), np.float32)
                )
                normed, scale = place[: n_batch * q].reshape(q, n_batch), place[n_batch * q :]
                normalise(y, bias, gain, shift, layer_norms[i], normed, scale)
                bias = bias[:0]
        activate(y, bias, table[i, KIND], shapes[i])
        x = y
    last: Array = transposed(x, n_batch)
    return last


@jit
def chain_backward(
    grad: Array,
    x: Array,
    table: Array,
    shapes: Array,
    layer_norms: Array | None,
    values: Array,
    grads: Array,
    noise: Array,
    scratch: Array,
    outputs: Array,
    n_rows: int,
    wanted: bool,
) -> Array:
    """Write the parameters' gradients; return that of the inputs, (B, q) -> (B, p), or anything unless it is `wanted`.

    :param grad: of the outputs of the first B rows
    :param x: the inputs of those rows
    :param grads: of all parameters
    :param n_rows: how many rows the forward pass had that wrote `outputs`
    """
    n_batch, end = grad.shape[0], outputs.size
    if grad.shape[1] != table[-1, Q] or n_batch > n_rows:  # compiled indices are not checked
        raise ValueError("a gradient is not of the shape of the outputs")
    g = transposed(grad, grad.shape[1])
    for step in range(len(table)):
        i = len(table) - 1 - step
        p, q = table[i, P], table[i, Q]
        y = outputs[end - n_rows * q : end].reshape(q, n_rows)
        end -= n_rows * q
        noisy = table[i, WEIGHT_SIGMA] >= 0
        sums, grad_bias_sigma = part(grads, table[i, BIAS], q), part(grads, table[i, BIAS_SIGMA], q)
        if noisy and not sums.size and grad_bias_sigma.size:
            sums = np.empty(q, np.float32)
        into = part(grads, table[i, SHIFT], q) if norm_of(layer_norms, i) > 0 else sums
        unactivate(g, y, into, table[i, KIND], shapes[i])
        if layer_norms is not None:  # noqa: SIM102 - as above
            if layer_norms[i] > 0:
                scale = outputs[end - n_rows : end]
                normed = outputs[end - n_rows * (q + 1) : end - n_rows].reshape(q, n_rows)
                end -= n_rows * (q + 1)
                unnormalise(g, normed, scale, part(values, table[i, GAIN], q), part(grads, table[i, GAIN], q), sums)
        grad_weight = part(grads, table[i, WEIGHT], q * p).reshape(q, p)
        inputs = outputs[end - n_rows * p : end].reshape(p, n_rows) if i > 0 else x
        if i == 0:
            product(g, inputs, grad_weight)
        elif q <= FEW_UNITS:
            product_across(g, inputs, grad_weight)
        else:
            product(g, transposed(inputs, n_batch), grad_weight)
        if noisy:
            sample = part(noise, table[i, NOISE], p + q)
            noisy_gradient(part(grads, table[i, WEIGHT_SIGMA], q * p).reshape(q, p), grad_weight, sample)
            for j in range(grad_bias_sigma.size):
                grad_bias_sigma[j] = sums[j] * sample[p + j]
        if i > 0 or wanted:
            weight = part(scratch, table[i, SCRATCH], q * p) if noisy else part(values, table[i, WEIGHT], q * p)
            below = np.empty((p, n_batch), np.float32)
            product_down(weight.reshape(q, p), g, below)
            g = below
    back: Array = transposed(g, n_batch)
    return back


#: The same three, for compiled callers.
joint_few, joint_forward, joint_backward = joint(few_forward), joint(chain_forward), joint(chain_backward)
