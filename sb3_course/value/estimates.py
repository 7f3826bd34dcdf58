"""What the N numbers of an output say of the return, so that the learner need not ask: a mean, or a distribution."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Protocol

from sb3_course.functional import (
    Errors,
    categorical_errors,
    clipped_mass,
    expectations,
    kl_of_loss,
    select,
    softmax,
    td_errors,
)
from sb3_course.functional.array_api import Array, namespace
from sb3_course.functional.risk import Mean, Risk

# Counting what the support cuts off costs a tenth of an update, so only every so many updates are counted.
COUNT_EVERY = 16
# Above this share the returns do not fit: CartPole's reach 99.3 at γ = 0.99, with a support of ±10 almost all is cut.
TOO_MUCH = 0.1


class Law(Protocol):
    """How outputs become action values, targets and losses."""

    def values(self, outputs: Array) -> Array:
        """Return what the greedy choice compares, (B, A, N) -> (B, A)."""

    def errors(self, outputs: Array, actions: Array, next_outputs: Array, selector: Array, batch: Any) -> Errors:
        """Return the errors of a batch, the next action picked by `selector`, (B, A, N) as the other outputs."""

    def priorities(self, losses: Array, outputs: Array, targets: Array) -> Array:
        """Return how much replay should prefer each transition, from what went into and came out of `loss`, (B,)."""


class Expected:
    """N = 1: the output is the expected return.

    :param loss: a name in `sb3_course.functional.LOSSES`
    """

    def __init__(self, loss: str, best: Callable[[Any], Any] = lambda function: function) -> None:
        self._loss, self._errors = loss, best(td_errors)

    def errors(self, outputs: Array, actions: Array, next_outputs: Array, selector: Array, batch: Any) -> Errors:
        """Return `td_errors`."""
        numbers = batch.rewards, batch.discounts, batch.weights
        found: Errors = self._errors(outputs, actions, next_outputs, self.values(selector), *numbers, self._loss)
        return found

    def values(self, outputs: Array) -> Array:
        """Return the outputs themselves."""
        return outputs[:, :, 0]

    def priorities(self, losses: Array, outputs: Array, targets: Array) -> Array:
        """Return |δ| (Schaul et al. 2016, section 3.3)."""
        return namespace(outputs).abs(outputs[:, 0] - targets[:, 0])


class Categorical:
    """N > 1: the output is the logits of a distribution over fixed atoms (Bellemare et al. 2017).

    :param support: the atoms z, in the backend's arrays, (N,)
    :param risk: what the greedy choice compares; the mean in the paper
    """

    def __init__(self, support: Array, risk: Risk, best: Callable[[Any], Any] = lambda function: function) -> None:
        self.support, self.risk = support, risk
        self._errors, self._expectations = best(categorical_errors), best(expectations)
        self._divergences = best(kl_of_loss)
        self.clipped = 0.0  # share of the targets' mass outside the support, when last counted
        self._updates = 0
        self._warned = False

    def errors(self, outputs: Array, actions: Array, next_outputs: Array, selector: Array, batch: Any) -> Errors:
        """Return `categorical_errors`."""
        values = self.values(selector)
        if self._updates % COUNT_EVERY == 0:
            self._count(softmax(select(next_outputs, values)), batch.rewards, batch.discounts)
        self._updates += 1
        numbers = self.support, batch.rewards, batch.discounts, batch.weights
        found: Errors = self._errors(outputs, actions, next_outputs, values, *numbers)
        return found

    def values(self, outputs: Array) -> Array:
        """Return the risk measure of every action's distribution."""
        if isinstance(self.risk, Mean):
            return self._expectations(outputs, self.support)
        return self.risk(softmax(outputs), self.support)

    def priorities(self, losses: Array, outputs: Array, targets: Array) -> Array:
        """Return the KL divergence (Hessel et al. 2018)."""
        return self._divergences(losses, targets)

    def _count(self, probabilities: Array, rewards: Array, discounts: Array) -> None:
        self.clipped = float(clipped_mass(probabilities, rewards, discounts, self.support).mean())
        if self.clipped > TOO_MUCH and not self._warned:
            self._warned = True
            low, high = float(self.support[0]), float(self.support[-1])
            warnings.warn(
                f"{self.clipped:.0%} of the return distribution lies outside v_min={low:g} ... v_max={high:g}: "
                "widen the support, or scale the rewards.",
                stacklevel=2,
            )
