"""Risk measures: one number for a whole distribution of returns, larger is better.

A distortion measure replaces the cdf F of the return by g(F) and takes the mean of that:
``Σ_i z_i (g(F_i) − g(F_{i−1}))``, with g rising from g(0) = 0 to g(1) = 1 (Yaari 1987). Where g lies above the
diagonal bad returns weigh more: averse. Below it: seeking.

Dabney et al. (2018a, section 3) write the same as a map β of quantile levels, ``E_τ F⁻¹(β(τ))`` with τ ~ U(0, 1).
Then g is the inverse of β: ``β = ατ`` becomes ``g = min(p/α, 1)``. Names and signs of the parameters here are theirs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import astuple, dataclass, fields
from typing import Any, ClassVar

import numpy as np

from sb3_course.functional.array_api import Array, in_numpy, namespace, steps
from sb3_course.functional.categorical import expectation


def _double(array: Array) -> Array:
    """Return `array` in float64: in float32 the upper tail 1 − F of a cdf keeps no digits."""
    if isinstance(array, np.ndarray | np.generic):
        return array.astype(np.float64)
    return (array.cpu() if array.device.type == "mps" else array).double()  # Apple's GPUs have no float64


def _like(values: Array, array: Array) -> Array:
    """Return `values` in the precision and on the device of `array`."""
    return values.astype(array.dtype) if isinstance(values, np.ndarray | np.generic) else values.to(array)


@dataclass(frozen=True)
class Risk(ABC):
    """A risk measure, an immutable value; ``str`` gives its word, e.g. ``cvar:0.25``.

    :raises ValueError: for a parameter out of its bounds
    """

    word: ClassVar[str]
    bounds: ClassVar[tuple[float, float]] = (0.0, 0.0)

    def __post_init__(self) -> None:
        low, high = self.bounds
        for field in fields(self):
            value = getattr(self, field.name)
            if not low <= value <= high:
                raise ValueError(f"{self.word}: {field.name} is {value}, want a number from {low:g} to {high:g}")

    def __str__(self) -> str:
        return ":".join([self.word, *(repr(float(value)) for value in astuple(self))])

    @abstractmethod
    def __call__(self, probabilities: Array, support: Array) -> Array:
        """Return the value of a categorical distribution: probabilities (…, N), ascending support (N,) -> (…)."""

    @abstractmethod
    def of_quantiles(self, quantiles: Array) -> Array:
        """Return the value of N equally likely returns in any order, (…, N) -> (…)."""

    def at_levels(self, levels: Array) -> Array:
        """Return β(τ): the quantile levels whose returns `of_levels` makes one number of, (…) -> (…)."""
        return levels

    def of_levels(self, quantiles: Array) -> Array:
        """Return the value of the returns at `at_levels` of evenly spread levels, (…, N) -> (…)."""
        return quantiles.mean(-1)


@dataclass(frozen=True)
class Mean(Risk):
    """``E Z``: risk-neutral, as in every algorithm without risk."""

    word = "mean"

    def __call__(self, probabilities: Array, support: Array) -> Array:
        """Return ``Σ_i p_i z_i``."""
        return expectation(probabilities, support)

    def of_quantiles(self, quantiles: Array) -> Array:
        """Return ``Σ_i q_i / N``."""
        return quantiles.mean(-1)


@dataclass(frozen=True)
class MeanVariance(Risk):
    """``E Z − c·Var Z``: averse for c > 0, seeking for c < 0 (Markowitz 1952; Sobel 1982 for returns).

    With the variance, not its root, as in Mannor & Tsitsiklis (2011): c has the unit 1/return. Unlike a distortion
    it may prefer a return that is worse in every case.

    :param c: the price of variance
    """

    word = "mean_variance"
    bounds = (-1e6, 1e6)
    c: float

    @in_numpy
    def __call__(self, probabilities: Array, support: Array) -> Array:
        """Return ``m − c·Σ_i p_i (z_i − m)²`` with ``m = Σ_i p_i z_i``."""
        wide, atoms = _double(probabilities), _double(support)
        mean = expectation(wide, atoms)
        variance = (wide * (atoms - mean[..., None]) ** 2).sum(-1)
        return _like(mean - self.c * variance, probabilities)

    @in_numpy
    def of_quantiles(self, quantiles: Array) -> Array:
        """Return ``m − c·Σ_i (q_i − m)² / N`` with ``m = Σ_i q_i / N``."""
        wide = _double(quantiles)
        mean = wide.mean(-1)
        variance = ((wide - mean[..., None]) ** 2).mean(-1)
        return _like(mean - self.c * variance, quantiles)

    def of_levels(self, quantiles: Array) -> Array:
        """Return the same: the levels stay as they are."""
        return self.of_quantiles(quantiles)


@dataclass(frozen=True)
class Distortion(Risk):
    """The mean under a distorted cdf; a subclass says which g."""

    @abstractmethod
    def distort(self, levels: Array) -> Array:
        """Return g(p) for levels p in [0, 1], float64, (…) -> (…)."""

    @in_numpy
    def at_levels(self, levels: Array) -> Array:
        """Return ``β(τ) = g⁻¹(τ)``: the mean of F⁻¹(β(τ)) over τ is that under g (Dabney et al. 2018a, section 3)."""
        wide = _double(levels)
        low, high = wide * 0, wide * 0 + 1
        for _ in range(53):  # by halves, to the last digit: g rises, and some g have no inverse in closed form
            middle = (low + high) / 2
            below = self.distort(middle) < wide
            low, high = namespace(wide).where(below, middle, low), namespace(wide).where(below, high, middle)
        return _like(high, levels)

    @in_numpy
    def __call__(self, probabilities: Array, support: Array) -> Array:
        """Return ``Σ_i z_i (g(F_i) − g(F_{i−1}))``, summed by parts: ``z_N − Σ_{i<N} g(F_i)·(z_{i+1} − z_i)``."""
        atoms, sums = _double(support), _double(probabilities).cumsum(-1)
        # Divided by the last: softmax leaves a mass that is 1 to seven digits only. Clipped: a sum computed in
        # parallel may exceed it in the last bit, where a root of 1 − F would be NaN.
        levels = namespace(sums).clip(sums[..., :-1] / sums[..., -1:], 0, 1)
        return _like(atoms[-1] - expectation(self.distort(levels), atoms[1:] - atoms[:-1]), probabilities)

    @in_numpy
    def of_quantiles(self, quantiles: Array) -> Array:
        """Return ``Σ_i q_(i) (g(i/N) − g((i−1)/N))`` over the sorted quantiles q_(1) ≤ … ≤ q_(N)."""
        wide = _double(quantiles)  # networks may cross their quantiles: sorted first
        ordered = np.sort(wide) if isinstance(wide, np.ndarray) else wide.sort(-1).values
        n = ordered.shape[-1]
        distorted = self.distort(steps(n + 1, ordered) / n)
        return _like(expectation(ordered, distorted[1:] - distorted[:-1]), quantiles)


@dataclass(frozen=True)
class CVaR(Distortion):
    """Conditional value at risk, the mean of the worst share α: ``g = min(p/α, 1)`` (Rockafellar & Uryasev 2000).

    Exact where α cuts an atom: the atom counts with the part that belongs to the tail.

    :param alpha: α, 1 is the mean; 0.25 as in Dabney et al. (2018a, section 4)
    """

    word = "cvar"
    bounds = (1e-6, 1.0)
    alpha: float = 0.25

    def distort(self, levels: Array) -> Array:
        """Return ``min(p/α, 1)``."""
        return namespace(levels).clip(levels / self.alpha, None, 1)


@dataclass(frozen=True)
class UpperCVaR(Distortion):
    """The mean of the best share α, the seeking twin of `CVaR`: ``g = 1 − min((1 − p)/α, 1)``.

    :param alpha: α, 1 is the mean
    """

    word = "cvar_seeking"
    bounds = (1e-6, 1.0)
    alpha: float = 0.25

    def distort(self, levels: Array) -> Array:
        """Return ``1 − min((1 − p)/α, 1)``."""
        return 1 - namespace(levels).clip((1 - levels) / self.alpha, None, 1)


@dataclass(frozen=True)
class Wang(Distortion):
    """Wang's transform: the level's normal score shifted, ``β(τ) = Φ(Φ⁻¹(τ) + η)``, so ``g = Φ(Φ⁻¹(p) − η)``.

    A normal distribution N(m, s²) is worth m + η·s (Wang 2000; sign of Dabney et al. 2018a, section 4).

    :param eta: η, averse below 0, seeking above; −0.75 as in Dabney et al. (2018a, section 4)
    """

    word = "wang"
    bounds = (-10.0, 10.0)
    eta: float = -0.75

    def distort(self, levels: Array) -> Array:
        """Return ``Φ(Φ⁻¹(p) − η)``."""
        # NumPy has no Φ, SciPy is no dependency, and the standard library's takes one number at a time: torch has it
        # and reads a NumPy array in place.
        import torch as th

        distorted = th.special.ndtr(th.special.ndtri(th.as_tensor(levels)) - self.eta)
        return distorted.numpy() if isinstance(levels, np.ndarray) else distorted


@dataclass(frozen=True)
class CPW(Distortion):
    """Cumulative probability weighting: ``g = p^η / (p^η + (1 − p)^η)^(1/η)`` (Tversky & Kahneman 1992, Eq. 6).

    For η < 1 both rare losses and rare gains weigh more than they are likely, hence neither averse nor seeking.
    It weights the cdf itself, as its authors do; the inverse, which drawing quantiles at levels g(τ) would give,
    does the opposite.

    :param eta: η, 1 is the mean; 0.71 as in Wu & Gonzalez (1996). Below 0.28 g would no longer rise everywhere
    """

    word = "cpw"
    bounds = (0.28, 10.0)
    eta: float = 0.71

    def distort(self, levels: Array) -> Array:
        """Return ``p^η / (p^η + (1 − p)^η)^(1/η)``."""
        powers = levels**self.eta
        return powers / (powers + (1 - levels) ** self.eta) ** (1 / self.eta)


#: The words before the colon in the argument ``risk``.
RISKS: dict[str, type[Any]] = {kind.word: kind for kind in (Mean, CVaR, UpperCVaR, Wang, CPW, MeanVariance)}
