"""Comparisons: every algorithm tuned under the same terms, then the best of each run again on fresh seeds."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from optuna.study import Study

from sb3_course.config.errors import InputError
from sb3_course.runs.environment import find_env
from sb3_course.runs.training import run_versions
from sb3_course.tuning.crew import StudyProgress, run_study
from sb3_course.tuning.plan import FRESH_SEEDS, FRESH_STRIDE, Plan, Point
from sb3_course.tuning.planner import plan_for
from sb3_course.tuning.results import Comparison, Configuration, Run
from sb3_course.tuning.storage import StudyStorage, open_storage
from sb3_course.tuning.study import create_study, ranked
from sb3_course.tuning.translate import merged


@dataclass(frozen=True, kw_only=True)
class Contest:
    """The terms of a comparison, the same for every algorithm.

    :param algos: registry names, at least two
    :param env: environment id
    :param n_timesteps: environment steps of every run
    :param n_trials: configurations tried for each algorithm
    :param seeds: of every trial
    :param n_fresh: fresh seeds for the final runs
    :param top: how many of each algorithm's configurations are run on the fresh seeds, besides default and preset; the
        first of them by its tuning score is the one that the verdicts are about
    :param threshold: mean return that "steps to threshold" waits for; by default the environment's own
    :param command: what repeats it, for the report
    :param terms: the other arguments of `Plan`, the same for all
    :raises InputError: for a value that cannot be
    """

    algos: tuple[str, ...]
    env: str
    n_timesteps: int
    n_trials: int = 20
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    n_fresh: int = 20
    top: int = 2
    threshold: float | None = None
    command: str = ""
    terms: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(set(self.algos)) < 2:
            raise InputError("--algos", "a comparison needs two algorithms", " ".join(self.algos), "at least two names")
        if len(set(self.algos)) < len(self.algos):
            raise InputError("--algos", "one is named twice", " ".join(self.algos), "each once")
        for name, value, low in (("--fresh-seeds", self.n_fresh, 2), ("--top", self.top, 1)):
            if value < low:
                raise InputError(name, "is too small", value, f"an integer >= {low}")
        if self.threshold is not None and not math.isfinite(self.threshold):
            raise InputError("--threshold", "is not finite", self.threshold, "a mean return")
        if self.threshold is None:
            object.__setattr__(self, "threshold", find_env(self.env).reward_threshold)

    @property
    def fresh_seeds(self) -> tuple[int, ...]:
        """The seeds of the final runs."""
        return tuple(FRESH_SEEDS + self.seeds[0] + FRESH_STRIDE * number for number in range(self.n_fresh))

    def plans(self) -> dict[str, Plan]:
        """Return the plan that tunes each algorithm.

        :raises InputError: for the first algorithm that cannot be tuned on these terms
        """
        common = {"n_timesteps": self.n_timesteps, "n_trials": self.n_trials, "seeds": self.seeds, **self.terms}
        return {algo: plan_for(algo, self.env, **common) for algo in self.algos}


def compare(
    contest: Contest,
    storage: StudyStorage | str,
    name: str,
    workers: int = 1,
    stop: Callable[[], bool] = lambda: False,
    tell: Callable[[StudyProgress], object] = lambda progress: None,
) -> Comparison | None:
    """Tune every algorithm, run the best of each on fresh seeds, and return what came of it; None when stopped.

    Called again with the same storage and name, it goes on where it was.

    :param contest: the terms
    :param storage: of all its studies, or its URL
    :param name: its studies are called `<name>/<algo>`, and `<name>/fresh-<digest>` after what runs there: with
        another algorithm, or more fresh seeds, the tuning of before is kept
    :param workers: how many processes
    :param stop: asked all the time
    :param tell: called about once a second
    :raises InputError: when a stored study was begun on other terms
    """
    storage = open_storage(storage) if isinstance(storage, str) else storage
    studies = {algo: create_study(plan, storage=storage, name=f"{name}/{algo}") for algo, plan in
               contest.plans().items()}  # fmt: skip
    for study in studies.values():
        if not run_study(storage, study.study_name, workers, stop, tell):
            return None
    configurations = [each for algo in contest.algos for each in select(contest, algo, studies[algo])]
    plan = fresh_plan(contest, configurations)
    fresh = create_study(plan, storage=storage, name=f"{name}/fresh-{digest(plan)}")
    if not run_study(storage, fresh.study_name, workers, stop, tell):
        return None
    return collect(contest, configurations, fresh)


def select(contest: Contest, algo: str, study: Study) -> list[Configuration]:
    """Return an algorithm's configurations for the fresh seeds: default, preset, and the best few of its study.

    A default or preset that is among the best is not run twice. The verdicts are about the best one by tuning score,
    and about the default where no trial has come through: if its fresh runs fail as well, they count as failed.
    """
    best = ranked(study)
    scores = {trial.user_attrs.get("point"): trial.value for trial in best}
    known = plan_of(study).points
    found = [Configuration(f"{algo}, {point.name}", algo, point.name, point.settings, (), scores.get(point.name))
             for point in known]  # fmt: skip
    tuned = [trial for trial in best[: contest.top] if "point" not in trial.user_attrs]
    for rank, trial in enumerate(tuned, 1):
        label = f"{algo}, tuned" + (f" {rank}" if rank > 1 else "")
        found.append(Configuration(label, algo, "tuned", trial.user_attrs["settings"], (), trial.value))
    first = best[0].user_attrs.get("point", "tuned") if best else known[0].name
    chosen = next(each.label for each in found if each.origin == first)
    return [_replace(each, chosen=each.label == chosen) for each in found]


def plan_of(study: Study) -> Plan:
    """Return the plan that a study keeps."""
    return Plan.from_json(study.user_attrs["plan"])


def digest(plan: Plan) -> str:
    """Return a short name of all that a plan says."""
    return hashlib.sha256(json.dumps(plan.to_json(), sort_keys=True).encode()).hexdigest()[:8]


def fresh_plan(contest: Contest, configurations: list[Configuration]) -> Plan:
    """Return the plan of the final runs: each configuration once on each fresh seed."""
    points = tuple(Point(each.label, {**each.settings, "algo": each.algo}) for each in configurations)
    return Plan(
        algo=contest.algos[0], env=contest.env, n_timesteps=contest.n_timesteps,
        n_trials=len(points) * contest.n_fresh, seeds=contest.fresh_seeds, points=points, spread=True,
        **{**contest.terms, "pruner": "none"},
    )  # fmt: skip


def collect(contest: Contest, configurations: list[Configuration], fresh: Study) -> Comparison:
    """Return the comparison that the finished trials of the final runs add up to."""
    runs: dict[str, list[Run]] = {each.label: [] for each in configurations}
    plan = plan_of(fresh)
    for trial in fresh.get_trials(deepcopy=False):
        label, seed = plan.given(trial.user_attrs["ticket"])
        died = [{"seed": seed, "failure": trial.user_attrs.get("reason", "it has not ended")}]
        runs[label] += [Run.from_json(run) for run in trial.user_attrs.get("runs", died)]
    whole = [
        _replace(each, settings=merged(each.settings, plan.base),
                 runs=tuple(sorted(runs[each.label], key=lambda run: run.seed)))
        for each in configurations
    ]  # fmt: skip
    if all(run.failure for each in whole for run in each.runs):
        raise RuntimeError(f"every run on the fresh seeds has failed: {whole[0].runs[0].failure}")
    return Comparison(
        env=contest.env, n_timesteps=contest.n_timesteps, n_trials=contest.n_trials, tuning_seeds=contest.seeds,
        fresh_seeds=contest.fresh_seeds, score=contest.terms.get("score", "auc"), threshold=contest.threshold,
        configurations=tuple(whole), command=contest.command, versions=run_versions(),
    )  # fmt: skip


def _replace(configuration: Configuration, **changes: Any) -> Configuration:
    return Configuration(**{**vars(configuration), **changes})


def to_json(comparison: Comparison) -> str:
    """Return the text of a file that keeps everything a report is made of."""
    data = {**vars(comparison), "configurations": [
        {**vars(each), "runs": [run.to_json() for run in each.runs]} for each in comparison.configurations
    ]}  # fmt: skip
    return json.dumps(data, indent=1)
