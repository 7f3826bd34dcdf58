"""A worker of a study that is forked from a server, in the words of `subprocess.Popen`."""

from __future__ import annotations

import multiprocessing
import os
import subprocess

from sb3_course.tuning import workers


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
