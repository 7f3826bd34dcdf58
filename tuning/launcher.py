"""Who starts the workers of a study: what a launcher and a worker of its must do, whatever machine they are on."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from typing import Protocol

from sb3_course.tuning.storage import StudyStorage

#: What a worker is told by its environment: the storage, the name of the study, the process that started it.
STORAGE, STUDY, PARENT = "SB3_COURSE_STORAGE", "SB3_COURSE_STUDY", "SB3_COURSE_PARENT"
WAIT = "SB3_COURSE_WAIT"  # and how long to wait for a server that goes away
#: A worker has one core, and so one thread for arithmetic.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


class Worker(Protocol):
    """A worker that was started, in the words of `subprocess.Popen`."""

    @property
    def returncode(self) -> int | None:
        """0 once it has ended well; None while it runs."""

    def poll(self) -> int | None:
        """Return the same, having looked."""

    def terminate(self) -> None:
        """Ask it to give its trial back and leave."""

    def kill(self) -> None:
        """End it now."""

    def wait(self, timeout: float | None = None) -> int:
        """Return its status when it has ended.

        :raises subprocess.TimeoutExpired: where it has not
        """


class Launcher(Protocol):
    """Starts workers."""

    def start(self, storage: StudyStorage, study: str) -> Worker:
        """Return a new worker on a study of this name."""

    def is_gone(self, worker: str | None) -> bool:
        """Return whether the worker that signs with this name is known to have ended."""


def wait_for_one(crew: Sequence[Worker], seconds: float) -> None:
    """Wait, but not longer than until somebody has left."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and all(worker.poll() is None for worker in crew):
        time.sleep(0.05)


def dismiss(crew: Sequence[Worker]) -> None:
    """Ask everybody to leave; whoever does not within a while is killed, and the trial is found abandoned."""
    for worker in crew:
        worker.terminate()
    for worker in crew:
        try:
            worker.wait(30)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()
