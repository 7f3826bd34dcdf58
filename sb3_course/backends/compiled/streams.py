"""How the dueling head joins its two streams, and splits their gradient."""

from __future__ import annotations

import numpy as np

from sb3_course.backends.compiled.jit import Array, inner, jit


@jit
def join_streams(value: Array, advantage: Array) -> Array:
    """Return ``V + A − mean A`` for each atom, (B, N) and (B, A, N) -> (B, A, N)."""
    n_batch, n_actions, n_atoms = advantage.shape
    outputs, share = np.empty((n_batch, n_actions, n_atoms), np.float32), np.float32(1 / n_actions)
    shift = np.empty(n_atoms, np.float32)
    for b in range(n_batch):
        sum_over_actions(advantage[b], shift)
        for i in range(n_atoms):
            shift[i] = value[b, i] - shift[i] * share
        for a in range(n_actions):
            for i in range(n_atoms):
                outputs[b, a, i] = advantage[b, a, i] + shift[i]
    return outputs


@jit
def split_gradient(grad: Array) -> tuple[Array, Array]:
    """Return ``∂V = Σ_a g``, (B, N), and ``∂A = g − mean g``, (B, A, N)."""
    n_batch, n_actions, n_atoms = grad.shape
    value, advantage = np.empty((n_batch, n_atoms), np.float32), np.empty((n_batch, n_actions, n_atoms), np.float32)
    share = np.float32(1 / n_actions)
    for b in range(n_batch):
        sum_over_actions(grad[b], value[b])
        for a in range(n_actions):
            for i in range(n_atoms):
                advantage[b, a, i] = grad[b, a, i] - value[b, i] * share
    return value, advantage


@inner
def sum_over_actions(each: Array, total: Array) -> None:
    """Write the sums over the first axis, (A, N) -> (N,), atom beside atom: the processor takes several at a time."""
    for i in range(total.size):
        total[i] = each[0, i]
    for a in range(1, len(each)):
        for i in range(total.size):
            total[i] += each[a, i]
