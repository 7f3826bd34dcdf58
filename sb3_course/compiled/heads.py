"""What the dueling head does to its two streams."""

from __future__ import annotations

import numpy as np

from sb3_course.compiled.jit import Array, jit


@jit
def dueling(value: Array, advantage: Array) -> Array:
    """Return ``V + A − mean A`` for each atom, (B, N) and (B, A, N) -> (B, A, N)."""
    n_batch, n_actions, n_atoms = advantage.shape
    outputs, share = np.empty((n_batch, n_actions, n_atoms), np.float32), np.float32(1 / n_actions)
    for b in range(n_batch):
        for i in range(n_atoms):
            total = advantage[b, 0, i]
            for a in range(1, n_actions):
                total += advantage[b, a, i]
            shift = value[b, i] - total * share
            for a in range(n_actions):
                outputs[b, a, i] = advantage[b, a, i] + shift
    return outputs


@jit
def dueling_gradient(grad: Array) -> tuple[Array, Array]:
    """Return ``∂V = Σ_a g``, (B, N), and ``∂A = g − mean g``, (B, A, N)."""
    n_batch, n_actions, n_atoms = grad.shape
    value, advantage = np.empty((n_batch, n_atoms), np.float32), np.empty((n_batch, n_actions, n_atoms), np.float32)
    share = np.float32(1 / n_actions)
    for b in range(n_batch):
        for i in range(n_atoms):
            total = grad[b, 0, i]
            for a in range(1, n_actions):
                total += grad[b, a, i]
            value[b, i] = total
            for a in range(n_actions):
                advantage[b, a, i] = grad[b, a, i] - total * share
    return value, advantage
