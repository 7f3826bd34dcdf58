"""Workers on one study: started, replaced where they die, dismissed when the budget is spent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import optuna
from optuna.trial import TrialState

from sb3_course.tuning.agenda import Agenda, Whole
from sb3_course.tuning.launcher import Launcher, Worker, dismiss, wait_for_one
from sb3_course.tuning.local_launcher import LocalLauncher
from sb3_course.tuning.patience import StorageGoneError
from sb3_course.tuning.plan import Plan
from sb3_course.tuning.storage import StudyStorage, open_storage
from sb3_course.tuning.study import load_study, tickets_of
from sb3_course.tuning.tickets import Tickets

_DEATHS = 20  # workers that may die one after the other without a trial ended between


class WorkersDiedError(RuntimeError):
    """Workers keep dying, and no trial comes to its end."""


@dataclass(frozen=True)
class StudyProgress:
    """Where a study stands.

    :param study: Optuna's
    :param n_trials: the budget
    :param counts: how many trials are in each state, replaced ones left out
    :param ended: the trials that ended since the last look
    :param best: the best score so far, or None
    :param share: how much of all runs has been trained, 0 to 1
    :param whole: the same of everything that the command does, this study among it
    """

    study: optuna.Study
    n_trials: int
    counts: dict[str, int]
    ended: tuple[optuna.trial.FrozenTrial, ...]
    best: float | None
    share: float
    whole: Whole

    @property
    def finished(self) -> int:
        """How many trials of the budget have come to an end."""
        return sum(self.counts.get(state, 0) for state in ("COMPLETE", "PRUNED", "FAIL"))


def run_study(
    storage: StudyStorage | str,
    name: str,
    workers: int = 1,
    stop: Callable[[], bool] = lambda: False,
    tell: Callable[[StudyProgress], object] = lambda progress: None,
    whole: Callable[[float], Whole] | None = None,
    launcher: Launcher | None = None,
) -> bool:
    """Run a study to the end of its budget with several worker processes; return whether it got there.

    :param storage: of the study, or its URL
    :param name: of the study, which `create_study` has made
    :param workers: how many processes
    :param stop: True asks the workers to give their trials back and leave
    :param tell: called about once a second
    :param whole: from the share of this study to where everything stands; by default the study is everything
    :param launcher: who starts the workers; processes of this machine by default
    :raises WorkersDiedError: when workers die again and again and no trial ends
    :raises StorageGoneError: when the server was away for too long
    """
    storage = open_storage(storage) if isinstance(storage, str) else storage
    storage.patience.stop = stop
    try:
        return _run(storage, name, workers, stop, tell, whole, launcher or LocalLauncher())
    except StorageGoneError:
        if stop():  # asked while the server was away
            return False
        raise


def _run(
    storage: StudyStorage,
    name: str,
    workers: int,
    stop: Callable[[], bool],
    tell: Callable[[StudyProgress], object],
    whole: Callable[[float], Whole] | None,
    launcher: Launcher,
) -> bool:
    study, plan = load_study(storage, name)
    tickets = tickets_of(study, plan, launcher.is_gone)
    tickets.settle()
    whole = whole or partial(Agenda({name: plan.n_runs}).look, name)
    crew: list[Worker] = []
    known = {trial.number for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()}
    deaths, finished = 0, -1
    try:
        while True:
            for process in [each for each in crew if each.poll() is not None]:
                crew.remove(process)
                deaths += process.returncode != 0
            tickets.settle()
            progress = _look(study, tickets, plan, known, whole)
            deaths = 0 if progress.finished != finished else deaths
            finished = progress.finished
            tell(progress)
            if finished >= plan.n_trials:
                return True
            if stop():
                return False
            if deaths > _DEATHS + 3 * workers:
                raise WorkersDiedError(f"{deaths} workers died and no trial ended; is there enough memory?")
            open_trials = progress.counts.get("WAITING", 0) + progress.counts.get("RUNNING", 0)
            while len(crew) < min(workers, open_trials):
                crew.append(launcher.start(storage, name))
            wait_for_one(crew, 1.0)
    finally:
        dismiss(crew)


def _look(
    study: optuna.Study, tickets: Tickets, plan: Plan, known: set[int], whole: Callable[[float], Whole]
) -> StudyProgress:
    counts = tickets.counts()
    trials = study.get_trials(deepcopy=False)
    ended = tuple(trial for trial in trials if trial.state.is_finished() and trial.number not in known)
    known.update(trial.number for trial in ended)
    values = [trial.value for trial in trials if trial.state == TrialState.COMPLETE and trial.value is not None]
    seeds = 1 if plan.spread else len(plan.seeds)
    running = sum(len(trial.user_attrs.get("runs", ())) for trial in trials if not trial.state.is_finished())
    done = sum(count for state, count in counts.items() if state in ("COMPLETE", "PRUNED", "FAIL")) + running / seeds
    share, best = done / plan.n_trials, max(values, default=None)
    return StudyProgress(study, plan.n_trials, counts, ended, best, share, whole(share))
