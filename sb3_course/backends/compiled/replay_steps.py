"""Gradient steps of Q-learning from replay, from drawn numbers to Adam's step and the new priorities, in one call."""

from __future__ import annotations

from typing import Any

import numpy as np

from sb3_course.backends.compiled.batch_errors import (
    errors_of_categories,
    errors_of_means,
    first_largest,
    kl_of_loss,
)
from sb3_course.backends.compiled.jit import Array, inner, jit, joint
from sb3_course.backends.compiled.network_passes import network_backward, network_forward
from sb3_course.backends.compiled.noise import signed_roots
from sb3_course.backends.compiled.optimizers import clipped_norm, step_adam
from sb3_course.backends.compiled.replay_draws import (
    N_SHARED,
    draw_leaves,
    gather,
    move_target,
    new_priorities,
    weights_of_leaves,
)
from sb3_course.backends.compiled.softmax import expectations, odds
from sb3_course.functional.categorical import CLIP_TOLERANCE

#: The return estimates whose values are known here, and those whose updates are: NumPy sorts quantiles several at a
#: time, an update that sorts them one by one takes half as long again. Which one it is, the type of an argument
#: says, so that only what it needs is compiled: `support` is None unless there are atoms.
VALUED, LEARNED = ("mean", "categorical", "quantile"), ("mean", "categorical")
#: What steps are asked for in whole numbers, behind those of `gather`, and what they say there, whatever ends them:
#: how many were begun, and how many the optimizer has taken; what they are asked for in others.
DOUBLE, NOISY, PRIORITIZED, LOSS, BEGUN, TAKEN, N_WHOLE = range(N_SHARED, N_SHARED + 7)
LIMIT, TAU, FACTOR, ALPHA, BETA, EPS, N_REAL = range(7)


@inner
def values_of(outputs: Array, support: Array | None) -> Array:
    """Return what the greedy choice compares, (B, A, N) -> (B, A)."""
    n_batch, n_actions, n_atoms = outputs.shape
    if support is not None:
        expected: Array = expectations(outputs, support)
        return expected
    values = np.empty((n_batch, n_actions), np.float32)
    for b in range(n_batch):
        for a in range(n_actions):
            total = np.float32(0)
            for i in range(n_atoms):
                total += outputs[b, a, i]
            values[b, a] = total / np.float32(n_atoms)
    return values


@jit
def greedy_actions(
    x: Array,
    head: Array,
    table: Array,
    shapes: Array,
    layer_norms: Array | None,
    online: Array,
    noise: Array,
    outputs: Array | None,
    drawn: Array,
    support: Array | None,
) -> Array:
    """Return the best actions, counted from 0, (B, F) -> (B,), with a new sample of the noise if one is `drawn`.

    :param outputs: an empty array; None for few rows, whose way alone is then compiled
    """
    if drawn.size:
        signed_roots(drawn, noise)
    outputs, _ = network_forward(x, head, table, shapes, layer_norms, online, noise, noise[:0], outputs)
    values, actions = values_of(outputs, support), np.empty(len(x), np.int64)
    for b in range(len(x)):
        actions[b] = first_largest(values[b])
    return actions


@inner
def mass_outside(outputs: Array, values: Array, rewards: Array, discounts: Array, support: Array) -> float:
    """Return the mean of `functional.clipped_mass` of the distributions at the best next actions."""
    n_batch, n_atoms, total = len(outputs), support.size, 0.0
    powers = np.empty(n_atoms, np.float32)
    gap = (support[-1] - support[0]) / np.float32(n_atoms - 1)
    for b in range(n_batch):
        whole, outside = odds(outputs[b, first_largest(values[b])], powers), np.float32(0)
        start = (rewards[b] + (discounts[b] - np.float32(1)) * support[0]) / gap
        for j in range(n_atoms):
            place = start + discounts[b] * np.float32(j)
            if place < -CLIP_TOLERANCE or place > n_atoms - 1 + CLIP_TOLERANCE:
                outside += powers[j]
        total += outside / whole
    return total / n_batch


@joint
def errors_of(
    outputs: Array,
    actions: Array,
    next_outputs: Array,
    values: Array,
    support: Array | None,
    rewards: Array,
    discounts: Array,
    weights: Array,
    loss: int,
) -> Any:
    """Return an estimate's losses (B,), the gradient of the outputs (B, A, N), predictions and targets (B, N)."""
    numbers = rewards, discounts, weights
    if support is not None:
        return errors_of_categories(outputs, actions, next_outputs, values, support, *numbers)
    else:  # noqa: RET505 - what stands behind a `return` would be compiled, too
        return errors_of_means(outputs, actions, next_outputs, values, *numbers, loss)


@joint
def priorities_of(losses: Array, predictions: Array, targets: Array, support: Array | None) -> Any:
    """Return what the estimates call priorities, (B,)."""
    if support is not None:
        return kl_of_loss(losses, targets)
    else:  # noqa: RET505
        return np.abs(predictions[:, 0] - targets[:, 0])


@jit
def replay_steps(
    rows: Array,
    wide: Array,
    columns: Array,
    powers: Array,
    found: Array,
    quantiles: Array,
    tree: Array,
    levels: Array,
    bounds: Array,
    normal: Array,
    head: Array,
    table: Array,
    shapes: Array,
    layer_norms: Array | None,
    online: Array,
    target: Array,
    grads: Array,
    noise: Array,
    target_noise: Array,
    scratch: Array,
    outputs: Array,
    mean: Array,
    square: Array,
    plan: Array,
    due: Array,
    support: Array | None,
    whole: Array,
    real: Array,
    losses: Array,
    norms: Array,
    clipped: Array,
) -> Any:
    """Take K steps; return the last one's predictions (B, N); `whole` says how many: see `BEGUN`.

    A gradient that is not finite takes no step, and is the last one, as is a loss that is not finite.

    :param rows: of replay, as `wide`, `columns` and `powers`: see `gather`
    :param found: the flat indices of the batches, drawn already or here, (K, B)
    :param quantiles: of the tree's sum, where draws are prioritized, (K, B); for `tree`, `levels`, `bounds` see there
    :param normal: numbers for the noise, (K, networks passes · samples)
    :param head: of both networks, as `table`, `shapes` and `layer_norms`: see `network_forward`
    :param online: parameters, as `target`; `noise` and `target_noise` are their samples
    :param mean: statistics of Adam, as `square`; `plan` as in `regress`
    :param due: whether the target is moved after a step, (K,)
    :param support: of a categorical estimate
    :param whole: what is asked for in whole numbers: see `DOUBLE`
    :param real: in others: see `LIMIT`
    :param losses: where the mean losses go, (K,)
    :param norms: where the gradients' norms go, before they are clipped, (K,)
    :param clipped: where the mass beyond the support goes for each step that is not NaN there, (K,)
    """
    n_batch, double, noisy = found.shape[1], whole[DOUBLE] > 0, whole[NOISY] > 0
    n, both, predictions = noise.size, double and not noisy, np.empty((0, 1), np.float32)
    n_passes = 3 if double and noisy else 2
    for k in range(plan.shape[0]):
        whole[BEGUN] = k + 1
        weights = np.ones(n_batch, np.float32)
        if whole[PRIORITIZED] > 0:
            draw_leaves(tree, levels, quantiles[k], found[k])
            weights = weights_of_leaves(tree, found[k], real[BETA])
        seen, actions, rewards, discounts = gather(rows, wide, columns, found[k], powers, whole)
        x = seen if both else seen[:n_batch]
        # The target of the next observations; the network that chooses there, where it has noise of its own; the loss.
        mine, above = np.empty((0, 1, 1), np.float32), x
        next_outputs = selector = mine
        for place in range(n_passes):
            last, own = place == n_passes - 1, place > 0
            if noisy:
                signed_roots(normal[k, place * n : (place + 1) * n], noise if own else target_noise)
            mine, above = network_forward(
                x if last else seen[n_batch:], head, table, shapes, layer_norms, online if own else target,
                noise if own else target_noise, scratch, outputs if last else outputs[:0],
            )  # fmt: skip
            next_outputs, selector = next_outputs if own else mine, selector if last else mine
        values = values_of(mine[n_batch:] if both else selector, support)
        if support is not None:  # noqa: SIM102 - by its type alone, or it would be compiled for others, too
            if clipped[k] == clipped[k]:
                clipped[k] = mass_outside(next_outputs, values, rewards, discounts, support)
        loss, gradient, predictions, wanted = errors_of(
            mine[:n_batch], actions, next_outputs, values, support, rewards, discounts, weights, whole[LOSS]
        )
        network_backward(
            gradient, x, above, head, table, shapes, layer_norms, online, grads, noise, scratch, outputs, real[FACTOR]
        )
        losses[k], norms[k] = np.float64(np.dot(loss, weights)) / n_batch, clipped_norm(grads, real[LIMIT])
        if not np.isfinite(norms[k]):
            return predictions
        step_adam(online, grads, mean, square, plan[k, 0], plan[k, 1], plan[k, 2], plan[k, 3], plan[k, 4], plan[k, 5])
        whole[TAKEN] = k + 1
        if not np.isfinite(losses[k]):
            return predictions
        if whole[PRIORITIZED] > 0:
            priorities = priorities_of(loss, predictions, wanted, support)
            new_priorities(tree, levels, found[k], priorities, real[ALPHA], real[EPS], bounds)
        if due[k]:
            move_target(online, target, real[TAU])
    return predictions
