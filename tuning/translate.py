"""From a point of a search space to the keys of a preset, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from sb3_course import registry
from sb3_course.config.errors import InputError
from sb3_course.config.text import read_value, read_values, to_words
from sb3_course.tuning.dimension import Dimension

if TYPE_CHECKING:
    from optuna.trial import Trial

Settings = dict[str, Any]


def suggest(trial: Trial, space: tuple[Dimension, ...], actions: str) -> dict[str, Any]:
    """Return the values of every active dimension, as an Optuna trial suggests them.

    :param trial: Optuna's
    :param space: of the algorithm
    :param actions: class name of the action space, e.g. `Discrete`
    """
    found: dict[str, Any] = {}
    for dimension in space:
        if dimension.is_active(found, actions):
            found[dimension.name] = dimension.suggest(trial)
    return found


def decides(dimension: Dimension) -> set[str]:
    """Return the keys of a preset that a dimension decides, with dots inside `policy_kwargs`."""
    combined = COMBINED.get(dimension.name)
    return set(combined.keys) if combined else {dimension.name}


def keys_of(settings: Mapping[str, Any]) -> set[str]:
    """Return the keys of a preset, with dots inside `policy_kwargs`; a mapping there has its own name, too."""

    def walk(mapping: Mapping[str, Any], prefix: str) -> set[str]:
        found = set()
        for key, value in mapping.items():
            found |= {f"{prefix}{key}"} | (walk(value, f"{prefix}{key}.") if isinstance(value, Mapping) else set())
        return found

    return walk({key: _opened(key, value) for key, value in settings.items()}, "")


def merged(changes: Mapping[str, Any], base: Mapping[str, Any]) -> Settings:
    """Return `changes` under `base`; mappings such as `policy_kwargs` key by key."""
    found = dict(changes)
    for key, value in base.items():
        ours, theirs = _opened(key, found.get(key)), _opened(key, value)
        both = isinstance(ours, Mapping) and isinstance(theirs, Mapping)
        found[key] = merged(ours, theirs) if both else value
    return found


def _opened(key: str, value: Any) -> Any:
    # Words again, because whoever trains it reads them: what was text must not be read twice.
    return to_words(read_value(value, key)) if key == "policy_kwargs" and isinstance(value, str) else value


def check_space(space: tuple[Dimension, ...], algo: str) -> None:
    """Refuse a space whose points no configuration of the algorithm could say.

    :raises InputError: for a dimension that is no argument of it, and for one without the other it needs
    """
    taken = {*registry.constructor_arguments(algo), "policy", "n_envs", "noise_type", "noise_std"}
    names = {dimension.name for dimension in space}
    for dimension in space:
        wrong = {key for key in decides(dimension) if key.split(".")[0] not in taken}
        if wrong:
            raise InputError("space", f"{algo} has no argument {min(wrong)}", dimension.name, "one that it takes")
        combined = COMBINED.get(dimension.name)
        if combined and combined.needs and combined.needs not in names:
            raise InputError("space", f"needs {combined.needs} beside it", dimension.name, f"{combined.needs} as well")


def to_settings(values: Mapping[str, Any], base: Mapping[str, Any] | None = None) -> Settings:
    """Return the keys of a preset that the values of a space say.

    :param values: name -> value, as `suggest` returns them
    :param base: keys that are fixed besides
    """
    settings: Settings = {}
    for name, value in values.items():
        if name not in COMBINED:
            _put(settings, name, value)
    for name, combined in COMBINED.items():
        if name in values:
            combined.write(settings, values[name])
    if "batch_size" in settings and "rollout" in values:  # a batch is part of a rollout
        n_envs = int({"n_envs": 1, **(base or {}), **settings}["n_envs"])
        settings["batch_size"] = min(settings["batch_size"], settings["n_steps"] * n_envs)
    return settings


def from_settings(space: tuple[Dimension, ...], settings: Mapping[str, Any], algo: str, actions: str) -> dict[str, Any]:
    """Return the point of a space that is nearest to a preset, so that a sampler can learn from it.

    :param space: of the algorithm
    :param settings: keys of a preset; what is missing is the constructor's default
    :param algo: registry name
    :param actions: class name of the action space
    """
    known = read_values(dict(settings))
    defaults = {name: parameter.default for name, parameter in registry.constructor_arguments(algo).items()}
    found: dict[str, Any] = {}
    for dimension in space:
        if not dimension.is_active(found, actions):
            continue
        combined = COMBINED.get(dimension.name)
        value = combined.read({**defaults, **known}) if combined else _get(known, dimension.name, defaults)
        found[dimension.name] = dimension.nearest(dimension.default if value is None else value)
    return found


def _put(settings: Settings, name: str, value: Any) -> None:
    *path, last = name.split(".")
    for key in path:
        settings = settings.setdefault(key, {})
    settings[last] = value


def _get(settings: Any, name: str, defaults: Mapping[str, Any]) -> Any:
    for key in name.split("."):
        settings = settings.get(key) if isinstance(settings, Mapping) else None
    value = defaults.get(name) if settings is None else settings
    value = getattr(value, "initial", value)  # a schedule's start
    return repr(value) if isinstance(value, list) or type(value).__name__ == "Named" else value


def _share(settings: Settings, value: Any) -> None:
    settings["gradient_steps"] = max(round(settings["train_freq"] * value), 1)


def _read_share(settings: Mapping[str, Any]) -> float:
    steps, freq = settings["gradient_steps"], settings["train_freq"]
    freq = freq[0] if isinstance(freq, tuple) else freq
    return 1.0 if steps < 0 else float(steps / freq)


def _schedule(settings: Settings, value: Any) -> None:
    if value == "linear":
        settings["learning_rate"] = f"lin_{settings['learning_rate']!r}"


def _support(settings: Settings, value: Any) -> None:
    settings["v_min"] = 0.0 if value == "from 0" else -settings["v_max"]


class Combined(NamedTuple):
    """A dimension that is no argument by itself.

    :param keys: of a preset, which it decides
    :param needs: another dimension, without which it says nothing
    :param write: changes the settings
    :param read: returns its value from a preset over the constructor's defaults
    """

    keys: tuple[str, ...]
    needs: str
    write: Callable[[Settings, Any], None]
    read: Callable[[Mapping[str, Any]], Any]


COMBINED: dict[str, Combined] = {
    "learning_rate_schedule": Combined(
        ("learning_rate",), "learning_rate", _schedule,
        lambda known: "linear" if hasattr(known["learning_rate"], "initial") else "constant",
    ),
    "updates_per_step": Combined(("train_freq", "gradient_steps"), "train_freq", _share, _read_share),
    "support": Combined(
        ("v_min", "v_max"), "v_max", _support, lambda known: "from 0" if known["v_min"] == 0 else "symmetric"
    ),
    "rollout": Combined(
        ("n_steps",), "", lambda settings, value: settings.update(n_steps=value), lambda known: known["n_steps"]
    ),
}  # fmt: skip
