"""The run folder: one run is one folder of plain files, each of them written whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from sb3_course.config.errors import InputError
from sb3_course.saving.files import atomic_write

_LOCK, _OWNER = ".lock", ".lock.owner"
# Everything a run writes at the top of its folder; --overwrite removes these names and nothing else.
_FILES = (
    "config.yaml", "versions.json", "status.json", "progress.csv", "evaluations.csv", "evaluations.npz", "curve.png",
    "values.png", "policy.png",
    "model.zip", "model.normalization.npz", "best_model.zip", "best_model.normalization.npz", "checkpoints",
)  # fmt: skip
#: In a folder of many runs, one for each seed: what they are.
SEEDS_FILE = "seeds.json"
_MONITORS = "*monitor.csv"  # one, or one for each environment


class RunFolder:
    """Where a run's files lie, who may write them, and what state the run is in.

    Creating this object touches no disk; `claim` does, once all other input has been accepted.

    :param path: the folder
    :param overwrite: replace the run that the folder holds
    """

    def __init__(self, path: str | Path, overwrite: bool = False) -> None:
        self._place(Path(path))
        self.overwrite = overwrite
        self._parent: Path | None = None
        self._stem = ""

    @classmethod
    def numbered(cls, log_folder: str | Path, algorithm: str, env_id: str) -> RunFolder:
        """Return `<log_folder>/<algorithm>/<env>_<k>` with the next free k (rl-baselines3-zoo's layout)."""
        parent, stem = Path(log_folder) / algorithm, plain_name(env_id)
        folder = cls(parent / f"{stem}_{_next_number(parent, stem)}")
        folder._parent, folder._stem = parent, stem
        return folder

    @classmethod
    def existing(cls, path: str | Path, field: str = "run folder") -> RunFolder:
        """Return the folder of a run that was begun before.

        :raises InputError: when there is no run in it
        """
        folder = cls(path)
        if not folder.config.is_file():
            what = "holds no run (no config.yaml in it)" if folder.path.is_dir() else "no such folder"
            raise InputError(field, what, str(path), "the folder of a run, such as logs/dqn/CartPole-v1_1")
        return folder

    def _place(self, path: Path) -> None:
        self.path = path
        self.config, self.versions = path / "config.yaml", path / "versions.json"
        self.progress, self.evaluations = path / "progress.csv", path / "evaluations.csv"
        self.scores = path / "evaluations.npz"
        self.model, self.best_model = path / "model.zip", path / "best_model.zip"
        self.checkpoints, self.curve = path / "checkpoints", path / "curve.png"
        self.values, self.policy = path / "values.png", path / "policy.png"  # what some environments can show

    def status(self) -> dict[str, Any]:
        """Return how far the run has come: `state` (running, finished, interrupted, failed), steps and score."""
        try:
            status = json.loads((self.path / "status.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return status if isinstance(status, dict) else {}

    def write_status(self, state: str, **details: Any) -> None:
        """Replace `status.json`."""
        atomic_write(self.path / "status.json", json.dumps({"state": state, **details}, indent=2).encode() + b"\n")

    def check(self) -> None:
        """Refuse a place that cannot take a new run, touching nothing.

        :raises InputError: when the path is a file, is not writable, holds a run (without `overwrite`) or other files
        """
        if os.path.exists(self.path) and not os.path.isdir(self.path):  # which ask, and never raise
            raise InputError("run folder", "is not a folder", str(self.path), "a folder, or a path that is free")
        ancestor = self.path
        while not os.path.exists(ancestor) and ancestor != ancestor.parent:
            ancestor = ancestor.parent
        if not os.path.isdir(ancestor) or not os.access(ancestor, os.W_OK | os.X_OK):
            raise InputError("log folder", "cannot be written", str(ancestor), "a folder that you may write to")
        if os.path.isdir(self.path):
            self._check_contents({entry.name for entry in self.path.iterdir()} - {_LOCK, _OWNER})

    def _check_contents(self, names: set[str]) -> None:
        if not names:
            return
        if "config.yaml" not in names:
            raise InputError("run folder", "holds files that are no run", str(self.path), "an empty or a new folder")
        if not self.overwrite:
            state = self.status().get("state", "unfinished")
            raise InputError(
                "run folder",
                f"already holds a run ({state})",
                str(self.path),
                "another folder, --overwrite or --resume",
            )

    @contextlib.contextmanager
    def claim(self, resume: bool = False) -> Iterator[RunFolder]:
        """Create the folder, keep every other process out of it for as long as the context lasts.

        :param resume: keep what the folder holds
        :raises InputError: as `check`, or when another process is writing to the folder
        """
        if not resume:
            self.check()
        try:
            self._create()
        except OSError as error:
            raise InputError(
                "run folder", f"cannot be created: {error.strerror}", str(self.path), "a path that you may write to"
            ) from None
        with _lock(self.path):
            if not resume:
                self.check()  # again, now that nobody else can be writing
                self._clear()
            self._sweep()
            yield self

    def _create(self) -> None:
        if self._parent is None:
            self.path.mkdir(parents=True, exist_ok=True)
            return
        self._parent.mkdir(parents=True, exist_ok=True)
        while True:  # another run may take the same number between looking and creating
            try:
                self.path.mkdir()
                return
            except FileExistsError:
                self._place(self._parent / f"{self._stem}_{_next_number(self._parent, self._stem)}")

    def _sweep(self) -> None:
        """Remove what a killed process left half written."""
        for path in (*self.path.glob(".*.tmp*"), *self.checkpoints.glob(".*")):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    def _clear(self) -> None:
        for path in (*(self.path / name for name in _FILES), *self.path.glob(_MONITORS)):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def plain_name(env_id: str) -> str:
    """Return the name of an environment as that of a folder."""
    return re.sub(r"[^\w.-]", "-", env_id)


def _next_number(parent: Path, stem: str) -> int:
    pattern = re.compile(re.escape(stem) + r"_(\d+)\Z")
    try:
        taken = [int(match[1]) for entry in os.listdir(parent) if (match := pattern.match(entry))]
    except OSError:
        return 1
    return max(taken, default=0) + 1


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    # A lock of the operating system, not a marker file: it disappears with its process, however that one dies.
    lock = FileLock(path / _LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        what = f"another process is writing to it{_owner(path)}"
        raise InputError("run folder", what, str(path), "another folder, or wait for it to end") from None
    except OSError as error:
        what = f"cannot be written: {error.strerror}"
        raise InputError("run folder", what, str(path), "a folder that you may write to") from None
    try:
        atomic_write(path / _OWNER, f"process {os.getpid()} on {platform.node()} since {time.strftime('%F %T')}")
        yield
    finally:
        # The lock's file stays: removing it would let a third process lock a new file while a second holds the old one.
        with contextlib.suppress(OSError):
            (path / _OWNER).unlink()
        lock.release()


def _owner(path: Path) -> str:
    try:
        return f", {(path / _OWNER).read_text(encoding='utf-8')[:100]}"
    except (OSError, ValueError):  # it has just begun, or just ended
        return ""
