"""The algorithm of a run: checked against its environment, built, or read from a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.type_aliases import TrainFrequencyUnit
from stable_baselines3.common.vec_env import VecEnv

from sb3_course import registry
from sb3_course.config.errors import InputError, did_you_mean
from sb3_course.config.named_classes import find_class
from sb3_course.config.text import resolve
from sb3_course.runs.settings import Settings
from sb3_course.saving.model_file import load_plain
from sb3_course.sb3.algorithm import PluginAlgorithm


def build_model(settings: Settings, venv: VecEnv, verbose: int = 0, cls: type[Any] | None = None, **own: Any) -> Any:
    """Return the algorithm, ready to learn.

    :param settings: of the run
    :param venv: the training environments
    :param verbose: SB3's, 1 to print its tables
    :param cls: the class to build, where it is not the one that the registry names
    :param own: what only the constructor takes: `tensorboard_log`, or a class as `policy`
    :raises InputError: when algorithm, environment, policy or hyperparameters do not fit together
    """
    cls = cls or registry.find(settings.algo).load()
    check_spaces(settings, venv)
    policy = own.pop("policy", None) or choose_policy(cls, settings, venv.observation_space)
    arguments = hyperparameters(settings, venv.action_space) | own
    try:
        model = cls(policy, venv, seed=settings.seed, device=settings.device, verbose=verbose, **arguments)
    except InputError:
        raise
    except (ValueError, TypeError, AssertionError, NotImplementedError, KeyError, MemoryError, RuntimeError) as error:
        raise InputError(
            settings.algo, first_line(error), want="other hyperparameters or another environment"
        ) from error
    # SB3 notices this only once it has begun.
    if venv.num_envs > 1 and getattr(getattr(model, "train_freq", None), "unit", None) == TrainFrequencyUnit.EPISODE:
        raise InputError("train_freq", "whole episodes need a single environment", venv.num_envs, "--n-envs 1")
    return model


def load_model(
    settings: Settings, path: Path, venv: VecEnv | None, verbose: int = 0, trust_pickle: bool = False
) -> Any:
    """Return the algorithm that `path` holds, read without unpickling anything.

    :param trust_pickle: unpickle it as SB3 does
    :raises InputError: when the file is no such model
    """
    cls = registry.find(settings.algo).load()
    rest: dict[str, Any] = {"env": venv, "device": settings.device, "verbose": verbose}
    own = {f"{own.__module__}:{own.__qualname__}": own for own in _own_classes(settings)}
    try:
        if issubclass(cls, PluginAlgorithm):
            return cls.load(path, custom_objects=own, trust_pickle=trust_pickle, **rest)
        return cls.load(path, **rest) if trust_pickle else load_plain(cls, cls.load, path, own, **rest)
    except InputError:
        raise
    except Exception as error:  # a damaged zip, missing members, other spaces: many types, one meaning
        raise InputError(
            "model", f"cannot be loaded: {first_line(error)}", str(path), f"a {settings.algo} model"
        ) from error


def _own_classes(settings: Settings) -> Iterator[type[Any]]:
    """Yield the classes that the settings name: a file of the run may be built from them."""
    if settings.policy is not None and "." in settings.policy:
        yield find_class(settings.policy, "policy", BasePolicy)
    stack: list[Any] = [resolve(value, name) for name, value in settings.hyperparameters.items()]
    while stack:
        value = stack.pop()
        if isinstance(value, type):
            yield value
        elif isinstance(value, Mapping):
            stack += value.values()
        elif isinstance(value, list | tuple):
            stack += value


def check_spaces(settings: Settings, venv: VecEnv) -> None:
    """Refuse an environment that the algorithm cannot act in.

    :raises InputError: naming the action space
    """
    row = registry.find(settings.algo)
    kind = type(venv.action_space).__name__
    if kind not in row.action_spaces:
        raise InputError("env", f"{settings.env} has actions that {row.name} cannot choose", kind,
                         " or ".join(row.action_spaces))  # fmt: skip
    if settings.n_episodes is not None and row.family == "evolution":
        raise InputError("n_episodes", f"{row.name} counts steps only", settings.n_episodes, "n_timesteps")


def choose_policy(cls: type[Any], settings: Settings, observation_space: spaces.Space[Any]) -> str | type[BasePolicy]:
    """Return the policy's alias, the one asked for or the one that fits the observations, or the class asked for.

    :raises InputError: when the algorithm has no policy of that name, and when there is no such class
    """
    aliases = list(cls.policy_aliases)
    if settings.policy is not None:
        if "." in settings.policy:
            return find_class(settings.policy, "policy", BasePolicy)
        if settings.policy not in aliases:
            hint = did_you_mean(settings.policy, aliases)
            raise InputError("policy", f"{settings.algo} has no such policy{hint}", settings.policy, ", ".join(aliases))
        return settings.policy
    if isinstance(observation_space, spaces.Dict):
        fitting = "MultiInputPolicy"
    else:
        fitting = "CnnPolicy" if is_image_space(observation_space) else "MlpPolicy"
    return fitting if fitting in aliases else aliases[0]


def hyperparameters(settings: Settings, action_space: spaces.Space[Any]) -> dict[str, Any]:
    """Return the keyword arguments of the constructor, named classes imported and action noise made.

    :raises InputError: for a kind of noise that does not exist
    """
    arguments = {name: resolve(value, name) for name, value in settings.hyperparameters.items()}
    kind, std = arguments.pop("noise_type", None), arguments.pop("noise_std", 0.1)
    if kind is None:
        return arguments
    import numpy as np
    from stable_baselines3.common.noise import NormalActionNoise, OrnsteinUhlenbeckActionNoise

    classes: dict[str, Any] = {"normal": NormalActionNoise, "ornstein-uhlenbeck": OrnsteinUhlenbeckActionNoise}
    if kind not in classes:
        raise InputError("noise_type", "unknown kind", kind, " or ".join(classes))
    shape = action_space.shape or ()
    return {**arguments, "action_noise": classes[kind](np.zeros(shape), std * np.ones(shape))}


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its type where there is none."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
