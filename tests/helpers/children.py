"""Work in a forked process, which may give up its rights, fill its disk or die without harm to the tests."""

import os
import resource
import sys
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


def as_nobody() -> None:
    """Give up the rights of the superuser, for whom no folder is read-only."""
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)


def limit_files(n_bytes: int) -> None:
    """Let no file grow beyond so many bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes))
