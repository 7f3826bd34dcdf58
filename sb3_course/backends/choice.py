"""From the argument ``backend`` to a backend."""

from __future__ import annotations

from typing import Any

from sb3_course.backends.base import Backend
from sb3_course.backends.torch_backend import TorchBackend
from sb3_course.text import InputError

#: The values of the argument ``backend``.
BACKENDS = ("auto", "torch", "numpy")


def make_backend(name: str, policy: Any) -> Backend:
    """Return the backend called `name` for `policy`; ``auto`` takes the fastest one that can serve it.

    :raises InputError: for a backend that does not exist or cannot serve the policy
    """
    if name == "numpy":
        raise InputError("backend", "the NumPy backend is not part of this version", got=name, want="'auto' or 'torch'")
    if name not in BACKENDS:
        raise InputError("backend", "unknown backend", got=name, want=" or ".join(map(repr, BACKENDS)))
    return TorchBackend(policy)
