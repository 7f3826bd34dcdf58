"""A driver on a Ray cluster: run a study there, told by its arguments the address, the storage and the study."""

from __future__ import annotations

import sys

from sb3_course.tuning.crew import run_study
from sb3_course.tuning.ray_launcher import RayLauncher
from sb3_course.tuning.storage import open_storage

if __name__ == "__main__":
    address, url, name = sys.argv[1:]
    raise SystemExit(not run_study(open_storage(url), name, 4, launcher=RayLauncher(address)))
