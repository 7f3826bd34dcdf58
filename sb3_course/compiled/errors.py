"""From the outputs of a batch to its losses and their gradient: `sb3_course.value.laws.td_errors`."""

from __future__ import annotations

from typing import Any

import numpy as np

from sb3_course.compiled.jit import Array, exact, jit
from sb3_course.compiled.softmax import largest, odds


@jit
def first_largest(values: Array) -> int:
    """Return the index of the first of the largest, or of one that is NaN, as NumPy's ``argmax``."""
    best = 0
    for a in range(1, values.size):
        if not values[a] <= values[best]:
            best = a
    return best


@jit
def td_errors(
    outputs: Array,
    actions: Array,
    next_outputs: Array,
    values: Array,
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
        best = first_largest(values[b])
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


@exact
def positions(reward: Any, discount: Any, support: Array, found: Array) -> None:
    """Write to `found` (N,) where the targets lie, in atoms: `functional.categorical`'s, to the last bit."""
    last = np.float32(support.size - 1)
    gap = (support[-1] - support[0]) / last
    start = (reward + (discount - np.float32(1)) * support[0]) / gap
    for j in range(support.size):
        found[j] = min(max(start + discount * np.float32(j), np.float32(0)), last)


@jit
def project(powers: Array, total: Any, position: Array, lower: Array, upper: Array, target: Array) -> None:
    """Write `functional.project` of the law ``powers / total`` to `target` (N,).

    Lower and upper neighbours have sums of their own, in float64: one sum would have to wait for the one before.

    :param position: of each atom's target, (N,)
    :param lower: memory for the sums, (N,)
    :param upper: memory for the sums, (N,)
    """
    n_atoms, scale = powers.size, 1 / total
    lower[:], upper[:] = 0, 0
    for j in range(n_atoms):
        left = min(int(position[j]), n_atoms - 2)
        to_upper = (position[j] - np.float32(left)) * powers[j]
        lower[left] += powers[j] - to_upper
        upper[left + 1] += to_upper
    for i in range(n_atoms):
        target[i] = (lower[i] + upper[i]) * scale


@jit
def kl_of_loss(losses: Array, targets: Array) -> Array:
    """Return `functional.kl_of_loss`: the losses (B,) less the entropies of the targets (B, N), at least 0."""
    found = np.empty(losses.size, np.float32)
    for b in range(losses.size):
        total = losses[b]
        for i in range(targets.shape[1]):
            if targets[b, i] > 0:
                total += targets[b, i] * np.log(targets[b, i])
        found[b] = np.float32(0) if total < 0 else total
    return found


@jit
def categorical_errors(
    outputs: Array,
    actions: Array,
    next_outputs: Array,
    values: Array,
    support: Array,
    rewards: Array,
    discounts: Array,
    weights: Array,
) -> tuple[Array, Array, Array, Array]:
    """`value.laws.td_errors` for distributions, N > 1: project the next law, then the cross-entropy and its gradient.

    :param values: of the next actions, of which the first of the largest is picked, (B, A)
    :return: losses (B,), gradient of the outputs (B, A, N), predictions (B, N), targets (B, N)
    """  # fmt: skip
    n_batch, n_actions, n_atoms = outputs.shape
    losses, gradient = np.empty(n_batch, np.float32), np.zeros((n_batch, n_actions, n_atoms), np.float32)
    predictions, targets = np.empty((n_batch, n_atoms), np.float32), np.empty((n_batch, n_atoms), np.float32)
    powers, position = np.empty(n_atoms, np.float32), np.empty(n_atoms, np.float32)
    lower, upper = np.empty(n_atoms), np.empty(n_atoms)
    for b in range(n_batch):
        best = first_largest(values[b])
        total = odds(next_outputs[b, best], powers)
        positions(rewards[b], discounts[b], support, position)
        project(powers, total, position, lower, upper, targets[b])

        logits, target, share = outputs[b, actions[b]], targets[b], weights[b] * np.float32(1.0 / n_batch)
        predictions[b] = logits
        total, shift, inner = odds(logits, powers), largest(logits), np.float32(0)
        scale = np.float32(1) / total
        for i in range(n_atoms):
            inner += target[i] * (logits[i] - shift)
            gradient[b, actions[b], i] = (powers[i] * scale - target[i]) * share
        losses[b] = np.log(total) - inner
    return losses, gradient, predictions, targets
