"""Activations and their derivatives, in place on a layer's outputs."""

from __future__ import annotations

from typing import Any

import numpy as np

from sb3_course.backends.compiled.jit import Array, inner, jit

#: The activations known here, by torch's names; a compiled function gets the place of a name in this list.
ACTIVATIONS = ("Identity", "ReLU", "Tanh", "Sigmoid", "LeakyReLU", "ELU", "Softplus")
IDENTITY, RELU, TANH, SIGMOID, LEAKY_RELU, ELU, SOFTPLUS = range(len(ACTIVATIONS))


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


@inner
def activated(x: Any, kind: int, shape: Any) -> Any:
    """Return an activation that `activate` does not write out; `shape` is its slope or its α, if it has one."""
    if kind == SIGMOID:
        return np.float32(1) / (np.float32(1) + np.exp(-x))
    if kind == LEAKY_RELU:
        return x if x > 0 else shape * x
    if kind == ELU:
        return x if x > 0 else shape * np.float32(np.expm1(x))
    # Softplus
    return x + np.float32(np.log1p(np.exp(-x))) if x > 0 else np.float32(np.log1p(np.exp(x)))


@inner
def derivative(y: Any, kind: int, shape: Any) -> Any:
    """Return ∂y/∂x of an activation, from y."""
    if kind == SIGMOID:
        return y * (np.float32(1) - y)
    if kind == LEAKY_RELU:
        return np.float32(1) if y > 0 else shape
    if kind == ELU:
        return np.float32(1) if y > 0 else y + shape
    return -np.float32(np.expm1(-y))  # of Softplus: σ(x)


@inner
def activate(y: Array, bias: Array, kind: int, shape: Any) -> None:
    """``y = activation(y + b)`` in place, (q, B); `bias` is (q,) or (0,)."""
    q, n_batch = y.shape
    for j in range(q):
        b = bias[j] if bias.size else np.float32(0)
        if kind == RELU:
            for i in range(n_batch):
                x = y[j, i] + b
                y[j, i] = np.float32(0) if x < 0 else x  # NaN stays NaN
        elif kind == TANH:
            for i in range(n_batch):
                y[j, i] = hyperbolic_tangent(y[j, i] + b)
        elif kind == IDENTITY:
            for i in range(n_batch):
                y[j, i] += b
        else:
            for i in range(n_batch):
                y[j, i] = activated(y[j, i] + b, kind, shape)


@inner
def unactivate(grad: Array, y: Array, sums: Array, kind: int, shape: Any) -> None:
    """Multiply the gradient (q, B) by the activation's derivative, in place, and write ``Σ_b g`` to `sums`.

    :param y: the activations; those of more rows may follow, (q, B or more)
    :param sums: (q,), or (0,) where nobody asks
    """
    q, n_batch = grad.shape
    for j in range(q):
        if kind == RELU:
            for i in range(n_batch):
                grad[j, i] = grad[j, i] if y[j, i] > 0 else np.float32(0)
        elif kind == TANH:
            for i in range(n_batch):
                grad[j, i] *= np.float32(1) - y[j, i] * y[j, i]
        elif kind != IDENTITY:
            for i in range(n_batch):
                grad[j, i] *= derivative(y[j, i], kind, shape)
        if sums.size:
            total = np.float32(0)
            for i in range(n_batch):
                total += grad[j, i]
            sums[j] = total
