"""Quantiles of the return, as in QR-DQN: no support to choose, at any scale of rewards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sb3_course.config.argument import Argument
from sb3_course.config.argument_types import Count, NonNegative
from sb3_course.functional import Errors, errors_at_actions
from sb3_course.functional.array_api import Array, midpoints, namespace
from sb3_course.functional.risk import Mean, Risk
from sb3_course.functional.td import Formula
from sb3_course.value.estimates.estimate import ReturnEstimate, Targets, itself

#: κ, an argument of every estimate whose loss this is.
KAPPA = Argument(
    "kappa", NonNegative, "errors up to this are squared in the quantile loss; 0: none", 1.0,
    "Dabney et al. 2018b, section 5",
)  # fmt: skip


def quantile_huber(quantiles: Array, targets: Array, kappa: float) -> tuple[Array, Array]:
    """Return ``Σ_i E_j ρ_τi(T_j − θ_i)`` with ``τ_i = (i + ½)/N``, and its gradient (Dabney et al. 2018b, Eq. 10).

    :param quantiles: θ, returns, (B, N)
    :param targets: T, returns, (B, M)
    :param kappa: κ, as in `quantile_huber_at`
    :return: (B,) and (B, N)
    """
    return quantile_huber_at(midpoints(quantiles.shape[1], quantiles), quantiles, targets, kappa)


def quantile_huber_at(levels: Array, quantiles: Array, targets: Array, kappa: float) -> tuple[Array, Array]:
    """Return ``Σ_i E_j ρ_τi(T_j − θ_i)`` at any levels τ, and its gradient with respect to θ.

    ``ρ_τ(u) = |τ − [u < 0]| · L(u)/κ`` with the Huber loss ``L(u) = ½u²`` for ``|u| < κ``, else ``κ(|u| − ½κ)``;
    κ = 0 is quantile regression itself, ``L(u)/κ = |u|``. With ``g = clip(u, −κ, κ)`` both branches of L are
    ``g·(u − ½g)``.

    (Dabney et al. 2018b, Eq. 10.)

    :param levels: τ, (N,) or (B, N)
    :param quantiles: θ, returns, (B, N)
    :param targets: T, returns, (B, M)
    :param kappa: κ, up to which error the loss is a square, a return
    :return: the losses (B,) and their gradients (B, N)
    """
    xp, levels = namespace(quantiles), levels[..., None]  # τ, (…, N, 1)
    errors = targets[:, None, :] - quantiles[:, :, None]  # u, (B, N, M)
    asymmetry = xp.where(errors < 0, 1 - levels, levels)
    if kappa > 0:
        slopes = errors.clip(-kappa, kappa)
        losses, gradients = slopes * (errors - 0.5 * slopes) * (1 / kappa), slopes * (1 / kappa)
    else:
        losses, gradients = xp.abs(errors), xp.sign(errors)
    return (asymmetry * losses).mean(2).sum(1), -(asymmetry * gradients).mean(2)


def wasserstein(ours: Array, theirs: Array) -> Array:
    """Return the 1-Wasserstein distance of equally likely returns, ``E_i |θ_(i) − T_(i)|``, (B, N), (B, M) -> (B,).

    Of different numbers of them, quantiles at the levels of the larger number are compared.
    """
    xp, n = namespace(ours), max(ours.shape[1], theirs.shape[1])
    ours, theirs = (_sorted(quantiles) for quantiles in (ours, theirs))
    return xp.abs(_at_midpoints(ours, n) - _at_midpoints(theirs, n)).mean(1)


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
        KAPPA,
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

    def formula(self) -> Formula | None:
        """Return this kind's name, where the greedy choice compares means."""
        known = type(self) is QuantileReturn and isinstance(self.risk, Mean)
        return Formula(self.name) if known else None

    def priorities(self, errors: Errors) -> Array:
        """Return the 1-Wasserstein distance of prediction and target, ``E_i |θ_(i) − T_(i)|``; |δ| for N = 1.

        The loss itself would not do: it stays large where the return is random, however well it is known.
        """
        return wasserstein(errors.predictions, errors.targets)


def _sorted(quantiles: Array) -> Array:
    """Return each row in ascending order, (B, N)."""
    return quantiles.sort(1)[0] if hasattr(quantiles, "requires_grad") else namespace(quantiles).sort(quantiles, 1)


def _at_midpoints(ordered: Array, n: int) -> Array:
    """Return the quantiles at n midpoints of equally likely returns in ascending order, (B, N) -> (B, n)."""
    n_own = ordered.shape[1]
    return ordered if n_own == n else ordered[:, [(2 * i + 1) * n_own // (2 * n) for i in range(n)]]
