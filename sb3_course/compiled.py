"""Loops that Numba compiles, where the extra `fast` has installed it: what NumPy says in ten passes they do in one.

Each stands in for a function in NumPy of the same formula, which remains what is read, taught and used without Numba;
the tests hold them against each other. The first use compiles, which takes seconds; the result is kept on disk.
``SB3_COURSE_COMPILED=0`` leaves them out.
"""

from __future__ import annotations

import functools
import importlib.util
import os
from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray
#: Sums may be reordered and products contracted; NaN and infinity keep their meaning, or a bad loss would go unseen.
_MATHS = {"reassoc", "contract", "nsz", "arcp"}


def available() -> bool:
    """Return whether compiled loops are to be used."""
    return os.environ.get("SB3_COURSE_COMPILED", "1") != "0" and importlib.util.find_spec("numba") is not None


def _compiled(function: Callable[..., Any]) -> Callable[[], Callable[..., Any]]:
    """Turn a function into one that returns it compiled; Numba is imported when that is asked for."""

    @functools.cache
    def get() -> Callable[..., Any]:
        import numba

        # Python's error model looks for a division by zero at every step, and no loop is vectorised.
        compiled: Callable[..., Any] = numba.njit(cache=True, error_model="numpy", fastmath=_MATHS)(function)
        return compiled

    return get


@_compiled
def adam(
    values: Array,
    grads: Array,
    mean: Array,
    square: Array,
    share1: Any,
    beta2: Any,
    share2: Any,
    rate: Any,
    root: Any,
    eps: Any,
) -> None:
    """``m += (1 − β1)(g − m)``, ``v = β2·v + (1 − β2)·g²``, ``θ −= rate·m / (root·√v + ε)``, in place.

    :param share1: ``1 − β1``; taken from a β1 in float32 it would be wrong in the fifth digit
    :param share2: ``1 − β2``
    :param rate: ``lr / (1 − β1^n)``
    :param root: ``1 / √(1 − β2^n)``
    """  # fmt: skip
    for i in range(values.size):
        m = mean[i] + share1 * (grads[i] - mean[i])
        v = beta2 * square[i] + share2 * grads[i] * grads[i]
        mean[i] = m
        square[i] = v
        values[i] -= rate * m / (np.sqrt(v) * root + eps)


@_compiled
def rmsprop(
    values: Array, grads: Array, square: Array, alpha: Any, share: Any, rate: Any, eps: Any, inside: bool
) -> None:
    """``s = α·s + (1 − α)·g²``, ``θ −= rate·g / (√s + ε)``, or ``/ √(s + ε)`` with `inside`; `share` is ``1 − α``."""
    for i in range(values.size):
        s = alpha * square[i] + share * grads[i] * grads[i]
        square[i] = s
        values[i] -= rate * grads[i] / (np.sqrt(s + eps) if inside else np.sqrt(s) + eps)


@_compiled
def dense(x: Array, weight: Array, bias: Array, relu: bool) -> Array:
    """Return ``x Wᵀ + b``, or ``max(x Wᵀ + b, 0)``, for few rows, (B, p) -> (B, q); no bias is one of length 0."""
    n_batch, q, p = x.shape[0], weight.shape[0], weight.shape[1]
    y = np.empty((n_batch, q), np.float32)
    for i in range(n_batch):
        for j in range(q):
            total = bias[j] if bias.size else np.float32(0)
            for k in range(p):
                total += weight[j, k] * x[i, k]
            y[i, j] = np.float32(0) if relu and total < 0 else total  # NaN stays NaN
    return y


@_compiled
def finish(y: Array, bias: Array, relu: bool) -> None:
    """``y += b``, then ``max(y, 0)`` with `relu`, in place, (B, q)."""
    for i in range(y.shape[0]):
        for j in range(y.shape[1]):
            total = y[i, j] + bias[j] if bias.size else y[i, j]
            y[i, j] = np.float32(0) if relu and total < 0 else total


@_compiled
def unfinish(grad: Array, y: Array, sums: Array, relu: bool) -> None:
    """Zero the gradient where `relu` cut y off, in place, and write ``Σ_b g`` to `sums` (q,) unless that is empty."""
    sums[:] = 0
    for i in range(grad.shape[0]):
        for j in range(grad.shape[1]):
            g = grad[i, j]
            if relu and not y[i, j] > 0:
                g = np.float32(0)
                grad[i, j] = g
            if sums.size:
                sums[j] += g


@_compiled
def noisy_dense(x: Array, mean: Array, sigma: Array, noise: Array, bias: Array, bias_sigma: Array, relu: bool) -> Array:
    """Return ``x (μ + σ ⊙ f_out f_inᵀ)ᵀ + b + σ_b ⊙ f_out`` for few rows, cut off below 0 with `relu`.

    :param x: (B, p)
    :param mean: μ, (q, p)
    :param sigma: σ, (q, p)
    :param noise: f_in and f_out, (p + q,)
    :param bias: b, (q,) or (0,)
    :param bias_sigma: σ_b, (q,) or (0,)
    """
    q, p = mean.shape
    y = np.empty((x.shape[0], q), np.float32)
    scaled = np.empty(p, np.float32)
    for i in range(x.shape[0]):
        for k in range(p):
            scaled[k] = x[i, k] * noise[k]
        for j in range(q):
            plain, noisy = np.float32(0), np.float32(0)
            for k in range(p):
                plain += mean[j, k] * x[i, k]
                noisy += sigma[j, k] * scaled[k]
            if bias.size:
                plain += bias[j]
            if bias_sigma.size:
                noisy += bias_sigma[j]
            total = plain + noise[p + j] * noisy
            y[i, j] = np.float32(0) if relu and total < 0 else total
    return y


@_compiled
def noisy_combine(y: Array, noisy: Array, out_noise: Array, bias: Array, bias_sigma: Array, relu: bool) -> None:
    """``y += b + f_out ⊙ (noisy + σ_b)``, cut off below 0 with `relu`, in place, (B, q)."""
    for i in range(y.shape[0]):
        for j in range(y.shape[1]):
            total = y[i, j] + out_noise[j] * (noisy[i, j] + (bias_sigma[j] if bias_sigma.size else np.float32(0)))
            if bias.size:
                total += bias[j]
            y[i, j] = np.float32(0) if relu and total < 0 else total


@_compiled
def noisy_weight(weight: Array, mean: Array, sigma: Array, noise: Array) -> None:
    """``W = μ + σ ⊙ f_out f_inᵀ``, in place, (q, p)."""
    q, p = mean.shape
    for j in range(q):
        for k in range(p):
            weight[j, k] = mean[j, k] + sigma[j, k] * (noise[p + j] * noise[k])


@_compiled
def noisy_gradient(target: Array, grad: Array, noise: Array) -> None:
    """``∂σ = ∂W ⊙ f_out f_inᵀ``, (q, p)."""
    q, p = grad.shape
    for j in range(q):
        for k in range(p):
            target[j, k] = grad[j, k] * (noise[p + j] * noise[k])


@_compiled
def td_errors(
    outputs: Array,
    actions: Array,
    next_outputs: Array,
    selector: Array,
    rewards: Array,
    discounts: Array,
    weights: Array,
    kind: int,
) -> tuple[Array, Array, Array, Array]:
    """`value.laws.td_errors` for expected returns, N = 1: what one transition after the other says of the outputs.

    :param kind: 0 `huber`, 1 `l2`, 2 `mse`
    :return: losses (B,), gradient of the outputs (B, A, 1), predictions (B, 1), targets (B, 1)
    """  # fmt: skip
    n_batch, n_actions = outputs.shape[0], outputs.shape[1]
    losses, gradient = np.empty(n_batch, np.float32), np.zeros((n_batch, n_actions, 1), np.float32)
    predictions, targets = np.empty((n_batch, 1), np.float32), np.empty((n_batch, 1), np.float32)
    share, one, half = np.float32(1.0 / n_batch), np.float32(1), np.float32(0.5)
    for b in range(n_batch):
        best = 0
        for a in range(1, n_actions):
            if not selector[b, a, 0] <= selector[b, best, 0]:  # as NumPy: the first of the largest, or one that is NaN
                best = a
        target = rewards[b] + discounts[b] * next_outputs[b, best, 0]
        prediction = outputs[b, actions[b], 0]
        error = prediction - target
        if kind == 0:
            slope = min(max(error, -one), one) if error == error else error
            losses[b] = slope * (error - half * slope)
        elif kind == 1:
            slope = error
            losses[b] = half * error * error
        else:
            slope = error + error
            losses[b] = error * error
        gradient[b, actions[b], 0] = slope * weights[b] * share
        predictions[b, 0], targets[b, 0] = prediction, target
    return losses, gradient, predictions, targets
