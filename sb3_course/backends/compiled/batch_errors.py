"""Compiled errors of a batch of transitions: targets, losses and the gradient of the outputs."""

from __future__ import annotations

from typing import Any

import numpy as np

from sb3_course.backends.compiled.jit import Array, exact, inner, jit
from sb3_course.backends.compiled.softmax import all_odds, largest, logarithm, require
from sb3_course.functional import td
from sb3_course.functional.td import Errors

HUBER, L2, MSE = range(3)
#: The losses known here, by the names of `sb3_course.functional.LOSSES`.
KINDS = {"huber": HUBER, "l2": L2, "mse": MSE}


def td_errors(
    outputs: Array,
    actions: Array,
    next_outputs: Array,
    values: Array,
    rewards: Array,
    discounts: Array,
    weights: Array,
    loss: str,
) -> Errors:
    """Return the errors of expected returns, N = 1; for a loss that is not known here the plain function does."""
    kind = KINDS.get(loss)
    if kind is None:
        return td.td_errors(outputs, actions, next_outputs, values, rewards, discounts, weights, loss)
    return Errors(*errors_of_means(outputs, actions, next_outputs, values, rewards, discounts, weights, kind))


def categorical_errors(*arrays: Array) -> Errors:
    """Return the errors of distributions over fixed atoms, N > 1."""
    return Errors(*errors_of_categories(*arrays))


@inner
def first_largest(values: Array) -> int:
    """Return the index of the first of the largest, or of the first that is NaN, as NumPy's ``argmax``."""
    best = 0
    for a in range(values.size):
        if values[a] != values[a]:
            return a
        if values[a] > values[best]:
            best = a
    return best


@jit
def errors_of_means(
    outputs: Array,
    actions: Array,
    next_outputs: Array,
    values: Array,
    rewards: Array,
    discounts: Array,
    weights: Array,
    kind: int,
) -> tuple[Array, Array, Array, Array]:
    """Return what `td_errors` does, one transition after the other.

    :param kind: of the loss, see `KINDS`
    :return: losses (B,), gradient of the outputs (B, A, 1), predictions (B, 1), targets (B, 1)
    """  # fmt: skip
    n_batch, n_actions = outputs.shape[0], outputs.shape[1]
    losses, gradient = np.empty(n_batch, np.float32), np.zeros((n_batch, n_actions, 1), np.float32)
    predictions, targets = np.empty((n_batch, 1), np.float32), np.empty((n_batch, 1), np.float32)
    share, one, half = np.float32(1.0 / n_batch), np.float32(1), np.float32(0.5)
    for b in range(n_batch):
        require(actions[b], n_actions)
        best = first_largest(values[b])
        target = rewards[b] + discounts[b] * next_outputs[b, best, 0]
        prediction = outputs[b, actions[b], 0]
        error = prediction - target
        if kind == HUBER:
            slope = min(max(error, -one), one) if error == error else error
            losses[b] = slope * (error - half * slope)
        elif kind == L2:
            slope = error
            losses[b] = half * error * error
        elif kind == MSE:
            slope = error + error
            losses[b] = error * error
        else:
            raise ValueError("a loss is none of those known here")
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
        position = start + discount * np.float32(j)
        position = np.float32(0) if position < 0 else position  # NaN stays NaN
        found[j] = last if position > last else position


@inner
def project(powers: Array, total: Any, position: Array, lower: Array, upper: Array, target: Array) -> None:
    """Write `functional.project` of the distribution ``powers / total`` to `target` (N,).

    Lower and upper neighbours have sums of their own, in float64: one sum would have to wait for the one before.

    :param position: of each atom's target, (N,)
    :param lower: memory for the sums, (N,)
    :param upper: memory for the sums, (N,)
    """
    n_atoms, scale = powers.size, 1 / total
    lower[:], upper[:] = 0, 0
    for j in range(n_atoms):
        left = min(max(int(position[j]), 0), n_atoms - 2)  # of NaN it may be any number, and nothing checks the index
        to_upper = (position[j] - np.float32(left)) * powers[j]
        lower[left] += powers[j] - to_upper
        upper[left + 1] += to_upper
    for i in range(n_atoms):
        target[i] = (lower[i] + upper[i]) * scale


@jit
def errors_of_categories(
    outputs: Array,
    actions: Array,
    next_outputs: Array,
    values: Array,
    support: Array,
    rewards: Array,
    discounts: Array,
    weights: Array,
) -> tuple[Array, Array, Array, Array]:
    """Return what `categorical_errors` does: project the next distribution, then the cross-entropy and its gradient.

    :return: losses (B,), gradient of the outputs (B, A, N), predictions (B, N), targets (B, N)
    """  # fmt: skip
    n_batch, n_actions, n_atoms = outputs.shape
    losses, gradient = np.empty(n_batch, np.float32), np.zeros((n_batch, n_actions, n_atoms), np.float32)
    predictions, targets = np.empty((n_batch, n_atoms), np.float32), np.empty((n_batch, n_atoms), np.float32)
    powers = np.empty((2 * n_batch, n_atoms), np.float32)  # of the next states' distributions, then of those at hand
    for b in range(n_batch):
        require(actions[b], n_actions)
        following, logits = next_outputs[b, first_largest(values[b])], outputs[b, actions[b]]
        shift, other = largest(following), largest(logits)
        for i in range(n_atoms):
            powers[b, i] = following[i] - shift
            predictions[b, i] = powers[n_batch + b, i] = logits[i] - other
    totals = all_odds(powers)
    position, lower, upper = np.empty(n_atoms, np.float32), np.empty(n_atoms), np.empty(n_atoms)
    for b in range(n_batch):
        positions(rewards[b], discounts[b], support, position)
        project(powers[b], totals[b], position, lower, upper, targets[b])
        total, share = totals[n_batch + b], weights[b] * np.float32(1.0 / n_batch)
        scale, inner = np.float32(1) / total, np.float32(0)
        for i in range(n_atoms):
            inner += targets[b, i] * predictions[b, i]
            gradient[b, actions[b], i] = (powers[n_batch + b, i] * scale - targets[b, i]) * share
            predictions[b, i] = outputs[b, actions[b], i]
        losses[b] = np.log(total) - inner
    return losses, gradient, predictions, targets


@jit
def kl_of_loss(losses: Array, targets: Array) -> Array:
    """Return the losses (B,) less the entropies of the targets (B, N), at least 0."""
    n_batch, n_atoms = targets.shape
    found, terms = np.empty(n_batch, np.float32), np.empty((n_batch, n_atoms), np.float32)
    flat, masses = terms.reshape(terms.size), np.ascontiguousarray(targets).reshape(targets.size)
    least = np.float32(1e-37)
    for i in range(flat.size):
        flat[i] = masses[i] * logarithm(least if masses[i] < least else masses[i])  # NaN: the loss is none, too
    sums = np.dot(terms, np.ones(n_atoms, np.float32))
    for b in range(n_batch):
        total = losses[b] + sums[b]
        found[b] = np.float32(0) if total < 0 else total
    return found
