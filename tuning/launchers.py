"""The flags that say who starts the workers, and what they mean; nothing heavy is imported for `--help`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from sb3_course.config.errors import InputError, did_you_mean
from sb3_course.tuning.counting import count

if TYPE_CHECKING:
    from sb3_course.tuning.launcher import Launcher

LAUNCHERS = ("local", "ray")
#: Tasks of Ray that wait for a CPU at most: the cluster may grow to so many.
MOST_TASKS = 1000
FLAGS = ("launcher", "ray_address", "gpus")


def add_launcher_options(add: Callable[..., object]) -> None:
    """Add the flags to a parser or a group of it."""
    add("--launcher", metavar="KIND", help="who starts them: local, or ray, a task each (default: local)")
    add("--ray-address", metavar="ADDRESS", help="auto, host:port or ray://host:port (default: auto)")
    add("--gpus", metavar="N", help="of each task of Ray, 0.5 for half a one (default: 0)")


def launcher_of(options: Mapping[str, Any]) -> tuple[Launcher | None, int]:
    """Return who starts the workers, None for this machine, and how many at most.

    :raises InputError: for an unknown one, and where there is no cluster
    """
    kind = options.get("launcher", "local")
    if kind not in LAUNCHERS:
        raise InputError("--launcher", f"unknown{did_you_mean(kind, LAUNCHERS)}", kind, " or ".join(LAUNCHERS))
    if kind == "local":
        for flag in FLAGS[1:]:
            if flag in options:
                raise InputError(f"--{flag.replace('_', '-')}", "is for Ray", options[flag], "--launcher ray")
        return None, count(options, "workers", 1)
    from sb3_course.tuning.ray_launcher import RayLauncher

    workers = count(options, "workers", MOST_TASKS)
    try:
        gpus = float(options.get("gpus", 0))
    except ValueError:
        gpus = -1.0
    if not 0 <= gpus < 1000:
        raise InputError("--gpus", "is no number of GPUs", options["gpus"], "a number >= 0")
    return RayLauncher(str(options.get("ray_address", "auto")), gpus), workers
