"""Action distributions over a network's raw outputs: sample, log-probability, entropy, and both gradients by hand.

The outputs (B, D) are logits; `gaussians` has those of means and log standard deviations. Random numbers come
in as arguments, so that every function is pure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

from sb3_course.functional.array_api import Array, cast, namespace
from sb3_course.functional.categorical import log_softmax, odds
from sb3_course.functional.targets import valid

#: The logit of an invalid action, as in sb3-contrib's maskable distributions: e^x is 0, and 0·x is no NaN as of −∞.
NEVER = -1e8


class Scores(NamedTuple):
    """A number for each sample and its gradient with respect to the outputs."""

    values: Array  # (B,)
    gradients: Array  # (B, D)


class ActionDistribution(Protocol):
    """A distribution over actions, (B, D) outputs to (B, K) actions."""

    n_outputs: int  # D
    n_random: int  # numbers that one sample consumes
    normal: bool  # standard normal ones, otherwise uniform on [0, 1)

    def among(self, outputs: Array, masks: Array | None) -> Array:
        """Return outputs, (B, D), that give invalid actions no odds; their gradients with respect to them are 0.

        :param masks: which values of an action's parts are valid, one part after the other, (B, A); None: all
        """
        return valid(outputs, masks, NEVER)

    def sample(self, outputs: Array, random: Array) -> Array:
        """Return actions (B, K) from random numbers (B, n_random)."""

    def mode(self, outputs: Array) -> Array:
        """Return the likeliest actions, (B, K)."""

    def log_prob(self, outputs: Array, actions: Array) -> Scores:
        """Return ``log π(a|s)`` and ``∇ log π``."""

    def entropy(self, outputs: Array) -> Scores:
        """Return ``H(π(·|s))`` and ``∇H``."""

    def scores(self, outputs: Array, actions: Array) -> tuple[Scores, Scores]:
        """Return `log_prob` and `entropy`."""
        return self.log_prob(outputs, actions), self.entropy(outputs)


class CategoricalActions(ActionDistribution):
    """One of A actions: ``π = softmax(outputs)``.

    ``∇ log π(a) = onehot(a) − π``; ``∇H = −π·(log π + H)`` (Williams 1992, section 4).

    :param best: returns the fastest twin of a function of this module, see `sb3_course.backends`
    """

    normal = False

    def __init__(self, n_actions: int, best: Callable[[Any], Any] = lambda function: function) -> None:
        self.n_outputs, self.n_random = n_actions, 1
        self._sample, self._scores = best(sample_category), best(category_scores)

    def sample(self, outputs: Array, random: Array) -> Array:
        """Return actions (B, 1) from uniform numbers (B, 1)."""
        return self._sample(outputs, random)

    def mode(self, outputs: Array) -> Array:
        """Return the action of the largest logit."""
        return outputs.argmax(1)[:, None]

    def log_prob(self, outputs: Array, actions: Array) -> Scores:
        """Return the chosen entry of the log-softmax, and onehot − softmax."""
        return category_log_prob(outputs, actions)

    def entropy(self, outputs: Array) -> Scores:
        """Return ``−Σ π log π`` and its gradient."""
        return category_entropy(outputs)

    def scores(self, outputs: Array, actions: Array) -> tuple[Scores, Scores]:
        """Return `log_prob` and `entropy`."""
        scores: tuple[Scores, Scores] = self._scores(outputs, actions)
        return scores


def sample_category(outputs: Array, random: Array) -> Array:
    """Invert the distribution function: the first action whose cumulated probability exceeds the uniform number.

    :param outputs: logits, (B, A)
    :param random: uniform on [0, 1), (B, 1)
    :return: actions, (B, 1)
    """
    cumulated = odds(outputs).cumsum(1)
    # Not probabilities, but scaled by their own total: rounding must not leave a number above every entry.
    return (cumulated <= random * cumulated[:, -1:]).sum(1)[:, None]


def category_log_prob(outputs: Array, actions: Array) -> Scores:
    """Return ``log π(a|s)`` (B,) and its gradient (B, A), of logits (B, A) and actions (B, 1)."""
    xp, log_p = namespace(outputs), log_softmax(outputs)
    onehot = cast(xp.arange(outputs.shape[1], **_device(outputs)) == actions, outputs.dtype)
    return Scores((log_p * onehot).sum(1), onehot - xp.exp(log_p))


def category_entropy(outputs: Array) -> Scores:
    """Return the entropy of softmax(outputs) (B,) and its gradient (B, A), of logits (B, A)."""
    log_p = log_softmax(outputs)
    p = namespace(outputs).exp(log_p)
    entropy = -(p * log_p).sum(1)
    return Scores(entropy, -p * (log_p + entropy[:, None]))


def category_scores(outputs: Array, actions: Array) -> tuple[Scores, Scores]:
    """Return `category_log_prob` and `category_entropy`."""
    return category_log_prob(outputs, actions), category_entropy(outputs)


class BernoulliActions(ActionDistribution):
    """K independent switches: ``P(a_k = 1) = σ(outputs_k)``; ``∇ log π = a − σ``."""

    normal = False

    def __init__(self, n_switches: int) -> None:
        self.n_outputs = self.n_random = n_switches

    def among(self, outputs: Array, masks: Array | None) -> Array:
        """Return certain switches where one side is invalid; `masks` has off and on of each, (B, 2K)."""
        if masks is None:
            return outputs
        return valid(-valid(-outputs, masks[:, ::2], NEVER), masks[:, 1::2], NEVER)

    def sample(self, outputs: Array, random: Array) -> Array:
        """Switch on where the uniform number lies below the probability."""
        return cast(random < sigmoid(outputs), namespace(outputs).int64)

    def mode(self, outputs: Array) -> Array:
        """Switch on where that is likelier than not."""
        return cast(outputs > 0, namespace(outputs).int64)

    def log_prob(self, outputs: Array, actions: Array) -> Scores:
        """Return ``Σ_k a·x − softplus(x)`` and a − σ(x)."""
        actions = cast(actions, outputs.dtype)
        return Scores((actions * outputs - softplus(outputs)).sum(1), actions - sigmoid(outputs))

    def entropy(self, outputs: Array) -> Scores:
        """Return ``Σ_k softplus(x) − x·σ(x)`` and ``−x·σ·(1 − σ)``."""
        p = sigmoid(outputs)
        return Scores((softplus(outputs) - outputs * p).sum(1), -outputs * p * (1 - p))


class MultiCategoricalActions(ActionDistribution):
    """Several categorical choices side by side; log-probabilities and entropies add up."""

    normal = False

    def __init__(self, n_actions: Sequence[int], best: Callable[[Any], Any] = lambda function: function) -> None:
        self.parts = [CategoricalActions(int(n), best) for n in n_actions]
        self.n_outputs, self.n_random = sum(part.n_outputs for part in self.parts), len(self.parts)

    def _split(self, outputs: Array) -> list[Array]:
        ends = [0]
        for part in self.parts:
            ends.append(ends[-1] + part.n_outputs)
        return [outputs[:, start:end] for start, end in pairwise(ends)]

    def sample(self, outputs: Array, random: Array) -> Array:
        """Sample each choice with a uniform number of its own."""
        pieces = zip(self.parts, self._split(outputs), strict=True)
        return side_by_side(outputs, [part.sample(piece, random[:, [i]]) for i, (part, piece) in enumerate(pieces)])

    def mode(self, outputs: Array) -> Array:
        """Return each choice's likeliest."""
        pieces = zip(self.parts, self._split(outputs), strict=True)
        return side_by_side(outputs, [part.mode(piece) for part, piece in pieces])

    def log_prob(self, outputs: Array, actions: Array) -> Scores:
        """Return the sum of the parts' log-probabilities, gradients side by side."""
        pieces = zip(self.parts, self._split(outputs), strict=True)
        return self._add(outputs, [part.log_prob(piece, actions[:, [i]]) for i, (part, piece) in enumerate(pieces)])

    def entropy(self, outputs: Array) -> Scores:
        """Return the sum of the parts' entropies, gradients side by side."""
        pieces = zip(self.parts, self._split(outputs), strict=True)
        return self._add(outputs, [part.entropy(piece) for part, piece in pieces])

    def scores(self, outputs: Array, actions: Array) -> tuple[Scores, Scores]:
        """Return `log_prob` and `entropy`."""
        pieces = zip(self.parts, self._split(outputs), strict=True)
        pairs = [part.scores(piece, actions[:, [i]]) for i, (part, piece) in enumerate(pieces)]
        chosen, entropies = zip(*pairs, strict=True)
        return self._add(outputs, list(chosen)), self._add(outputs, list(entropies))

    def _add(self, outputs: Array, scores: list[Scores]) -> Scores:
        total = scores[0].values
        for score in scores[1:]:
            total = total + score.values
        return Scores(total, side_by_side(outputs, [score.gradients for score in scores]))


def side_by_side(like: Array, arrays: list[Array]) -> Array:
    """Return arrays as one, in the library of `like`, (B, ·) each -> (B, Σ ·)."""
    return namespace(like).concatenate(arrays, 1)


def _device(like: Array) -> dict[str, object]:
    return {"device": like.device} if hasattr(like, "requires_grad") else {}


def softplus(x: Array) -> Array:
    """``log(1 + e^x)``, finite for every finite x."""
    xp = namespace(x)
    return xp.logaddexp(x, xp.zeros_like(x))


def sigmoid(x: Array) -> Array:
    """``1 / (1 + e^−x)``, without overflow."""
    return namespace(x).exp(-softplus(-x))
