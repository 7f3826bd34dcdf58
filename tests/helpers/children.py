"""Work in a forked process, which may give up its rights, fill its disk or die without harm to the tests."""

import contextlib
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from typing import NamedTuple


class Ended(NamedTuple):
    """How a process ended, and what it said."""

    status: int
    out: str
    err: str


def in_child(work: Callable[[], int]) -> Ended:
    """Return what becomes of `work` in a process that has everything imported already."""
    pipes = [os.pipe(), os.pipe()]
    child = os.fork()
    if child == 0:
        status = 99
        try:
            for number, (_, writer) in enumerate(pipes, 1):
                os.dup2(writer, number)
            with open(1, "w", closefd=False) as sys.stdout, open(2, "w", closefd=False) as sys.stderr:
                status = work()
        except BaseException:
            os.write(2, traceback.format_exc().encode())
        finally:
            os._exit(status)
    said = []
    for reader, writer in pipes:  # a few lines each, which a pipe has room for
        os.close(writer)
        with open(reader) as file:
            said.append(file.read())
    return Ended(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), *said)


class Command:
    """A command line in a copy of this process, which saves the seconds of imports, in the words of `subprocess.Popen`.

    It is in a session of its own, as one that a terminal starts is in a group of its own.

    :param main: of the door
    :param words: after its name
    """

    def __init__(self, main: Callable[[list[str]], int], words: list[str]) -> None:
        self.returncode: int | None = None
        self._said = [tempfile.TemporaryFile("w+") for _ in range(2)]  # noqa: SIM115 - as long as it runs
        self.pid = os.fork()
        if self.pid == 0:
            status = 99
            try:
                os.setsid()
                signal.signal(signal.SIGINT, signal.default_int_handler)
                for number, file in enumerate(self._said, 1):
                    os.dup2(file.fileno(), number)
                with open(1, "w", 1, closefd=False) as sys.stdout, open(2, "w", 1, closefd=False) as sys.stderr:
                    status = main(words)
            except BaseException:
                os.write(2, traceback.format_exc().encode())
            finally:
                os._exit(status)

    def poll(self) -> int | None:
        """Return its status, or None while it runs."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def wait(self, timeout: float = 120.0) -> int:
        """Return its status when it has ended.

        :raises subprocess.TimeoutExpired: where it has not; it is killed then
        """
        until = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > until:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired("command", timeout)
            time.sleep(0.01)
        assert self.returncode is not None
        return self.returncode

    def said(self) -> str:
        """Return what it has printed so far."""
        descriptor = self._said[0].fileno()  # read where the child's writing does not stand
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode()

    def communicate(self, timeout: float = 120.0) -> tuple[str, str]:
        """Wait for its end, and return what it printed and what it complained of."""
        self.wait(timeout)
        told = []
        for file in self._said:
            file.seek(0)
            told.append(file.read())
            file.close()
        return told[0], told[1]


def as_nobody() -> None:
    """Give up the rights of the superuser, for whom no folder is read-only."""
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)


def limit_files(n_bytes: int) -> None:
    """Let no file grow beyond so many bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes))
