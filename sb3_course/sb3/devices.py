"""Devices that are asked for and not there: SB3 takes the processor instead, without a word."""

from __future__ import annotations

from typing import Any

import torch as th

from sb3_course.config.errors import InputError
from sb3_course.config.warn import warn_user


def is_there(device: Any) -> bool:
    """Return whether torch can compute on a device: `auto`, `cpu`, `cuda`, `cuda:0`, `mps`, … or a `torch.device`."""
    kind, _, index = str(device).partition(":")
    if kind == "cuda":
        return th.cuda.is_available() and int(index or 0) < th.cuda.device_count()
    if kind == "mps":
        return th.backends.mps.is_available()
    if kind in ("xpu", "hpu"):
        module = getattr(th, kind, None)
        return module is not None and bool(module.is_available())
    return True


def warn_if_absent(device: Any) -> None:
    """Say that a device is not there, and what SB3 takes in its place: the CPU for any GPU of a machine without one.

    :raises InputError: for another device that is not there, which nothing stands in for
    """
    if str(device).startswith("cuda") and not th.cuda.is_available():
        warn_user(f"device: {str(device)!r} is not there; the model computes on the CPU")
    else:
        require_there(device)


def require_there(device: Any) -> None:
    """Refuse a device that is not there: whoever types it expects its speed.

    :raises InputError: naming it
    """
    if not is_there(device):
        found = [f"cuda:{index}" for index in range(th.cuda.device_count())]
        raise InputError("device", "is not there", str(device), " or ".join(["auto", "cpu", *found]))
