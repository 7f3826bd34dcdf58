"""A worker: a process that takes a ticket of a study, trains it, and comes back for the next.

It is `python -m sb3_course.tuning.workers`, told by the environment which study to work on; `crew` starts several.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from sb3_course import registry
from sb3_course.config.errors import InputError
from sb3_course.sb3.interrupts import left_alone
from sb3_course.tuning.launcher import PARENT, STORAGE, STUDY, WAIT
from sb3_course.tuning.objective import InterruptedTrialError, Objective
from sb3_course.tuning.patience import PATIENCE, StorageGoneError
from sb3_course.tuning.queue import RunQueue
from sb3_course.tuning.storage import StudyStorage, open_storage
from sb3_course.tuning.study import load_study, tickets_of
from sb3_course.tuning.tickets import HEARTBEAT, worker_name

_PAUSE = 0.5  # seconds between two looks at a storage where nothing waits


class Hand:
    """One worker's place at one study.

    :param storage: of the study, one that makes no trials by itself
    :param name: of the study
    :param stop: asked while training; a trial in hand is then put back
    :param worker: who this is, for whoever finds the trial abandoned
    """

    def __init__(self, storage: StudyStorage, name: str, stop: Callable[[], bool], worker: str) -> None:
        study, plan = load_study(storage, name)
        self.queue: RunQueue = tickets_of(study, plan)
        self.objective, self.worker = Objective(plan, stop), worker

    def train_one(self) -> bool:
        """Train what waits first; return False where nothing does."""
        self.queue.heal()
        trial = self.queue.take(self.worker)
        if trial is None:
            return False
        with _heartbeat(self.queue, trial):
            _train(self.queue, trial, self.objective)
        return True

    def is_open(self) -> bool:
        """Whether anything waits, or is trained by somebody who may not come back."""
        counts = self.queue.counts()
        return bool(counts.get("WAITING") or counts.get("RUNNING"))


def work(
    storage: StudyStorage,
    name: str,
    stop: Callable[[], bool] = lambda: False,
    worker: str = "",
    most: int | None = None,
) -> int:
    """Train tickets of a study until none is left, or until asked to stop; return how many were trained.

    :param storage: of the study, one that makes no trials by itself
    :param name: of the study
    :param stop: asked while training; a trial in hand is then put back
    :param worker: who this is, for whoever finds the trial abandoned
    :param most: how many tickets at most
    """
    hand, trained = Hand(storage, name, stop, worker), 0
    while not stop() and trained != most:
        if hand.train_one():
            trained += 1
        elif hand.is_open():
            time.sleep(_PAUSE)
        else:
            break
    return trained


def _train(queue: RunQueue, trial: optuna.Trial, objective: Objective) -> None:
    # Another worker may have taken this one for dead and been faster; both have the same result.
    with contextlib.suppress(UpdateFinishedTrialError):
        try:
            value = objective(trial)
        except InterruptedTrialError:
            queue.put_back(trial)
        except KeyboardInterrupt:  # a task of Ray that is cancelled
            queue.put_back(trial)
            raise
        except optuna.TrialPruned:
            queue.report(trial, TrialState.PRUNED)
        else:
            queue.report(trial, TrialState.COMPLETE if math.isfinite(value) else TrialState.FAIL, value)


@contextlib.contextmanager
def _heartbeat(queue: RunQueue, trial: optuna.Trial) -> Iterator[None]:
    """Say every few seconds that a trial goes on."""
    done = threading.Event()

    def beat() -> None:
        while not done.wait(HEARTBEAT):
            with contextlib.suppress(Exception):  # a busy database, or none; the next one will get through
                queue.beat(trial)

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def one_thread() -> None:
    """Let torch have one thread: there is a worker for each core."""
    import torch as th

    th.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # a lost connection is a page of SQL


def main() -> int:
    """Be a worker, as the environment says of which study; return the exit status."""
    parent = int(os.environ[PARENT])
    asked = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command's to hear, which then asks its workers
    signal.signal(signal.SIGTERM, lambda *_: asked.set())

    def stop() -> bool:
        return asked.is_set() or left_alone(parent)

    try:
        one_thread()
        seconds = float(os.environ.get(WAIT, PATIENCE))
        storage = open_storage(os.environ[STORAGE], may_create=False, seconds=seconds, wait=True)
        storage.patience.stop = stop
        name = os.environ[STUDY]
        registry.load_plugins(load_plan_plugins(storage, name))
        work(storage, name, stop, worker_name(os.getpid()))
    except StorageGoneError:
        return 1  # the command that started this one says so
    except InputError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 2
    return 0


def load_plan_plugins(storage: StudyStorage, name: str) -> list[str]:
    """Return the modules that a stored plan names; read before the plan itself, which may need them."""
    try:
        notes = storage.get_study_user_attrs(storage.get_study_id_from_name(name))
    except KeyError:
        raise InputError("--study", "there is no such study in the storage", name, "an existing one") from None
    plugins: list[str] = notes.get("plan", {}).get("plugins", [])
    return plugins


if __name__ == "__main__":
    sys.exit(main())
