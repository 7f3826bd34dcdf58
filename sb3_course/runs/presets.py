"""Presets: hyperparameters for each algorithm and environment, in rl-baselines3-zoo's YAML layout.

`presets/<algo>.yml` holds a section for each environment and `default` for every other one; a section is all there is,
so that rl_zoo3 reads the same in it (which takes numbers as YAML 1.1 has them, `1.0e-3`, and needs a `policy`). Values
are raw words (`lin_1e-3`, `dict(net_arch=[64, 64])`), which `Settings.from_config` reads.
"""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from sb3_course import registry
from sb3_course.config.errors import InputError, did_you_mean
from sb3_course.config.parameters import ARGUMENTS
from sb3_course.config.yaml_files import load_yaml

DEFAULT = "default"
ATARI = "atari"
ARTICLES = "articles"
# SB3's policies that differ only in the observations they take; without a word the observations decide.
_KINDS_OF_OBSERVATION = ("MlpPolicy", "CnnPolicy", "MultiInputPolicy")


def load(algo: str, env_id: str, folder: str | Path | None = None) -> dict[str, Any]:
    """Return the preset of an algorithm for an environment, less a `policy` that only says what observations it takes.

    :param algo: registry name
    :param env_id: environment id; one without a section of its own gets `atari`, where it is a game of Atari's and
        there is such a section, or `default`
    :param folder: where the files are (default: the package's own)
    :raises InputError: for an unknown algorithm, a missing file, or a key that is no argument
    """
    registry.find(algo)
    sections = _known_sections(algo, folder)
    name = _section_name(sections, env_id)
    return _checked({} if name is None else _without_kind(sections[name]), f"presets/{algo}.yml")


def section_of(algo: str, env_id: str, folder: str | Path | None = None) -> str | None:
    """Return the name of the section that `load` takes; None where the algorithm has no file."""
    registry.find(algo)
    return _section_name(_known_sections(algo, folder), env_id)


def source_of(algo: str, env_id: str) -> str:
    """Return in words where the hyperparameters of `load` come from."""
    section = section_of(algo, env_id)
    return f"presets/{algo}.yml, section {section}" if section else "the constructor's own values"


def is_atari(env_id: str) -> bool:
    """Return whether an environment is a game of Atari's, by its id or by how it is registered."""
    if re.match(r"(?:\w+:)?ALE/|.+NoFrameskip-v\d+\Z", env_id):
        return True
    import gymnasium as gym

    spec = gym.registry.get(env_id.rpartition(":")[2])
    return spec is not None and "AtariEnv" in str(spec.entry_point)  # as rl-baselines3-zoo asks


def environments(algo: str, folder: str | Path | None = None) -> tuple[str, ...]:
    """Return the environments that have a section of their own in the file of an algorithm."""
    registry.find(algo)
    return tuple(name for name in _known_sections(algo, folder) if name not in (DEFAULT, ATARI))


def has_file(algo: str) -> bool:
    """Return whether there is a packaged file for an algorithm; a user's own has none."""
    return _path(algo, None).is_file()


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


def read_config(path: str | Path, env_id: str | None, algo: str | None = None) -> dict[str, Any]:
    """Return the keys in a user's own file: a table of sections by environment, or the flat config of an earlier run.

    A section is read as rl-baselines3-zoo reads it: it is all there is, with no other section and no preset below it.

    :param path: a YAML file
    :param env_id: environment id; None takes the only section there is
    :param algo: registry name that a section is for
    :raises InputError: when the file is unreadable or has no section for the environment
    """
    config = load_yaml(path)
    name = _section_in(config, env_id)
    if name is None:
        return config
    section = _without_kind(config[name]) if name == DEFAULT else config[name]
    named = {"env": name if env_id is None else env_id} | ({} if algo is None else {"algo": algo})
    return copy.deepcopy(section) | named


def section_in(path: str | Path, env_id: str | None) -> str | None:
    """Return the name of the section that `read_config` takes of a table; None where the file is flat."""
    return _section_in(load_yaml(path), env_id)


def _section_in(config: Mapping[str, Any], env_id: str | None) -> str | None:
    flat = not all(isinstance(value, dict) for value in config.values()) or config.keys() <= ARGUMENTS.keys()
    if flat:
        return None
    if env_id is None and len(config) == 1:
        return next(iter(config))
    name = None if env_id is None else _section_name(config, env_id)
    if name is None:
        hint = did_you_mean(env_id or "", config)
        raise InputError("--config", f"has no entry for this environment{hint}", env_id, "--env with one of them")
    return name


def _path(name: str, folder: str | Path | None) -> Path:
    root = Path(str(files("sb3_course") / "presets")) if folder is None else Path(folder)
    return root / f"{name}.yml"


def _known_sections(algo: str, folder: str | Path | None) -> dict[str, dict[str, Any]]:
    """The file of an algorithm; one that a user has registered has none among ours, and needs none."""
    path = _path(algo, folder)
    return {} if folder is None and not path.exists() else _sections(path)


def _sections(path: Path) -> dict[str, dict[str, Any]]:
    try:
        found = path.stat()
    except (OSError, ValueError):
        return _read(path)  # which says what is wrong
    return _read_once(path.absolute(), (found.st_mtime_ns, found.st_size, found.st_ino))


@functools.lru_cache(maxsize=64)
def _read_once(path: Path, _as_it_is: tuple[int, ...]) -> dict[str, dict[str, Any]]:
    """A file takes a while to read, and is asked for several times by each run; nobody changes what is returned."""
    return _read(path)


def _read(path: Path) -> dict[str, dict[str, Any]]:
    return _mappings(load_yaml(path, f"presets/{path.name}"), f"presets/{path.name}")


def _mappings(data: Mapping[str, Any], field: str) -> dict[str, dict[str, Any]]:
    for name, section in data.items():
        if not isinstance(section, dict):
            raise InputError(field, f"the section {name} is no mapping", section, "argument: value")
    return dict(data)


def _section_name(sections: Mapping[str, Any], env_id: str) -> str | None:
    names = [env_id, *([ATARI] if is_atari(env_id) else []), DEFAULT]
    return next((name for name in names if name in sections), None)


def _without_kind(section: Mapping[str, Any]) -> dict[str, Any]:
    """What serves numbers and pictures of an environment alike cannot know which it shows: `MlpPolicy` says nothing."""
    return {key: value for key, value in section.items() if not (key == "policy" and value in _KINDS_OF_OBSERVATION)}


def _checked(section: Mapping[str, Any], field: str, also: tuple[str, ...] = ()) -> dict[str, Any]:
    for key in section:
        if key not in ARGUMENTS and key not in also:
            raise InputError(field, f"unknown key {key!r}{did_you_mean(str(key), ARGUMENTS)}", want="a known one")
    return copy.deepcopy(dict(section))  # YAML aliases share lists between sections
