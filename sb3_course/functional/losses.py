"""Per-sample losses, each together with its gradient: the learning rule is written here, once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from sb3_course.functional.array_api import Array
from sb3_course.functional.distributions import Scores

#: ``loss(predictions (B,), targets (B,)) -> (loss (B,), gradient with respect to the predictions (B,))``
Loss: TypeAlias = Callable[[Array, Array], tuple[Array, Array]]


def huber(predictions: Array, targets: Array) -> tuple[Array, Array]:
    """Return the Huber loss of δ = prediction − target and its gradient.

    ``½δ²`` where ``|δ| < 1``, else ``|δ| − ½``; gradient ``g = clip(δ, −1, 1)``, so that both branches of the
    loss are ``g·(δ − ½g)`` (Mnih et al. 2015, Methods: the error term is clipped to [−1, 1]).

    :param predictions: Q(s, a), returns, (B,)
    :param targets: what they are pulled towards, returns, (B,)
    :return: loss (B,), gradient with respect to the predictions (B,)
    """
    errors = predictions - targets
    gradients = errors.clip(-1, 1)
    return gradients * (errors - 0.5 * gradients), gradients


def l2(predictions: Array, targets: Array) -> tuple[Array, Array]:
    """Return ``½δ²`` and its gradient ``δ``: a step α moves a table entry by −α·δ (Sutton & Barto 2018, Eq. 6.8).

    :param predictions: Q(s, a), returns, (B,)
    :param targets: what they are pulled towards, returns, (B,)
    :return: loss, squared returns, (B,), gradient with respect to the predictions (B,)
    """
    errors = predictions - targets
    return 0.5 * errors * errors, errors


def mse(predictions: Array, targets: Array) -> tuple[Array, Array]:
    """Return ``δ²`` and its gradient ``2δ``: the convention of ``torch.nn.MSELoss``.

    :param predictions: Q(s, a), returns, (B,)
    :param targets: what they are pulled towards, returns, (B,)
    :return: loss, squared returns, (B,), gradient with respect to the predictions (B,)
    """
    errors = predictions - targets
    return errors * errors, 2 * errors


#: ``loss(log_prob, entropy, psi, ent_coef, before) -> (loss (B,), gradient with respect to the outputs (B, D))``
PolicyLoss: TypeAlias = Callable[[Scores, Scores, Array, float, Array], tuple[Array, Array]]

#: The values of the argument ``loss``.
LOSSES: dict[str, Loss] = {"huber": huber, "l2": l2, "mse": mse}


def mean_gradient(gradients: Array, weights: Array) -> Array:
    """Turn per-sample gradients into the gradient of the weighted mean, ``g · w · (1/B)``.

    Multiplied by 1/B, not divided by B: so does torch's backward of a mean, and for a B that is
    no power of two the two differ in the last bit.

    :param gradients: g, (B, …)
    :param weights: w, (B,), or (B, 1) for gradients of several numbers each
    :return: (B, …)
    """
    return gradients * weights * (1.0 / len(gradients))


def policy_gradient(
    log_prob: Scores, entropy: Scores, psi: Array, ent_coef: float, before: Array | None = None
) -> tuple[Array, Array]:
    """Return ``−Ψ·log π(a|s) − c·H(π(·|s))`` and its gradient with respect to the outputs.

    The gradient of the first part is ``(softmax − onehot)·Ψ`` for a categorical distribution: the sampled gradient of
    the expected return, with the sign of a loss (Williams 1992; Sutton & Barto 2018, Eq. 13.8).

    :param log_prob: log π(a|s) (B,) and ∇ log π (B, D)
    :param entropy: H (B,) and ∇H (B, D)
    :param psi: Ψ, a number that nothing is differentiated through, (B,)
    :param ent_coef: c
    :param before: log π(a|s) before the update, (B,): of no use here, a loss of ratios needs it
    :return: loss (B,), gradient (B, D)
    """
    losses = -psi * log_prob.values - ent_coef * entropy.values
    return losses, -psi[:, None] * log_prob.gradients - ent_coef * entropy.gradients
