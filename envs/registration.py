"""The table of environments, and its entry in Gymnasium's registry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from typing import Any

import gymnasium as gym


@dataclass(frozen=True)
class EnvEntry:
    """One row of the table; the fields are arguments of ``gymnasium.register``.

    :param id: what ``gymnasium.make`` takes
    :param entry_point: ``module:Class``
    :param vector_entry_point: ``module:Class`` of the batched version, for ``gymnasium.make_vec``; None: there is none
    :param max_episode_steps: steps after which an episode is truncated; None: never
    :param kwargs: arguments of the class
    """

    id: str
    entry_point: str
    vector_entry_point: str | None = None
    max_episode_steps: int | None = None
    kwargs: Mapping[str, Any] = field(default_factory=dict)


#: This package's environments.
ENVIRONMENTS: tuple[EnvEntry, ...] = (
    EnvEntry(
        "sb3_course/GridWorld-v0",
        "sb3_course.envs.grid_world:GridWorldEnv",
        "sb3_course.envs.vector:GridWorldVectorEnv",
        max_episode_steps=100,
    ),
    EnvEntry("sb3_course/OneShot-v0", "sb3_course.envs.one_shot:OneShotEnv", "sb3_course.envs.vector:OneShotVectorEnv"),
    EnvEntry("sb3_course/Bandit-v0", "sb3_course.envs.bandit:BanditEnv", "sb3_course.envs.vector:BanditVectorEnv"),
)


#: MinAtar's games under the ids that the package gives them: all six actions, or those that do something.
MINATAR: tuple[EnvEntry, ...] = tuple(
    EnvEntry(
        f"MinAtar/{name}-v{version}",
        "sb3_course.envs.minatar:MinAtarEnv",
        kwargs={"game": game, "minimal_actions": version == 1},
    )
    for name, game in (
        ("Asterix", "asterix"),
        ("Breakout", "breakout"),
        ("Freeway", "freeway"),
        ("Seaquest", "seaquest"),
        ("SpaceInvaders", "space_invaders"),
    )
    for version in (0, 1)
)


def register_envs() -> None:
    """Enter ``ENVIRONMENTS``, and MinAtar's where it is installed, into Gymnasium's registry; once is enough."""
    for entry in (*ENVIRONMENTS, *(MINATAR if find_spec("minatar") else ())):
        # Registering an id again would warn, and would undo what a user has put in its place.
        if entry.id not in gym.registry:
            gym.register(**asdict(entry))
