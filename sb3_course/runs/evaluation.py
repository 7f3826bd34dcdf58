"""Scores: whole episodes of the unwrapped reward, on an environment that training never touches."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from stable_baselines3.common.vec_env import VecEnv

from sb3_course.saving.files import atomic_path


class Predictor(Protocol):
    """What an evaluation needs of a model: SB3's `predict`."""

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Any, Any]:
        """Return the actions and the next recurrent state."""
        ...


@dataclass(frozen=True)
class Evaluation:
    """The score of one policy.

    :param timesteps: training steps that the policy has had
    :param returns: undiscounted return of each episode
    :param lengths: steps of each episode
    :param seconds: of training that it has had in this call of `learn`, evaluations left out, where it was measured
    """

    timesteps: int
    returns: tuple[float, ...]
    lengths: tuple[int, ...]
    seconds: float = field(default=math.nan, compare=False)

    @property
    def mean(self) -> float:
        """Mean return."""
        return float(np.mean(self.returns))

    @property
    def std(self) -> float:
        """Standard deviation of the returns over episodes."""
        return float(np.std(self.returns))


def evaluate(
    model: Predictor,
    venv: VecEnv,
    episodes: int,
    seed: int,
    timesteps: int = 0,
    deterministic: bool = True,
    each_step: Callable[[], object] | None = None,
) -> Evaluation:
    """Return the score of `episodes` whole episodes, the same for the same policy and seed.

    :param model: anything with SB3's `predict`
    :param venv: one environment that `runs.environment` made
    :param episodes: how many episodes
    :param seed: of the environment; seeding it anew makes an evaluation independent of those before it
    :param timesteps: training steps that the policy has had
    :param deterministic: whether the policy's mode is taken in place of a sample
    :param each_step: called after every step, for a picture
    """
    venv.seed(seed)
    observation = venv.reset()
    # The monitor counts: it sits inside every wrapper, so neither shaped rewards nor lost lives reach the score.
    # Its lists grow with each episode that has ended, or was cut by the environment that is made for evaluations.
    returns, lengths = venv.get_attr("episode_returns")[0], venv.get_attr("episode_lengths")[0]
    before, end = len(returns), len(returns) + episodes
    state, starts = None, np.ones(1, dtype=bool)
    while len(returns) < end:
        action, state = model.predict(observation, state, starts, deterministic)
        observation, _, starts, _ = venv.step(action)
        if each_step is not None:
            each_step()
    return Evaluation(timesteps, tuple(map(float, returns[before:end])), tuple(map(int, lengths[before:end])))


def evaluation_row(score: Evaluation, seconds: float) -> dict[str, Any]:
    """Return the row of `evaluations.csv` for a score.

    :param score: of one evaluation
    :param seconds: wall time of the run so far
    """
    return {
        "timesteps": score.timesteps,
        "mean": score.mean,
        "std": score.std,
        "min": min(score.returns),
        "max": max(score.returns),
        "length": sum(score.lengths) / len(score.lengths),
        "seconds": round(seconds, 3),
        "returns": " ".join(map(repr, score.returns)),
        "lengths": " ".join(map(str, score.lengths)),
    }


def save_evaluations(path: Path, scores: Sequence[Evaluation]) -> None:
    """Write scores as SB3's `EvalCallback` does: `timesteps` (n,), `results` and `ep_lengths` (n, episodes).

    :param path: ends in `.npz`; with no score there is no file
    :param scores: of a run so far
    """
    if not scores:
        path.unlink(missing_ok=True)
        return
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez(
            file,
            timesteps=np.array([score.timesteps for score in scores]),
            results=np.array([score.returns for score in scores]),
            ep_lengths=np.array([score.lengths for score in scores]),
        )


def evaluation_from(row: dict[str, str]) -> Evaluation:
    """Return the score that a row of `evaluations.csv` tells of."""
    returns, lengths = row["returns"].split(), row["lengths"].split()
    return Evaluation(int(row["timesteps"]), tuple(map(float, returns)), tuple(map(int, lengths)))
