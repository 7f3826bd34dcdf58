"""A run at the moments that its checkpoints keep: its models, and the environment that they are looked at in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stable_baselines3.common.vec_env import VecEnv

from sb3_course.config.errors import InputError
from sb3_course.config.yaml_files import load_yaml
from sb3_course.pictures.picture import moments
from sb3_course.runs.environment import close_env, evaluation_env, set_normalization_state, statistics_path
from sb3_course.runs.folder import RunFolder
from sb3_course.runs.model import load_model
from sb3_course.runs.settings import Settings
from sb3_course.saving.arrays import load_state


@dataclass(frozen=True)
class LookedAt:
    """A run and the environment that its models are looked at in.

    :param settings: of the run
    :param files: the model files by the steps that they had learned from, the earliest first
    :param venv: one environment as in evaluations, which draws itself
    """

    settings: Settings
    files: dict[int, Path]
    venv: VecEnv

    @property
    def env(self) -> Any:
        """The environment without its wrappers."""
        vectorised: Any = self.venv.unwrapped
        return vectorised.envs[0].unwrapped

    @property
    def title(self) -> str:
        """What ran where."""
        return f"{self.settings.algo} on {self.settings.env}, seed {self.settings.seed}"

    def models(self, most: int) -> Iterator[tuple[int, Any]]:
        """Yield at most so many models, evenly over training and the last one among them, each after its steps.

        The environment normalises as each of them knew it.
        """
        every = list(self.files.items())
        for index in moments(len(every), most) if most > 1 else [len(every) - 1]:
            steps, path = every[index]
            model = load_model(self.settings, path, None)
            if statistics_path(path).exists():
                set_normalization_state(self.venv, load_state(statistics_path(path)))
            yield steps, model


@contextmanager
def looked_at(path: Path) -> Iterator[LookedAt]:
    """Yield a run as it can be looked at; its environment is closed afterwards.

    :param path: the run's folder
    :raises InputError: when there is no run, or no model in it yet
    """
    folder = RunFolder.existing(path, "RUN")
    settings = Settings.from_config(load_yaml(folder.config))
    kept = sorted(
        int(file.parent.name) for file in folder.checkpoints.glob("*/model.zip") if file.parent.name.isdecimal()
    )
    files = {steps: folder.checkpoints / str(steps) / "model.zip" for steps in kept}
    status = folder.status()
    last = status.get("timesteps")
    # With a reason the run broke off: a model that lies there is one of before it was resumed.
    if folder.model.is_file() and isinstance(last, int) and "reason" not in status:
        files[last] = folder.model
    if not files:
        raise InputError("RUN", "has no model yet", str(path), "a finished run, or one with a checkpoint")
    venv = evaluation_env(settings, "rgb_array")
    try:
        yield LookedAt(settings, dict(sorted(files.items())), venv)
    finally:
        close_env(venv)
