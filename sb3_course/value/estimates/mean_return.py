"""The mean of the return: one number an action, as in DQN."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from sb3_course.config.argument import Argument
from sb3_course.config.errors import InputError
from sb3_course.functional import Errors, td_errors
from sb3_course.functional.array_api import Array, namespace
from sb3_course.functional.risk import Mean, Risk
from sb3_course.functional.td import Formula
from sb3_course.value.estimates.estimate import ReturnEstimate, Targets, itself


class MeanReturn(ReturnEstimate):
    """N = 1: an output is ``Q(s, a) = E Z(s, a)``, pulled towards ``r + γ^m · Q(s', a')`` (Mnih et al. 2015).

    :param loss: ``huber``, ``l2`` (½δ²) or ``mse`` (δ²): see `sb3_course.functional.LOSSES`
    :raises InputError: for any risk measure but the mean
    """

    name = "mean"
    arguments = (
        Argument(
            "loss", Literal["huber", "l2", "mse"], "loss of the temporal-difference error (distribution='mean')",
            "huber", "SB3 DQN; Mnih et al. 2015",
        ),
    )  # fmt: skip
    width = 1

    def __init__(self, loss: str = "huber") -> None:
        self._loss = loss

    def use(self, held: Mapping[str, Array], risk: Risk | None = None, best: Callable[..., Any] = itself) -> None:
        """Compute with the fastest twins."""
        super().use(held, risk, best)
        self._errors = best(td_errors)

    def require(self, risk: Risk) -> None:
        """Refuse all but the mean."""
        if not isinstance(risk, Mean):
            want = "mean, or a model of a return distribution, such as n_atoms=51"
            raise InputError("risk", "one number an action has no risk", str(risk), want)

    def values(self, outputs: Array, risk: Risk | None = None) -> Array:
        """Return the outputs themselves."""
        if risk is not None:
            self.require(risk)
        return outputs[:, :, 0]

    def errors(self, outputs: Array, actions: Array, next_outputs: Array, selector: Array, batch: Targets) -> Errors:
        """Return the loss of ``δ = Q(s, a) − (r + γ^m · Q_target(s', argmax_a' Q_selector(s', a')))``."""
        numbers = batch.rewards, batch.discounts, batch.weights
        errors: Errors = self._errors(outputs, actions, next_outputs, selector[:, :, 0], *numbers, self._loss)
        return errors

    def formula(self) -> Formula | None:
        """Return this kind's name and its loss."""
        return Formula(self.name, loss=self._loss) if type(self) is MeanReturn else None

    def priorities(self, errors: Errors) -> Array:
        """Return |δ| (Schaul et al. 2016, section 3.3)."""
        return namespace(errors.targets).abs(errors.predictions[:, 0] - errors.targets[:, 0])
