"""Exponentials and logarithms, the softmax of a network's outputs, and the expectations that follow from it."""

from __future__ import annotations

from typing import Any

import numpy as np

from sb3_course.backends.compiled.jit import Array, inner, jit, numbers


@inner
def require(action: int, n_actions: int) -> None:
    """Refuse an action that there is no output for: compiled indices are not checked."""
    if not 0 <= action < n_actions:
        raise IndexError("an action is none of those that the network has outputs for")


@jit
def exponential(x: Any) -> Any:
    """Return ``e^x`` for x ≤ 0, in float32, to its last two digits or so; below −87.7 it is 0, there nearly.

    ``e^x = 2^k e^r`` with k whole and ``|r| ≤ ½ ln 2``, where eight terms of the series do. The C library's function
    takes one number at a time, this one the processor takes sixteen.
    """
    low = np.float32(-88)  # whose k is −127, and 2^k written as 0
    x = low if x < low else x  # NaN stays NaN
    k = np.floor(x * np.float32(1 / np.log(2)) + np.float32(0.5))
    r = x - k * np.float32(np.log(2))
    series = np.float32(1 / 5040)  # 1 + r + r²/2! + … + r⁷/7!
    series = series * r + np.float32(1 / 720)
    series = series * r + np.float32(1 / 120)
    series = series * r + np.float32(1 / 24)
    series = series * r + np.float32(1 / 6)
    series = series * r + np.float32(1 / 2)
    series = series * r + np.float32(1)
    series = series * r + np.float32(1)
    return series * np.int32((np.int32(k) + np.int32(127)) << np.int32(23)).view(np.float32)


@jit
def logarithm(x: Any) -> Any:
    """Return ln x in float32 for a normal x > 0, to its last digits: as `exponential`, sixteen at a time.

    ``ln x = k ln 2 + ln m`` with ``√½ ≤ m < √2``, and ``ln m = 2 artanh s``, ``s = (m − 1)/(m + 1)``, of whose series
    five terms do.
    """
    bits = np.float32(x).view(np.int32) - np.int32(0x3F3504F3)  # of √½
    k = np.float32(bits >> np.int32(23))
    m = np.int32((bits & np.int32(0x7FFFFF)) + np.int32(0x3F3504F3)).view(np.float32)
    s = (m - np.float32(1)) / (m + np.float32(1))
    t = s * s
    series = np.float32(2 / 9)
    series = series * t + np.float32(2 / 7)
    series = series * t + np.float32(2 / 5)
    series = series * t + np.float32(2 / 3)
    series = series * t + np.float32(2)
    return k * np.float32(np.log(2)) + s * series


@numbers
def largest(values: Array) -> Any:
    """Return the largest of `values` (N,)."""
    found = values[0]
    for i in range(1, values.size):
        found = values[i] if values[i] > found else found
    return found


@inner
def odds(logits: Array, powers: Array) -> Any:
    """Write ``exp(x − max x)`` to `powers`, both (N,), and return their sum."""
    shift, total = largest(logits), np.float32(0)
    for i in range(logits.size):
        powers[i] = exponential(logits[i] - shift)  # NaN stays NaN, whatever the shift
        total += powers[i]
    return total


@inner
def all_odds(logits: Array) -> Array:
    """Turn each row's logits, less their largest, into powers in place, (B, N), and return their sums (B,).

    `odds` of all rows at once: a loop over everything is quicker than one over each short row.
    """
    flat = logits.reshape(logits.size)
    for i in range(flat.size):
        flat[i] = exponential(flat[i])
    sums: Array = np.dot(logits, np.ones(logits.shape[1], np.float32))
    return sums


@jit
def expectations(outputs: Array, support: Array) -> Array:
    """Return ``Σ_i z_i softmax(outputs)_i``, (B, A, N) and (N,) -> (B, A)."""
    n_batch, n_actions, n_atoms = outputs.shape
    powers = np.empty((n_batch * n_actions, n_atoms), np.float32)
    for b in range(n_batch):
        for a in range(n_actions):
            shift = largest(outputs[b, a])
            for i in range(n_atoms):
                powers[b * n_actions + a, i] = outputs[b, a, i] - shift
    totals = all_odds(powers)
    values: Array = np.dot(powers, support) / totals
    return values.reshape(n_batch, n_actions)
