"""Scores of several environments made comparable: 0 is what random actions score, 1 is the threshold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np

from sb3_course.config.errors import InputError
from sb3_course.runs import Settings
from sb3_course.runs.environment import close_env, evaluation_env
from sb3_course.runs.evaluation import evaluate
from sb3_course.tuning.results import ScoreScale

#: Episodes of random actions, and their seed.
RANDOM_EPISODES, RANDOM_SEED = 50, 0


class RandomActions:
    """A policy that draws each action from the action space, whatever it sees.

    :param space: of the actions; an evaluation that is not deterministic seeds it
    """

    def __init__(self, space: gym.Space[Any]) -> None:
        self.action_space = space

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Any, Any]:
        """Return an action for each observation."""
        return np.array([self.action_space.sample() for _ in observation]), state


def random_score(env: str, base: Mapping[str, Any]) -> float:
    """Return the mean unwrapped return of random actions, always the same for the same environment.

    :param env: environment id
    :param base: keys of a preset, for those that say what an evaluation's environment is
    """
    kinds = ("env_kwargs", "eval_env_kwargs", "env_wrapper", "vec_env_wrapper")
    keys = {name: base[name] for name in kinds if name in base}
    venv = evaluation_env(Settings.from_config({"algo": "ppo", "env": env, "n_timesteps": 1, **keys}))
    try:
        policy = RandomActions(venv.action_space)
        return evaluate(policy, venv, RANDOM_EPISODES, RANDOM_SEED, deterministic=False).mean
    finally:
        close_env(venv)


def zero_of(env: str, base: Mapping[str, Any], threshold: float | None, given: tuple[float, float] | None) -> float:
    """Return the score that counts as 0: the given one, or that of random actions.

    :param env: environment id
    :param base: keys of a preset that every run has
    :param threshold: the score that counts as 1, where there is one
    :param given: both scores
    :raises InputError: where 1 would not lie above 0
    """
    low = random_score(env, base) if given is None else given[0]
    high = threshold if given is None else given[1]
    if not np.isfinite(low) or (high is not None and not (np.isfinite(high) and low < high)):
        raise InputError(
            "--reference", f"the score that counts as 1 is not above the one that counts as 0 in {env}",
            f"{low:g},{'the best run' if high is None else f'{high:g}'}", f"{env}:LOW,HIGH",
        )  # fmt: skip
    return low


def scale_of(low: float, threshold: float | None, given: tuple[float, float] | None, scores: np.ndarray) -> ScoreScale:
    """Return the scale of an environment's scores.

    :param low: of `zero_of`
    :param threshold: counts as 1; without one the best run does
    :param given: counts in the place of both
    :param scores: of all runs
    """
    if given is not None:
        return ScoreScale(*given)
    if threshold is not None:
        return ScoreScale(low, threshold, "random actions, threshold")
    if scores.max() > low:
        return ScoreScale(low, float(scores.max()), "random actions, best run")
    worst, best = float(scores.min()), float(scores.max())  # no run is better than random actions
    return ScoreScale(worst, best if best > worst else worst + 1.0, "worst run, best run")
