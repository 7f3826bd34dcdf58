"""What comes of a study: the runs of a configuration, seed by seed, as plain numbers.

Legend: R runs (one seed each), E evaluations of a run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

#: How a run becomes one number: the mean over its evaluations (area under the curve / budget), or its last score.
SCORES = ("auc", "final")


@dataclass(frozen=True)
class Run:
    """One seed of one configuration.

    :param seed: of the run
    :param timesteps: environment steps taken before each evaluation (E,)
    :param means: mean unwrapped return of each evaluation (E,)
    :param seconds: wall time of training until each evaluation (E,), evaluations left out
    :param final: score of the final model over its own episodes; None where the run has none
    :param failure: why it failed, in one line; None where it did not
    """

    seed: int
    timesteps: tuple[int, ...] = ()
    means: tuple[float, ...] = ()
    seconds: tuple[float, ...] = ()
    final: float | None = None
    failure: str | None = None

    def score(self, kind: str) -> float:
        """Return ``auc = (1/E)·Σ_e mean_e`` or ``final``; a failed run has none (NaN).

        :param kind: one of `SCORES`
        """
        if self.failure is not None or self.final is None:
            return float("nan")
        return float(np.mean(self.means)) if kind == "auc" and self.means else self.final

    def first(self, threshold: float) -> int | None:
        """Return the index of the first evaluation whose mean reaches `threshold`, or None."""
        return next((index for index, mean in enumerate(self.means) if mean >= threshold), None)

    def to_json(self) -> dict[str, Any]:
        """Return plain lists and numbers, which `from_json` reads back."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Run:
        """Return the run that `to_json` wrote."""
        fields: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in data.items()
        }
        return cls(**fields)


@dataclass(frozen=True)
class Configuration:
    """One algorithm with one set of hyperparameters, and its runs on the fresh seeds.

    :param label: unique in a comparison, e.g. `rainbow, tuned`
    :param algo: registry name
    :param origin: `default` (the constructor's own values), `preset` or `tuned`
    :param settings: what a preset file would hold: hyperparameters, and run keys such as `n_envs`
    :param runs: one for each fresh seed, failed ones included
    :param tuning_score: mean score on the tuning seeds, or None
    :param chosen: whether this one stands for its algorithm in the verdicts
    """

    label: str
    algo: str
    origin: str
    settings: Mapping[str, Any]
    runs: tuple[Run, ...] = ()
    tuning_score: float | None = None
    chosen: bool = False

    @property
    def failures(self) -> tuple[Run, ...]:
        """The runs that failed."""
        return tuple(run for run in self.runs if run.failure is not None)


@dataclass(frozen=True)
class ScoreScale:
    """What makes scores of several environments comparable: ``(score − low) / (high − low)``.

    :param low: the score that counts as 0
    :param high: the score that counts as 1
    :param meaning: where the two come from, in words
    """

    low: float
    high: float
    meaning: str = "given"

    def normalised(self, scores: Any) -> np.ndarray:
        """Return the normalised scores; below 0 and above 1 where they are."""
        return np.asarray((np.asarray(scores, dtype=np.float64) - self.low) / (self.high - self.low))


@dataclass(frozen=True)
class Task:
    """One environment of a comparison.

    :param env: environment id
    :param threshold: the mean return that "steps to threshold" waits for, or None
    :param configurations: of all algorithms, defaults first
    :param scale: of its scores, where several environments are compared
    """

    env: str
    threshold: float | None
    configurations: tuple[Configuration, ...]
    scale: ScoreScale | None = None

    @property
    def chosen(self) -> tuple[Configuration, ...]:
        """The configuration of each algorithm that the verdicts are about."""
        return tuple(each for each in self.configurations if each.chosen)

    def scores(self, configuration: Configuration, kind: str) -> np.ndarray:
        """Return one score for each run (R,); a failed run counts as the worst score in this environment.

        :param configuration: one of the task's
        :param kind: one of `SCORES`
        """
        own = np.array([run.score(kind) for run in configuration.runs])
        every = [run.score(kind) for each in self.configurations for run in each.runs]
        finite = [score for score in every if np.isfinite(score)]
        return np.where(np.isfinite(own), own, min(finite, default=0.0))


@dataclass(frozen=True)
class Comparison:
    """Everything that a report of a comparison tells.

    :param tasks: what ran in each environment; one environment is a list of one
    :param n_timesteps: environment steps of every run
    :param n_trials: configurations tried for each algorithm in each environment
    :param tuning_seeds: seeds of every trial
    :param fresh_seeds: seeds of the runs of the tasks, none of them a tuning seed
    :param score: one of `SCORES`
    :param command: what repeats it
    :param versions: of Python and the packages
    :param evaluation: run keys that say how every run was scored, such as `eval_freq`
    """

    tasks: tuple[Task, ...]
    n_timesteps: int
    n_trials: int
    tuning_seeds: tuple[int, ...]
    fresh_seeds: tuple[int, ...]
    score: str
    command: str = ""
    versions: Mapping[str, str] | None = None
    evaluation: Mapping[str, int] = field(default_factory=dict)

    @property
    def envs(self) -> tuple[str, ...]:
        """The environments."""
        return tuple(task.env for task in self.tasks)

    def to_json(self) -> dict[str, Any]:
        """Return plain lists and numbers, which `from_json` reads back."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Comparison:
        """Return the comparison that `to_json` wrote, or an older file, of one environment."""
        known: dict[str, Any] = dict(data)
        if "tasks" not in known:
            known["tasks"] = [{name: known.pop(name) for name in ("env", "threshold", "configurations")}]
        known["tasks"] = tuple(_task(each) for each in known["tasks"])
        fields: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in known.items()
        }
        return cls(**fields)


def _task(data: Mapping[str, Any]) -> Task:
    scale = data.get("scale")
    configurations = (
        Configuration(**{**each, "runs": tuple(map(Run.from_json, each["runs"]))}) for each in data["configurations"]
    )
    return Task(data["env"], data["threshold"], tuple(configurations), ScoreScale(**scale) if scale else None)
