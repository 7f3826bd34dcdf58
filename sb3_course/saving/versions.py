"""The versions that a file on disk was written with."""

from __future__ import annotations

import contextlib
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
            found[library] = metadata.version(library)
    return found
