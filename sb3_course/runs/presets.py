"""Presets: hyperparameters for each algorithm and environment, in rl-baselines3-zoo's YAML layout.

`presets/<algo>.yml` holds a section for each environment and `default` for every other one. Values are raw words
(`lin_1e-3`, `dict(net_arch=[64, 64])`), which `Settings.from_config` reads.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from sb3_course import registry
from sb3_course.config.errors import InputError, did_you_mean
from sb3_course.config.parameters import ARGUMENTS
from sb3_course.config.yaml_files import load_yaml

DEFAULT = "default"
ARTICLES = "articles"


def load(algo: str, env_id: str, folder: str | Path | None = None) -> dict[str, Any]:
    """Return the preset of an algorithm for an environment: the `default` section under the environment's own.

    :param algo: registry name
    :param env_id: environment id; one without a section of its own gets `default`
    :param folder: where the files are (default: the package's own)
    :raises InputError: for an unknown algorithm, a missing file, or a key that is no argument
    """
    registry.find(algo)
    return _section(_known_sections(algo, folder), env_id, f"presets/{algo}.yml")


def environments(algo: str, folder: str | Path | None = None) -> tuple[str, ...]:
    """Return the environments that have a section of their own in the file of an algorithm."""
    registry.find(algo)
    return tuple(name for name in _known_sections(algo, folder) if name != DEFAULT)


def names() -> tuple[str, ...]:
    """Return the names of the presets that reproduce the course's articles."""
    return tuple(_sections(_path(ARTICLES, None)))


def article(name: str) -> dict[str, Any]:
    """Return the preset that reproduces an article: `algo`, `env` and everything else that the article states.

    :raises InputError: for an unknown name
    """
    sections = _sections(_path(ARTICLES, None))
    if name not in sections:
        raise InputError("preset", f"unknown{did_you_mean(name, sections)}", name, ", ".join(sections))
    return _checked(sections[name], f"presets/{ARTICLES}.yml", ("algo", "env"))


def read_config(path: str | Path, env_id: str | None) -> dict[str, Any]:
    """Return the keys in a user's own file: a table of sections by environment, or the flat config of an earlier run.

    :param path: a YAML file
    :param env_id: environment id, whose section is laid over `default`; None takes the only section there is
    :raises InputError: when the file is unreadable or has no section for the environment
    """
    config = load_yaml(path)
    if not config or not all(isinstance(value, dict) for value in config.values()):
        return config
    if env_id is None and len(config) == 1:
        env_id = next(iter(config))
    if env_id is None or not {env_id, DEFAULT} & config.keys():
        hint = did_you_mean(env_id or "", config)
        raise InputError("--config", f"has no entry for this environment{hint}", env_id, "--env with one of them")
    return {**_merged(config, env_id), "env": env_id}


def _path(name: str, folder: str | Path | None) -> Path:
    root = Path(str(files("sb3_course") / "presets")) if folder is None else Path(folder)
    return root / f"{name}.yml"


def _known_sections(algo: str, folder: str | Path | None) -> dict[str, dict[str, Any]]:
    """The file of an algorithm; one that a user has registered has none among ours, and needs none."""
    path = _path(algo, folder)
    return {} if folder is None and not path.exists() else _sections(path)


def _sections(path: Path) -> dict[str, dict[str, Any]]:
    return _mappings(load_yaml(path, f"presets/{path.name}"), f"presets/{path.name}")


def _mappings(data: Mapping[str, Any], field: str) -> dict[str, dict[str, Any]]:
    for name, section in data.items():
        if not isinstance(section, dict):
            raise InputError(field, f"the section {name} is no mapping", section, "argument: value")
    return dict(data)


def _section(sections: Mapping[str, dict[str, Any]], env_id: str, field: str) -> dict[str, Any]:
    return _checked(_merged(sections, env_id), field)


def _merged(sections: Mapping[str, dict[str, Any]], env_id: str) -> dict[str, Any]:
    default, own = sections.get(DEFAULT, {}), sections.get(env_id, {})
    # A budget replaces the other kind of budget instead of standing beside it.
    budgets = ("n_timesteps", "n_episodes")
    if any(key in own for key in budgets):
        default = {key: value for key, value in default.items() if key not in budgets}
    return {**default, **own}


def _checked(section: Mapping[str, Any], field: str, also: tuple[str, ...] = ()) -> dict[str, Any]:
    for key in section:
        if key not in ARGUMENTS and key not in also:
            raise InputError(field, f"unknown key {key!r}{did_you_mean(str(key), ARGUMENTS)}", want="a known one")
    return copy.deepcopy(dict(section))  # YAML aliases share lists between sections
