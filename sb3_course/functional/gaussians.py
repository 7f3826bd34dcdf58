"""Normal actions over a network's outputs, and the spread that a network's output says: as `distributions`, by hand."""

from __future__ import annotations

from collections.abc import Callable
from math import log, pi
from typing import Any

from sb3_course.functional.array_api import Array, cast, namespace
from sb3_course.functional.distributions import ActionDistribution, Scores, side_by_side, sigmoid, softplus

_LOG_2PI = log(2 * pi)


class GaussianActions(ActionDistribution):
    """K independent normal numbers: outputs (μ, log σ), (B, 2K).

    ``∇_μ log π = (a − μ)/σ²``, ``∇_{log σ} log π = ((a − μ)/σ)² − 1`` (Williams 1992, Eqs. 12-13), ``∇_{log σ} H = 1``.

    :param best: as of `CategoricalActions`
    """

    normal = True

    def __init__(self, n_dimensions: int, best: Callable[[Any], Any] = lambda function: function) -> None:
        self.n_outputs, self.n_random = 2 * n_dimensions, n_dimensions
        self._sample, self._scores = best(sample_normal), best(normal_scores)

    def sample(self, outputs: Array, random: Array) -> Array:
        """Return ``μ + σ·ε``."""
        return self._sample(outputs, random)

    def mode(self, outputs: Array) -> Array:
        """Return μ."""
        return outputs[:, : self.n_random]

    def log_prob(self, outputs: Array, actions: Array) -> Scores:
        """Return ``Σ_k −½((a − μ)/σ)² − log σ − ½ log 2π`` and its gradient."""
        return normal_log_prob(outputs, actions)

    def entropy(self, outputs: Array) -> Scores:
        """Return ``Σ_k log σ + ½(1 + log 2π)`` and its gradient."""
        return normal_entropy(outputs)

    def scores(self, outputs: Array, actions: Array) -> tuple[Scores, Scores]:
        """Return `log_prob` and `entropy`."""
        scores: tuple[Scores, Scores] = self._scores(outputs, actions)
        return scores


def sample_normal(outputs: Array, random: Array) -> Array:
    """Return ``μ + σ·ε`` (B, K) from (μ, log σ) (B, 2K) and ε (B, K)."""
    mean, log_std = _halves(outputs)
    return mean + namespace(outputs).exp(log_std) * cast(random, outputs.dtype)


def normal_log_prob(outputs: Array, actions: Array) -> Scores:
    """Return ``log π(a|s)`` (B,) and its gradient (B, 2K), of (μ, log σ) (B, 2K) and actions (B, K)."""
    mean, log_std = _halves(outputs)
    std = namespace(outputs).exp(log_std)
    z = (actions - mean) / std
    log_prob = (-0.5 * z * z - log_std - 0.5 * _LOG_2PI).sum(1)
    return Scores(log_prob, side_by_side(outputs, [z / std, z * z - 1]))


def normal_entropy(outputs: Array) -> Scores:
    """Return the entropy of normal numbers (B,) and its gradient (B, 2K), of (μ, log σ) (B, 2K)."""
    mean, log_std = _halves(outputs)
    xp = namespace(outputs)
    gradient = side_by_side(outputs, [xp.zeros_like(mean), xp.ones_like(log_std)])
    return Scores((log_std + 0.5 * (1 + _LOG_2PI)).sum(1), gradient)


def normal_scores(outputs: Array, actions: Array) -> tuple[Scores, Scores]:
    """Return `normal_log_prob` and `normal_entropy`."""
    return normal_log_prob(outputs, actions), normal_entropy(outputs)


def log_spread(x: Array, smallest: float) -> tuple[Array, Array]:
    """Return ``log σ`` of ``σ = max(softplus(x), smallest)`` and its derivative, any shape.

    ``∂ log σ/∂x = sigmoid(x)/softplus(x)``, and 0 where the smallest σ is held.
    """
    xp, free = namespace(x), softplus(x)
    spread = free.clip(smallest, None)
    return xp.log(spread), xp.where(free < smallest, 0.0, sigmoid(x) / spread)


def _halves(outputs: Array) -> tuple[Array, Array]:
    half = outputs.shape[1] // 2
    return outputs[:, :half], outputs[:, half:]
