"""Scores: whole episodes of the unwrapped reward, on an environment that training never touches."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.vec_env import VecEnv

from sb3_course.config.errors import InputError
from sb3_course.runs.choosers import OneByOne, Predictor, RecurrentError, Together, takes_masks
from sb3_course.runs.episode_player import EpisodePlayer
from sb3_course.saving.files import atomic_path
from sb3_course.sb3.masking import current_masks, has_masks


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
    watch: Callable[[gym.Env[Any, Any]], object] | None = None,
    told: Callable[[int, int], object] | None = None,
) -> Evaluation:
    """Return the score of `episodes` whole episodes, the same for the same policy and seed.

    Each episode has a seed of its own, made of `seed` and its number, so that the scores of several environments side
    by side are those of one: see `Together` and `OneByOne`.

    :param model: anything with SB3's `predict`
    :param venv: environments that `evaluation_env` made
    :param episodes: how many episodes
    :param seed: independent of what was played before, and of how many episodes are asked for
    :param timesteps: training steps that the policy has had
    :param deterministic: whether the policy's mode is taken in place of a sample
    :param watch: called with an environment in every state of its episodes, the first and the last included
    :param told: called whenever another episode is finished, with how many are, and of how many
    :raises InputError: when a wrapper begins no new episode
    """
    # The monitor counts: it sits inside every wrapper, so neither shaped rewards nor lost lives reach the score.
    players = _players(venv)
    for index, player in enumerate(players):
        player.play({number: _seed_of(seed, number) for number in range(index, episodes, len(players))}, watch)
    choose: Together | OneByOne = Together(model) if deterministic else OneByOne(model, seed, deterministic)
    masked = takes_masks(model) and has_masks(venv)
    observations, finished = venv.reset(), -1
    while True:
        if told is not None and finished < (finished := sum(len(player.scores) for player in players)):
            told(finished, episodes)
        playing, steps = [player.episode for player in players], [player.steps for player in players]
        if all(episode is None for episode in playing):
            break
        try:
            actions = choose(observations, playing, steps, current_masks(venv) if masked else None)
        except RecurrentError:  # known with the first action
            choose = OneByOne(model, seed, deterministic)
            continue
        observations, _, _, _ = venv.step(actions)
    scores = [score for _, score in sorted(item for player in players for item in player.scores.items())]
    if len(scores) < episodes:
        want = "wrappers that begin a new episode when they are reset after the last one"
        raise InputError("env_wrapper", "not all episodes of an evaluation began", f"{len(scores)} of {episodes}", want)
    return Evaluation(timesteps, tuple(score for score, _ in scores), tuple(length for _, length in scores))


def _players(venv: VecEnv) -> list[EpisodePlayer]:
    vectorised: Any = venv.unwrapped
    players: list[EpisodePlayer] = vectorised.envs
    return players


def _seed_of(seed: int, episode: int) -> int:
    """Return an episode's seed; those of neighbouring runs have nothing in common."""
    return int(np.random.SeedSequence([seed, episode]).generate_state(1)[0])


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
