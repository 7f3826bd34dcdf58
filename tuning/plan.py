"""Everything that defines a study, in one frozen object that its storage keeps and that a resumed study must equal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from sb3_course.config.errors import InputError, did_you_mean
from sb3_course.config.parameters import ARGUMENTS
from sb3_course.runs import Settings
from sb3_course.runs.settings import SEEDS, share_of
from sb3_course.tuning.dimension import Dimension
from sb3_course.tuning.results import SCORES
from sb3_course.tuning.translate import (
    merged,
    suggest,
    to_settings,
)  # fmt: skip

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial

PRUNERS = ("wilcoxon", "median", "none")
#: With fewer seeds the smallest p value of a signed-rank test of all but one, 2^-(k-1), stays above 0.1.
WILCOXON_SEEDS = 5
#: Seeds of the final runs of a comparison begin here: neither tuning nor the evaluations during it come near.
FRESH_SEEDS = 10_000_000
#: Env i of a run gets seed + i: fresh runs so far apart share none.
FRESH_STRIDE = 1_000
#: A note on the tuning studies of a comparison: the study on fresh seeds that follows, None while there is none.
NEXT = "next"
_ENQUEUED = "fixed_params"  # where Optuna keeps what `enqueue_trial` was given
_COUNTS = {name: ARGUMENTS[name].least for name in ("n_timesteps", "eval_episodes", "final_episodes")}
_COUNTS |= {"n_trials": 1, "eval_freq": 0, "sampler_seed": 0}


@dataclass(frozen=True)
class Point:
    """A configuration that is tried whatever a sampler thinks of it.

    :param name: e.g. `default`, `preset`
    :param settings: keys of a preset that differ from the plan's own
    :param values: the nearest point of the search space
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a study tries: an algorithm, its space, and the budget.

    :param algo: registry name
    :param env: environment id
    :param n_timesteps: environment steps of every run
    :param n_trials: configurations to try, `points` among them
    :param seeds: of the runs of every trial
    :param score: `auc` (mean over the evaluations) or `final`; the mean over the seeds is maximised
    :param pruner: `wilcoxon` (across seeds), `median` (inside a run) or `none`
    :param sampler_seed: of the sampler; trial i draws from a generator seeded with both
    :param eval_freq: steps between evaluations; by default a twentieth of `n_timesteps`
    :param eval_episodes: episodes of one evaluation
    :param final_episodes: episodes of the final score
    :param base: keys of a preset that every run has (`env_kwargs`, `env_wrapper`, `normalize`, hyperparameters)
    :param space: what is searched
    :param points: what is tried first
    :param spread: every trial is one seed of one point, in place of one configuration on every seed
    :param plugins: modules that every worker imports first: own environments, algorithms and spaces
    :param folder: where each run keeps a folder of its own, `seed_<seed>`; None keeps none
    :raises InputError: for a value that cannot be
    """

    algo: str
    env: str
    n_timesteps: int
    n_trials: int
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    score: str = "auc"
    pruner: str = "wilcoxon"
    sampler_seed: int = 0
    eval_freq: int | None = None
    eval_episodes: int = ARGUMENTS["eval_episodes"].default
    final_episodes: int = ARGUMENTS["final_episodes"].default
    base: Mapping[str, Any] = field(default_factory=dict)
    space: tuple[Dimension, ...] = ()
    points: tuple[Point, ...] = ()
    spread: bool = False
    plugins: tuple[str, ...] = ()
    folder: str | None = None

    def __post_init__(self) -> None:
        if self.eval_freq is None:
            whole = isinstance(self.n_timesteps, int)
            object.__setattr__(self, "eval_freq", share_of(self.n_timesteps, "eval_freq") if whole else 0)
        for name, low in _COUNTS.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < low:
                raise InputError(name, "is no such number", value, f"an integer >= {low}")
        self._check_seeds()
        try:
            json.dumps(self.base)
        except TypeError as error:
            raise InputError(
                "base", f"cannot be kept in a study: {error}", want="words, as a preset has them"
            ) from None
        if self.score not in SCORES:
            raise InputError("score", "unknown", self.score, " or ".join(SCORES))
        if self.pruner not in PRUNERS:
            raise InputError("pruner", "unknown", self.pruner, ", ".join(PRUNERS))
        if self.pruner == "wilcoxon" and len(self.seeds) < WILCOXON_SEEDS:
            smallest = 0.5 ** max(len(self.seeds) - 1, 0)
            raise InputError(
                "pruner", f"{len(self.seeds)} seeds cannot prune: before the last one the smallest p is {smallest:g}, "
                "the threshold 0.1", "wilcoxon", f"--seeds {WILCOXON_SEEDS} or more, --pruner median or none",
            )  # fmt: skip
        frequency = self.eval_freq or 0
        if frequency > self.n_timesteps or (frequency == 0 and (self.pruner == "median" or self.score == "auc")):
            raise InputError("eval_freq", "leaves no evaluation in a run", self.eval_freq, f"1 .. {self.n_timesteps}")

    def _check_seeds(self) -> None:
        if isinstance(self.seeds, int) and not isinstance(self.seeds, bool):
            object.__setattr__(self, "seeds", tuple(range(self.seeds)))
        if not self.seeds:
            raise InputError("seeds", "there are none", 0, "at least one")
        if len(set(self.seeds)) < len(self.seeds):
            raise InputError("seeds", "one is given twice", self.seeds, "different ones")
        for seed in self.seeds:
            if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < SEEDS:
                raise InputError("seeds", "one is out of bounds", seed, f"integers >= 0 and < {SEEDS}")

    def settings(self, changes: Mapping[str, Any], seed: int) -> Settings:
        """Return the settings of one run.

        :param changes: keys of a preset; what `base` says of them holds
        :param seed: of the run
        :raises InputError: for everything that `Settings` refuses
        """
        return Settings.from_config({"save_freq": 0, **configuration(vars(self), changes), "seed": seed})

    def propose(self, trial: Trial) -> tuple[str, dict[str, Any], tuple[int, ...]]:
        """Return the name, the settings and the seeds of a trial: one of the points, or what its sampler suggests.

        :param trial: Optuna's
        :raises InputError: for an enqueued trial whose values are not all searched, so that others would be trained
        """
        stored = trial.study.get_trials(deepcopy=False)[trial.number]
        place = place_of(trial.study, stored)
        if self.spread and place is not None:
            name, seed = self.given(place)
            return name, dict(next(point.settings for point in self.points if point.name == name)), (seed,)
        values = suggest(trial, self.space, action_kind(self.env, self.base))
        if place is not None and place < len(self.points):
            return self.points[place].name, dict(self.points[place].settings), self.seeds
        for enqueued, value in stored.system_attrs.get(_ENQUEUED, {}).items():
            if enqueued not in values:
                raise InputError(
                    enqueued, f"was enqueued and is not searched in this trial{did_you_mean(enqueued, values)}", value,
                    ", ".join(values),
                )  # fmt: skip
        return "", to_settings(values, self.base), self.seeds

    def given(self, ticket: int) -> tuple[str, int]:
        """Return the point and the seed that a ticket of a `spread` plan stands for."""
        seed, which = divmod(ticket, len(self.points))
        return self.points[which].name, self.seeds[seed]

    @property
    def n_runs(self) -> int:
        """How many runs the whole study is, if none is left out."""
        return self.n_trials if self.spread else self.n_trials * len(self.seeds)

    def to_json(self) -> dict[str, Any]:
        """Return plain data that `from_json` reads back and that two plans are compared by."""
        data = {item.name: getattr(self, item.name) for item in fields(self)}
        data["space"] = [dimension.to_json() for dimension in self.space]
        data["points"] = [asdict(point) for point in self.points]
        plain: dict[str, Any] = json.loads(json.dumps(data))
        return plain

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Plan:
        """Return the plan that `to_json` wrote."""
        found: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in data.items()
        }
        found["space"] = tuple(Dimension.from_json(each) for each in data["space"])
        found["points"] = tuple(Point(**each) for each in data["points"])
        return cls(**found)


def configuration(plan: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a trial trains as the content of a file for `train --config`, which learns and scores the same.

    :param plan: fields of a plan, as it is stored in its study
    :param changes: keys of a preset; what the plan's `base` says of them holds
    """
    names = ("algo", "env", "n_timesteps", "eval_freq", "eval_episodes", "final_episodes")
    own = {name: plan[name] for name in names if name in plan}
    return {**own, "exact_budget": True, **merged(changes, plan.get("base", {}))}


def place_of(study: Study, trial: FrozenTrial) -> int | None:
    """Return the place of a trial in a plan: its ticket, or how many were asked for before; None where it was enqueued.

    What somebody enqueues is tried besides what the plan gives, and takes no place of its points.

    :param study: the trial's
    :param trial: as its storage has it
    """
    if _ENQUEUED in trial.system_attrs:
        return None
    if "ticket" in trial.user_attrs:
        return int(trial.user_attrs["ticket"])
    earlier = study.get_trials(deepcopy=False)[: trial.number]
    return sum(_ENQUEUED not in each.system_attrs for each in earlier)


def action_kind(env: str, base: Mapping[str, Any]) -> str:
    """Return the class name of an environment's action space.

    :param env: environment id
    :param base: keys of a preset, for `env_kwargs` and `env_wrapper`
    """
    key = json.dumps([env, base.get("env_kwargs"), base.get("env_wrapper")], default=str)
    if key not in _KINDS:
        from sb3_course.runs.environment import make_one

        keys = {name: base[name] for name in ("env_kwargs", "env_wrapper") if name in base}
        settings = Settings.from_config({"algo": "ppo", "env": env, "n_timesteps": 1, **keys})
        made = make_one(settings)
        try:
            _KINDS[key] = type(made.action_space).__name__
        finally:
            made.close()
    return _KINDS[key]


_KINDS: dict[str, str] = {}
