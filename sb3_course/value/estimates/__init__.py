"""The table of return estimates: the values of the argument ``distribution``, and the arguments they bring along.

A new kind is a file beside these and a row of `KINDS`. Importing the table imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from sb3_course.config import parameters
from sb3_course.config.argument import Argument
from sb3_course.config.errors import InputError, did_you_mean
from sb3_course.value.estimates.categorical_return import CategoricalReturn
from sb3_course.value.estimates.estimate import ReturnEstimate
from sb3_course.value.estimates.implicit_return import ImplicitReturn
from sb3_course.value.estimates.mean_return import MeanReturn
from sb3_course.value.estimates.quantile_return import QuantileReturn

__all__ = ["ARGUMENTS", "DISTRIBUTION", "ESTIMATES", "ReturnEstimate", "estimate_from", "kind_of"]

KINDS: tuple[type[ReturnEstimate], ...] = (
    MeanReturn,
    CategoricalReturn,
    QuantileReturn,
    ImplicitReturn,
)
ESTIMATES = {kind.name: kind for kind in KINDS}

DISTRIBUTION = Argument(
    "distribution",
    Literal[(*ESTIMATES, None)],
    "what an output says of the return; None: categorical where n_atoms > 1, else its mean",
    None,
    "None = DQN",
)
#: What the estimates add to the arguments of the value family.
ARGUMENTS: dict[str, Argument] = {row.name: row for kind in ESTIMATES.values() for row in kind.arguments}
parameters.add(DISTRIBUTION, *ARGUMENTS.values())


def kind_of(distribution: str | None, given: Mapping[str, Any]) -> type[ReturnEstimate]:
    """Return the kind of estimate that the arguments ask for.

    :param distribution: its name; None: what the other arguments imply, else the mean
    :param given: the arguments of estimates, by name
    :raises InputError: for an unknown name, with a did-you-mean
    """
    if distribution is None:
        return next((kind for kind in ESTIMATES.values() if kind.implied_by(given)), MeanReturn)
    if distribution not in ESTIMATES:
        hint = did_you_mean(distribution, ESTIMATES)
        want = " or ".join(map(repr, ESTIMATES))
        raise InputError("distribution", f"unknown return estimate{hint}", got=distribution, want=want)
    return ESTIMATES[distribution]


def estimate_from(distribution: str | None, given: Mapping[str, Any], network: bool = False) -> ReturnEstimate:
    """Return a new estimate; arguments of other kinds are left aside.

    :param distribution: as in `kind_of`
    :param given: the arguments of estimates, by name
    :param network: for the network, whose outputs only the shaping arguments describe
    :raises InputError: for a wrong value
    """
    kind = kind_of(distribution, given)
    names = kind.shaping if network else tuple(row.name for row in kind.arguments)
    return kind(**{name: given[name] for name in names if name in given})
