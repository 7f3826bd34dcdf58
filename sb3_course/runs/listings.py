"""What there is to train on and with, as tables of text: environments, and presets."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any

from sb3_course.config.columns import columns
from sb3_course.config.errors import InputError, did_you_mean
from sb3_course.registry import ALGORITHMS, find
from sb3_course.runs import presets

#: Where an environment's code lies, the package that it needs, and what installs it.
_NEEDS = (
    ("gymnasium.envs.box2d", "Box2D", "sb3_course[box2d]"),
    ("gymnasium.envs.mujoco", "mujoco", "gymnasium[mujoco]"),
    ("gymnasium.envs.phys2d", "jax", "gymnasium[jax]"),
    ("gymnasium.envs.tabular", "jax", "gymnasium[jax]"),
)
_OTHERS = (  # their packages enter them when they are imported, which happens when one is asked for
    ("ALE/Breakout-v5, ...", "ale_py", "sb3_course[atari]"),
    ("MinAtar/Breakout-v1, ...", "minatar", "sb3_course[minatar]"),
)


def env_table(words: Sequence[str] = ()) -> str:
    """Return the newest version of every registered environment as text, ours first.

    :param words: only ids with one of these in them
    :raises InputError: when no id has
    """
    import gymnasium as gym

    import sb3_course.envs  # noqa: F401  enters ours

    newest: dict[tuple[str | None, str], Any] = {}
    for spec in gym.registry.values():
        name, there = (spec.namespace, spec.name), newest.get((spec.namespace, spec.name))
        if "shimmy" not in str(spec.entry_point) and (there is None or (spec.version or 0) > (there.version or 0)):
            newest[name] = spec
    own = _sections()
    rows = [_env_row(spec, own.get(spec.id, 0)) for spec in newest.values()]
    rows += [(name, package, "-", "-", "-", extra) for name, package, extra in _OTHERS if not _is_there(package)]
    rows.sort(key=lambda row: not row[0].startswith("sb3_course/"))  # stable: the registry's order within
    found = [row for row in rows if not words or any(word.lower() in row[0].lower() for word in words)]
    if not found:
        hint = did_you_mean(words[0], [row[0] for row in rows])
        raise InputError("NAME", f"no environment has this in its id{hint}", words[0], "a part of an id")
    return columns([("id", "from", "steps", "solved at", "presets", "pip install"), *found])


def _env_row(spec: Any, n_presets: int) -> tuple[str, ...]:
    module = str(spec.entry_point).partition(":")[0]
    extra = next((extra for where, package, extra in _NEEDS if module.startswith(where) and not _is_there(package)), "")
    limit, threshold = ("-" if x is None else f"{x:g}" for x in (spec.max_episode_steps, spec.reward_threshold))
    return spec.id, module.partition(".")[0], limit, threshold, str(n_presets or "-"), extra


def _is_there(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _sections() -> dict[str, int]:
    """Return how many algorithms have a preset of their own for each environment."""
    found: dict[str, int] = {}
    for name in _with_file():
        for env in presets.environments(name):
            found[env] = found.get(env, 0) + 1
    return found


def _with_file() -> list[str]:
    return [name for name in ALGORITHMS if presets.has_file(name)]


def preset_table(names: Sequence[str] = ()) -> str:
    """Return the packaged presets as text: of each algorithm the environments with hyperparameters, and the articles'.

    :param names: only of these algorithms
    :raises InputError: for an unknown algorithm
    """
    chosen = [find(name).name for name in names] or list(ALGORITHMS)
    rows = [("algorithm", "presets/<algorithm>.yml has a section for; every other environment takes its `default`")]
    rows += [(name, ", ".join(presets.environments(name)) or "-") for name in _with_file() if name in chosen]
    if names:
        return columns(rows)
    articles = [("--preset", "algorithm", "environment")]
    for name in presets.names():
        article = presets.article(name)
        articles.append((name, article["algo"], article["env"]))
    return f"{columns(rows)}\n\nthat reproduce an article:\n{columns(articles)}"
