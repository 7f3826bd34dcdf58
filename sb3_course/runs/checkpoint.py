"""Checkpoints: a folder per checkpoint, complete or absent, from which a run goes on.

`checkpoints/<steps>/` holds `model.zip`, `state.npz` (counters and callbacks), `replay.npz` where the replay buffer can
give its state, and `model.normalization.npz` where observations are normalised. Every checkpoint's model is kept, as in
rl-baselines3-zoo; the replay memory, by far the largest part, is kept for the newest one only.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from stable_baselines3.common.base_class import BaseAlgorithm

from sb3_course.config.errors import InputError
from sb3_course.runs.environment import normalization_state, statistics_path
from sb3_course.runs.folder import RunFolder
from sb3_course.saving.arrays import load_state, save_state
from sb3_course.saving.files import replace_folder
from sb3_course.saving.manifest import save_model


@runtime_checkable
class Stateful(Protocol):
    """What gives its state, and takes it back."""

    def get_state(self) -> dict[str, Any]:
        """Return its state as plain arrays, numbers and strings."""
        ...

    def set_state(self, state: dict[str, Any]) -> None:
        """Put back what `get_state` returned."""
        ...


def write_checkpoint(folder: RunFolder, model: BaseAlgorithm, callbacks: Mapping[str, Stateful]) -> Path:
    """Write the state of a run between two rollouts and return the checkpoint's folder.

    :param folder: of the run
    :param model: the algorithm
    :param callbacks: name -> what has a state
    """
    target = folder.checkpoints / str(model.num_timesteps)
    # Under a temporary name until everything is in it: a folder with the final name is always complete.
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        save_weights(model, temporary / "model.zip")
        buffer: Any = getattr(model, "replay_buffer", None)
        if hasattr(buffer, "get_state"):
            save_state(temporary / "replay.npz", buffer.get_state())
        counters = {"timesteps": model.num_timesteps, "total_timesteps": model._total_timesteps}
        states = {name: item.get_state() for name, item in callbacks.items()}
        save_state(temporary / "state.npz", {"counters": counters, "callbacks": states})
        replace_folder(temporary, target)  # one that is there: the run was resumed from it and comes by again
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    for older in _complete(folder)[:-1]:
        (older / "replay.npz").unlink(missing_ok=True)
    return target


def save_weights(model: BaseAlgorithm, path: Path) -> None:
    """Write a model and, beside it, the normalisation statistics it was trained with."""
    save_model(model, path)
    env = model.get_env()
    statistics = None if env is None else normalization_state(env)
    if statistics is not None:
        save_state(statistics_path(path), statistics)


def newest_checkpoint(folder: RunFolder) -> Path:
    """Return the folder of the newest complete checkpoint.

    :raises InputError: when there is none
    """
    complete = _complete(folder)
    if not complete:
        raise InputError("--resume", "the run has no checkpoint", str(folder.path), "a run with --save-freq > 0")
    return complete[-1]


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return the counters and callback states of a checkpoint.

    :raises InputError: when it is damaged
    """
    return load_state(path / "state.npz")


def _complete(folder: RunFolder) -> list[Path]:
    try:
        return sorted(
            (path for path in folder.checkpoints.iterdir() if path.name.isdecimal()), key=lambda path: int(path.name)
        )
    except OSError:
        return []
