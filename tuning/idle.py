"""Connections to a server that are kept for a moment: a trial asks thirty things in a row, and then none for long."""

from __future__ import annotations

import threading
import time

import sqlalchemy as sa

#: Seconds that a connection is kept after its last use: longer than the pauses between two questions of one trial, and
#: far shorter than those between heartbeats, so that a thousand workers have few of them at a time.
KEPT = 0.25


class IdleClosing:
    """Close what an engine has connected when nobody has used it for a while.

    :param engine: whose pool has no limit (`max_overflow=-1`), so that it has nothing to count wrong
    :param seconds: how long a connection is kept
    """

    def __init__(self, engine: sa.Engine, seconds: float = KEPT) -> None:
        self.engine, self.seconds, self.used = engine, seconds, 0.0
        self._lock = threading.Lock()
        self._waiting = False
        sa.event.listen(engine, "checkin", self._returned)

    def _returned(self, *_: object) -> None:
        self.used = time.monotonic()
        with self._lock:
            if self._waiting:
                return
            self._waiting = True
        threading.Thread(target=self._close, name="idle", daemon=True).start()

    def _close(self) -> None:
        while (left := self.used + self.seconds - time.monotonic()) > 0:
            time.sleep(left)
        with self._lock:
            self._waiting = False
        # Not the engine's: that one takes a new pool, and what is in use now would come back to the old one.
        self.engine.pool.dispose()
