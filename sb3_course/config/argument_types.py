"""The types that arguments have, bounds included."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Predicate

#: What a device may be called, with or without a number after a colon.
DEVICES = ("auto", "cpu", "cuda", "mps", "xpu", "hpu", "meta")


def is_device(device: Any) -> bool:
    """Words are checked here; a `torch.device` was checked by torch."""
    kind, colon, index = device.partition(":") if isinstance(device, str) else (getattr(device, "type", None), "", "")
    return kind in DEVICES and (not colon or index.isdecimal())


def is_auto(text: str) -> bool:
    """`auto` or `auto_<start>`, SB3's words for a learned entropy coefficient."""
    try:
        return text == "auto" or (text.startswith("auto_") and 0 < float(text[5:]) < float("inf"))
    except ValueError:
        return False


Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
Fraction = Annotated[float, Ge(0), Le(1)]
Count = Annotated[int, Ge(1)]
Schedule = Callable[[float], float]
Every = Count | tuple[Count, Literal["step", "episode"]]
_Unit = Literal["step", "update", "episode"]
EveryUpdate = Count | tuple[Count, _Unit] | tuple[Count, _Unit, Count]
Options = dict[str, Any] | None
Device = Annotated[Any, Predicate(is_device)]
Auto = Annotated[str, Predicate(is_auto)]
