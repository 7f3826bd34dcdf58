"""A driver on a Ray cluster, for a process that may be killed."""

from __future__ import annotations

from sb3_course.tuning.crew import run_study
from sb3_course.tuning.ray_launcher import RayLauncher
from sb3_course.tuning.storage import open_storage


def drive(address: str, url: str, name: str) -> None:
    """Run a study there.

    :param address: of the cluster
    :param url: of the storage
    :param name: of the study
    """
    raise SystemExit(not run_study(open_storage(url), name, 4, launcher=RayLauncher(address)))
