"""What every command-line door shares: flags with a did-you-mean, errors of one line, exit statuses."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import select
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType
from typing import Any, NoReturn

from sb3_course.config.commands import called, examples
from sb3_course.config.errors import InputError, did_you_mean
from sb3_course.config.secrets import safe_url
from sb3_course.config.starting import SIGNALS, ends_at_once, only_waits

#: Exit statuses: a refusal of input, a failure while running, an interruption from the keyboard, output that nobody
#: reads any more and an end by SIGTERM (what a shell shows of commands that SIGPIPE or SIGTERM have ended).
REFUSED, FAILED, INTERRUPTED, UNREAD, TERMINATED = 2, 1, 130, 141, 143


class TerminatedError(KeyboardInterrupt):
    """SIGTERM: whatever cleans up after Ctrl-C does so here."""


class Parser(argparse.ArgumentParser):
    """An argument parser that raises `InputError` and takes no abbreviated flag."""

    examples = ""  # what the help ends with

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "allow_abbrev": False})

    @classmethod
    def of(cls, command: str, description: str | None, epilog: str = "", **kwargs: Any) -> Parser:
        """Return the parser of a command of the table, in which no flag has a default.

        :param command: its row, whose examples end the help
        :param description: what the help begins with
        :param epilog: what stands before the examples
        :param kwargs: for `argparse.ArgumentParser`
        """
        style = argparse.RawDescriptionHelpFormatter
        fixed: dict[str, Any] = {"formatter_class": style, "argument_default": argparse.SUPPRESS}
        parser = cls(prog=called(command), description=description, epilog=epilog, **fixed, **kwargs)
        parser.examples = examples(command)
        return parser

    def format_help(self) -> str:
        """Return the help with the examples at its end, which is what a terminal shows."""
        return "\n".join(filter(None, [super().format_help(), self.examples]))

    def error(self, message: str) -> NoReturn:
        """Raise the error instead of printing the usage and leaving."""
        match = re.match(r"argument (\S+): (.*)", message, re.DOTALL)
        if match:
            raise InputError(match[1].split("/")[-1], match[2], want="see --help")
        raise InputError("command line", message, want="see --help")

    def parse(self, argv: Sequence[str] | None) -> argparse.Namespace:
        """Return the options that were given.

        :raises InputError: for an unknown flag, a missing value or a word too many
        """
        options, unknown = self.parse_known_args(argv)
        for word in unknown:
            if word.startswith("-"):
                flag = word.split("=")[0]
                known = [name for action in self._actions for name in action.option_strings]
                raise InputError(flag, f"unknown flag{did_you_mean(flag, known)}", want="a flag that --help lists")
        if unknown:
            raise InputError("command line", "unexpected word", unknown[0], "flags and their values; see --help")
        return options


def run_door(work: Callable[[], int], name: str, tracebacks: Callable[[], bool] = lambda: False) -> int:
    """Return the exit status of `work`, its errors told in one line on stderr.

    A command of its own process (`python -m`) is ended by Ctrl-C and SIGTERM at once until it says `begin`.

    :param work: does everything and returns the status
    :param name: of what fails when `work` fails, e.g. `training`
    :param tracebacks: whether a failure is shown with its traceback
    """
    _open_closed_streams()
    try:
        with _told_of_sigterm():
            try:
                return work()
            finally:
                sys.stdout.flush()  # here, where it is known what to do if nobody reads
    except BrokenPipeError as error:
        return _leave_quietly() if _unread() else _failed(error, name, tracebacks)
    except InputError as error:
        _say(f"error: {error}")
        return REFUSED
    except KeyboardInterrupt as stop:
        _say("interrupted")
        return TERMINATED if isinstance(stop, TerminatedError) else INTERRUPTED
    except Exception as error:  # the last place that can turn a failure into one line
        return _failed(error, name, tracebacks)


def _failed(error: Exception, name: str, tracebacks: Callable[[], bool]) -> int:
    if tracebacks():
        traceback.print_exc()
    reason = " ".join(str(error).split())[:500] or "no reason given"
    if isinstance(error, OSError) and error.strerror and error.filename:
        reason = f"{error.strerror}: {error.filename}"
    _say(f"error: {name}: {type(error).__name__}: {reason}")
    return FAILED


def load_own(options: Mapping[str, Any]) -> None:
    """Import the modules that `--import` names."""
    if modules := options.get("plugins"):
        from sb3_course.registry import load_plugins  # which not every door needs

        load_plugins(modules)


def begin() -> None:
    """Let Ctrl-C and SIGTERM raise from here on: there is something to clean up."""
    if threading.current_thread() is threading.main_thread():  # only there may signals be handled
        if ends_at_once(signal.SIGINT):
            signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, _raise_terminated)


def _raise_terminated(_number: int, _frame: FrameType | None) -> None:
    raise TerminatedError


@contextlib.contextmanager
def _told_of_sigterm() -> Iterator[None]:
    """Let SIGTERM clean up as Ctrl-C does, and leave both as they were."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    if not ends_at_once(signal.SIGTERM):
        begin()
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:  # None: not Python's
                signal.signal(number, handler)


def _open_closed_streams() -> None:
    """Let what is written where nothing is open (`>&-`) go nowhere, and no file of ours be opened in its place.

    A stream that knows few characters, such as a pipe on Windows, shows `?` for the others.
    """
    for name in ("stdout", "stderr"):
        stream: Any = getattr(sys, name)
        if stream is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
        elif isinstance(stream, io.TextIOWrapper) and stream.encoding.lower() not in ("utf-8", "utf8"):
            stream.reconfigure(errors="replace")


def _unread() -> bool:
    """Tell whether whoever read our output has gone, as `head` does once it has its lines."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # no file, or a system without poll
        poll = select.poll()
        poll.register(sys.stdout, 0)
        return any(event & select.POLLERR for _, event in poll.poll(0))
    return False


def _leave_quietly() -> int:
    """Let what is still to be written go nowhere, so that Python does not complain of it when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return UNREAD


def _say(line: str) -> None:
    """Show what happened; whatever the message is made of, no password is in it."""
    print(safe_url(line), file=sys.stderr, flush=True)


class GentleStop:
    """Turn the first Ctrl-C or SIGTERM into a wish that `wanted` reports; the second one interrupts at once."""

    def __init__(self) -> None:
        self._wanted = False
        self._before: dict[int, Any] = {}
        self.status = INTERRUPTED  # of the process that was asked to end

    def wanted(self) -> bool:
        """Return whether Ctrl-C was pressed, or SIGTERM came."""
        return self._wanted

    def __enter__(self) -> GentleStop:
        if ends_at_once(signal.SIGTERM):
            begin()
        if threading.current_thread() is threading.main_thread():  # only there may signals be handled
            for number in SIGNALS:
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self.status = 128 + number
        if self._wanted or only_waits():
            raise TerminatedError if number == signal.SIGTERM else KeyboardInterrupt
        self._wanted = True
