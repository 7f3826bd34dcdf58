"""Workers that are silent for so long that their trials are found abandoned, without the waiting."""

from __future__ import annotations

from typing import Any


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def abandon(tickets: Any) -> int:
    """Let the workers be silent for so long that their trials are found abandoned; return how many were."""
    clock = tickets.clock = Clock()
    found = tickets.heal()
    for seconds in (60.0, 10.0):
        clock.now += seconds
        found += tickets.settle()
    return int(found)
