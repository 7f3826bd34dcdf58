"""The choice of a backend by the argument ``backend``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sb3_course.backends.numpy_backend import NumpyBackend
from sb3_course.backends.numpy_parameters import Unsupported
from sb3_course.backends.protocol import Backend
from sb3_course.backends.torch_backend import TorchBackend
from sb3_course.backends.torch_switches import TorchSwitches
from sb3_course.config.errors import InputError

#: The values of the argument ``backend``.
BACKENDS = ("auto", "torch", "numpy")


def make_backend(name: str, policy: Any, switches: Mapping[str, Any] | None = None) -> Backend:
    """Return the backend called `name` for `policy`; ``auto`` is NumPy wherever it can serve the policy.

    :param switches: ``backend_kwargs``, torch's only: where one is on, ``auto`` is torch
    :raises InputError: for a backend that does not exist or cannot serve the policy, and for switches it does not have
    """
    if name not in BACKENDS:
        raise InputError("backend", "unknown backend", got=name, want=" or ".join(map(repr, BACKENDS)))
    wanted = TorchSwitches.read(switches)
    if wanted and name == "numpy":
        raise InputError("backend_kwargs", "NumPy has no switches", dict(switches or {}), "backend='torch', or none")
    if name == "torch" or wanted:
        return TorchBackend(policy, "it was asked for" if name == "torch" else "its switches are on", wanted)
    try:
        return NumpyBackend(policy)
    except Unsupported as reason:
        if name == "auto":
            return TorchBackend(policy, why=f"NumPy cannot serve the policy: {reason}")
        what = f"NumPy cannot serve this policy, because {reason}"
        raise InputError("backend", what, got=name, want="'auto' or 'torch'") from None
