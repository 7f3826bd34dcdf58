"""The table of environments, and its entry in Gymnasium's registry."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import gymnasium as gym


@dataclass(frozen=True)
class EnvEntry:
    """One row of the table; the fields are arguments of ``gymnasium.register``."""

    id: str
    entry_point: str
    vector_entry_point: str | None = None
    max_episode_steps: int | None = None


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


def register_envs() -> None:
    """Enter every row of ``ENVIRONMENTS`` into Gymnasium's registry; a second call changes nothing."""
    for entry in ENVIRONMENTS:
        # Registering an id again would warn, and would undo what a user has put in its place.
        if entry.id not in gym.registry:
            gym.register(**asdict(entry))
