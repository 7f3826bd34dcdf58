"""Which environment an id means: found, imported where it is an optional one, and what is known of its episodes."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import gymnasium as gym

import sb3_course.envs  # noqa: F401  registers our environment ids, in spawned workers too
from sb3_course.config.errors import InputError, did_you_mean
from sb3_course.config.named_classes import require_allowed
from sb3_course.runs.presets import is_atari

if TYPE_CHECKING:
    from sb3_course.runs.settings import Settings

#: Steps after which an episode is cut in an evaluation, where the environment states no limit: a policy that has
#: learnt nothing may never reach an end. Atari's games end by themselves, after 108,000 frames.
LONGEST_EPISODE, LONGEST_ATARI_EPISODE = 10_000, 108_000
#: Ids, the package that they are from and our extra with that package.
_OPTIONAL = (
    (re.compile(r"ALE/|\w+NoFrameskip-v\d+\Z"), "ale_py", "atari"),
    (re.compile(r"MinAtar/"), "minatar", "minatar"),
)
#: Wrappers that repeat each action for some frames, and the argument that says for how many (4, where it is not given).
_SKIPPING = {"AtariWrapper": "frame_skip", "MaxAndSkipEnv": "skip", "AtariPreprocessing": "frame_skip"}


def find_env(env_id: str) -> gym.envs.registration.EnvSpec:
    """Return the specification of a registered environment.

    :param env_id: e.g. `CartPole-v1`, `sb3_course/GridWorld-v0`, `ALE/Breakout-v5`, `module:Name-v0`
    :raises InputError: when there is none, with the nearest name, for a module that was not imported and for a package
        that is not installed
    """
    _register_optional(env_id)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an outdated version is refused or works; which one is newer is no error
            module, _, name = env_id.rpartition(":")
            if module and module not in sys.modules:
                require_allowed(module, "env", env_id)
                importlib.import_module(module)  # which registers it
            spec = gym.spec(name)
        if spec.id in gym.registry:
            return spec
    except InputError:
        raise
    except (gym.error.Error, ImportError, ValueError):
        pass
    hint = did_you_mean(env_id, gym.registry)
    raise InputError("env", f"no environment of this name is registered{hint}", env_id, "an id that gymnasium knows")


def _register_optional(env_id: str) -> None:
    """Import the package that registers an id, if it is one that we have an extra for."""
    for ids, package, extra in _OPTIONAL:
        if not ids.match(env_id):
            continue
        if importlib.util.find_spec(package) is None:
            raise InputError("env", f"{package} is not installed", env_id, f'pip install "sb3_course[{extra}]"')
        if package == "ale_py":
            ale = importlib.import_module("ale_py")
            ale.ALEInterface.setLoggerMode(ale.LoggerMode.Error)  # or it prints its name and version


def given_arguments(settings: Settings, scoring: bool) -> Mapping[str, Any]:
    """Return what the user says an environment is made with, in training or to be scored."""
    return (settings.eval_env_kwargs if scoring else None) or settings.env_kwargs


def env_arguments(settings: Settings, scoring: bool) -> dict[str, Any]:
    """Return what an environment is made with: what the user says, and of an Atari game no second skip of frames.

    ``ALE/…-v5`` repeats each action for four frames, and so do the wrappers that presets put around it: sixteen.

    :raises InputError: where the user asks for just that
    """
    given = dict(given_arguments(settings, scoring))
    wrapper = next((name for name, skip in _skips(settings) if skip > 1), None)
    if wrapper is None or "frameskip" not in find_env(settings.env).kwargs:
        return given
    if given.setdefault("frameskip", 1) != 1:
        what = f"frames are skipped twice, by the environment and by {wrapper}"
        raise InputError("frameskip", what, given["frameskip"], f"1, or {wrapper}({_SKIPPING[wrapper]}=1)")
    return given


def frames_per_step(settings: Settings) -> int:
    """Return how many frames of the game one step is; 1 where there are no frames, or not always as many."""
    own: Any = {**find_env(settings.env).kwargs, **env_arguments(settings, scoring=False)}.get("frameskip", 1)
    frames = own if isinstance(own, int) else 0
    for _, skip in _skips(settings):
        frames *= skip
    return frames or 1


def _skips(settings: Settings) -> list[tuple[str, int]]:
    """Return the wrappers that skip frames, and how many."""
    named = [(wrapper.name.rpartition(":")[2], wrapper.kwargs) for wrapper in settings.env_wrapper]
    return [(name, int(kwargs.get(_SKIPPING[name], 4))) for name, kwargs in named if name in _SKIPPING]


def longest_episode(settings: Settings, scoring: bool = False) -> int:
    """Return how many steps an episode has at most: the environment's own limit, or the one for evaluations."""
    spec = find_env(settings.env)
    limit = given_arguments(settings, scoring).get("max_episode_steps", spec.max_episode_steps)
    if isinstance(limit, int) and limit > 0:  # -1 takes the limit away
        return limit
    return LONGEST_ATARI_EPISODE if is_atari(settings.env) else LONGEST_EPISODE
