"""Workers of a study that are forked from a server: one in the words of `subprocess.Popen`, and one that only takes."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import subprocess
from typing import Any

import optuna

from sb3_course.tuning import workers
from sb3_course.tuning.storage import NoTicketError, open_storage


class StudyWorker:
    """Starts like `local_launcher.start_process`.

    :param task: what the worker finds in its environment
    """

    def __init__(self, task: dict[str, str]) -> None:
        context = multiprocessing.get_context("forkserver")
        self.process = context.Process(target=work, args=({**os.environ, **task},), daemon=True)
        self.process.start()

    @property
    def returncode(self) -> int | None:
        return self.process.exitcode

    def poll(self) -> int | None:
        return self.process.exitcode

    def terminate(self) -> None:
        self.process.terminate()

    def kill(self) -> None:
        self.process.kill()

    def wait(self, timeout: float | None = None) -> int:
        self.process.join(timeout)
        if self.process.exitcode is None:
            raise subprocess.TimeoutExpired("worker", timeout or 0.0)
        return self.process.exitcode


def work(environment: dict[str, str]) -> None:
    """Do what a worker's command does; its parent is the server."""
    os.environ.update(environment | {workers.PARENT: str(os.getppid())})
    raise SystemExit(workers.main())


def take_all(url: str, start: Any, answers: Any) -> None:
    """Take tickets until none is left, and send their numbers."""
    study = optuna.load_study(study_name="study", storage=open_storage(url, may_create=False))
    start.wait(60)  # all begin at once
    taken = []
    with contextlib.suppress(NoTicketError):
        while True:
            taken.append(study.ask().number)
    answers.put(taken)
