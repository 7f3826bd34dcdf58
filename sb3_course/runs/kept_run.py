"""A run that is found as it was left: begun, gone on with from its newest checkpoint, or finished already."""

from __future__ import annotations

from pathlib import Path

from sb3_course.config.errors import InputError
from sb3_course.config.yaml_files import load_yaml
from sb3_course.runs.checkpoint import newest_checkpoint
from sb3_course.runs.folder import RunFolder
from sb3_course.runs.result import Watch
from sb3_course.runs.settings import Settings
from sb3_course.runs.training import execute, resume


def finish(settings: Settings, path: Path, watch: Watch) -> bool:
    """Bring the run of a folder to its end, wherever it stands; return whether it got there.

    :param settings: of the run
    :param path: its folder, which may hold a part of it, or the whole
    :param watch: who is told about it
    :raises InputError: when the folder holds a run with other settings
    """
    refuse_other(settings, path)
    folder = RunFolder(path, overwrite=True)
    if folder.config.is_file():
        if folder.status().get("state") == "finished":
            return True
        if _has_checkpoint(folder):
            return resume(path, watch)[0].finished
    return execute(settings, folder, watch).finished


def refuse_other(settings: Settings, path: Path) -> None:
    """Refuse a folder that holds a run with other settings.

    :raises InputError: naming the first difference
    """
    folder = RunFolder(path)
    if not folder.config.is_file():
        folder.check()
        return
    wanted, found = settings.to_config(), Settings.from_config(load_yaml(folder.config)).to_config()
    for key in (*wanted, *found):
        if wanted.get(key) != found.get(key):
            raise InputError(
                "--run-dir", f"{path} holds a run with another {key}", wanted.get(key), f"{found.get(key)}, or a "
                "folder of its own",
            )  # fmt: skip


def _has_checkpoint(folder: RunFolder) -> bool:
    try:
        newest_checkpoint(folder)
    except InputError:  # killed before the first, or all are damaged: from the beginning
        return False
    return True
