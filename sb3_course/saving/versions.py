"""The versions that a file on disk was written with."""

from __future__ import annotations

import contextlib
import functools
import platform
from collections.abc import Iterable
from importlib import metadata

from sb3_course._version import __version__

#: What decides what a model is and what a run learns.
LIBRARIES = ("stable_baselines3", "sb3_contrib", "torch", "gymnasium", "numpy")


def versions(also: Iterable[str] = ()) -> dict[str, str]:
    """Return the versions of Python, of this package and of the libraries under it that are installed.

    :param also: other packages that were used
    """
    found = {"python": platform.python_version(), "sb3_course": __version__}
    for library in (*LIBRARIES, *also):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[library] = _version(library)
    return found


@functools.cache  # every checkpoint asks, and each answer is a file to parse
def _version(library: str) -> str:
    return metadata.version(library)
