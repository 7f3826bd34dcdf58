"""What happens beside training: evaluation, checkpoints, budgets, and a stop at the first bad number."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.vec_env import VecEnv

from sb3_course.config.errors import InputError
from sb3_course.config.named_classes import find_class
from sb3_course.config.text import resolve
from sb3_course.runs.environment import (
    EVALUATION_SEED_OFFSET,
    cannot_be_made,
    normalization_state,
    set_normalization_state,
)
from sb3_course.runs.evaluation import Evaluation, evaluate
from sb3_course.runs.settings import Settings
from sb3_course.sb3.algorithm import PluginAlgorithm
from sb3_course.sb3.soundness import require_sound_step


class Steps:
    """Says once for every multiple of `every` that a counter has passed, however large the counter's strides."""

    def __init__(self, every: int) -> None:
        self.every = every
        self.next = every

    def due(self, timesteps: int) -> bool:
        """Return whether a multiple was reached since the last time this said yes."""
        if self.every <= 0 or timesteps < self.next:
            return False
        self.next = (timesteps // self.every + 1) * self.every
        return True


class EvaluationCallback(BaseCallback):
    """Evaluate every so many environment steps, without touching the training environments or any generator.

    :param settings: of the run
    :param venv: the evaluation environment
    :param on_evaluation: called with each score and whether it is the best so far; False ends training
    """

    def __init__(
        self, settings: Settings, venv: VecEnv, on_evaluation: Callable[[Evaluation, bool], bool | None]
    ) -> None:
        super().__init__()
        self.settings, self.venv, self.on_evaluation = settings, venv, on_evaluation
        self.steps = Steps(settings.eval_freq or 0)
        self.best = -math.inf
        self.latest: Evaluation | None = None
        self.started = 0.0  # on a clock that stands still during evaluations
        self.told: Callable[[int, int], object] | None = None  # how many episodes are finished, and of how many

    def _on_training_start(self) -> None:
        self.started = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Time spent on training since it began, evaluations left out."""
        return time.perf_counter() - self.started

    def _on_step(self) -> bool:
        if not self.steps.due(self.num_timesteps):
            return True
        paused = time.perf_counter()
        statistics = normalization_state(self.training_env)
        if statistics is not None:
            set_normalization_state(self.venv, statistics)
        seed = self.settings.seed + EVALUATION_SEED_OFFSET + self.num_timesteps
        score = evaluate(
            self.model, self.venv, self.settings.eval_episodes, seed, self.num_timesteps, told=self.told
        )  # fmt: skip
        self.latest = replace(score, seconds=paused - self.started)
        self.started += time.perf_counter() - paused
        improved = self.latest.mean > self.best
        self.best = max(self.best, self.latest.mean)
        return self.on_evaluation(self.latest, improved) is not False

    def get_state(self) -> dict[str, Any]:
        """Return the counters."""
        return {"next": self.steps.next, "best": self.best if math.isfinite(self.best) else None}

    def set_state(self, state: dict[str, Any]) -> None:
        """Put the counters back."""
        self.steps.next = state["next"]
        self.best = -math.inf if state["best"] is None else state["best"]


class CheckpointCallback(BaseCallback):
    """Write a checkpoint every so many steps, when training is asked to stop, and at its end.

    A checkpoint is taken before a rollout begins: later, a transition is stepped but not yet stored.

    :param every: environment steps between checkpoints, 0 for none but the one of a run that is stopped
    :param write: writes one
    :param stop: says whether training should end
    """

    def __init__(self, every: int, write: Callable[[], object], stop: Callable[[], bool]) -> None:
        super().__init__()
        self.steps = Steps(every)
        self.write, self.stop = write, stop
        self.stopped = False
        self.rollouts = 0  # finished ones

    def _on_rollout_start(self) -> None:
        timesteps = self.model.num_timesteps
        asked = self.stop()
        # `due` has to be asked in any case: it counts.
        if self.steps.due(timesteps) or (asked and not self.stopped):
            self.write()
        self.stopped = asked
        self.rollouts += 1

    def _on_step(self) -> bool:
        # A rollout that has begun is finished and learnt from, so that the last checkpoint is exact.
        return not self.stopped

    def _on_training_end(self) -> None:
        # From here a finished run can go on with a larger budget.
        if self.steps.every > 0 and self.model.num_timesteps >= self.model._total_timesteps and not self.stopped:
            self.write()

    def get_state(self) -> dict[str, Any]:
        """Return the counters."""
        return {"next": self.steps.next, "rollouts": self.rollouts}

    def set_state(self, state: dict[str, Any]) -> None:
        """Put the counters back."""
        self.steps.next, self.rollouts = state["next"], state.get("rollouts", 0)


class BudgetCallback(BaseCallback):
    """Count training episodes, end training after enough of them, and refuse losses that are no numbers.

    :param n_episodes: budget in episodes, or None
    :param n_timesteps: budget in steps to end at, though a rollout be unfinished; None: where the algorithm ends
    """

    def __init__(self, n_episodes: int | None, n_timesteps: int | None = None) -> None:
        super().__init__()
        self.n_episodes, self.n_timesteps = n_episodes, n_timesteps
        self.episodes = 0

    def _on_step(self) -> bool:
        dones = self.locals.get("dones")  # contrib's ARS has none
        if dones is not None and not isinstance(self.model, PluginAlgorithm):  # ours look themselves
            seen = (self.locals[name] for name in ("new_obs", "rewards", "dones", "infos"))
            require_sound_step(self.num_timesteps, self.model.observation_space, *seen)
        self.episodes += 0 if dones is None else int(dones.sum())
        spent = self.n_timesteps is not None and self.num_timesteps >= self.n_timesteps
        return not spent and (self.n_episodes is None or self.episodes < self.n_episodes)

    def _on_rollout_start(self) -> None:
        self._check_losses()

    def _on_training_end(self) -> None:
        self._check_losses()

    def _check_losses(self) -> None:
        for name, value in self.logger.name_to_value.items():
            if name.startswith("train/") and name.endswith("loss") and not math.isfinite(value):
                raise FloatingPointError(f"{name} is {value} at step {self.model.num_timesteps}")

    def get_state(self) -> dict[str, Any]:
        """Return the counters."""
        return {"episodes": self.episodes}

    def set_state(self, state: dict[str, Any]) -> None:
        """Put the counters back."""
        self.episodes = state["episodes"]


def user_callbacks(settings: Settings) -> list[BaseCallback]:
    """Return the callbacks that the settings name.

    :raises InputError: when there is no such class, and when it refuses its arguments
    """
    made = []
    for each in settings.callback:
        cls = find_class(each.name, "callback", BaseCallback)
        try:
            made.append(cls(**resolve(each.kwargs, "callback")))
        except InputError:
            raise
        except Exception as error:  # whatever a constructor raises, it is an answer to what was asked of it
            got = f"{each.name} {dict(each.kwargs)}"
            raise InputError("callback", cannot_be_made(error), got, "arguments that its class takes") from error
    return made


class TrainingStoppedError(Exception):
    """Leaves a `learn` that does not heed its callbacks."""


class Callbacks(CallbackList):
    """Callbacks that end training even where the algorithm does not heed their answer (contrib's ARS)."""

    ended = False

    def _on_step(self) -> bool:
        if self.ended:
            raise TrainingStoppedError
        self.ended = not super()._on_step()
        return not self.ended
