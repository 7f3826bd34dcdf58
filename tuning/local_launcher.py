"""Workers as processes of this machine."""

from __future__ import annotations

import os
import subprocess
import sys

from sb3_course.sb3.interrupts import holding_interrupts
from sb3_course.tuning.launcher import ONE_THREAD, PARENT, STORAGE, STUDY, WAIT, Worker
from sb3_course.tuning.storage import StudyStorage
from sb3_course.tuning.tickets import is_gone


class LocalLauncher:
    """Starts a process for each worker."""

    def start(self, storage: StudyStorage, study: str) -> Worker:
        """Return a new process; what it must know, a password perhaps, is in its environment, which is only ours."""
        return start_process(
            {STORAGE: storage.url, STUDY: study, WAIT: str(storage.patience.seconds), PARENT: str(os.getpid())}
        )

    def is_gone(self, worker: str | None) -> bool:
        """Return whether it was a process of this machine that is there no more."""
        return is_gone(worker)


def start_process(task: dict[str, str]) -> Worker:
    """Return a new process of `sb3_course.tuning.workers` that finds its task in its environment."""
    with holding_interrupts():
        return subprocess.Popen(
            [sys.executable, "-m", "sb3_course.tuning.workers"], env={**os.environ, **ONE_THREAD, **task}
        )
