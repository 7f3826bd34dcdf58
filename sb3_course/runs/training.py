"""Run the settings: build everything, claim the folder, train, score, and leave whole files behind."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from sb3_course.config.errors import InputError
from sb3_course.config.yaml_files import dump_yaml, load_yaml
from sb3_course.runs.active_run import ActiveRun
from sb3_course.runs.checkpoint import newest_checkpoint
from sb3_course.runs.environment import normalization_state, set_normalization_state, statistics_path
from sb3_course.runs.folder import RunFolder
from sb3_course.runs.model import build_model
from sb3_course.runs.result import Result, Watch
from sb3_course.runs.run_versions import run_versions
from sb3_course.runs.settings import Settings
from sb3_course.saving.arrays import load_state
from sb3_course.saving.files import atomic_write
from sb3_course.saving.model_file import one_line
from sb3_course.sb3.checkpoints import set_weights


def execute(settings: Settings, folder: RunFolder | str | Path | None = None, watch: Watch | None = None) -> Result:
    """Train and score one model; equal settings on one machine give equal weights.

    :param settings: everything that defines the run
    :param folder: where its files go; None writes nothing
    :param watch: who is told about it
    :raises InputError: before anything is written, when the settings do not fit together
    :raises FloatingPointError: at the first loss that is no number
    """
    folder = RunFolder(folder) if isinstance(folder, str | Path) else folder
    if folder is not None:
        folder.check()
    with contextlib.ExitStack() as stack:
        run = ActiveRun(settings, folder, watch or Watch(), stack)
        run.model = build_model(settings, run.training, run.watch.verbose)
        if settings.trained_agent is not None:
            start_from(run.model, Path(settings.trained_agent))
        if folder is not None:
            stack.enter_context(folder.claim())
            atomic_write(folder.config, dump_yaml(settings.to_config()).encode())
            atomic_write(folder.versions, json.dumps(run_versions(), indent=2).encode() + b"\n")
        run.watch.started()
        return run.train()


def start_from(model: Any, path: Path) -> None:
    """Give a model the weights, the optimizer and the statistics of normalising that lie in and beside a file.

    :raises InputError: when there is none, or it is another kind of model's
    """
    if not path.is_file():
        raise InputError("--trained-agent", "no such file", str(path), "a model.zip")
    try:
        set_weights(model, path)
    except InputError as error:
        raise InputError(
            "--trained-agent", error.what, str(path), "a file of this algorithm and these spaces"
        ) from None
    if statistics_path(path).exists() and normalization_state(model.get_env()) is not None:
        set_normalization_state(model.get_env(), load_state(statistics_path(path)))


def resume(
    path: str | Path, watch: Watch | None = None, n_timesteps: int | None = None
) -> tuple[Result, tuple[str, ...]]:
    """Continue a run from its newest checkpoint, towards its original budget or a larger one.

    :param path: the run folder
    :param watch: who is told about it
    :param n_timesteps: a new budget; schedules then go by it
    :return: the result, and what makes it differ from an uninterrupted run
    :raises InputError: when the folder holds no run, a finished one without a larger budget, or no checkpoint
    """
    folder = RunFolder.existing(path, "--resume")
    if n_timesteps is None and folder.status().get("state") == "finished":
        raise InputError("--resume", "the run is finished", str(path), "an unfinished run, or -n with a larger budget")
    settings = Settings.from_config(load_yaml(folder.config))
    if n_timesteps is not None:
        settings = settings.replace(n_timesteps=n_timesteps, n_episodes=None)
    restorer = newest_checkpoint(folder)
    if n_timesteps is not None and n_timesteps <= restorer.timesteps:
        want = f"more than the {restorer.timesteps} steps taken"
        raise InputError("n_timesteps", "is no larger budget", n_timesteps, want)
    with contextlib.ExitStack() as stack:
        run = ActiveRun(settings, folder, watch or Watch(), stack)
        run.model = build_model(settings, run.training, run.watch.verbose)
        stack.enter_context(folder.claim(resume=True))
        if n_timesteps is not None:
            atomic_write(folder.config, dump_yaml(settings.to_config()).encode())
        # It may have died on its way to a larger budget, before a checkpoint that knows of it.
        total = settings.n_timesteps if (settings.n_timesteps or 0) > restorer.budget else n_timesteps
        with one_line(restorer.path, "checkpoint", "one that a run wrote"):
            run.resume(restorer, total)
        return run.train(run.model._total_timesteps), run.lost
