"""Checkpoints of a run: `checkpoints/<steps>/`, the newest two whole, of earlier ones the model."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from sb3_course.config.errors import InputError
from sb3_course.config.warn import warn_user
from sb3_course.functional.finite import all_finite
from sb3_course.runs.earlier_checkpoints import EarlierRestorer
from sb3_course.runs.environment import normalization_state, statistics_path
from sb3_course.runs.folder import RunFolder
from sb3_course.saving.arrays import load_state, save_state
from sb3_course.saving.manifest import save_model
from sb3_course.sb3.checkpoints import BLOCKS, REPLAY, STATE, Restorer, read_replay, write_checkpoint_folder
from sb3_course.sb3.env_state import env_state, set_env_state


@runtime_checkable
class Stateful(Protocol):
    """What gives its state, and takes it back."""

    def get_state(self) -> dict[str, Any]:
        """Return its state as plain arrays, numbers and strings."""
        ...

    def set_state(self, state: dict[str, Any]) -> None:
        """Put back what `get_state` returned."""
        ...


class EvaluationEnvs:
    """The state of the environments for evaluations: what they keep from one evaluation to the next.

    :param venv: they
    """

    def __init__(self, venv: VecEnv) -> None:
        self.venv, self.lost = venv, ""

    def get_state(self) -> dict[str, Any]:
        """Return their state."""
        return env_state(self.venv)

    def set_state(self, state: dict[str, Any]) -> None:
        """Put it back, as far as that is possible; `lost` says what is not."""
        if why := set_env_state(self.venv, state):
            self.lost = f"in the evaluation environment {why}"
            warn_user(f"resume is not exact for this environment: {self.lost}")


def write_checkpoint(
    folder: RunFolder,
    model: BaseAlgorithm,
    parts: Mapping[str, Stateful],
    said: Any = None,
    environments: bool = True,
) -> Path:
    """Write the state of a run where a rollout begins and return the checkpoint's folder.

    :param folder: of the run
    :param model: the algorithm
    :param parts: name -> what has a state besides the model
    :param said: what a resumed run is compared with: versions, threads, device
    :param environments: whether their states are in it; without them they are reset
    """
    target = folder.checkpoints / str(model.num_timesteps)
    target.parent.mkdir(exist_ok=True)
    extra = {"parts": {name: item.get_state() for name, item in parts.items()}, "conditions": said or {}}
    write_checkpoint_folder(model, target, extra, save_weights, environments)
    for older in _complete(folder)[:-2]:
        for name in (STATE, REPLAY):  # without the first it is no checkpoint any more
            (older / name).unlink(missing_ok=True)
        shutil.rmtree(older / BLOCKS, ignore_errors=True)
    return target


def last_good(folder: RunFolder, model: BaseAlgorithm, parts: Mapping[str, Stateful], said: Any) -> None:
    """Write what was learned up to a step that nothing can be learned from, if it is finite itself.

    The environments' states stay out: they are in the middle of that step, and a resumed run resets them.
    """
    with suppress(OSError):  # the error that training ended with matters more
        if _is_finite(model):
            write_checkpoint(folder, model, parts, said, environments=False)


def _is_finite(model: BaseAlgorithm) -> bool:
    """Return whether all weights, and the statistics of normalising, are finite."""
    env = model.get_env()
    statistics = None if env is None else normalization_state(env)
    found = [tensor.detach().cpu().numpy() for tensor in model.policy.state_dict().values()]
    return all(map(all_finite, [*found, *_arrays(statistics)]))


def _arrays(state: Any) -> Iterator[np.ndarray]:
    if isinstance(state, Mapping):
        for value in state.values():
            yield from _arrays(value)
    elif isinstance(state, np.ndarray | float):
        yield np.asarray(state)


def save_weights(model: BaseAlgorithm, path: Path) -> None:
    """Write a model and, beside it, the normalisation statistics it was trained with."""
    save_model(model, path)
    env = model.get_env()
    statistics = None if env is None else normalization_state(env)
    if statistics is not None:
        save_state(statistics_path(path), statistics)


def newest_checkpoint(folder: RunFolder) -> Restorer:
    """Return the newest checkpoint that is whole.

    :raises InputError: when there is none
    """
    damaged: InputError | None = None
    for path in reversed(_complete(folder)):
        if not (path / STATE).exists():
            break
        try:
            state, seen = load_state(path / STATE), read_replay(path)
            return EarlierRestorer(path, state, seen) if "counters" in state else Restorer(path, state, seen)
        except InputError as error:
            damaged = damaged or error
            warn_user(f"checkpoint {path.name} is left out: {error}")
    if damaged is not None:
        raise damaged
    raise InputError("--resume", "the run has no checkpoint", str(folder.path), "a run with --save-freq > 0")


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Yield in words what is another thing now than when a checkpoint was written."""
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) != now.get(name):
            yield f"{name} {before.get(name, 'none')} -> {now.get(name, 'none')}"


def _complete(folder: RunFolder) -> list[Path]:
    try:
        return sorted(
            (path for path in folder.checkpoints.iterdir() if path.name.isdecimal()), key=lambda path: int(path.name)
        )
    except OSError:
        return []
