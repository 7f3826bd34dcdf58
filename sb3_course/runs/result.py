"""What a run came to, and who watches it on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sb3_course.runs.evaluation import Evaluation
from sb3_course.runs.progress import Progress


@dataclass(frozen=True)
class Result:
    """What a run came to.

    :param final: the score of the final model (of the model so far, where the run was interrupted: None)
    :param evaluations: the scores during training
    :param timesteps: steps taken
    :param episodes: training episodes finished
    :param seconds: wall time of training, evaluations included
    :param finished: False where it was asked to stop before its budget
    :param folder: where its files lie, or None
    """

    final: Evaluation | None
    evaluations: tuple[Evaluation, ...]
    timesteps: int
    episodes: int
    seconds: float
    finished: bool
    folder: Path | None

    @property
    def mean(self) -> float:
        """Mean return of the final model."""
        return self.final.mean if self.final else float("nan")

    @property
    def std(self) -> float:
        """Standard deviation of the final model's returns over episodes."""
        return self.final.std if self.final else float("nan")


@dataclass(frozen=True)
class Watch:
    """Who is told about a run while it goes on, and who may end it; nothing here changes what is learnt.

    :param started: called once all input has been accepted, before the first step
    :param progress: called about ten times a second, and with every episode that is scored
    :param evaluation: called after each evaluation; False ends the run, as a pruner does
    :param stop: asked between steps; True ends the run after the rollout in hand, with a checkpoint
    :param verbose: 1 prints SB3's tables
    """

    started: Callable[[], object] = field(default=lambda: None)
    progress: Callable[[Progress], object] | None = None
    evaluation: Callable[[Evaluation], bool | None] | None = None
    stop: Callable[[], bool] = field(default=lambda: False)
    verbose: int = 0
