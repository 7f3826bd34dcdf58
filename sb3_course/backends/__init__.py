"""Who does the arithmetic: one small interface, implemented by torch (and, with the speed work, by NumPy)."""

from sb3_course.backends.choice import BACKENDS, make_backend
from sb3_course.backends.protocol import Backend

__all__ = ["BACKENDS", "Backend", "make_backend"]
