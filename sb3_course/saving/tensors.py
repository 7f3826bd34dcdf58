"""Tensors in files: read as tensors alone, each as large as it says, and finite."""

from __future__ import annotations

import io
import math
import zipfile
from typing import Any

from sb3_course.config.errors import InputError
from sb3_course.saving.archives import require_small

_FIELD = "model"
_WANT = "a file that save wrote"
_FACTORIES = ("empty", "zeros", "ones", "full", "rand", "randn", "eye", "arange", "linspace")
_MAX_ITEMS, _MAX_DEPTH = 200_000, 6
# A network, its target and what one layer needs besides; small ones are free.
_COPIES, _FREE = 8, 4 << 20


def read_tensors(name: str, raw: bytes) -> tuple[Any, int]:
    """Return the tensors of a `.pth` member and how many numbers they have, after all of them were looked at.

    :param name: of the member
    :param raw: what `torch.save` wrote
    :raises InputError: for anything but finite tensors and plain values, and for tensors larger than their memory
    """
    import torch

    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as zipped:
            require_small(zipped, len(raw), _FIELD, ratio=1)  # torch packs nothing
        values = torch.load(io.BytesIO(raw), map_location="cpu", weights_only=True)
    except InputError:
        raise
    except Exception as error:  # torch and its unpickler raise many types, and explain how to switch the check off
        reason = "more than tensors" if "weights_only" in str(error) else type(error).__name__
        raise InputError(_FIELD, f"its tensors cannot be read: {reason}", name, _WANT) from None
    return values, _count(name, values, len(raw))


def _count(name: str, values: Any, size: int) -> int:
    import torch

    stack, items, elements = [(values, 0)], 0, 0
    while stack:
        value, depth = stack.pop()
        items += 1
        if items > _MAX_ITEMS or depth > _MAX_DEPTH:
            raise InputError(_FIELD, "its tensors are packed too deep", name, _WANT)
        if isinstance(value, torch.Tensor):
            elements += value.numel()
            # Views of one piece of memory, and steps of zero, can claim any size.
            n_bytes = value.numel() * value.element_size()
            if n_bytes > value.untyped_storage().nbytes() or elements > _COPIES * size + _FREE:
                raise InputError(_FIELD, "has tensors larger than their numbers", name, _WANT)
            if value.is_floating_point() and not bool(value.isfinite().all()):
                raise InputError(_FIELD, "has weights that are not finite", name, "finite numbers")
        elif isinstance(value, dict):
            stack += [(each, depth + 1) for each in (*value.keys(), *value.values())]
        elif isinstance(value, list | tuple):
            stack += [(each, depth + 1) for each in value]
        elif isinstance(value, float) and not math.isfinite(value):
            raise InputError(_FIELD, "has a number that is not finite", name, "finite numbers")
        elif not (value is None or isinstance(value, bool | int | float | str)):
            raise InputError(_FIELD, f"has more than tensors, a {type(value).__name__}", name, _WANT)
    return elements


class Allowance:
    """While a model is built, what torch may allocate for it: a few times what its file holds.

    A file may claim layers of any width; they are refused before their memory is asked for.

    :param elements: numbers in the file's tensors
    """

    def __init__(self, elements: int) -> None:
        self._left = _COPIES * elements + _FREE
        self._mode: Any = None

    def __enter__(self) -> None:
        from torch.overrides import TorchFunctionMode

        allowance = self

        class Mode(TorchFunctionMode):
            def __torch_function__(
                self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
            ) -> Any:
                if getattr(func, "__name__", "") in _FACTORIES:
                    allowance.take(func, args, kwargs or {})
                return func(*args, **(kwargs or {}))

        self._mode = Mode()
        self._mode.__enter__()

    def __exit__(self, *what: Any) -> None:
        self._mode.__exit__(*what)

    def take(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Count what a call will allocate.

        :raises InputError: when it is more than what is left
        """
        shape = func(*args, **{**kwargs, "device": "meta"}).shape
        self._left -= math.prod(shape)
        if self._left < 0:
            raise InputError(_FIELD, "says that its networks are larger than its tensors", tuple(shape), _WANT)
