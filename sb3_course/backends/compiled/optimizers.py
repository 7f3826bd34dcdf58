"""Steps of optimizers, each over all parameters in one pass; a gradient whose norm is infinite takes none."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np

from sb3_course.backends.compiled.jit import Array, finite, inner
from sb3_course.backends.numpy_optimizers import rectified


def adam(
    values: Array, grads: Array, statistics: tuple[Array, ...], group: dict[str, Any], n: float, scratch: Array
) -> None:
    """Take a step of Adam."""
    step_adam(values, grads, *statistics, *map(np.float32, adam_numbers(group, n)))


def adam_numbers(group: dict[str, Any], n: float) -> tuple[float, ...]:
    """Return what `step_adam` takes behind the statistics, for the n-th step of Adam."""
    beta1, beta2 = group["betas"]
    rate, root = group["lr"] / (1 - beta1**n), 1 / sqrt(1 - beta2**n)
    return 1 - beta1, beta2, 1 - beta2, rate, root, group["eps"]


def radam(
    values: Array, grads: Array, statistics: tuple[Array, ...], group: dict[str, Any], n: float, scratch: Array
) -> None:
    """Take a step of rectified Adam."""
    step_adam(values, grads, *statistics, *map(np.float32, radam_numbers(group, n)))


def radam_numbers(group: dict[str, Any], n: float) -> tuple[float, ...]:
    """Return the same for rectified Adam: Adam's step, whose divisor is 1 as long as v cannot be trusted."""
    beta1, beta2 = group["betas"]
    rate, trusted = rectified(group, n)
    return 1 - beta1, beta2, 1 - beta2, rate, *((1.0, group["eps"]) if trusted else (0.0, 1.0))


#: The steps that are `step_adam` with other numbers, and what gives these.
NUMBERS = {adam: adam_numbers, radam: radam_numbers}


def rmsprop(
    values: Array, grads: Array, statistics: tuple[Array, ...], group: dict[str, Any], n: float, scratch: Array
) -> None:
    """Take a step of torch's RMSprop."""
    numbers = map(np.float32, (group["alpha"], 1 - group["alpha"], group["lr"], group["eps"]))
    step_rmsprop(values, grads, *statistics, *numbers, False)


def rmsprop_tf_like(
    values: Array, grads: Array, statistics: tuple[Array, ...], group: dict[str, Any], n: float, scratch: Array
) -> None:
    """Take a step of SB3's RMSprop of TensorFlow's form."""
    numbers = map(np.float32, (group["alpha"], 1 - group["alpha"], group["lr"], group["eps"]))
    step_rmsprop(values, grads, *statistics, *numbers, True)


@inner
def clipped_norm(grads: Array, limit: float) -> float:
    """Shorten the gradient to a norm of `limit`, unless that is negative; return the norm it had.

    One that is not finite stays as it is, and the caller sees it in the norm.
    """
    norm = sqrt(np.float64(np.dot(grads, grads)))
    if np.isfinite(norm) and limit >= 0 and norm + 1e-6 > limit:
        shorter = np.float32(limit / (norm + 1e-6))
        for i in range(grads.size):
            grads[i] *= shorter
    return norm


@finite
def step_adam(
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


@finite
def step_rmsprop(
    values: Array, grads: Array, square: Array, alpha: Any, share: Any, rate: Any, eps: Any, inside: bool
) -> None:
    """``s = α·s + (1 − α)·g²``, ``θ −= rate·g / (√s + ε)``, or ``/ √(s + ε)`` with `inside`; `share` is ``1 − α``."""
    for i in range(values.size):
        s = alpha * square[i] + share * grads[i] * grads[i]
        square[i] = s
        values[i] -= rate * grads[i] / (np.sqrt(s + eps) if inside else np.sqrt(s) + eps)
