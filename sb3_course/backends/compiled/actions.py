"""Compiled samples and scores of categorical and Gaussian policies."""

from __future__ import annotations

from math import log, pi
from typing import Any

import numpy as np

from sb3_course.backends.compiled.jit import Array, inner, inner_exact, jit
from sb3_course.backends.compiled.softmax import largest, odds, require
from sb3_course.functional.distributions import Scores

_HALF_LOG_2PI = np.float32(0.5 * log(2 * pi))


@jit
def sample_category(outputs: Array, random: Array) -> Array:
    """Return actions (B, 1) from logits (B, A) and uniform numbers (B, 1)."""
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


@inner_exact
def less(x: Any, first: Any, second: Any) -> Any:
    """Return ``(x − first) − second``, in this order: the sum of both may be as large as x, and round to it."""
    return (x - first) - second


def category_scores(outputs: Array, actions: Array) -> tuple[Scores, Scores]:
    """Return log-probabilities of actions (B, 1) and entropies, with their gradients, from logits (B, A)."""
    chosen, grad_chosen, entropy, grad_entropy = all_scores(outputs, actions)
    return Scores(chosen, grad_chosen), Scores(entropy, grad_entropy)


@jit
def all_scores(outputs: Array, actions: Array) -> tuple[Array, Array, Array, Array]:
    """Return all that `category_scores` does.

    :return: log π(a|s) (B,), its gradient (B, A), the entropy (B,), its gradient (B, A)
    """
    n_batch, n_actions = outputs.shape
    chosen, entropy = np.empty(n_batch, np.float32), np.empty(n_batch, np.float32)
    grad_chosen, grad_entropy = np.empty((n_batch, n_actions), np.float32), np.empty((n_batch, n_actions), np.float32)
    powers, log_p = np.empty(n_actions, np.float32), np.empty(n_actions, np.float32)
    for b in range(n_batch):
        require(actions[b, 0], n_actions)
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


@inner
def require_halves(outputs: Array, n_dimensions: int) -> None:
    """Refuse outputs that are not means and log standard deviations of so many numbers."""
    if outputs.shape[1] != 2 * n_dimensions:
        raise ValueError("outputs are not the means and deviations of the actions")


@jit
def sample_normal(outputs: Array, random: Array) -> Array:
    """Return ``μ + σ·ε`` (B, K) from (μ, log σ) (B, 2K) and ε (B, K)."""
    n_batch, n_dimensions = random.shape
    require_halves(outputs, n_dimensions)
    actions = np.empty((n_batch, n_dimensions), np.float32)
    for b in range(n_batch):
        for k in range(n_dimensions):
            std = np.exp(outputs[b, n_dimensions + k])
            actions[b, k] = outputs[b, k] + std * np.float32(random[b, k])
    return actions


def normal_scores(outputs: Array, actions: Array) -> tuple[Scores, Scores]:
    """Return log-probabilities of actions (B, K) and entropies, with their gradients, from (μ, log σ) (B, 2K)."""
    chosen, grad_chosen, entropy, grad_entropy = all_normal_scores(outputs, actions)
    return Scores(chosen, grad_chosen), Scores(entropy, grad_entropy)


@jit
def all_normal_scores(outputs: Array, actions: Array) -> tuple[Array, Array, Array, Array]:
    """Return all that `normal_scores` does.

    :return: log π(a|s) (B,), its gradient (B, 2K), the entropy (B,), its gradient (B, 2K)
    """
    n_batch, n_dimensions = actions.shape
    require_halves(outputs, n_dimensions)
    chosen, entropy = np.zeros(n_batch, np.float32), np.zeros(n_batch, np.float32)
    grad_chosen, grad_entropy = np.empty_like(outputs), np.zeros_like(outputs)
    for b in range(n_batch):
        for k in range(n_dimensions):
            log_std = outputs[b, n_dimensions + k]
            std = np.exp(log_std)
            z = (np.float32(actions[b, k]) - outputs[b, k]) / std
            chosen[b] -= np.float32(0.5) * z * z + log_std + _HALF_LOG_2PI
            entropy[b] += log_std + np.float32(0.5) + _HALF_LOG_2PI
            grad_chosen[b, k], grad_chosen[b, n_dimensions + k] = z / std, z * z - np.float32(1)
            grad_entropy[b, n_dimensions + k] = np.float32(1)
    return chosen, grad_chosen, entropy, grad_entropy


@jit
def log_spread(x: Array, smallest: float) -> tuple[Array, Array]:
    """Return ``log σ`` of ``σ = max(softplus(x), smallest)`` and its derivative, (B, K) each."""
    values, slopes, least = np.empty(x.shape, np.float32), np.empty(x.shape, np.float32), np.float32(smallest)
    for b in range(x.shape[0]):
        for k in range(x.shape[1]):
            power = np.exp(-abs(x[b, k]))  # e^−|x| does not overflow
            spread = np.log1p(power) + max(x[b, k], np.float32(0))
            rise = (np.float32(1) if x[b, k] > 0 else power) / (np.float32(1) + power)
            values[b, k] = np.log(least if spread < least else spread)
            slopes[b, k] = np.float32(0) if spread < least else rise / spread
    return values, slopes
