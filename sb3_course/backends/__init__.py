"""Who does the arithmetic of the networks: one small interface, implemented by torch and by NumPy."""

from sb3_course.backends.choice import BACKENDS, make_backend
from sb3_course.backends.protocol import Backend
from sb3_course.backends.twins import libraries

__all__ = ["BACKENDS", "Backend", "libraries", "make_backend"]
