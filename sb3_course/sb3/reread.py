"""Scripts that start processes and are read again by each: what ends such a process quietly, and what is said of it.

A process that is spawned imports the script that started it. If that one starts processes outside of
``if __name__ == "__main__"``, the new process tries the same, and Python ends it with a traceback for each.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from typing import Any

import gymnasium as gym
from stable_baselines3.common.vec_env import SubprocVecEnv

from sb3_course.config.errors import InputError
from sb3_course.config.starting import waiting
from sb3_course.sb3.interrupts import holding_interrupts

#: The exit status of a process that met the call which had started it.
REREAD = 78
#: How a process of an environment starts; as a user's does it knows nothing of what this one has imported.
START_METHOD = "spawn"


def leave_if_reread() -> None:
    """End this process without a word where it is one that reads the script which has started it."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        os._exit(REREAD)


def refuse_if_reread(processes: Iterable[Any]) -> None:
    """Say what is wrong with the script, if it was read by one of these processes and met the call again.

    :raises InputError: naming the remedy
    """
    for process in processes:
        process.join(5)
        if process.exitcode == REREAD:
            what = "every process that this call starts reads the script, and meets the call again"
            raise InputError("script", what, want='the call below `if __name__ == "__main__":`') from None


class SpawnedVecEnv(SubprocVecEnv):
    """SB3's environments in a process each, started afresh; Ctrl-C while they start leaves none behind.

    :raises InputError: where their script starts them again
    """

    def __init__(self, makers: list[Callable[[], gym.Env[Any, Any]]]) -> None:
        leave_if_reread()
        self.processes: list[Any] = []
        # In a thread, which holds signals for what it starts: this one waits, and is still ended by them.
        start = partial(_deaf, super().__init__, makers, start_method=START_METHOD)
        with ThreadPoolExecutor(1) as pool, waiting():
            started = pool.submit(start)
            try:
                started.result()
            except BaseException as error:
                if isinstance(error, EOFError | ConnectionError):
                    refuse_if_reread(self.processes)
                raise
            finally:
                if not started.done() or started.exception() is not None:
                    self._kill(started)

    def _kill(self, started: Future[None]) -> None:
        """End all that was started, and what is being started."""
        with holding_interrupts():
            while True:
                for process in list(self.processes):
                    process.kill()
                if wait([started], 0.05).done:
                    break
            for process in self.processes:
                process.kill()
                process.join()


def _deaf(start: Callable[..., None], *args: Any, **kwargs: Any) -> None:
    with holding_interrupts():
        start(*args, **kwargs)
