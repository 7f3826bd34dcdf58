"""Run the settings: build everything, claim the folder, train, score, and leave whole files behind."""

from __future__ import annotations

import contextlib
import json
import platform
from pathlib import Path

from sb3_course import backends
from sb3_course.config.errors import InputError
from sb3_course.config.yaml_files import dump_yaml, load_yaml
from sb3_course.runs.active_run import ActiveRun
from sb3_course.runs.checkpoint import newest_checkpoint, read_checkpoint
from sb3_course.runs.folder import RunFolder
from sb3_course.runs.model import build_model, load_model
from sb3_course.runs.result import Result, Watch
from sb3_course.runs.settings import Settings
from sb3_course.saving.files import atomic_write
from sb3_course.saving.versions import versions


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
        if folder is not None:
            stack.enter_context(folder.claim())
            atomic_write(folder.config, dump_yaml(settings.to_config()).encode())
            atomic_write(folder.versions, json.dumps(run_versions(), indent=2).encode() + b"\n")
        run.watch.started()
        return run.train()


def resume(path: str | Path, watch: Watch | None = None) -> tuple[Result, tuple[str, ...]]:
    """Continue a run from its newest checkpoint towards its original budget.

    :param path: the run folder
    :param watch: who is told about it
    :return: the result, and what could not be restored
    :raises InputError: when the folder holds no run, a finished one, or no checkpoint
    """
    folder = RunFolder.existing(path, "--resume")
    if folder.status().get("state") == "finished":
        raise InputError("--resume", "the run is finished", str(path), "an unfinished run")
    settings = Settings.from_config(load_yaml(folder.config))
    checkpoint = newest_checkpoint(folder)
    state = read_checkpoint(checkpoint)
    with contextlib.ExitStack() as stack:
        run = ActiveRun(settings, folder, watch or Watch(), stack)
        run.model = load_model(settings, checkpoint / "model.zip", run.training, run.watch.verbose)
        stack.enter_context(folder.claim(resume=True))
        return run.resume(checkpoint, state), run.lost


def run_versions() -> dict[str, str]:
    """Return the machine's system and the versions of all that decides what a run learns."""
    return {"platform": platform.platform(), **versions(backends.libraries())}
