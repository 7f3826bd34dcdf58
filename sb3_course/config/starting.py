"""Ctrl-C and SIGTERM while there is nothing to keep: the command, or what it waits for, ends at once."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from sb3_course.config.commands import SCRIPT

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_waiting = False


def is_command() -> bool:
    """Return whether this process is a command of ours that starts: `python -m sb3_course.train`, `sb3-course`."""
    # A script's processes have its name in `argv` as well, but were not called by it.
    if sys.argv[:1] and sys.argv[0] in sys.orig_argv and Path(sys.argv[0]).stem.removesuffix("-script") == SCRIPT:
        return True
    # `argv[0]` is `-m` until Python has found the module.
    following = sys.orig_argv[sys.orig_argv.index("-m") + 1 :] if "-m" in sys.orig_argv else []
    package, dot, name = following[0].partition(".") if following else ("", "", "")
    named = name.isidentifier() or not dot  # a study's workers lie deeper
    return sys.argv[:1] == ["-m"] and package == "sb3_course" and named


def only_help() -> bool:
    """Return whether this process is a command of ours that shows a help text and ends, and so needs little of us."""
    words = sys.argv[1:]
    foreign = words[:1] == ["zoo"] or "sb3_course.zoo" in sys.orig_argv  # whose help is rl_zoo3's own
    return is_command() and bool({"-h", "--help"} & {*words}) and not foreign


def end_while_starting() -> None:
    """Let both signals end this process at once.

    Seconds of imports lie before a command's first line, and an exception in their midst shows a traceback, or is
    taken for a module that is missing. Nothing is written yet, so nothing needs an exception to clean it up.
    """
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _leave)


def ends_at_once(number: int) -> bool:
    """Return whether a signal ends this process at once."""
    return signal.getsignal(number) is _leave


def _leave(number: int, _frame: FrameType | None) -> None:
    os.write(2, b"interrupted\n")
    os._exit(128 + number)


@contextlib.contextmanager
def waiting() -> Iterator[None]:
    """Let whoever handles a signal in this block raise at once: it only waits, and nothing is there to be finished."""
    global _waiting
    before, _waiting = _waiting, True
    try:
        yield
    finally:
        _waiting = before


def only_waits() -> bool:
    """Return whether the process is in such a block."""
    return _waiting
