"""How much of the whole is done, over all studies of a command, and how long the rest may take."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Whole:
    """Where everything stands.

    :param share: of all runs that is done, 0 to 1
    :param seconds_left: at the pace so far; None before there is one
    """

    share: float
    seconds_left: float | None

    @property
    def words(self) -> str:
        """Such as `12 % of all, 1 h 05 min left`."""
        return f"{100 * self.share:.0f} % of all" + (f", {self.left} left" if self.left else "")

    @property
    def left(self) -> str:
        """The time left, as people say it; nothing where it is not known, or all is done."""
        if self.seconds_left is None or self.share >= 1:
            return ""
        minutes = round(self.seconds_left / 60)
        if minutes >= 60:
            return f"{minutes // 60} h {minutes % 60:02d} min"
        return f"{minutes} min" if minutes else f"{self.seconds_left:.0f} s"


class Agenda:
    """All the parts of a piece of work, each of so many runs.

    What a part has already when it is first looked at was done by an earlier command: it counts as done, and not for
    the pace.

    :param runs: of each part, as far as it is known
    :param clock: seconds
    """

    def __init__(self, runs: Mapping[Hashable, int], clock: Callable[[], float] = time.monotonic) -> None:
        self.runs, self.clock = dict(runs), clock
        self._shares: dict[Hashable, float] = {}
        self._found, self._began = 0.0, clock()

    def look(self, part: Hashable, share: float) -> Whole:
        """Return where everything stands, now that this share of a part is done."""
        if part not in self._shares:
            self._found += self.runs[part] * share
        self._shares[part] = share
        total, done = sum(self.runs.values()), sum(self.runs[each] * part for each, part in self._shares.items())
        made = done - self._found
        left = (self.clock() - self._began) * (total - done) / made if made > 0 else None
        return Whole(done / total, left)
