"""The versions of all that decides what a run learns."""

from __future__ import annotations

import platform

from sb3_course import backends
from sb3_course.saving.versions import versions


def run_versions() -> dict[str, str]:
    """Return the machine's system and the versions of all that decides what a run learns."""
    return {"platform": platform.platform(), **versions(backends.libraries())}
