"""Gradient steps on minibatches whose targets are known beforehand, all of them in one call."""

from __future__ import annotations

from typing import Any

import numpy as np

from sb3_course.backends.compiled.batch_errors import errors_of_means
from sb3_course.backends.compiled.chain import P, Q, check_table, joint_backward, joint_forward
from sb3_course.backends.compiled.jit import Array, jit
from sb3_course.backends.compiled.optimizers import clipped_norm, step_adam


@jit
def regress(
    x: Array,
    actions: Array,
    targets: Array,
    rows: Array,
    bounds: Array,
    table: Array,
    shapes: Array,
    layer_norms: Array | None,
    values: Array,
    grads: Array,
    noise: Array,
    scratch: Array,
    outputs: Array,
    mean: Array,
    square: Array,
    plan: Array,
    limit: float,
    kind: int,
    losses: Array,
    norms: Array,
) -> tuple[int, Array]:
    """Take K steps of Adam towards the targets; return how many were taken, and the last minibatch's predictions.

    Minibatch k is ``rows[bounds[k]:bounds[k + 1]]``. A gradient that is not finite takes no step, and is the last one.

    :param x: what the first layer sees, (T, p)
    :param actions: counted from 0, (T,)
    :param targets: (T,)
    :param outputs: memory for the outputs of all layers for one row of the largest minibatch after the other
    :param plan: of each step what `step_adam` takes behind the statistics, (K, 6)
    :param limit: of the gradient's norm; negative: none
    :param kind: of the loss, see `batch_errors.KINDS`
    :param losses: where each minibatch's mean loss goes, (K,)
    :param norms: where the norms go, before they are clipped, (K,)
    """  # fmt: skip
    check_table(x, table)
    p, n_actions, predictions = table[0, P], table[-1, Q], np.empty((0, 1), np.float32)
    largest = 0
    for k in range(plan.shape[0]):
        largest = max(largest, bounds[k + 1] - bounds[k])
    width = outputs.size // largest
    for k in range(plan.shape[0]):
        n = bounds[k + 1] - bounds[k]
        seen, taken, wanted = np.empty((n, p), np.float32), np.empty(n, np.int64), np.empty(n, np.float32)
        for i in range(n):
            row = rows[bounds[k] + i]
            taken[i], wanted[i] = actions[row], targets[row]
            for j in range(p):
                seen[i, j] = x[row, j]
        memory, equal = outputs[: n * width], np.ones(n, np.float32)
        found = joint_forward(seen, table, shapes, layer_norms, values, noise, scratch, True, memory)
        cube, nothing = found.reshape(n, n_actions, 1), np.zeros(n, np.float32)
        loss, gradient, predictions, _ = errors_of_means(cube, taken, cube, found, wanted, nothing, equal, kind)
        back = gradient.reshape(n, n_actions)
        joint_backward(back, seen, table, shapes, layer_norms, values, grads, noise, scratch, memory, n, False)
        losses[k], norms[k] = np.float64(np.dot(loss, equal)) / n, clipped_norm(grads, limit)
        if not np.isfinite(norms[k]):
            return k, predictions
        step_adam(values, grads, mean, square, plan[k, 0], plan[k, 1], plan[k, 2], plan[k, 3], plan[k, 4], plan[k, 5])
        if not np.isfinite(losses[k]):
            return k + 1, predictions
    return plan.shape[0], predictions


def planned(group: dict[str, Any], numbers_of: Any, first: float, n_steps: int) -> Array:
    """Return what each of some steps of an optimizer computes with, (K, 6).

    :param numbers_of: ``numbers_of(group, n)``, of step n
    :param first: the number of the first one
    """
    return np.array([numbers_of(group, first + k) for k in range(n_steps)], np.float32)
