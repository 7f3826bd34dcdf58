"""When the target network is synchronised: every so many steps, updates or episodes."""

from __future__ import annotations

from typing import Any, NamedTuple


class Synchronisation(NamedTuple):
    """The argument ``target_update_interval``, read: a model has these as ``target_update_…``."""

    interval: int
    unit: str = "step"
    first: int | None = None  # None: after the first interval

    @classmethod
    def read(cls, value: Any) -> Synchronisation:
        """Return what ``k``, ``(k, unit)`` or ``(k, unit, first)`` say."""
        return cls(*value) if isinstance(value, tuple) else cls(value)


def is_due(model: Any, unit: str, count: int, added: int) -> bool:
    """Tell whether a model's target is to be synchronised after the `added` events up to `count`.

    Events of `unit` reach ``first, first + interval, …``; the first time is after an interval where nobody says.
    """
    if unit != model.target_update_unit:
        return False
    events = model.n_envs if unit == "step" else 1  # one call of `_on_step` is n_envs env steps
    interval = max(model.target_update_interval // events, 1)
    first = interval if model.target_update_first is None else max(model.target_update_first // events, 1)
    return bool(count >= first and (count - first) // interval > (count - added - first) // interval)
