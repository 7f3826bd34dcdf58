"""Training episodes in the files of SB3's `Monitor`, which its plots and the zoo's read: one for each environment."""

from __future__ import annotations

import csv
import io
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

from stable_baselines3.common.vec_env import VecEnv

from sb3_course.runs.tables import whole_lines
from sb3_course.saving.files import atomic_write


class EpisodeLog:
    """What a monitor writes its episodes to: a row is on its way to the disk before the next step.

    It stands where SB3's `ResultsWriter` does, and unlike that one travels to another process.

    :param path: the file, which has its header
    :param columns: of it
    """

    def __init__(self, path: str, columns: Sequence[str]) -> None:
        self.path, self.columns = path, tuple(columns)
        self._file: BinaryIO | None = None

    def write_row(self, episode: dict[str, Any]) -> None:
        """Append one episode."""
        if self._file is None:
            self._file = open(self.path, "ab", buffering=0)  # noqa: SIM115  for as long as the monitor
        self._file.write(_line([episode.get(name, "") for name in self.columns]))

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_file": None}


class MonitorFiles:
    """The files of a run's training environments, and how far they had come at a checkpoint.

    :param folder: of the run
    :param venv: the training environments, each of them with an `EpisodeMonitor`
    :param env_id: for the header
    :param info_keywords: entries of `info` that are written beside return, length and time
    """

    def __init__(self, folder: Path, venv: VecEnv, env_id: str, info_keywords: Sequence[str]) -> None:
        names = [f"{index}.monitor.csv" for index in range(venv.num_envs)] if venv.num_envs > 1 else ["monitor.csv"]
        self.paths = [folder / name for name in names]
        self.columns = ("r", "l", "t", *info_keywords)
        self._venv, self._env_id = venv, env_id

    def begin(self) -> None:
        """Write the headers of files that are not there yet, and let the environments write to them from now on."""
        for index, path in enumerate(self.paths):
            if not path.exists():
                header = {"t_start": time.time(), "env_id": self._env_id}
                atomic_write(path, b"#" + json.dumps(header).encode() + b"\n" + _line(self.columns))
            with open(path, encoding="utf-8") as file:
                started = json.loads(file.readline()[1:])["t_start"]
            self._venv.env_method("log_to", EpisodeLog(str(path), self.columns), started, indices=index)

    def get_state(self) -> dict[str, Any]:
        """Return the sizes of the files: between two rollouts they end with whole lines."""
        return {"sizes": [path.stat().st_size for path in self.paths]}

    def set_state(self, state: dict[str, Any]) -> None:
        """Cut off what was written later, and a line that a kill has torn."""
        for path, size in zip(self.paths, state["sizes"], strict=True):
            if path.exists():
                os.truncate(path, len(whole_lines(path.read_bytes()[:size])))


def _line(cells: Sequence[Any]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode()
