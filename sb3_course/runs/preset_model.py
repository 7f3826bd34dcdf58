"""A model in one line: an algorithm and its environments, built as the preset for an environment says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sb3_course import registry
from sb3_course.config.errors import InputError
from sb3_course.config.text import to_words
from sb3_course.config.warn import warn_user
from sb3_course.runs import presets
from sb3_course.runs.environment import close_env, training_env
from sb3_course.runs.model import build_model
from sb3_course.runs.settings import Settings
from sb3_course.sb3.algorithm import PluginAlgorithm

#: Settings that are about evaluations, files and the end of a run, and change no model.
_OF_A_RUN = (
    "n_episodes", "eval_freq", "eval_episodes", "eval_env_kwargs", "final_episodes", "save_freq", "exact_budget",
    "callback", "log_interval", "num_threads",
)  # fmt: skip
#: Arguments of a constructor that no preset has.
_OF_A_CONSTRUCTOR = ("verbose", "tensorboard_log")


def from_preset(algo: str, env: str, **overrides: Any) -> Any:
    """Return a model built from the preset of an algorithm for an environment, ready to learn.

    ``model.learn(model.preset.n_timesteps)`` learns what ``python -m sb3_course.train --algo ALGO --env ENV`` does, to
    the bit. `model.preset` is the preset with the overrides in it, read and frozen: `n_timesteps`, `n_envs`,
    `env_wrapper`, `normalize`, `hyperparameters`, ... (a `sb3_course.runs.Settings`). An environment without a section
    of its own gets the section ``default``, and a warning says so. Our own classes have it as a class method,
    ``Rainbow.from_preset("CartPole-v1")``.

    The model is of the class that `algo` stands for, SB3's own too; ``model.get_env()`` are its environments, to be
    closed by whoever is done with them. Saved files keep `preset`: reading one back needs this package, unless it was
    saved with ``exclude=["preset"]``.

    :param algo: a name from the registry: ``rainbow``, ``ppo``, ...
    :param env: an environment id
    :param overrides: any argument of the constructor, and `n_timesteps`, `seed` (0), `device`, `n_envs`, `vec_env`,
        `env_kwargs`, `env_wrapper`, `normalize`, `frame_stack`, in place of the preset's; text is read as on the
        command line (``learning_rate="lin_1e-3"``)
    :raises InputError: (a ``ValueError``) naming the argument, its value and what is wanted; no environment stays open
    """
    return _build(registry.find(algo).load(), algo, env, overrides)


def build_for(cls: type[Any], env: str, overrides: Mapping[str, Any]) -> Any:
    """Return what `from_preset` does, for a class of ours: a subclass of one with a name takes that one's preset.

    :param cls: the class of the model
    :param env: an environment id
    :param overrides: as in `from_preset`
    :raises InputError: as `from_preset`, and for a class that has no name in the registry
    """
    ours = [base for base in cls.__mro__ if issubclass(base, PluginAlgorithm)]
    algo = next(filter(None, map(registry.name_of, ours)), None)
    if algo is None:
        raise InputError("preset", "the class has no name in the registry", cls.__name__, "a class with presets")
    return _build(cls, algo, env, overrides)


def _build(cls: type[Any], algo: str, env: str, overrides: Mapping[str, Any]) -> Any:
    settings, own = _read(algo, env, overrides)
    venv = training_env(settings)
    try:
        model = build_model(settings, venv, cls=cls, **own)
    except BaseException:
        close_env(venv)
        raise
    model.preset = settings
    source = presets.source_of(algo, env)
    if model.verbose >= 1:
        print(f"Using {source}")
    if presets.section_of(algo, env) in (None, presets.DEFAULT):
        warn_user(f"{algo} has no preset for {env}: {source}")
    return model


def _read(algo: str, env: str, overrides: Mapping[str, Any]) -> tuple[Settings, dict[str, Any]]:
    """Return the preset under the overrides, and the arguments that only a constructor takes."""
    for name in ("algo", *_OF_A_RUN):
        if name in overrides:
            want = "it left out; sb3_course.runs.execute takes it"
            raise InputError(name, "belongs to a run, not to a model", overrides[name], want)
    own = {name: overrides[name] for name in _OF_A_CONSTRUCTOR if name in overrides}
    if isinstance(overrides.get("policy"), type):
        own["policy"] = overrides["policy"]
    words = {name: value for name, value in overrides.items() if name not in own}
    if "device" in words:
        words["device"] = str(words["device"])  # a `torch.device` is allowed, as everywhere
    if isinstance(words.get("env_kwargs"), Mapping):
        words["env_kwargs"] = to_words(words["env_kwargs"])  # what is given in Python is no text to be read
    return Settings.resolve(algo, env, words), own
