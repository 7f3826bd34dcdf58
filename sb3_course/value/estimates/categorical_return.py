"""A categorical distribution of the return over fixed atoms, as in C51."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from math import ceil, floor, log10
from typing import Any, Literal

import numpy as np

from sb3_course.config.argument import Argument
from sb3_course.config.argument_types import Count
from sb3_course.config.errors import InputError
from sb3_course.config.warn import warn_user
from sb3_course.functional import (
    Errors,
    categorical_errors,
    clipped_mass,
    expectations,
    kl_of_loss,
    project,
    select,
    softmax,
)
from sb3_course.functional.array_api import Array, namespace
from sb3_course.functional.risk import Mean, Risk
from sb3_course.functional.td import Formula
from sb3_course.value.estimates.estimate import ReturnEstimate, Targets, itself

# Counting what the support cuts off costs a tenth of an update, so only every so many updates are counted.
COUNT_EVERY = 16
# Above this share the returns do not fit: CartPole's reach 99.3 at γ = 0.99, with a support of ±10 almost all is cut.
TOO_MUCH = 0.1
#: What an end of the support is given as: a return, or what the returns seen ask for.
End = float | Literal["auto"]
#: An automatic support is wider than the returns by this share of their range, and rounded outwards.
MARGIN = 0.05
#: The support of Atari's clipped rewards (Bellemare et al. 2017), for want of anything better.
ATARI = -10.0, 10.0


class CategoricalReturn(ReturnEstimate):
    """N > 1: an output is the logits of ``P(Z(s, a) = z_i)``, ``z_i = v_min + i·Δz`` (Bellemare et al. 2017).

    The target is the distribution of ``r + γ^m·Z(s', a')`` projected onto the atoms, the loss its cross-entropy.

    :param n_atoms: N
    :param v_min: the smallest atom; ``auto``: just below the returns that the first transitions let expect, settled
        before the first update (`sb3_course.replay.returns_seen`)
    :param v_max: the largest atom, likewise; the returns must lie between the two
    :raises InputError: for a single atom, and a support without width
    """

    name = "categorical"
    arguments = (
        Argument(
            "n_atoms", Count, "atoms of the return distribution; 1: its mean only", 1, "1 = DQN; Bellemare et al. 2017"
        ),
        Argument("v_min", End, "smallest return of the support", "auto", "from the returns seen", below="v_max"),
        Argument("v_max", End, "largest return of the support", "auto", "from the returns seen"),
    )
    shaping = ("n_atoms", "v_min", "v_max")

    def __init__(self, n_atoms: int = 51, v_min: End = "auto", v_max: End = "auto") -> None:
        if n_atoms < 2:
            raise InputError("n_atoms", "a distribution has at least two atoms", got=n_atoms, want="51, for example")
        if "auto" not in (v_min, v_max) and not v_min < v_max:  # type: ignore[operator]
            raise InputError("v_min", "the support needs a width", got=v_min, want=f"less than v_max = {v_max}")
        self._given = v_min, v_max  # as long as one of them is "auto" the support waits for returns
        self.width, self._ends = n_atoms, _between(*self._given, ATARI)
        self.clipped = 0.0  # share of the targets' mass outside the support, when last counted
        self._updates = 0
        self._warned = False

    @classmethod
    def implied_by(cls, given: Mapping[str, Any]) -> bool:
        """Tell whether there is more than one atom."""
        return bool(given.get("n_atoms", 1) > 1)

    def constants(self) -> dict[str, Any]:
        """Return the support z, (N,)."""
        import torch as th

        return {"support": th.linspace(*self._ends, self.width)}

    def adopt(self, constants: Mapping[str, Any]) -> dict[str, Any]:
        """Describe another support, whose ends are `v_min` and `v_max`."""
        support, own = constants["support"], self.constants()["support"]
        if bool((support.cpu() == own).all()):
            return dict(zip(("v_min", "v_max"), self._given, strict=True))
        return self._settle(float(support[0]), float(support[-1]))

    @property
    def waits_for_returns(self) -> bool:
        """Whether an end of the support is ``auto``."""
        return "auto" in self._given

    def fit(self, returns: tuple[float, float] | None) -> dict[str, Any]:
        """Set the ends that are ``auto`` just outside of `returns`."""
        return self._settle(*_between(*self._given, ATARI if returns is None else outside(*returns)))

    def _settle(self, v_min: float, v_max: float) -> dict[str, Any]:
        self._given = self._ends = v_min, v_max
        return {"v_min": v_min, "v_max": v_max}

    def use(self, held: Mapping[str, Array], risk: Risk | None = None, best: Callable[..., Any] = itself) -> None:
        """Compute with the fastest twins."""
        super().use(held, risk, best)
        self._errors, self._expectations, self._divergences = map(best, (categorical_errors, expectations, kl_of_loss))

    def values(self, outputs: Array, risk: Risk | None = None) -> Array:
        """Return ``Σ_i z_i p_i``, or another risk measure of every action's distribution."""
        risk = self.risk if risk is None else risk
        if isinstance(risk, Mean):
            values: Array = self._expectations(outputs, self.held["support"])
            return values
        return risk(softmax(outputs), self.held["support"])

    def returns(self, outputs: Array) -> tuple[Array, Array]:
        """Return the atoms z_i and their probabilities, (B, A, N) each."""
        return outputs * 0 + self.held["support"], softmax(outputs)

    def mixture(self, outputs: Array, shares: Array, rewards: Array) -> Array:
        """Return the logits of ``Σ_a π_a P(Z_a + r_a = z_i)``, each shifted distribution projected onto the atoms."""
        n_batch, n_actions, n_atoms = outputs.shape
        flat = outputs.reshape(n_batch * n_actions, n_atoms)
        shifted = project(softmax(flat), rewards.reshape(-1), shares.reshape(-1) * 0 + 1, self.held["support"])
        mass = (shares[:, :, None] * shifted.reshape(outputs.shape)).sum(1)
        xp = namespace(mass)
        return xp.log(mass.clip(xp.finfo(mass.dtype).tiny, None))

    def errors(self, outputs: Array, actions: Array, next_outputs: Array, selector: Array, batch: Targets) -> Errors:
        """Return the cross-entropy of the projected target (Bellemare et al. 2017, Algorithm 1)."""
        values, support = self.values(selector), self.held["support"]
        if self._updates % COUNT_EVERY == 0:
            self._count(softmax(select(next_outputs, values)), batch)
        self._updates += 1
        numbers = support, batch.rewards, batch.discounts, batch.weights
        errors: Errors = self._errors(outputs, actions, next_outputs, values, *numbers)
        return errors

    def formula(self) -> Formula | None:
        """Return this kind's name and the atoms, where the greedy choice compares means."""
        known = type(self) is CategoricalReturn and isinstance(self.risk, Mean)
        return Formula(self.name, support=self.held["support"]) if known else None

    def counts(self, n_updates: int) -> list[bool]:
        """Ask every so many updates."""
        return [(self._updates + k) % COUNT_EVERY == 0 for k in range(n_updates)]

    def counted(self, clipped: np.ndarray, batch: Callable[[int], Targets]) -> None:
        """Keep the latest of them, and warn of one that is too large."""
        for k, share in enumerate(clipped.tolist()):
            if share == share:  # not NaN
                self._keep(share, partial(batch, k))
        self._updates += len(clipped)

    def priorities(self, errors: Errors) -> Array:
        """Return the KL divergence of the target from the prediction (Hessel et al. 2018)."""
        divergences: Array = self._divergences(errors.losses, errors.targets)
        return divergences

    def _count(self, probabilities: Array, batch: Targets) -> None:
        support = self.held["support"]
        self._keep(float(clipped_mass(probabilities, batch.rewards, batch.discounts, support).mean()), lambda: batch)

    def _keep(self, clipped: float, seen: Callable[[], Targets]) -> None:
        """Keep what was counted, and warn once of a share that is too large."""
        self.clipped = clipped
        if self.clipped > TOO_MUCH and not self._warned:
            self._warned, batch = True, seen()
            low, high = self._ends
            # What rewards of this size add up to for ever: z = R / (1 − γ^m).
            whole = batch.rewards / (1 - batch.discounts).clip(1e-3)
            wider = outside(min(low, float(whole.min())), max(high, float(whole.max())))
            warn_user(
                f"{self.clipped:.0%} of the return distribution lies outside v_min={low:g} ... v_max={high:g}: "
                f"widen the support, to v_min={wider[0]:g}, v_max={wider[1]:g} for example, or scale the rewards."
            )

    def logs(self) -> dict[str, float]:
        """Return the share of the targets' mass that the support cuts off."""
        return {"clipped_mass": self.clipped}

    def get_state(self) -> dict[str, Any]:
        """Return how far the count is, and what the support is."""
        count = {"updates": self._updates, "clipped": self.clipped, "warned": self._warned}
        return {**count, "given": list(self._given), "ends": list(self._ends)}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore it."""
        if state:  # states of version 0.1 have none
            self._updates, self.clipped, self._warned = state["updates"], state["clipped"], state["warned"]
        if "given" in state:
            self._given, self._ends = tuple(state["given"]), tuple(state["ends"])


def outside(low: float, high: float) -> tuple[float, float]:
    """Return round numbers a little outside of two others, to two digits of their distance."""
    if not low < high:  # one return, always the same: its size is all there is to go by
        low, high = (low - abs(low), low + abs(low)) if low else ATARI
    margin = MARGIN * (high - low)
    digits = 10.0 ** (floor(log10(high - low + 2 * margin)) - 1)
    return round(floor((low - margin) / digits) * digits, 9), round(ceil((high + margin) / digits) * digits, 9)


def _between(v_min: End, v_max: End, ends: tuple[float, float]) -> tuple[float, float]:
    """Return a support, with `ends` where one is ``auto``; of the same width where they lie beyond the other one."""
    low, high = (end if given == "auto" else given for given, end in zip((v_min, v_max), ends, strict=True))
    if not low < high:
        width = ends[1] - ends[0]
        low, high = (high - width, high) if v_min == "auto" else (low, low + width)
    return float(low), float(high)
