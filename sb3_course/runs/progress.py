"""Where a run stands, for whoever watches it: steps, speed, scores, and what it does just now."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from stable_baselines3.common.callbacks import BaseCallback

from sb3_course.runs.evaluation import Evaluation
from sb3_course.runs.run_callbacks import BudgetCallback, EvaluationCallback


@dataclass(frozen=True)
class Progress:
    """Where a run stands.

    :param timesteps: steps taken, all environments together
    :param total_timesteps: budget in steps
    :param episodes: training episodes finished
    :param total_episodes: budget in episodes, or None
    :param mean_return: mean return of the latest training episodes, or None before the first
    :param evaluation: the latest evaluation, or None before the first
    :param speed: training steps in a second of training, lately, or None before the first second
    :param scoring: while it scores: how many episodes are finished, and of how many
    """

    timesteps: int
    total_timesteps: int
    episodes: int
    total_episodes: int | None
    mean_return: float | None
    evaluation: Evaluation | None
    speed: float | None = None
    scoring: tuple[int, int] | None = None


class Speed:
    """Steps in a second over the latest `seconds`, on a clock of the caller's."""

    def __init__(self, seconds: float = 5.0) -> None:
        self.seconds = seconds
        self._seen: deque[tuple[float, int]] = deque()

    def __call__(self, now: float, timesteps: int) -> float | None:
        """Return the speed, given the time and the steps taken so far; None where no time has passed."""
        self._seen.append((now, timesteps))
        while len(self._seen) > 2 and self._seen[1][0] <= now - self.seconds:
            self._seen.popleft()
        then, before = self._seen[0]
        return (timesteps - before) / (now - then) if now - then > 0.5 else None


class ProgressCallback(BaseCallback):
    """Tell a watcher where the run stands, at most ten times a second, and of every episode that is scored.

    :param report: the watcher
    :param budget: counts the episodes
    :param evaluation: holds the latest score, and the clock that stands still while it scores
    """

    def __init__(
        self, report: Callable[[Progress], object], budget: BudgetCallback, evaluation: EvaluationCallback
    ) -> None:
        super().__init__()
        self.report, self.budget, self.evaluation = report, budget, evaluation
        self._speed, self._next = Speed(), 0.0
        self._latest: float | None = None

    def _on_step(self) -> bool:
        if time.perf_counter() >= self._next:
            self._latest = self._speed(self.evaluation.seconds, self.model.num_timesteps)
            self._tell()
        return True

    def _on_training_end(self) -> None:
        self._tell()

    def scoring(self, finished: int, episodes: int) -> None:
        """Say how far an evaluation has come."""
        self._tell((finished, episodes))

    def _tell(self, scoring: tuple[int, int] | None = None) -> None:
        self._next = time.perf_counter() + 0.1
        recent = [episode["r"] for episode in self.model.ep_info_buffer or ()]
        self.report(
            Progress(
                timesteps=self.model.num_timesteps,
                total_timesteps=self.model._total_timesteps,
                episodes=self.budget.episodes,
                total_episodes=self.budget.n_episodes,
                mean_return=sum(recent) / len(recent) if recent else None,
                evaluation=self.evaluation.latest,
                speed=self._latest,
                scoring=scoring,
            )
        )
