"""What a section of rl-baselines3-zoo's files means here and in rl_zoo3 itself, key by key, for every section.

pip install rl_zoo3  # once, into the environment that has sb3_course
python benchmarks/zoo_files.py                 # the zoo's own eleven files
python benchmarks/zoo_files.py --presets       # our presets, read by rl_zoo3
python benchmarks/zoo_files.py --files FOLDER  # other files of the same names
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import inspect
import io
import math
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import yaml
from gymnasium import spaces
from stable_baselines3.common.noise import ActionNoise

FILES = ("dqn", "qrdqn", "a2c", "ppo", "ddpg", "td3", "sac", "tqc", "trpo", "ars", "crossq")
SCHEDULES = ("learning_rate", "clip_range", "clip_range_vf", "delta_std")
#: An environment of each kind that has no section of its own.
STANDS_FOR = {"atari": "ALE/StandIn-v5", "default": "StandIn-v0"}
ACTIONS = spaces.Box(-1, 1, (3,))


class AtariEnv(gym.Env[Any, Any]):
    """Stands for any environment that is not installed: only its id and the name of its class are looked at."""


class StandIn(gym.Env[Any, Any]):
    """The same, no game of Atari's."""


def plain(key: str, value: Any) -> Any:
    """Return a value in a form that two readers' results can be compared in."""
    if key in SCHEDULES and isinstance(value, int | float) and not isinstance(value, bool):
        return [float(value)] * 3  # rl_zoo3 leaves a number below 0 as it is, which means "off", and wraps the others
    if isinstance(value, ActionNoise):
        return {"class": type(value).__name__, "mu": list(value._mu), "sigma": list(value._sigma)}  # type: ignore[attr-defined]
    if isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}"
    if key in SCHEDULES and callable(value):
        return [float(value(remaining)) for remaining in (1.0, 0.5, 0.125)]
    if isinstance(value, Mapping):
        return {name: plain("", item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain("", item) for item in value]
    if isinstance(value, float) and value.is_integer() and math.isfinite(value):
        return int(value)
    return value


def theirs(algo: str, path: Path, env_id: str) -> dict[str, Any]:
    """Return what rl_zoo3 makes of the section for an environment."""
    manager_class = importlib.import_module("rl_zoo3.exp_manager").ExperimentManager
    with contextlib.redirect_stdout(io.StringIO()):
        manager = manager_class(argparse.Namespace(), algo, env_id, "nowhere", config=str(path))
        unprocessed, saved = manager.read_hyperparameters()
        section = dict(unprocessed)
        with importable_stand_ins():
            found, env_wrapper, callbacks, vec_env_wrapper = manager._preprocess_hyperparams(unprocessed)
        venv = types.SimpleNamespace(action_space=ACTIONS)
        found = manager._preprocess_action_noise(found, saved, venv)
    return {
        "n_timesteps": manager.n_timesteps,
        "n_envs": manager.n_envs,
        "frame_stack": manager.frame_stack or 1,
        "normalize": plain("", manager.normalize_kwargs) if manager.normalize else None,
        "env_wrapper": wrapped_by(env_wrapper),
        "vec_env_wrapper": wrapped_by(vec_env_wrapper),
        "callback": [plain("", type(callback)) for callback in callbacks],
        "monitor_kwargs": plain("", manager.monitor_kwargs),
        "env_kwargs": plain("", section.get("env_kwargs", {})),
        **{key: plain(key, value) for key, value in found.items()},
    }


def wrapped_by(wrap: Callable[..., Any] | None) -> list[Any]:
    """Return the classes and arguments that rl_zoo3's function around an environment applies."""
    if wrap is None:
        return []
    inside = inspect.getclosurevars(wrap).nonlocals
    pairs = zip(inside["wrapper_classes"], inside["wrapper_kwargs"], strict=True)
    return [[plain("", cls), plain("", kwargs)] for cls, kwargs in pairs]


def ours(algo: str, path: Path | None, env_id: str) -> dict[str, Any]:
    """Return what `python -m sb3_course.train --algo ALGO --env ENV --config PATH` makes of it; None: our presets."""
    from sb3_course.registry import find
    from sb3_course.runs.model import choose_policy, hyperparameters
    from sb3_course.train import make_parser, read_settings

    argv = ["--algo", algo, "--env", env_id, *([] if path is None else ["--config", str(path)])]
    settings = read_settings(vars(make_parser().parse(argv)))
    gamma = settings.hyperparameters.get("gamma")
    normalize = settings.normalize
    if normalize is not None and gamma is not None:
        normalize = {"gamma": gamma, **normalize}
    arguments = hyperparameters(settings, ACTIONS)
    policy = choose_policy(find(algo).load(), settings, spaces.Box(-1, 1, (4,)))
    with importable_stand_ins():
        return {
            "n_timesteps": settings.n_timesteps,
            "n_envs": settings.n_envs,
            "frame_stack": settings.frame_stack,
            "normalize": None if normalize is None else plain("", normalize),
            "env_wrapper": [named(each) for each in settings.env_wrapper],
            "vec_env_wrapper": [named(each) for each in settings.vec_env_wrapper],
            "callback": [named(each)[0] for each in settings.callback],
            "monitor_kwargs": plain("", settings.monitor_kwargs),
            "env_kwargs": plain("", settings.env_kwargs),
            "policy": plain("", policy),
            **{key: plain(key, value) for key, value in arguments.items()},
        }


def named(wrapper: Any) -> list[Any]:
    """Return the class that one of our settings names, and its arguments."""
    module, _, name = wrapper.name.partition(":")
    return [plain("", getattr(importlib.import_module(module), name)), plain("", wrapper.kwargs)]


@contextlib.contextmanager
def importable_stand_ins() -> Iterator[None]:
    """Let `importlib.import_module` answer for a module that is not installed, with a class for every name."""
    real = importlib.import_module

    def found(name: str, package: str | None = None) -> types.ModuleType:
        try:
            return real(name, package)
        except ModuleNotFoundError:
            module = types.ModuleType(name)
            module.__getattr__ = lambda cls: type(cls, (gym.Wrapper,), {"__module__": name})  # type: ignore[method-assign]
            return module

    importlib.import_module = found
    try:
        yield
    finally:
        importlib.import_module = real


def refused_by_sb3(algo: str, found: Mapping[str, Any]) -> str:
    """Return what SB3's own constructor would not take of a section, or nothing."""
    constructor = importlib.import_module("rl_zoo3.utils").ALGOS[algo].__init__
    known = inspect.signature(constructor).parameters
    run = {
        "n_timesteps", "n_envs", "frame_stack", "normalize", "env_wrapper", "vec_env_wrapper", "callback",
        "monitor_kwargs", "env_kwargs",
    }  # fmt: skip
    return ", ".join(sorted(set(found) - set(known) - run))


def compare(algo: str, path: Path, presets: bool) -> tuple[int, list[str]]:
    """Return how many sections of a file were compared, and a line for each that is not equal."""
    from sb3_course.config.errors import InputError

    lines = []
    sections = yaml.safe_load(path.read_text())
    for section in sections:
        env_id = STANDS_FOR.get(section, section)
        register(env_id, section == "atari")
        try:
            wanted = theirs(algo, path, env_id)
        except Exception as error:  # whatever keeps rl_zoo3 from reading it
            lines.append(f"{algo} {section}: rl_zoo3 cannot read it: {type(error).__name__}: {error}")
            continue
        try:
            got = ours(algo, None if presets else path, env_id)
        except InputError as error:
            why = refused_by_sb3(algo, wanted)
            lines.append(f"{algo} {section}: refused here{f' (and by SB3: {why})' if why else ''}: {error}")
            continue
        differences = [
            f"{key}: {got.get(key, 'nothing')!r} in place of {wanted.get(key, 'nothing')!r}"
            for key in sorted({*wanted, *got})
            if key not in wanted or key not in got or not equal(wanted[key], got[key])
        ]
        if differences:
            lines.append(f"{algo} {section}: {'; '.join(differences)}")
    return len(sections), lines


def equal(one: Any, other: Any) -> bool:
    """Return whether two plain values are the same; 1 and True are not."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    return repr(one) == repr(other)


def register(env_id: str, atari: bool) -> None:
    """Make an environment known to Gymnasium under its id, where it is not installed."""
    if env_id not in gym.registry:
        gym.register(env_id, f"{__name__}:{'AtariEnv' if atari else 'StandIn'}")


def main() -> int:
    """Print the counts of each file and what is not equal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=Path, help="folder of the files (default: those of the installed rl_zoo3)")
    parser.add_argument("--presets", action="store_true", help="our own presets in place of the zoo's files")
    options = parser.parse_args()
    zoo = importlib.import_module("rl_zoo3")
    names: tuple[str, ...] = FILES
    folder = options.files or Path(str(zoo.__file__)).parent / "hyperparams"
    if options.presets:
        from sb3_course.registry import ALGORITHMS
        from sb3_course.runs import presets

        names = tuple(ALGORITHMS)
        folder = Path(presets.__file__).parents[1] / "presets"
        known = importlib.import_module("rl_zoo3.utils").ALGOS
        known.update({name: row.load() for name, row in ALGORITHMS.items() if name not in known})
    total, wrong = 0, []
    for algo in names:
        count, lines = compare(algo, folder / f"{algo}.yml", options.presets)
        total, wrong = total + count, wrong + lines
        print(f"{algo:20s} {count:3d} sections, {count - len(lines):3d} equal")
    print("\n".join(["", *wrong, *([""] if wrong else [])]), end="")
    print(f"rl_zoo3 {zoo.__version__}, {folder}: {total} sections, {total - len(wrong)} equal, {len(wrong)} not")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
