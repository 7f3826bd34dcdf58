"""Softmax, and what follows from it: expectations of distributions, and a categorical policy's actions and scores."""

from __future__ import annotations

from typing import Any

import numpy as np

from sb3_course.compiled.jit import Array, exact, jit, numbers


@jit
def exponential(x: Any) -> Any:
    """Return ``e^x`` for x ≤ 0, in float32, to its last two digits or so; below −87 it is 0 there or nearly.

    ``e^x = 2^k e^r`` with k whole and ``|r| ≤ ½ ln 2``, where eight terms of the series do. The C library's function
    takes one number at a time, this one the processor takes sixteen.
    """
    low = np.float32(-87)
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


@numbers
def largest(values: Array) -> Any:
    """Return the largest of `values` (N,)."""
    found = values[0]
    for i in range(1, values.size):
        found = values[i] if values[i] > found else found
    return found


@jit
def odds(logits: Array, powers: Array) -> Any:
    """Write ``exp(x − max x)`` to `powers`, both (N,), and return their sum."""
    shift, total = largest(logits), np.float32(0)
    for i in range(logits.size):
        powers[i] = exponential(logits[i] - shift)  # NaN stays NaN, whatever the shift
        total += powers[i]
    return total


@jit
def expectations(outputs: Array, support: Array) -> Array:
    """Return ``Σ_i z_i softmax(outputs)_i``, (B, A, N) and (N,) -> (B, A)."""
    n_batch, n_actions, n_atoms = outputs.shape
    values, powers = np.empty((n_batch, n_actions), np.float32), np.empty(n_atoms, np.float32)
    for b in range(n_batch):
        for a in range(n_actions):
            total = odds(outputs[b, a], powers)
            weighted = np.float32(0)
            for i in range(n_atoms):
                weighted += powers[i] * support[i]
            values[b, a] = weighted / total
    return values


@jit
def sample(outputs: Array, random: Array) -> Array:
    """Return `functional.distributions.Categorical.sample`, (B, A) and (B, 1) -> (B, 1)."""
    n_batch, n_actions = outputs.shape
    actions, powers = np.empty((n_batch, 1), np.int64), np.empty(n_actions, np.float32)
    for b in range(n_batch):
        odds(outputs[b], powers)
        for a in range(1, n_actions):
            powers[a] += powers[a - 1]
        threshold = random[b, 0] * powers[n_actions - 1]
        below = 0
        for a in range(n_actions):
            below += powers[a] <= threshold
        actions[b, 0] = below
    return actions


@exact
def less(x: Any, first: Any, second: Any) -> Any:
    """Return ``(x − first) − second``, in this order: the sum of both may be as large as x, and round to it."""
    return (x - first) - second


@jit
def scores(outputs: Array, actions: Array) -> tuple[Array, Array, Array, Array]:
    """Return what `functional.distributions.Categorical` says of `outputs` (B, A) and `actions` (B, 1).

    :return: log π(a|s) (B,), its gradient (B, A), the entropy (B,), its gradient (B, A)
    """
    n_batch, n_actions = outputs.shape
    chosen, entropy = np.empty(n_batch, np.float32), np.empty(n_batch, np.float32)
    grad_chosen, grad_entropy = np.empty((n_batch, n_actions), np.float32), np.empty((n_batch, n_actions), np.float32)
    powers, log_p = np.empty(n_actions, np.float32), np.empty(n_actions, np.float32)
    for b in range(n_batch):
        shift, total = largest(outputs[b]), odds(outputs[b], powers)
        log_total, mean = np.log(total), np.float32(0)
        for a in range(n_actions):
            log_p[a] = less(outputs[b, a], shift, log_total)
            mean += powers[a] / total * log_p[a]
        for a in range(n_actions):
            p = powers[a] / total
            grad_chosen[b, a] = (np.float32(1) if a == actions[b, 0] else np.float32(0)) - p
            grad_entropy[b, a] = p * (mean - log_p[a])
        chosen[b], entropy[b] = log_p[actions[b, 0]], -mean
    return chosen, grad_chosen, entropy, grad_entropy
