"""What follows from a network's outputs: softmax, a categorical policy's actions and scores, a batch's losses.

In one module, because Numba takes a loop from the disk as long as the loop's own module is what it was.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sb3_course.backends.compiled.jit import Array, exact, jit, numbers


@jit
def require(action: int, n_actions: int) -> None:
    """Refuse an action that there is no output for: compiled indices are not checked."""
    if not 0 <= action < n_actions:
        raise IndexError("an action is none of those that the network has outputs for")


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


@jit
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
        require(actions[b], n_actions)
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
        position = start + discount * np.float32(j)
        position = np.float32(0) if position < 0 else position  # NaN stays NaN
        found[j] = last if position > last else position


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
        left = min(max(int(position[j]), 0), n_atoms - 2)  # of NaN it may be any number, and nothing checks the index
        to_upper = (position[j] - np.float32(left)) * powers[j]
        lower[left] += powers[j] - to_upper
        upper[left + 1] += to_upper
    for i in range(n_atoms):
        target[i] = (lower[i] + upper[i]) * scale


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


@jit
def kl_of_loss(losses: Array, targets: Array) -> Array:
    """Return `functional.kl_of_loss`: the losses (B,) less the entropies of the targets (B, N), at least 0."""
    n_batch, n_atoms = targets.shape
    found, terms = np.empty(n_batch, np.float32), np.empty((n_batch, n_atoms), np.float32)
    flat, masses, least = terms.reshape(terms.size), targets.reshape(targets.size), np.float32(1e-37)
    for i in range(flat.size):
        flat[i] = masses[i] * logarithm(least if masses[i] < least else masses[i])  # NaN: the loss is none, too
    sums = np.dot(terms, np.ones(n_atoms, np.float32))
    for b in range(n_batch):
        total = losses[b] + sums[b]
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
    powers = np.empty((2 * n_batch, n_atoms), np.float32)  # of the next laws, then of those at hand
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
