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
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.trial import TrialState

from sb3_course import registry
from sb3_course.tuning.objective import InterruptedTrialError, Objective
from sb3_course.tuning.storage import NoTicketError, StudyStorage, open_storage
from sb3_course.tuning.study import load_study, tickets_of
from sb3_course.tuning.tickets import HEARTBEAT, Tickets, worker_name

#: What a worker is told by its environment: the storage, the name of the study, the process that started it.
STORAGE, STUDY, PARENT = "SB3_COURSE_STORAGE", "SB3_COURSE_STUDY", "SB3_COURSE_PARENT"
_PAUSE = 0.5  # seconds between two looks at a storage where nothing waits


def work(storage: StudyStorage, name: str, stop: Callable[[], bool] = lambda: False, worker: str = "") -> None:
    """Train tickets of a study until none is left, or until asked to stop.

    :param storage: of the study, one that makes no trials by itself
    :param name: of the study
    :param stop: asked while training; a trial in hand is then given back
    :param worker: who this is, for whoever finds the trial abandoned
    """
    study, plan = load_study(storage, name)
    tickets = tickets_of(study, plan, storage)
    objective = Objective(plan, stop)
    while not stop():
        tickets.settle()
        try:
            trial = study.ask()
        except NoTicketError:
            if not tickets.counts().get("RUNNING"):
                return
            time.sleep(_PAUSE)
            continue
        trial.set_user_attr("worker", worker)
        with _heartbeat(storage, trial):
            _train(study, tickets, trial, objective)


def _train(study: optuna.Study, tickets: Tickets, trial: optuna.Trial, objective: Objective) -> None:
    # Another worker may have taken this one for dead and been faster; both have the same result.
    with contextlib.suppress(UpdateFinishedTrialError):
        try:
            value = objective(trial)
            state = TrialState.COMPLETE if math.isfinite(value) else TrialState.FAIL
        except InterruptedTrialError:
            tickets.give_back(trial._trial_id)
            return
        except optuna.TrialPruned:
            value, state = math.nan, TrialState.PRUNED
        if tickets.storage.get_trial(trial._trial_id).state == TrialState.RUNNING:
            study.tell(trial, value if state == TrialState.COMPLETE else None, state=state)


@contextlib.contextmanager
def _heartbeat(storage: StudyStorage, trial: optuna.Trial) -> Iterator[None]:
    """Say every few seconds that a trial goes on."""
    done = threading.Event()

    def beat() -> None:
        while not done.wait(HEARTBEAT):
            with contextlib.suppress(StorageInternalError):  # a busy database; the next one will get through
                storage.record_heartbeat(trial._trial_id)

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def main() -> int:
    """Be a worker, as the environment says of which study; return the exit status."""
    parent = int(os.environ[PARENT])
    asked = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command's to hear, which then asks its workers
    signal.signal(signal.SIGTERM, lambda *_: asked.set())
    import torch as th

    th.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = open_storage(os.environ[STORAGE], may_create=False)
    name = os.environ[STUDY]
    registry.load_plugins(load_plan_plugins(storage, name))
    work(storage, name, lambda: asked.is_set() or os.getppid() != parent, worker_name(os.getpid()))
    return 0


def load_plan_plugins(storage: StudyStorage, name: str) -> list[str]:
    """Return the modules that a stored plan names; read before the plan itself, which may need them."""
    study = optuna.load_study(study_name=name, storage=storage)
    plugins: list[str] = study.user_attrs["plan"]["plugins"]
    return plugins


if __name__ == "__main__":
    sys.exit(main())
