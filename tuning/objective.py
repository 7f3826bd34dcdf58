"""The objective of a study: the mean score of several seeds, every curve kept, every failure with its reason."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.exceptions import UpdateFinishedTrialError

from sb3_course.config.errors import InputError
from sb3_course.runs import Evaluation, Watch, execute
from sb3_course.runs.kept_run import finish
from sb3_course.tuning.optuna_inside import storage_behind
from sb3_course.tuning.patience import StorageGoneError
from sb3_course.tuning.plan import Plan
from sb3_course.tuning.results import Run
from sb3_course.tuning.seed_plan import run_found, seed_folder
from sb3_course.tuning.storage import StudyStorage


class InterruptedTrialError(Exception):
    """The trial was asked to stop; what it has finished is kept."""


class Objective:
    """Train a trial's configuration on every seed and return the mean score; a callable for `Study.optimize`.

    The trial keeps, as user attributes: `settings` (keys of a preset), `runs` (`Run.to_json`, one for each seed),
    `point` where it was no sampler's choice, `warnings` of the runs, `pruned_after` (seeds) where the rest was not
    worth while, `reason` where it failed. A trial that has runs already goes on with the seeds that are missing.

    :param plan: of the study
    :param stop: asked while training; True ends the trial with `InterruptedTrialError`
    """

    def __init__(self, plan: Plan, stop: Callable[[], bool] = lambda: False) -> None:
        self.plan, self.stop = plan, stop

    @classmethod
    def of(cls, study: optuna.Study) -> Objective:
        """Return the objective of a study that `create_study` made.

        :raises InputError: for CMA-ES on a storage that this package has not opened: Optuna's sampler unpickles what
            the storage holds, which runs whatever code somebody left there
        """
        _refuse_unpickling(study)
        return cls(Plan.from_json(study.user_attrs["plan"]))

    def __call__(self, trial: optuna.Trial) -> float:
        """Return the mean score over the seeds; NaN, which Optuna takes for a failure, where a run failed.

        :raises optuna.TrialPruned: when the median pruner ends a run
        :raises InterruptedTrialError: when asked to stop
        :raises InputError: as `of`; a trial that `Study.ask` gave has a study, too
        """
        if (study := getattr(trial, "study", None)) is not None:
            _refuse_unpickling(study)
        try:
            name, changes, seeds = self.plan.propose(trial)
        except ValueError as error:  # values that somebody enqueued, and that are not searched
            trial.set_user_attr("reason", _reason(error))
            return math.nan
        trial.set_user_attr("settings", changes)
        if name:
            trial.set_user_attr("point", name)
        runs = [Run.from_json(each) for each in trial.user_attrs.get("runs", ())][: len(seeds)]
        for index in range(len(seeds)):
            if index >= len(runs):
                if self.plan.pruner == "wilcoxon" and runs and trial.should_prune():
                    trial.set_user_attr("pruned_after", len(runs))
                    break
                runs.append(self._run(trial, changes, seeds[index], runs))
                trial.set_user_attr("runs", [each.to_json() for each in runs])
            if runs[index].failure is not None:
                trial.set_user_attr("reason", f"seed {runs[index].seed}: {runs[index].failure}")
                return math.nan
            self._report(trial, index, runs[index])
        return float(np.mean([run.score(self.plan.score) for run in runs]))

    def _report(self, trial: optuna.Trial, index: int, run: Run) -> None:
        if self.plan.pruner == "wilcoxon":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a trial that goes on after a crash has reported some of them
                trial.report(run.score(self.plan.score), index)

    def _run(self, trial: optuna.Trial, changes: dict[str, Any], seed: int, before: list[Run]) -> Run:
        """Train one seed; whatever goes wrong is its result."""
        if self.plan.folder is not None:
            return self._kept(changes, seed, seed_folder(Path(self.plan.folder), seed))
        scores: list[Evaluation] = []

        def evaluated(score: Evaluation) -> bool:
            scores.append(score)
            if not np.isfinite(score.mean):
                raise FloatingPointError(f"the evaluation at step {score.timesteps} is {score.mean}")
            return self.plan.pruner != "median" or not self._worse(trial, before, scores)

        watch = Watch(evaluation=evaluated, stop=self.stop)
        final, failure = None, None
        try:
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("default")
                result = execute(self.plan.settings(changes, seed), None, watch)
        except (UpdateFinishedTrialError, StorageGoneError):
            raise  # another worker has ended this trial, or nothing can be written
        except Exception as error:  # a crash of the algorithm, the environment or the settings is a result, too
            failure = _reason(error)
        else:
            if said:
                messages = {" ".join(str(each.message).split())[:300] for each in said}
                trial.set_user_attr("warnings", sorted(messages | set(trial.user_attrs.get("warnings", ()))))
            if not result.finished:
                if self.stop():
                    raise InterruptedTrialError
                trial.set_user_attr("pruned_after", len(before) + len(scores) / self._evaluations())
                raise optuna.TrialPruned(f"seed {seed}")
            final = result.mean
            if not np.isfinite(final):
                failure = f"the final score is {final}"
        curve = [(score.timesteps, score.mean, round(score.seconds, 3)) for score in scores]
        steps, means, seconds = zip(*curve, strict=True) if curve else ((), (), ())
        return Run(seed, steps, means, seconds, None if failure else final, failure)

    def _kept(self, changes: dict[str, Any], seed: int, path: Path) -> Run:
        """Train one seed in a folder of its own, or go on with it; what lies there is its result."""
        failure = None
        try:
            if not finish(self.plan.settings(changes, seed), path, Watch(stop=self.stop)):
                raise InterruptedTrialError
        except (InterruptedTrialError, StorageGoneError):
            raise
        except Exception as error:  # as above
            failure = _reason(error)
        run = run_found(path, seed)
        return run if failure is None else replace(run, final=None, failure=failure)

    def _worse(self, trial: optuna.Trial, before: list[Run], scores: list[Evaluation]) -> bool:
        """Report the mean of all evaluations so far; step: how many there were."""
        means = [mean for run in before for mean in run.means] + [score.mean for score in scores]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trial.report(float(np.mean(means)), len(before) * self._evaluations() + len(scores))
        return trial.should_prune()

    def _evaluations(self) -> int:
        return self.plan.n_timesteps // (self.plan.eval_freq or 1)


def _reason(error: Exception) -> str:
    words = " ".join(str(error).split())[:300] or "no reason given"
    return words if isinstance(error, InputError) else f"{type(error).__name__}: {words}"


def _refuse_unpickling(study: optuna.Study) -> None:
    if isinstance(study.sampler, optuna.samplers.CmaEsSampler) and not _ours(study):
        what = "unpickles what the storage holds, which may run any code"
        raise InputError("sampler", what, "CmaEsSampler", "create_study, or a study in memory")


def _ours(study: optuna.Study) -> bool:
    """Return whether a study is kept in memory or in a storage that `open_storage` opened."""
    return isinstance(storage_behind(study), StudyStorage | optuna.storages.InMemoryStorage)
