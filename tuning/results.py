"""What comes of a study: the runs of a configuration, seed by seed, as plain numbers.

Legend: R runs (one seed each), E evaluations of a run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
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
class Comparison:
    """Everything that a report of a comparison tells.

    :param env: environment id
    :param n_timesteps: environment steps of every run
    :param n_trials: configurations tried for each algorithm
    :param tuning_seeds: seeds of every trial
    :param fresh_seeds: seeds of the runs below, none of them a tuning seed
    :param score: one of `SCORES`
    :param threshold: the mean return that "steps to threshold" waits for, or None
    :param configurations: of all algorithms, defaults first
    :param command: what repeats it
    :param versions: of Python and the packages
    """

    env: str
    n_timesteps: int
    n_trials: int
    tuning_seeds: tuple[int, ...]
    fresh_seeds: tuple[int, ...]
    score: str
    threshold: float | None
    configurations: tuple[Configuration, ...]
    command: str = ""
    versions: Mapping[str, str] | None = None

    @property
    def chosen(self) -> tuple[Configuration, ...]:
        """The configuration of each algorithm that the verdicts are about."""
        return tuple(each for each in self.configurations if each.chosen)

    def scores(self, configuration: Configuration) -> np.ndarray:
        """Return one score for each run (R,); a failed run counts as the worst score of the whole comparison."""
        own = np.array([run.score(self.score) for run in configuration.runs])
        every = [run.score(self.score) for each in self.configurations for run in each.runs]
        finite = [score for score in every if np.isfinite(score)]
        return np.where(np.isfinite(own), own, min(finite, default=0.0))
