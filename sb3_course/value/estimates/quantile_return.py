"""Quantiles of the return, as in QR-DQN: no support to choose, at any scale of rewards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sb3_course.config.argument import Argument
from sb3_course.config.argument_types import Count, NonNegative
from sb3_course.functional import Errors, errors_at_actions
from sb3_course.functional.array_api import Array, namespace, steps
from sb3_course.functional.risk import Risk
from sb3_course.value.estimates.estimate import ReturnEstimate, Targets, itself


def quantile_huber(quantiles: Array, targets: Array, kappa: float) -> tuple[Array, Array]:
    """Return ``Σ_i E_j ρ_τi(T_j − θ_i)`` and its gradient with respect to θ (Dabney et al. 2018b, Eq. 10).

    ``ρ_τ(u) = |τ − [u < 0]| · L(u)/κ`` with the Huber loss ``L(u) = ½u²`` for ``|u| < κ``, else ``κ(|u| − ½κ)``, and
    ``τ_i = (i + ½)/N``; κ = 0 is quantile regression itself, ``L(u)/κ = |u|``. With ``g = clip(u, −κ, κ)`` both
    branches of L are ``g·(u − ½g)``.

    :param quantiles: θ, (B, N)
    :param targets: T, (B, M)
    :return: (B,) and (B, N)
    """
    xp, n = namespace(quantiles), quantiles.shape[1]
    levels = ((steps(n, quantiles) + 0.5) / n)[:, None]  # τ, (N, 1)
    errors = targets[:, None, :] - quantiles[:, :, None]  # u, (B, N, M)
    asymmetry = xp.where(errors < 0, 1 - levels, levels)
    if kappa > 0:
        slopes = errors.clip(-kappa, kappa)
        losses, gradients = slopes * (errors - 0.5 * slopes) * (1 / kappa), slopes * (1 / kappa)
    else:
        losses, gradients = xp.abs(errors), xp.sign(errors)
    return (asymmetry * losses).mean(2).sum(1), -(asymmetry * gradients).mean(2)


class QuantileReturn(ReturnEstimate):
    """N > 1: an output is quantiles ``θ_i(s, a) = F⁻¹_{Z(s, a)}((i + ½)/N)`` (Dabney et al. 2018b).

    The targets are the quantiles of ``r + γ^m·Z(s', a')``; no support, no projection.

    :param n_quantiles: N
    :param kappa: κ, up to which error the Huber loss is a square
    """

    name = "quantile"
    arguments = (
        Argument("n_quantiles", Count, "quantiles of the return (distribution='quantile')", 200,
                 "Dabney et al. 2018b, section 5"),
        Argument("kappa", NonNegative, "errors up to this are squared in the quantile loss; 0: none", 1.0,
                 "Dabney et al. 2018b, section 5"),
    )  # fmt: skip
    shaping = ("n_quantiles",)

    def __init__(self, n_quantiles: int = 200, kappa: float = 1.0) -> None:
        self.width, self._kappa = n_quantiles, kappa

    def use(self, held: Mapping[str, Array], risk: Risk | None = None, best: Callable[..., Any] = itself) -> None:
        """Compute with the fastest twins."""
        super().use(held, risk, best)
        self._loss = best(quantile_huber)

    def values(self, outputs: Array, risk: Risk | None = None) -> Array:
        """Return ``Σ_i θ_i / N``, or another risk measure of N equally likely returns."""
        return (self.risk if risk is None else risk).of_quantiles(outputs)

    def errors(self, outputs: Array, actions: Array, next_outputs: Array, selector: Array, batch: Targets) -> Errors:
        """Return the quantile Huber loss of ``r + γ^m·θ(s', a')`` (Dabney et al. 2018b, Algorithm 1)."""

        def targets(picked: Array) -> Array:
            return batch.rewards[:, None] + batch.discounts[:, None] * picked

        def loss(quantiles: Array, targets: Array) -> tuple[Array, Array]:
            losses: tuple[Array, Array] = self._loss(quantiles, targets, self._kappa)
            return losses

        return errors_at_actions(outputs, actions, next_outputs, self.values(selector), batch.weights, targets, loss)

    def priorities(self, errors: Errors) -> Array:
        """Return the 1-Wasserstein distance of prediction and target, ``E_i |θ_(i) − T_(i)|``; |δ| for N = 1.

        The loss itself would not do: it stays large where the return is random, however well it is known.
        """
        xp = namespace(errors.targets)
        ours, theirs = (_sorted(quantiles) for quantiles in (errors.predictions, errors.targets))
        return xp.abs(ours - theirs).mean(1)


def _sorted(quantiles: Array) -> Array:
    """Return each row in ascending order, (B, N)."""
    return quantiles.sort(1)[0] if hasattr(quantiles, "requires_grad") else namespace(quantiles).sort(quantiles, 1)
