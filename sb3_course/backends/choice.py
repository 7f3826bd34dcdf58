"""The choice of a backend by the argument ``backend``."""

from __future__ import annotations

from typing import Any

from sb3_course.backends.numpy_backend import NumpyBackend
from sb3_course.backends.numpy_parameters import Unsupported
from sb3_course.backends.protocol import Backend
from sb3_course.backends.torch_backend import TorchBackend
from sb3_course.config.text import InputError

#: The values of the argument ``backend``.
BACKENDS = ("auto", "torch", "numpy")


def make_backend(name: str, policy: Any) -> Backend:
    """Return the backend called `name` for `policy`; ``auto`` is NumPy wherever it can serve the policy.

    :raises InputError: for a backend that does not exist or cannot serve the policy
    """
    if name not in BACKENDS:
        raise InputError("backend", "unknown backend", got=name, want=" or ".join(map(repr, BACKENDS)))
    if name == "torch":
        return TorchBackend(policy)
    try:
        return NumpyBackend(policy)
    except Unsupported as reason:
        if name == "auto":
            return TorchBackend(policy, why=f"NumPy cannot serve the policy: {reason}")
        what = f"NumPy cannot serve this policy, because {reason}"
        raise InputError("backend", what, got=name, want="'auto' or 'torch'") from None
