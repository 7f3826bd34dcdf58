"""What the N numbers of an output say of the return, so that the learner need not ask: a mean, or a distribution."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple, Protocol

import numpy as np

from sb3_course.backends import compiled
from sb3_course.functional import (
    LOSSES,
    clipped_mass,
    cross_entropy,
    kl_of_loss,
    mean_gradient,
    project,
    select,
    softmax,
    td_target,
)
from sb3_course.functional.array_api import Array, namespace, rows
from sb3_course.functional.risk import Mean, Risk

# Counting what the support cuts off costs a tenth of an update, so only every so many updates are counted.
COUNT_EVERY = 16
# Above this share the returns do not fit: CartPole's reach 99.3 at γ = 0.99, with a support of ±10 almost all is cut.
TOO_MUCH = 0.1


class Law(Protocol):
    """How outputs become action values, targets and losses."""

    def values(self, outputs: Array) -> Array:
        """Return what the greedy choice compares, (B, A, N) -> (B, A)."""

    def targets(self, next_outputs: Array, rewards: Array, discounts: Array) -> Array:
        """Return what an output is pulled towards, from the chosen outputs of the next state, (B, N) -> (B, N)."""

    def loss(self, outputs: Array, targets: Array) -> tuple[Array, Array]:
        """Return the loss (B,) and its gradient with respect to `outputs`, (B, N)."""

    def errors(self, outputs: Array, actions: Array, next_outputs: Array, selector: Array, batch: Any) -> Errors:
        """Return `td_errors`, the next action picked by `selector`, (B, A, N) as the other outputs."""

    def priorities(self, losses: Array, outputs: Array, targets: Array) -> Array:
        """Return how much replay should prefer each transition, from what went into and came out of `loss`, (B,)."""


class Errors(NamedTuple):
    """What a batch says of the outputs: a loss for each transition, and what follows from it."""

    losses: Array  # (B,)
    grad_outputs: Array  # of the weighted mean loss, (B, A, N)
    predictions: Array  # of the actions taken, (B, N)
    targets: Array  # (B, N)


def td_errors(law: Law, outputs: Array, actions: Array, next_outputs: Array, values: Array, batch: Any) -> Errors:
    """Return losses and gradient: the target from the best action by `values`, the loss at the action taken.

    :param law: what the N numbers of an output say
    :param outputs: of the online network, (B, A, N)
    :param actions: taken, (B,)
    :param next_outputs: of the target network for the next observations, (B, A, N)
    :param values: who picks the next action: ``law.values`` of that network's outputs, (B, A)
    :param batch: with ``rewards``, ``discounts`` and ``weights``, (B,) each
    """
    picked = select(next_outputs, values)  # (B, N)
    targets = law.targets(picked, batch.rewards, batch.discounts)
    chosen = rows(outputs), actions
    predictions = outputs[chosen]  # (B, N)
    losses, gradients = law.loss(predictions, targets)  # (B,), (B, N)
    grad_outputs = namespace(outputs).zeros_like(outputs)
    grad_outputs[chosen] = mean_gradient(gradients, batch.weights[:, None])
    return Errors(losses, grad_outputs, predictions, targets)


class Expected:
    """N = 1: the output is the expected return.

    :param loss: a name in `sb3_course.functional.LOSSES`
    """

    def __init__(self, loss: str) -> None:
        self._loss, self._kind = LOSSES[loss], list(LOSSES).index(loss)
        self._compiled = compiled.available()

    def errors(self, outputs: Array, actions: Array, next_outputs: Array, selector: Array, batch: Any) -> Errors:
        """Return `td_errors`, in one compiled pass where that is possible."""
        values = self.values(selector)
        if not (self._compiled and isinstance(outputs, np.ndarray)):
            return td_errors(self, outputs, actions, next_outputs, values, batch)
        numbers = batch.rewards, batch.discounts, batch.weights
        return Errors(*compiled.td_errors(outputs, actions, next_outputs, values, *numbers, self._kind))

    def values(self, outputs: Array) -> Array:
        """Return the outputs themselves."""
        return outputs[:, :, 0]

    def targets(self, next_outputs: Array, rewards: Array, discounts: Array) -> Array:
        """Return ``r + discount · v'``."""
        return td_target(rewards, discounts, next_outputs[:, 0])[:, None]

    def loss(self, outputs: Array, targets: Array) -> tuple[Array, Array]:
        """Return loss and gradient of δ."""
        losses, gradients = self._loss(outputs[:, 0], targets[:, 0])
        return losses, gradients[:, None]

    def priorities(self, losses: Array, outputs: Array, targets: Array) -> Array:
        """Return |δ| (Schaul et al. 2016, section 3.3)."""
        return namespace(outputs).abs(outputs[:, 0] - targets[:, 0])


class Categorical:
    """N > 1: the output is the logits of a distribution over fixed atoms (Bellemare et al. 2017).

    :param support: the atoms z, in the backend's arrays, (N,)
    :param risk: what the greedy choice compares; the mean in the paper
    """

    def __init__(self, support: Array, risk: Risk) -> None:
        self.support, self.risk = support, risk
        self._compiled = compiled.available() and isinstance(support, np.ndarray)
        self.clipped = 0.0  # share of the targets' mass outside the support, when last counted
        self._updates = 0
        self._warned = False

    def errors(self, outputs: Array, actions: Array, next_outputs: Array, selector: Array, batch: Any) -> Errors:
        """Return `td_errors`, in one compiled pass where that is possible."""
        values = self.values(selector)
        if self._updates % COUNT_EVERY == 0:
            self._count(softmax(select(next_outputs, values)), batch.rewards, batch.discounts)
        self._updates += 1
        if not self._compiled:
            return td_errors(self, outputs, actions, next_outputs, values, batch)
        numbers = self.support, batch.rewards, batch.discounts, batch.weights
        return Errors(*compiled.categorical_errors(outputs, actions, next_outputs, values, *numbers))

    def values(self, outputs: Array) -> Array:
        """Return the risk measure of every action's distribution."""
        if self._compiled and isinstance(self.risk, Mean):
            values: Array = compiled.expectations(outputs, self.support)
            return values
        return self.risk(softmax(outputs), self.support)

    def targets(self, next_outputs: Array, rewards: Array, discounts: Array) -> Array:
        """Return the law of ``r + discount · Z'``, projected onto the support."""
        return project(softmax(next_outputs), rewards, discounts, self.support)

    def loss(self, outputs: Array, targets: Array) -> tuple[Array, Array]:
        """Return the cross-entropy and its gradient."""
        return cross_entropy(outputs, targets)

    def priorities(self, losses: Array, outputs: Array, targets: Array) -> Array:
        """Return the KL divergence (Hessel et al. 2018)."""
        if self._compiled:
            divergences: Array = compiled.kl_of_loss(losses, targets)
            return divergences
        return kl_of_loss(losses, targets)

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
