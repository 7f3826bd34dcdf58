"""The interval between two rows of the log, counted on in a `learn` that continues another."""

from __future__ import annotations

from typing import Self


class LateInterval(int):
    """An interval for SB3's ``iteration % log_interval``, whose iterations begin anew with every `learn`.

    :param interval: iterations between two rows
    :param earlier: iterations before this `learn`
    """

    earlier: int

    def __new__(cls, interval: int, earlier: int) -> Self:
        """Return the interval."""
        made = super().__new__(cls, interval)
        made.earlier = earlier
        return made

    def __rmod__(self, iteration: int) -> int:
        """Return the remainder of the iteration since the beginning."""
        return (iteration + self.earlier) % int(self)
