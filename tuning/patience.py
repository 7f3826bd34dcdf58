"""What a storage does when its server goes away: it waits, with growing pauses, for a stated time."""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from optuna.exceptions import StorageInternalError

#: Seconds that a command or a worker waits for a server that is away.
PATIENCE = 600.0
_FIRST, _LONGEST = 0.25, 30.0  # seconds between two tries


class StorageGoneError(RuntimeError):
    """The server of a storage has been away for longer than somebody wanted to wait."""


class Patience:
    """Calls again what failed because a server is away.

    :param where: the server, in words that hide its password
    :param seconds: how long to wait in all, each time that it goes away
    :param quiet: whether somebody else says that we wait
    """

    def __init__(self, where: str, seconds: float = PATIENCE, quiet: bool = False) -> None:
        self.where, self.seconds, self.quiet = where, seconds, quiet
        self.stop: Callable[[], bool] = lambda: False  #: asked while waiting; True gives up at once
        self._random = random.Random(threading.get_native_id())  # so that not all come back in the same moment
        self._said = 0.0

    def __call__(self, call: Callable[[], Any], passing: Callable[[BaseException], bool] | None = None) -> Any:
        """Return what `call` returns.

        :param call: tried again while it fails in a way that passes
        :param passing: whether an error is one of those; by default that the server is away
        :raises StorageGoneError: when the server has been away for too long
        """
        began, pause = time.monotonic(), _FIRST
        while True:
            try:
                return call()
            except Exception as error:
                if not (passing or is_away)(error):
                    raise
                waited = time.monotonic() - began
                if waited >= self.seconds or self.stop():
                    raise StorageGoneError(self._gone(waited)) from None
            self._say()
            self._sleep(min(pause * self._random.uniform(0.5, 1.0), max(self.seconds - waited, 0.01)))
            pause = min(2 * pause, _LONGEST)

    def _gone(self, waited: float) -> str:
        return f"{self.where} has not answered for {waited:.0f} s; nothing is lost, the same command goes on"

    def _say(self) -> None:
        """Say once a minute that we wait."""
        if not self.quiet and (time.monotonic() - self._said > 60 or not self._said):
            self._said = time.monotonic()
            print(f"waiting: {self.where} does not answer; at most {self.seconds:.0f} s", file=sys.stderr, flush=True)

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self.stop():
            time.sleep(min(left, 0.2))


def is_away(error: BaseException) -> bool:
    """Return whether an error says that a server cannot be reached, or not now; a file is never away."""
    cause: Any = error.__cause__ if isinstance(error, StorageInternalError) and error.__cause__ else error
    if isinstance(cause, sa.exc.PendingRollbackError):  # Optuna asks once more in the transaction that was lost
        return cause.__context__ is None or is_away(cause.__context__)
    if isinstance(cause, sa.exc.DBAPIError):
        sqlite = type(cause.orig).__module__ == "sqlite3"
        refused = any(words in str(cause.orig) for words in _REFUSED)
        return not (sqlite or refused) and (cause.connection_invalidated or isinstance(cause, _PASSING))
    code = getattr(cause, "code", None)  # of gRPC, which is imported only where it is used
    return callable(code) and getattr(code(), "name", "") in ("UNAVAILABLE", "UNKNOWN", "DEADLINE_EXCEEDED")


def is_full(error: BaseException) -> bool:
    """Return whether a server is there and has no connection to give, as when a hundred workers start at once."""
    return is_away(error) and any(words in str(error) for words in _FULL)


_FULL = ("too many clients", "too many connections", "remaining connection slots")
_REFUSED = ("authentication failed", "no password supplied", "pg_hba.conf")
_PASSING = (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.InternalError)
