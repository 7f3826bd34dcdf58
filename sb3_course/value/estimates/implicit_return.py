"""Quantiles of the return at any level, as in IQN: the level is an input of the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sb3_course.config.argument import Argument
from sb3_course.config.argument_types import Count
from sb3_course.functional import Errors, errors_at_actions
from sb3_course.functional.array_api import Array, as_like, midpoints
from sb3_course.functional.risk import Risk
from sb3_course.value.estimates.estimate import AtLevels, HeadParts, ReturnEstimate, Targets, Uniform, itself
from sb3_course.value.estimates.quantile_return import KAPPA, quantile_huber_at, wasserstein


class ImplicitReturn(ReturnEstimate):
    """An output is ``Z_τ(s, a) = F⁻¹_{Z(s, a)}(τ)`` at the levels τ that it is asked for (Dabney et al. 2018a).

    Learned at N levels drawn from U(0, 1), towards N' of the target network; actions compare the mean over K levels,
    which a risk measure distorts. The K are not drawn but lie evenly, ``(k + ½)/K``, so that a prediction repeats.

    :param n_levels: N
    :param n_target_levels: N'
    :param n_choice_levels: K
    :param n_cosines: how many cosines describe a level
    :param kappa: κ, up to which error the Huber loss is a square
    """

    name = "implicit"
    arguments = (
        Argument("n_levels", Count, "quantile levels that an update learns at, N (distribution='implicit')", 64,
                 "Dabney et al. 2018a"),
        Argument("n_target_levels", Count, "quantile levels of its targets, N'", 64, "Dabney et al. 2018a"),
        Argument("n_choice_levels", Count, "quantile levels that the greedy choice takes the mean of, K", 32,
                 "Dabney et al. 2018a"),
        Argument("n_cosines", Count, "cosines that describe a level to the network", 64,
                 "Dabney et al. 2018a"),
        KAPPA,
    )  # fmt: skip
    shaping = ("n_levels", "n_choice_levels", "n_cosines")
    head_width = 1
    chooses_apart = True

    def __init__(
        self,
        n_levels: int = 64,
        n_target_levels: int = 64,
        n_choice_levels: int = 32,
        n_cosines: int = 64,
        kappa: float = 1.0,
    ) -> None:
        self.width, self._n_targets, self._n_choice = n_levels, n_target_levels, n_choice_levels
        self._n_cosines, self._kappa = n_cosines, kappa

    def head(self, parts: HeadParts) -> Any:
        """Return f, with φ(τ) joined in before its last hidden layer, as in the paper, but after some layer."""
        from sb3_course.networks.implicit import ImplicitHead, LevelEmbedding

        before, after = parts.split()
        width = before[-1] if before else parts.features_dim
        embedding = LevelEmbedding(self._n_cosines, width)
        return ImplicitHead(parts.hidden([parts.features_dim, *before]), embedding, parts.make(width, after))

    def constants(self) -> dict[str, Any]:
        """Return the K levels of the greedy choice, (K,)."""
        import torch as th

        return {"levels": midpoints(self._n_choice, th.empty(0))}

    def use(self, held: Mapping[str, Array], risk: Risk | None = None, best: Callable[..., Any] = itself) -> None:
        """Compute with the fastest twins."""
        super().use(held, risk, best)
        self._loss = best(quantile_huber_at)

    def to_learn(self, observations: Any, n_batch: int, uniform: Uniform) -> AtLevels:
        """Ask for N levels drawn for each row, which the loss has to know too."""
        self._levels = self._drawn(n_batch, self.width, uniform)
        return AtLevels(observations, self._levels)

    def to_bootstrap(self, observations: Any, n_batch: int, uniform: Uniform) -> AtLevels:
        """Ask for N' levels drawn for each row."""
        return AtLevels(observations, self._drawn(n_batch, self._n_targets, uniform))

    def _drawn(self, n_batch: int, n: int, uniform: Uniform) -> Array:
        return as_like(uniform(n_batch * n).reshape(n_batch, n), self.held["levels"])

    def to_choose(self, observations: Any, risk: Risk | None = None) -> AtLevels:
        """Ask for the K levels as the risk measure distorts them."""
        return AtLevels(observations, (self.risk if risk is None else risk).at_levels(self.held["levels"]))

    def values(self, outputs: Array, risk: Risk | None = None) -> Array:
        """Return ``Σ_k Z_{β(τ_k)}(s, a) / K``: outputs that were asked for with `to_choose` (2018a, section 3)."""
        return (self.risk if risk is None else risk).of_levels(outputs)

    def errors(self, outputs: Array, actions: Array, next_outputs: Array, selector: Array, batch: Targets) -> Errors:
        """Return ``Σ_i E_j ρ_τi(r + γ^m·Z_τ'j(s', a') − Z_τi(s, a))`` (Dabney et al. 2018a, section 3)."""

        def targets(picked: Array) -> Array:
            return batch.rewards[:, None] + batch.discounts[:, None] * picked

        def loss(quantiles: Array, targets: Array) -> tuple[Array, Array]:
            losses: tuple[Array, Array] = self._loss(self._levels, quantiles, targets, self._kappa)
            return losses

        return errors_at_actions(outputs, actions, next_outputs, self.values(selector), batch.weights, targets, loss)

    def priorities(self, errors: Errors) -> Array:
        """Return the 1-Wasserstein distance of the returns drawn of prediction and target; |δ| for one of each."""
        return wasserstein(errors.predictions, errors.targets)
