"""Temporal-difference errors: temporary."""

from __future__ import annotations

from typing import NamedTuple

from sb3_course.functional.array_api import Array, namespace, rows
from sb3_course.functional.categorical import cross_entropy, expectation, project, softmax
from sb3_course.functional.losses import LOSSES, mean_gradient
from sb3_course.functional.targets import select, td_target


class Errors(NamedTuple):
    losses: Array
    grad_outputs: Array
    predictions: Array
    targets: Array


def bootstrapped(outputs, actions, next_outputs, values, weights, targets, loss):
    picked = select(next_outputs, values)
    wanted = targets(picked)
    chosen = rows(outputs), actions
    predictions = outputs[chosen]
    losses, gradients = loss(predictions, wanted)
    grad_outputs = namespace(outputs).zeros_like(outputs)
    grad_outputs[chosen] = mean_gradient(gradients, weights[:, None])
    return Errors(losses, grad_outputs, predictions, wanted)


def td_errors(outputs, actions, next_outputs, values, rewards, discounts, weights, loss):
    def of(p, t):
        l, g = LOSSES[loss](p[:, 0], t[:, 0])
        return l, g[:, None]

    return bootstrapped(
        outputs, actions, next_outputs, values, weights, lambda p: td_target(rewards, discounts, p[:, 0])[:, None], of
    )


def categorical_errors(outputs, actions, next_outputs, values, support, rewards, discounts, weights):
    return bootstrapped(
        outputs,
        actions,
        next_outputs,
        values,
        weights,
        lambda p: project(softmax(p), rewards, discounts, support),
        cross_entropy,
    )


def expectations(outputs, support):
    return expectation(softmax(outputs), support)
