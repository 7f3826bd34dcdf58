"""Our algorithms in the tables of rl-baselines3-zoo: its classes by name, samplers and converters.

rl_zoo3 looks an algorithm up in three tables of its own. They are changed in place, and before it makes its argument
parser, whose choices are the names that it has then. What it has itself stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import spaces

from sb3_course.registry import ALGORITHMS
from sb3_course.runs.model import hyperparameters
from sb3_course.runs.settings import Settings
from sb3_course.tuning.dimension import Dimension
from sb3_course.tuning.spaces import SPACES
from sb3_course.tuning.translate import suggest, to_settings

if TYPE_CHECKING:
    from optuna.trial import Trial

#: What rl_zoo3 sets itself, before a trial is asked for its values.
_THE_ZOOS_OWN = ("n_envs", "noise_type", "noise_std")


def enter_algorithms() -> None:
    """Enter every algorithm that rl_zoo3 does not know, with its search space where there is one."""
    from rl_zoo3.hyperparams_opt import HYPERPARAMS_CONVERTER, HYPERPARAMS_SAMPLER
    from rl_zoo3.utils import ALGOS

    for name, row in ALGORITHMS.items():
        if name not in ALGOS:
            ALGOS[name] = row.load()
        if name in SPACES and name not in HYPERPARAMS_SAMPLER:
            HYPERPARAMS_SAMPLER[name] = partial(sampled, name)
            HYPERPARAMS_CONVERTER[name] = partial(converted, name)


def sampled(algo: str, trial: Trial, n_actions: int, n_envs: int, additional_args: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a trial's model: a sampler of rl_zoo3.

    :param algo: registry name
    :param trial: Optuna's
    :param n_actions: numbers in one action, 0 where actions are discrete
    :param n_envs: training environments, which rl_zoo3 has made
    :param additional_args: of hindsight, which ours take by `-params`
    """
    return _arguments(algo, suggest(trial, _searched(algo), "Box" if n_actions else "Discrete"))


def converted(algo: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same of a trial's stored values: a converter of rl_zoo3, which makes schedules of words itself.

    :param algo: registry name
    :param params: of a trial
    """
    arguments = _arguments(algo, params)
    words = to_settings(params)
    return {**arguments, **{name: words[name] for name in ("learning_rate",) if name in words}}


def _searched(algo: str) -> tuple[Dimension, ...]:
    return tuple(each for each in SPACES[algo] if each.name not in _THE_ZOOS_OWN)


def _arguments(algo: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `Settings` make of the values of a space."""
    words = to_settings(values)
    policy = {"policy": words.pop("policy")} if "policy" in words else {}
    settings = Settings.from_config({"algo": algo, "env": "-", "n_timesteps": 1, **words})
    return {**policy, **hyperparameters(settings, spaces.Box(-1, 1, (1,), np.float32))}
