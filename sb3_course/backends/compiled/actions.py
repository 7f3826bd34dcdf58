"""Compiled samples and scores of a categorical policy."""

from __future__ import annotations

from typing import Any

import numpy as np

from sb3_course.backends.compiled.jit import Array, exact, jit
from sb3_course.backends.compiled.softmax import largest, odds, require
from sb3_course.functional.distributions import Scores


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


@exact
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
