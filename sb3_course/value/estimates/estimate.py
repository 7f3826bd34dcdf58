"""What every return estimate answers: how wide an output is, what the greedy choice compares, what is learned."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol, TypeVar

import numpy as np

from sb3_course.config.argument import Argument
from sb3_course.functional import Errors
from sb3_course.functional.array_api import Array
from sb3_course.functional.risk import Mean, Risk

_Function = TypeVar("_Function", bound=Callable[..., Any])
#: ``uniform(size)``: that many independent numbers from U(0, 1).
Uniform = Callable[[int], np.ndarray]


class Targets(Protocol):
    """What an estimate reads of a batch."""

    @property
    def rewards(self) -> Array:
        """``Σ_{k<m} γ^k r_k``, (B,)."""

    @property
    def discounts(self) -> Array:
        """``γ^m·(1 − terminated)``, (B,)."""

    @property
    def weights(self) -> Array:
        """Importance weights, (B,)."""


class AtLevels(NamedTuple):
    """Observations, and the quantile levels at which the network shall tell their returns, (N,) or (B, N)."""

    observations: Any
    levels: Array


@dataclass(frozen=True)
class HeadParts:
    """What a head is made of.

    :param make: ``make(F, widths)`` returns the head that the other choices ask for, with `ReturnEstimate.head_width`
        outputs an action
    :param hidden: ``hidden([F, widths…])`` returns hidden layers with an activation after each
    :param features_dim: F
    :param net_arch: the hidden widths asked for, or those of each stream
    :param learned: whether the features come out of layers with weights
    """

    make: Callable[[int, Any], Any]
    hidden: Callable[[list[int]], Any]
    features_dim: int
    net_arch: Any
    learned: bool

    def split(self) -> tuple[list[int], Any]:
        """Return the widths before the last hidden layer, and the rest; the first of them where nothing is learned."""
        if isinstance(self.net_arch, Mapping):
            return list(self.net_arch.get("shared", [])), {**self.net_arch, "shared": []}
        widths = list(self.net_arch)
        n_before = max(len(widths) - 1, 0 if self.learned else min(len(widths), 1))
        return widths[:n_before], widths[n_before:]


def itself(function: _Function) -> _Function:
    """Return a plain function as it is: the choice of whoever has no faster twin of it."""
    return function


class ReturnEstimate(ABC):
    """What the N numbers of an output say of the return of an action.

    A kind is one file: its arguments, its width N, what the network keeps beside its weights, the values that actions
    are compared by, the loss with its gradient, and priorities. The Q network and the learner hold an instance each
    and know no kind by name. The constructor's arguments are the kind's own `arguments`.

    :cvar name: the value of the argument ``distribution``
    :cvar arguments: rows of the table of arguments that this kind adds to every algorithm of the family
    :cvar shaping: which of them shape the network, and are the policy's arguments too
    """

    name: ClassVar[str]
    arguments: ClassVar[tuple[Argument, ...]] = ()
    shaping: ClassVar[tuple[str, ...]] = ()

    #: Whether what picks the next action has to be computed apart from what is bootstrapped from.
    chooses_apart: ClassVar[bool] = False

    #: N, the numbers that an output has for each action
    width: int
    #: what `constants` names, in the arrays of whoever computes: the network's buffers, or the backend's copies
    held: Mapping[str, Array]
    #: what the greedy choice compares, where nothing else is asked for
    risk: Risk

    @property
    def head_width(self) -> int:
        """How many numbers the head has for each action: N, unless the estimate asks it N times."""
        return self.width

    def head(self, parts: HeadParts) -> Any:
        """Return the network's head, from features (B, F) to (B, A, N); by default the one that is asked for."""
        return parts.make(parts.features_dim, parts.net_arch)

    @classmethod
    def implied_by(cls, given: Mapping[str, Any]) -> bool:
        """Tell whether the arguments ask for this kind where ``distribution`` is None."""
        return False

    def constants(self) -> dict[str, Any]:
        """Return the tensors that the network keeps as buffers, by name; none by default."""
        return {}

    def adopt(self, constants: Mapping[str, Any]) -> dict[str, Any]:
        """Describe the network's constants from now on, and return the arguments that this changed; none by default.

        :param constants: the network's tensors of `constants`, which may have come with other weights
        """
        return {}

    @property
    def waits_for_returns(self) -> bool:
        """Whether an argument was left to the returns seen: `fit` settles it before anything is learned."""
        return False

    def fit(self, returns: tuple[float, float] | None) -> dict[str, Any]:
        """Settle what was left to the returns seen, and return the arguments that this changed; none by default.

        :param returns: the least and the largest to expect; None where nobody can tell
        """
        return {}

    def use(self, held: Mapping[str, Array], risk: Risk | None = None, best: Callable[..., Any] = itself) -> None:
        """Compute with these arrays from now on.

        :param held: the arrays of `constants`
        :param risk: what the greedy choice compares; by default the mean
        :param best: gives the fastest twin of a plain function
        :raises InputError: for a risk that this kind cannot tell
        """
        self.held, self.risk = held, Mean() if risk is None else risk
        self.require(self.risk)

    def require(self, risk: Risk) -> None:
        """Refuse a risk measure that the outputs say nothing of; by default none is refused.

        :raises InputError: naming it
        """
        return

    def to_learn(self, observations: Any, n_batch: int, uniform: Uniform) -> Any:
        """Return what the online network is given in an update; by default the observations."""
        return observations

    def to_bootstrap(self, observations: Any, n_batch: int, uniform: Uniform) -> Any:
        """Return what the target network is given, whose outputs are bootstrapped from."""
        return observations

    def to_choose(self, observations: Any, risk: Risk | None = None) -> Any:
        """Return what a network is given whose outputs `values` compares.

        :param risk: another measure than the estimate's own
        """
        return observations

    @abstractmethod
    def values(self, outputs: Array, risk: Risk | None = None) -> Array:
        """Return what the greedy choice compares, (B, A, N) -> (B, A).

        :param risk: another measure than the estimate's own
        """

    def returns(self, outputs: Array) -> tuple[Array, Array]:
        """Return the returns that the outputs hold possible, and their probabilities, (B, A, N) each.

        By default all N are equally likely.

        :param outputs: (B, A, N), asked for with `to_choose`
        """
        return outputs, outputs * 0 + 1 / outputs.shape[2]

    def mixture(self, outputs: Array, shares: Array, rewards: Array) -> Array:
        """Return what the outputs say of the return when action a is taken with its share, and pays its reward first.

        By default ``Σ_a π_a (z_a + r_a)``, which averages quantiles at equal levels (as M-IQN: Vieillard et al. 2020,
        section 4).

        :param outputs: z, (B, A, N)
        :param shares: π, (B, A)
        :param rewards: r, (B, A)
        :return: (B, N)
        """
        return (shares[:, :, None] * (outputs + rewards[:, :, None])).sum(1)

    @abstractmethod
    def errors(self, outputs: Array, actions: Array, next_outputs: Array, selector: Array, batch: Targets) -> Errors:
        """Return each transition's loss and the gradient of the weighted mean loss.

        :param outputs: of the online network, (B, A, N)
        :param actions: taken, (B,)
        :param next_outputs: of the target network for the next observations, (B, A, N)
        :param selector: of the network that picks the next action there, (B, A, N)
        """

    @abstractmethod
    def priorities(self, errors: Errors) -> Array:
        """Return how much replay should prefer each transition, (B,)."""

    def logs(self) -> dict[str, float]:
        """Return what is worth logging of the last update; nothing by default."""
        return {}

    def get_state(self) -> dict[str, Any]:
        """Return what later updates depend on, as plain numbers; nothing by default."""
        return {}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `get_state` returned."""
        return
