"""Comparisons: every algorithm tuned under the same terms, then the best of each run again on fresh seeds.

One environment is a list of one.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
from optuna.study import Study

from sb3_course.config.errors import InputError, did_you_mean
from sb3_course.runs.known_envs import find_env
from sb3_course.runs.run_versions import run_versions
from sb3_course.tuning.agenda import Agenda
from sb3_course.tuning.crew import StudyProgress, run_study
from sb3_course.tuning.launcher import Launcher
from sb3_course.tuning.plan import FRESH_SEEDS, FRESH_STRIDE, NEXT, Plan, Point
from sb3_course.tuning.planner import plan_for
from sb3_course.tuning.results import Comparison, Configuration, Run, Task
from sb3_course.tuning.scales import scale_of, zero_of
from sb3_course.tuning.storage import StudyStorage, open_storage
from sb3_course.tuning.study import create_study, ranked
from sb3_course.tuning.translate import merged


@dataclass(frozen=True, kw_only=True)
class Contest:
    """The terms of a comparison, the same for every algorithm.

    :param algos: registry names, at least two
    :param envs: environment ids; each algorithm is tuned in each of them
    :param n_timesteps: environment steps of every run
    :param n_trials: configurations tried for each algorithm in each environment
    :param seeds: of every trial
    :param n_fresh: fresh seeds for the final runs
    :param top: how many of each algorithm's configurations are run on the fresh seeds, besides default and preset; the
        first of them by its tuning score is the one that the verdicts are about
    :param thresholds: mean return that "steps to threshold" waits for, by environment; by default the environment's own
    :param references: by environment the scores that count as 0 and as 1 where scores of several environments are put
        together; by default the score of random actions and the threshold, or the best run where there is none
    :param command: what repeats it, for the report
    :param terms: the other arguments of `Plan`, the same for all
    :raises InputError: for a value that cannot be
    """

    algos: tuple[str, ...]
    envs: tuple[str, ...]
    n_timesteps: int
    n_trials: int = 20
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    n_fresh: int = 20
    top: int = 2
    thresholds: Mapping[str, float] = field(default_factory=dict)
    references: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    command: str = ""
    terms: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for flag, names, least in (("--algos", self.algos, 2), ("--env", self.envs, 1)):
            if len(set(names)) < least:
                want = "at least two names" if least > 1 else "at least one"
                raise InputError(flag, f"a comparison needs {'two algorithms' if least > 1 else 'an environment'}",
                                 " ".join(names), want)  # fmt: skip
            if len(set(names)) < len(names):
                raise InputError(flag, "one is named twice", " ".join(names), "each once")
        for name, value, low in (("--fresh-seeds", self.n_fresh, 2), ("--top", self.top, 1)):
            if value < low:
                raise InputError(name, "is too small", value, f"an integer >= {low}")
        for flag, given in (("--threshold", self.thresholds), ("--reference", self.references)):
            for env in given:
                if env not in self.envs:
                    hint = did_you_mean(env, self.envs)
                    raise InputError(flag, f"names no environment of the comparison{hint}", env, " or ".join(self.envs))
        for threshold in self.thresholds.values():
            if not math.isfinite(threshold):
                raise InputError("--threshold", "is not finite", threshold, "a mean return")
        if self.references and len(self.envs) == 1:
            raise InputError("--reference", "puts scores of several environments together", self.envs[0],
                             "more environments")  # fmt: skip

    def threshold(self, env: str) -> float | None:
        """Return the mean return that "steps to threshold" waits for, or None."""
        return self.thresholds[env] if env in self.thresholds else find_env(env).reward_threshold

    @property
    def fresh_seeds(self) -> tuple[int, ...]:
        """The seeds of the final runs."""
        return tuple(FRESH_SEEDS + self.seeds[0] + FRESH_STRIDE * number for number in range(self.n_fresh))

    def plans(self) -> dict[str, dict[str, Plan]]:
        """Return the plan that tunes each algorithm, by environment and algorithm.

        :raises InputError: for the first algorithm that cannot be tuned on these terms
        """
        common = {"n_timesteps": self.n_timesteps, "n_trials": self.n_trials, "seeds": self.seeds, **self.terms}
        for env in self.envs:
            find_env(env)
        return {env: {algo: plan_for(algo, env, **common) for algo in self.algos} for env in self.envs}

    def check(self) -> None:
        """Refuse what cannot be.

        :raises InputError: as `plans` and `zeros` do
        """
        self.plans()
        _ = self.zeros

    @cached_property
    def zeros(self) -> dict[str, float]:
        """Return the score that counts as 0 in each environment; nothing where there is only one.

        :raises InputError: where 1 would not lie above 0
        """
        if len(self.envs) == 1:
            return {}
        base = self.terms.get("base", {})
        return {env: zero_of(env, base, self.threshold(env), self.references.get(env)) for env in self.envs}


def compare(
    contest: Contest,
    storage: StudyStorage | str,
    name: str,
    workers: int = 1,
    stop: Callable[[], bool] = lambda: False,
    tell: Callable[[StudyProgress], object] = lambda progress: None,
    launcher: Launcher | None = None,
) -> Comparison | None:
    """Tune every algorithm, run the best of each on fresh seeds, and return what came of it; None when stopped.

    Called again with the same storage and name, it goes on where it was.

    :param contest: the terms
    :param storage: of all its studies, or its URL
    :param name: its studies are called `<name>/<env>/<algo>`, and `<name>/fresh-<digest>` after what runs there: with
        another algorithm or environment, or more fresh seeds, the tuning of before is kept
    :param workers: how many processes
    :param stop: asked all the time
    :param tell: called about once a second
    :param launcher: who starts the workers, as in `run_study`
    :raises InputError: when a stored study was begun on other terms
    """
    storage = open_storage(storage) if isinstance(storage, str) else storage
    plans, zeros = contest.plans(), contest.zeros
    studies = {
        env: {algo: create_study(plan, storage=storage, name=study_name(storage, name, plan))
              for algo, plan in of_env.items()}
        for env, of_env in plans.items()
    }  # fmt: skip
    for of_env in studies.values():
        for study in of_env.values():
            study.set_user_attr(NEXT, None)  # workers of other machines wait for what follows
    run = partial(run_study, storage, workers=workers, stop=stop, tell=tell, launcher=launcher)
    agenda = Agenda(_expected(contest, plans))
    tasks = []
    for env in contest.envs:
        for algo, study in studies[env].items():
            if not run(study.study_name, whole=partial(agenda.look, (env, algo))):
                return None
        configurations = [each for algo, study in studies[env].items() for each in select(contest, algo, study)]
        plan = fresh_plan(contest, env, configurations)
        agenda.runs[env, "fresh"] = plan.n_runs
        fresh = create_study(plan, storage=storage, name=f"{name}/fresh-{digest(plan)}")
        for study in studies[env].values():
            study.set_user_attr(NEXT, fresh.study_name)
        if not run(fresh.study_name, whole=partial(agenda.look, (env, "fresh"))):
            return None
        tasks.append(collect(contest, env, configurations, fresh, zeros.get(env)))
    evaluation = {key: getattr(plan, key) for key in ("eval_freq", "eval_episodes", "final_episodes")}
    return Comparison(
        tuple(tasks), contest.n_timesteps, contest.n_trials, contest.seeds, contest.fresh_seeds, _score(contest),
        contest.command, run_versions(), evaluation,
    )  # fmt: skip


def study_name(storage: StudyStorage, name: str, plan: Plan) -> str:
    """Return what the tuning study of an algorithm in an environment is called in the storage.

    One that was begun as `<name>/<algo>`, when a comparison had one environment, goes on under that name.
    """
    short = f"{name}/{plan.algo}"
    try:
        notes = storage.get_study_user_attrs(storage.get_study_id_from_name(short))
    except KeyError:
        notes = {}
    return short if notes.get("plan", {}).get("env") == plan.env else f"{name}/{plan.env}/{plan.algo}"


def _expected(contest: Contest, plans: Mapping[str, Mapping[str, Plan]]) -> dict[Hashable, int]:
    """Return how many runs each part of the whole is; of the final ones, how many there are at most."""
    runs: dict[Hashable, int] = {}
    for env, of_env in plans.items():
        runs |= {(env, algo): plan.n_runs for algo, plan in of_env.items()}
        known = sum(len(plan.points) + contest.top for plan in of_env.values())
        runs[env, "fresh"] = known * contest.n_fresh
    return runs


def _score(contest: Contest) -> str:
    return str(contest.terms.get("score", "auc"))


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
    return [replace(each, chosen=each.label == chosen) for each in found]


def plan_of(study: Study) -> Plan:
    """Return the plan that a study keeps."""
    return Plan.from_json(study.user_attrs["plan"])


def digest(plan: Plan) -> str:
    """Return a short name of all that a plan says."""
    return hashlib.sha256(json.dumps(plan.to_json(), sort_keys=True).encode()).hexdigest()[:8]


def fresh_plan(contest: Contest, env: str, configurations: list[Configuration]) -> Plan:
    """Return the plan of the final runs: each configuration once on each fresh seed."""
    points = tuple(Point(each.label, {**each.settings, "algo": each.algo}) for each in configurations)
    return Plan(
        algo=contest.algos[0], env=env, n_timesteps=contest.n_timesteps,
        n_trials=len(points) * contest.n_fresh, seeds=contest.fresh_seeds, points=points, spread=True,
        **{**contest.terms, "pruner": "none"},
    )  # fmt: skip


def collect(
    contest: Contest, env: str, configurations: list[Configuration], fresh: Study, zero: float | None = None
) -> Task:
    """Return what the finished trials of the final runs in an environment add up to.

    :param zero: the score that counts as 0 among several environments
    :raises RuntimeError: where every run has failed
    """
    runs: dict[str, list[Run]] = {each.label: [] for each in configurations}
    plan = plan_of(fresh)
    for trial in fresh.get_trials(deepcopy=False):
        if "replaced" in trial.user_attrs:  # a second row of a ticket
            continue
        label, seed = plan.given(trial.user_attrs["ticket"])
        died = [{"seed": seed, "failure": trial.user_attrs.get("reason", "it has not ended")}]
        runs[label] += [Run.from_json(run) for run in trial.user_attrs.get("runs", died)]
    whole = tuple(
        replace(each, settings=merged(each.settings, plan.base),
                runs=tuple(sorted(runs[each.label], key=lambda run: run.seed)))
        for each in configurations
    )  # fmt: skip
    if all(run.failure for each in whole for run in each.runs):
        raise RuntimeError(f"every run on the fresh seeds in {env} has failed: {whole[0].runs[0].failure}")
    task = Task(env, contest.threshold(env), whole)
    if zero is None:
        return task
    scores = np.concatenate([task.scores(each, _score(contest)) for each in whole])
    return replace(task, scale=scale_of(zero, task.threshold, contest.references.get(env), scores))
