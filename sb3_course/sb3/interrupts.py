"""Ctrl-C reaches every process of a terminal at once; only the one that started the others decides what it means."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator


@contextlib.contextmanager
def holding_interrupts() -> Iterator[None]:
    """Let a process that is started here be deaf to Ctrl-C from its first moment: it inherits what is blocked.

    Here Ctrl-C only comes a moment later. Were it ignored instead, one pressed in that moment would be lost.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
