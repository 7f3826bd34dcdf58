"""Studies: Optuna's own, with a plan kept beside the trials, a sampler that resumes where it was, and a pruner."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import StorageInternalError
from optuna.samplers import BaseSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from sb3_course.config.errors import InputError
from sb3_course.config.yaml_files import dump_yaml
from sb3_course.saving.files import atomic_write
from sb3_course.tuning.plan import Plan, configuration, place_of
from sb3_course.tuning.planner import plan_for
from sb3_course.tuning.storage import StudyStorage, open_storage, unusable
from sb3_course.tuning.tickets import Tickets, is_gone


class ResumableSampler(BaseSampler):
    """TPE whose draws for trial i depend on the seed, on i and on the trials before, and on nothing else.

    A sampler that is built anew with its seed would repeat its first points; this one gives a resumed study the points
    that it would have had without the interruption (with one worker, the same ones to the last bit).

    :param seed: of the study
    :param n_startup_trials: finished trials before the first that is more than a random draw
    :param points: what the first trials, by ticket, are given in place of a sample
    """

    def __init__(self, seed: int, n_startup_trials: int = 10, points: Sequence[Mapping[str, Any]] = ()) -> None:
        self.seed, self.n_startup_trials, self.points = seed, n_startup_trials, tuple(points)
        self._streams: dict[int, TPESampler] = {}  # of the trials that run, by their number

    @classmethod
    def of(cls, plan: Plan) -> ResumableSampler:
        """Return the sampler of a plan."""
        points = [] if plan.spread else [point.values for point in plan.points]
        return cls(plan.sampler_seed, startup_trials(plan), points)

    def _stream(self, trial: FrozenTrial) -> TPESampler:
        if trial.number not in self._streams:
            seed = int(np.random.SeedSequence([self.seed, trial.number]).generate_state(1)[0])
            self._streams[trial.number] = TPESampler(seed=seed, n_startup_trials=self.n_startup_trials)
        return self._streams[trial.number]

    def _given(self, study: Study, trial: FrozenTrial) -> Mapping[str, Any]:
        place = place_of(study, trial) if self.points else None
        return {} if place is None or place >= len(self.points) else self.points[place]

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return what TPE models jointly; nothing where the point is given."""
        return {} if self._given(study, trial) else self._stream(trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return TPE's joint sample."""
        return self._stream(trial).sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Return what is given, or TPE's sample of one parameter."""
        given = self._given(study, trial)
        if param_name in given:
            return given[param_name]
        return self._stream(trial).sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Forget the stream of a trial that has ended."""
        self._streams.pop(trial.number, None)

    def reseed_rng(self) -> None:
        """Do nothing: trials that run side by side have different numbers, and so different streams."""


def make_pruner(plan: Plan) -> optuna.pruners.BasePruner:
    """Return the pruner that a plan names."""
    if plan.pruner == "wilcoxon":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.pruners.WilcoxonPruner(p_threshold=0.1)
    if plan.pruner == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=5)
    return optuna.pruners.NopPruner()


def create_study(
    algo: str | Plan, env: str | None = None, *, storage: str | StudyStorage | None = None, name: str | None = None,
    **arguments: Any,
) -> Study:  # fmt: skip
    """Return an Optuna study that maximises the score of an algorithm, begun or continued.

    For example::

        study = create_study("rainbow", "CartPole-v1", n_timesteps=20_000, n_trials=20)
        study.optimize(Objective.of(study), n_trials=20)

    :param algo: registry name, or a whole `Plan`
    :param env: environment id, unless a plan is given
    :param storage: URL or file of a database; None keeps the study in memory
    :param name: of the study; by default `<algo>-<env>`
    :param arguments: of `plan_for`
    :raises InputError: when the stored study has another plan, with the first difference; more trials are welcome
    """
    if isinstance(algo, str):
        if env is None:
            raise InputError("env", "is missing", want="an environment id")
        plan = plan_for(algo, env, **{"n_trials": 20, **arguments})
    else:
        plan = algo
    name = name or f"{plan.algo}-{plan.env}"
    opened = open_storage(storage) if isinstance(storage, str) else storage
    sampler = ResumableSampler.of(plan)
    try:
        study = optuna.create_study(
            storage=opened,
            study_name=name,
            direction="maximize",
            load_if_exists=True,
            sampler=sampler,
            pruner=make_pruner(plan),
        )
    except StorageInternalError as error:
        raise unusable(opened.url if opened else "", error) from None
    stored = study.user_attrs.get("plan")
    if stored is None:
        if study.get_trials(deepcopy=False):
            raise InputError("--study-name", "is a study that was not made here", name, "another name")
        study.set_user_attr("plan", plan.to_json())
    else:
        wanted = plan.to_json()
        more = not plan.spread and stored.get("n_trials", plan.n_trials) < plan.n_trials
        refuse_difference(name, stored, {**wanted, "n_trials": stored["n_trials"]} if more else wanted)
        if more:  # what it has stays, and counts
            study.set_user_attr("plan", wanted)
    return study


def startup_trials(plan: Plan) -> int:
    """Return how many trials are drawn at random before TPE has enough to learn from."""
    return min(10, max(plan.n_trials // 4, 1))


def refuse_difference(name: str, stored: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Refuse to continue a study that was begun with another plan.

    :raises InputError: naming the first difference
    """
    for field, value in wanted.items():
        had = stored.get(field)
        if had == value:
            continue
        if isinstance(value, list) and value and isinstance(value[0], dict):
            mine, theirs = ({each["name"]: each for each in part} for part in (value, had or []))
            which = next((key for key in {**mine, **theirs} if mine.get(key) != theirs.get(key)), "their order")
            had, value, field = theirs.get(which), mine.get(which), f"{field}: {which}"
        raise InputError("--study-name", f"{name!r} was begun with another {field}", value, f"{had}, or another name")


def load_study(storage: StudyStorage, name: str) -> tuple[Study, Plan]:
    """Return a study that `create_study` made, and its plan.

    :raises InputError: when there is none of that name
    """
    try:
        study = optuna.load_study(study_name=name, storage=storage)
    except KeyError:
        raise InputError("--study-name", "there is no such study in the storage", name, "an existing one") from None
    if "plan" not in study.user_attrs:
        raise InputError("--study-name", "is a study that was not made here", name, "another name")
    plan = Plan.from_json(study.user_attrs["plan"])
    study.sampler, study.pruner = ResumableSampler.of(plan), make_pruner(plan)
    return study, plan


def ranked(study: Study) -> list[FrozenTrial]:
    """Return the trials that ended with a score on every seed, the best one first."""
    whole = [trial for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
             if "pruned_after" not in trial.user_attrs]  # fmt: skip
    return sorted(whole, key=lambda trial: (-(trial.value or 0.0), trial.number))


def configuration_of(trial: FrozenTrial, plan: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a trial trained as the content of a file for `train --config`, its seeds left out.

    :param trial: of a study that `create_study` made
    :param plan: of the study, as it is stored there
    """
    return configuration(plan, trial.user_attrs.get("settings", trial.params))


def write_best(study: Study, path: Path) -> FrozenTrial | None:
    """Write the best configuration as a file for `train --config`, and return its trial; None where there is none.

    :param study: a finished one
    :param path: the file
    """
    best = next(iter(ranked(study)), None)
    if best is not None:
        atomic_write(path, dump_yaml(configuration_of(best, study.user_attrs["plan"])))
    return best


def tickets_of(study: Study, plan: Plan, gone: Callable[[str | None], bool] = is_gone) -> Tickets:
    """Return the budget of a study as rows of its storage.

    :param gone: whether the worker of a name is known to have ended
    """
    return Tickets(study, plan.n_trials, plan.n_trials if plan.spread else len(plan.points), gone)
