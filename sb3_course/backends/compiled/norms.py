"""Layer norm of a layer's outputs, before its activation, and back: over the units, which lie along the first axis."""

from __future__ import annotations

import numpy as np

from sb3_course.backends.compiled.jit import Array, inner


@inner
def normalise(y: Array, bias: Array, gain: Array, shift: Array, eps: float, normed: Array, scale: Array) -> None:
    """``y = γ·x̂ + β`` in place, ``x̂ = (y + b − mean)/√(var + ε)``, (q, B).

    :param bias: b, (q,) or (0,)
    :param gain: γ, likewise; (0,) for 1
    :param shift: β, likewise; (0,) for 0
    :param normed: where x̂ goes, (q, B)
    :param scale: where ``1/√(var + ε)`` goes, (B,)
    """
    q, n_batch = y.shape
    share = np.float32(1) / np.float32(q)
    means = np.zeros(n_batch, np.float32)
    for j in range(q):
        b = bias[j] if bias.size else np.float32(0)
        for i in range(n_batch):
            y[j, i] += b
            means[i] += y[j, i]
    for i in range(n_batch):
        means[i] *= share
        scale[i] = np.float32(0)
    for j in range(q):
        for i in range(n_batch):
            x = y[j, i] - means[i]
            normed[j, i] = x
            scale[i] += x * x
    for i in range(n_batch):
        scale[i] = np.float32(1) / np.sqrt(scale[i] * share + np.float32(eps))
    for j in range(q):
        g = gain[j] if gain.size else np.float32(1)
        b = shift[j] if shift.size else np.float32(0)
        for i in range(n_batch):
            x = normed[j, i] * scale[i]
            normed[j, i] = x
            y[j, i] = g * x + b


@inner
def unnormalise(grad: Array, normed: Array, scale: Array, gain: Array, grad_gain: Array, sums: Array) -> None:
    """Turn the gradient of the norm's outputs, (q, B), into that of its inputs, in place.

    :param normed: x̂; those of more rows may follow, (q, B or more)
    :param scale: ``1/√(var + ε)``, likewise
    :param gain: γ, (q,), or (0,) for 1
    :param grad_gain: where ∂γ goes, (q,), or (0,)
    :param sums: where ``Σ_b ∂x`` goes, (q,), or (0,)
    """
    q, n_batch = grad.shape
    share = np.float32(1) / np.float32(q)
    means, along = np.zeros(n_batch, np.float32), np.zeros(n_batch, np.float32)
    for j in range(q):
        g = gain[j] if gain.size else np.float32(1)
        total = np.float32(0)
        for i in range(n_batch):
            total += grad[j, i] * normed[j, i]
        if grad_gain.size:
            grad_gain[j] = total
        for i in range(n_batch):
            h = g * grad[j, i]
            grad[j, i] = h
            means[i] += h
            along[i] += h * normed[j, i]
    for i in range(n_batch):
        means[i] *= share
        along[i] *= share
    for j in range(q):
        total = np.float32(0)
        for i in range(n_batch):
            x = (grad[j, i] - means[i] - normed[j, i] * along[i]) * scale[i]
            grad[j, i] = x
            total += x
        if sums.size:
            sums[j] = total
