"""Ctrl-C, and SIGTERM to a job, reach every process at once; only the one that started the others decides."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator

_BOTH = (signal.SIGINT, signal.SIGTERM)


def left_alone(parent: int) -> bool:
    """Return whether the process that started this one has ended.

    :param parent: `os.getppid()` of the beginning, which Windows keeps when that process has gone
    """
    if os.name != "nt":
        return os.getppid() != parent
    import psutil

    return not psutil.pid_exists(parent)


@contextlib.contextmanager
def holding_interrupts() -> Iterator[None]:
    """Let a process that is started here be deaf to both from its first moment: it inherits what is blocked.

    To this thread they only come a moment later. Were they ignored instead, one of that moment would be lost.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _BOTH)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def stand_apart() -> None:
    """Let this process, which was started so, meet only what is meant for it alone.

    In a group of its own it hears neither the terminal nor whoever ends the whole job. What came before is dropped;
    from now on SIGTERM ends it again.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        os.setpgid(0, 0)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # which drops one that waits
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _BOTH)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
