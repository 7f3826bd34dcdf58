"""Warnings that point at a line of the user's, not at one of this package or of SB3."""

from __future__ import annotations

import sys
import warnings

#: Whose lines are nobody's fault.
LIBRARIES = ("sb3_course", "stable_baselines3", "sb3_contrib")


def warn_user(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn of `message`, at the innermost line that is in none of `LIBRARIES`."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] in LIBRARIES:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
