"""Munchausen targets: a soft policy in place of the greedy choice, and its own log probability as a reward."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from sb3_course.functional import log_softmax, valid
from sb3_course.functional.array_api import Array, namespace, rows
from sb3_course.replay import Batch
from sb3_course.value.estimates import ReturnEstimate


class Rewarded(NamedTuple):
    """What an estimate reads of a batch, the bonus among the rewards; all (B,)."""

    rewards: Array
    discounts: Array
    weights: Array


@dataclass(frozen=True)
class Munchausen:
    """``r + α·clip(τ log π(a|s), l0, 0) + γ^m · Σ_a' π(a'|s') (Z(s', a') − τ log π(a'|s'))``, ``π = softmax(Q/τ)``.

    (Vieillard, Pietquin & Geist 2020, section 2; the clip is of their experiments.) α = 0 is soft value iteration. With
    n-step returns the bonus is that of the first action.

    :param temperature: τ
    :param alpha: α, the share of the bonus
    :param clip: l0, the least bonus before α
    """

    temperature: float
    alpha: float
    clip: float

    def log_policy(self, values: Array, masks: Array | None = None) -> Array:
        """Return ``log softmax(Q/τ)`` over the valid actions, −∞ for the others, (B, A) -> (B, A)."""
        return log_softmax(valid(values, masks) / self.temperature)

    def bonus(self, values: Array, actions: Array, masks: Array | None = None) -> Array:
        """Return ``α·clip(τ log π(a|s), l0, 0)``, (B,).

        :param values: of the observations of a batch, (B, A)
        :param actions: taken there, (B,)
        :param masks: which actions are valid, (B, A); None: all
        """
        taken = self.log_policy(values, masks)[rows(values), actions]
        return self.alpha * (self.temperature * taken).clip(self.clip, 0)

    def targets(
        self,
        batch: Batch,
        actions: Array,
        values: Array,
        next_outputs: Array,
        selector: Array,
        estimate: ReturnEstimate,
        masks: Array | None = None,
        next_masks: Array | None = None,
    ) -> tuple[Rewarded, Array]:
        """Return what a batch pays with the bonus, and one output in place of those of all next actions, (B, 1, N).

        :param actions: taken in the observations, (B,)
        :param values: of the observations, (B, A)
        :param next_outputs: (B, A, N)
        :param selector: the values that the next policy is made of, (B, A)
        :param masks: which actions are valid, (B, A); None: all
        :param next_masks: the same in the next observations, (B, A)
        """
        log_policy = self.log_policy(selector, next_masks)
        policy, extra = namespace(selector).exp(log_policy), -self.temperature * log_policy
        if next_masks is not None:  # what is never taken pays nothing: 0 times −∞ is no number
            extra = namespace(selector).where(next_masks, extra, 0.0)
        soft = estimate.mixture(next_outputs, policy, extra)
        rewards = batch.rewards + self.bonus(values, actions, masks)
        return Rewarded(rewards, batch.discounts, batch.weights), soft[:, None]


def munchausen_of(model: Any) -> Munchausen | None:
    """Return the targets that a model's arguments ask for, or None."""
    if not model.munchausen:
        return None
    return Munchausen(model.munchausen_tau, model.munchausen_alpha, model.munchausen_clip)
