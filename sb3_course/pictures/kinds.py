"""The table of pictures that `plot` can draw; a new kind is a file beside this one and a row here.

Importing it imports neither torch nor matplotlib.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sb3_course.pictures.picture import Picture


@dataclass(frozen=True)
class Order:
    """What was asked for.

    :param paths: folders of runs
    :param moving: whether the picture is a GIF, which has room for more moments
    :param flags: those of the kind that were given, read as its row says
    """

    paths: tuple[Path, ...]
    moving: bool = False
    flags: dict[str, Any] = field(default_factory=dict)

    @property
    def most(self) -> int:
        """How many moments are shown at most."""
        return int(self.flags.get("most", 48 if self.moving else 6))

    @property
    def seed(self) -> int:
        """Seed of the episodes that are played."""
        return int(self.flags.get("seed", 0))


@dataclass(frozen=True)
class PictureKind:
    """One row of the table.

    :param name: the word after `plot`
    :param idea: one line
    :param target: `module:function`, from an `Order` to a `Picture`
    :param flags: names of the flags that it knows
    :param several: whether it takes several runs
    """

    name: str
    idea: str
    target: str
    flags: tuple[str, ...]
    several: bool = False

    @property
    def moves(self) -> bool:
        """Whether it shows several moments."""
        return "most" in self.flags

    def load(self) -> Callable[[Order], Picture]:
        """Import the function and return it."""
        module, _, name = self.target.partition(":")
        found: Callable[[Order], Picture] = getattr(importlib.import_module(f"sb3_course.pictures.{module}"), name)
        return found


KINDS: dict[str, PictureKind] = {
    row.name: row
    for row in (
        PictureKind(
            "curves", "evaluations of runs; of several with one setting the IQM and its 95 % interval",
            "learning_curves:curves", ("threshold",), several=True,
        ),
        PictureKind(
            "values", "of a GridWorld: what is learnt of each cell and the greedy arrows, checkpoint by checkpoint",
            "grid_stages:values", ("most",),
        ),
        PictureKind(
            "visits", "of a GridWorld: where the policy of each checkpoint goes, exploring as it did then",
            "grid_stages:visits", ("most", "seed", "episodes"),
        ),
        PictureKind(
            "distribution", "of a model that learns one: the return of each action along an episode",
            "return_distributions:along_an_episode", ("most", "seed"),
        ),
        PictureKind(
            "policy", "of OneShot: mean and standard deviation of the policy over training",
            "policy_over_time:policy", ("most",),
        ),
    )
}  # fmt: skip
DEFAULT_KIND = "curves"
