"""What a command line of `train` says, as settings: the flags over their config file, over the presets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sb3_course.config.errors import InputError

if TYPE_CHECKING:
    from sb3_course.runs.settings import Settings

#: What is trained where nobody says.
HEADLINE_ALGO, HEADLINE_ENV = "rainbow", "CartPole-v1"

# Flags that become keys of the settings, word for word.
_SETTINGS = (
    "n_timesteps", "seed", "n_envs", "vec_env", "device", "frame_stack", "eval_freq", "eval_episodes", "final_episodes",
    "n_eval_envs", "save_freq", "env_wrapper", "normalize", "tensorboard_log", "log_interval", "num_threads",
    "trained_agent",
)  # fmt: skip


def read_settings(options: Mapping[str, Any]) -> Settings:
    """Return the settings that the options, their config file or article preset and the presets add up to.

    :raises InputError: for anything that cannot be
    """
    from sb3_course.runs import presets
    from sb3_course.runs.settings import Settings
    from sb3_course.runs.words import read_pairs

    if "config" in options and "preset" in options:
        raise InputError("--preset", "cannot be combined with --config", options["preset"], "one of them")
    layers = []
    if "preset" in options:
        layers.append(presets.article(options["preset"]))
    if "config" in options:
        algo = options.get("algo", HEADLINE_ALGO)
        layers.append(presets.read_config(options["config"], options.get("env"), algo))
    typed = {name: options[name] for name in _SETTINGS if name in options}
    for name in ("env_kwargs", "eval_env_kwargs"):
        if name in options:
            typed[name] = dict(read_pairs(options[name], f"--{name.replace('_', '-')}"))
    typed |= _hyperparameters(options)
    named = {key for layer in layers for key in layer}
    algo = options.get("algo", None if "algo" in named else HEADLINE_ALGO)
    env = options.get("env", None if "env" in named else HEADLINE_ENV)
    settings = Settings.resolve(algo, env, *layers, typed)
    _check_learning_starts(settings)
    return settings


def origin(options: Mapping[str, Any], settings: Settings) -> str:
    """Return in words which files the settings are from, and which section of each.

    :param options: as `read_settings` took them
    :param settings: as it returned them
    """
    from sb3_course.runs import presets

    if "preset" in options:
        return f"the article {options['preset']}"
    preset = presets.source_of(settings.algo, settings.env)
    if "config" not in options:
        return preset
    section = presets.section_in(options["config"], options.get("env"))
    if section is not None:
        return f"{options['config']}, section {section}"
    complete = {"algo", "env"} <= presets.read_config(options["config"], None).keys()
    return str(options["config"]) if complete else f"{options['config']} over {preset}"


def _hyperparameters(options: Mapping[str, Any]) -> dict[str, str]:
    from sb3_course.runs.settings import RUN_KEYS, WITHOUT_FLAG
    from sb3_course.runs.words import read_pairs

    pairs = read_pairs(options.get("params", ()), "-params")
    for key in pairs:
        if key in RUN_KEYS - WITHOUT_FLAG:
            raise InputError("-params", f"{key} is not a hyperparameter", pairs[key], f"--{key.replace('_', '-')}")
    return pairs


def _check_learning_starts(settings: Settings) -> None:
    # From Python a `learn` shorter than `learning_starts` is allowed, as in SB3; here it would be a wasted evening.
    from sb3_course.registry import constructor_arguments

    argument = constructor_arguments(settings.algo).get("learning_starts")
    starts = settings.hyperparameters.get("learning_starts", argument.default if argument else 0)
    if settings.n_timesteps is not None and argument is not None and settings.n_timesteps <= starts:
        raise InputError(
            "n_timesteps", f"the budget ends before learning starts at step {starts}", settings.n_timesteps,
            "a larger budget or -params learning_starts:N",
        )  # fmt: skip
