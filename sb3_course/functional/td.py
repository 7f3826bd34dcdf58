"""What a batch of transitions says of the outputs: targets, losses and the gradient that the network learns from.

``outputs`` are the online network's (B, A, N), ``actions`` those taken (B,), ``next_outputs`` the target network's for
the next observations (B, A, N). ``values`` (B, A) pick the next action: the one with the largest in its row.
``rewards``, ``discounts`` and ``weights`` are the batch's, (B,) each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from sb3_course.functional.array_api import Array, rows, zeros_like
from sb3_course.functional.categorical import cross_entropy, project, softmax
from sb3_course.functional.losses import LOSSES, Loss, mean_gradient
from sb3_course.functional.targets import select, td_target


class Formula(NamedTuple):
    """What a return estimate computes, in words by which a backend may know it."""

    name: str  # of the estimate, see `value.estimates`; what the greedy choice compares is the mean
    loss: str = "huber"  # of a mean
    support: Array | None = None  # the atoms of a categorical estimate


class Errors(NamedTuple):
    """What a batch says of the outputs: a loss for each transition, and what follows from it.

    :param losses: (B,)
    :param grad_outputs: the gradient of the weighted mean loss, (B, A, N)
    :param predictions: of the actions taken, (B, N)
    :param targets: what they are pulled towards, (B, N)
    """

    losses: Array
    grad_outputs: Array
    predictions: Array
    targets: Array


def errors_at_actions(
    outputs: Array,
    actions: Array,
    next_outputs: Array,
    values: Array,
    weights: Array,
    targets: Callable[[Array], Array],
    loss: Loss,
) -> Errors:
    """Return the errors of any return estimate: targets from the best next actions, the loss at the actions taken.

    ``∂/∂outputs[b, a_b] = w_b·g_b/B``, with g the gradient of the loss, and 0 for the other actions.

    :param outputs: the online network's, (B, A, N)
    :param actions: a, those taken, (B,)
    :param next_outputs: the target network's for the next observations, (B, A, N)
    :param values: what picks the next action, the largest of a row, (B, A)
    :param weights: w, importance weights, (B,)
    :param targets: from the outputs at the best next actions to what is learned from them, (B, N) -> (B, N)
    :param loss: ``loss(predictions (B, N), targets (B, N))`` returns the losses (B,) and their gradients (B, N)
    :return: with losses (B,) and gradients (B, A, N)
    """  # fmt: skip
    wanted = targets(select(next_outputs, values))  # (B, N)
    chosen = rows(outputs), actions
    predictions = outputs[chosen]  # (B, N)
    losses, gradients = loss(predictions, wanted)  # (B,), (B, N)
    grad_outputs = zeros_like(outputs)
    grad_outputs[chosen] = mean_gradient(gradients, weights[:, None])
    return Errors(losses, grad_outputs, predictions, wanted)


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
    """Return the errors of expected returns, N = 1: ``δ = Q(s, a) − (r + discount · Q'(s', a'))``.

    (Mnih et al. 2015, Algorithm 1.)

    :param outputs: the online network's Q, (B, A, 1)
    :param actions: a, those taken, (B,)
    :param next_outputs: Q', the target network's for the next observations, (B, A, 1)
    :param values: what picks the next action a', the largest of a row, (B, A)
    :param rewards: r, the (discounted, m-step) reward, (B,)
    :param discounts: γ^m·(1 − terminated), (B,)
    :param weights: importance weights, (B,)
    :param loss: of δ, a name in `LOSSES`
    :return: with losses (B,) and gradients (B, A, 1)
    """  # fmt: skip
    loss_of = LOSSES[loss]

    def targets(picked: Array) -> Array:
        return td_target(rewards, discounts, picked[:, 0])[:, None]

    def column(predictions: Array, wanted: Array) -> tuple[Array, Array]:
        losses, gradients = loss_of(predictions[:, 0], wanted[:, 0])
        return losses, gradients[:, None]

    return errors_at_actions(outputs, actions, next_outputs, values, weights, targets, column)


def categorical_errors(
    outputs: Array,
    actions: Array,
    next_outputs: Array,
    values: Array,
    support: Array,
    rewards: Array,
    discounts: Array,
    weights: Array,
) -> Errors:
    """Return the errors of distributions over fixed atoms, N > 1 (Bellemare et al. 2017, Algorithm 1).

    The targets are the distributions of ``r + discount · Z'``, projected; the loss is the cross-entropy.

    :param outputs: the online network's logits, (B, A, N)
    :param actions: those taken, (B,)
    :param next_outputs: the target network's logits for the next observations, (B, A, N)
    :param values: what picks the next action, the largest of a row, (B, A)
    :param support: the atoms z, returns, (N,)
    :param rewards: r, the (discounted, m-step) reward, (B,)
    :param discounts: γ^m·(1 − terminated), (B,)
    :param weights: importance weights, (B,)
    :return: with losses (B,) and gradients (B, A, N)
    """  # fmt: skip

    def targets(picked: Array) -> Array:
        return project(softmax(picked), rewards, discounts, support)

    return errors_at_actions(outputs, actions, next_outputs, values, weights, targets, cross_entropy)
