"""Scripts that start processes and are read again by each: what ends such a process quietly, and what is said of it.

A process that is spawned imports the script that started it. If that one starts processes outside of
``if __name__ == "__main__"``, the new process tries the same, and Python ends it with a traceback for each.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable
from typing import Any

import gymnasium as gym
from stable_baselines3.common.vec_env import SubprocVecEnv

from sb3_course.config.errors import InputError
from sb3_course.sb3.interrupts import holding_interrupts

#: The exit status of a process that met the call which had started it.
REREAD = 78


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
    """SB3's environments in a process each, started afresh.

    :raises InputError: where their script starts them again
    """

    def __init__(self, makers: list[Callable[[], gym.Env[Any, Any]]]) -> None:
        leave_if_reread()
        try:
            with holding_interrupts():
                super().__init__(makers, start_method="spawn")
        except (EOFError, ConnectionError):
            refuse_if_reread(self.processes)
            raise
