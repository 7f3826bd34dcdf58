"""Where a run's log goes: the table `progress.csv`, the terminal, TensorBoard."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

from stable_baselines3.common.logger import (
    HumanOutputFormat,
    KVWriter,
    Logger,
    TensorBoardOutputFormat,
    filter_excluded_keys,
)
from stable_baselines3.common.utils import get_latest_run_id

from sb3_course.config.errors import InputError
from sb3_course.runs.folder import RunFolder, plain_name
from sb3_course.runs.settings import Settings
from sb3_course.runs.tables import Table


class TableWriter(KVWriter):
    """An output of SB3's logger that appends to a CSV file and keeps the rows of a run that is resumed.

    :param table: the file
    """

    def __init__(self, table: Table) -> None:
        self.table = table

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        """Append one row."""
        values = filter_excluded_keys(key_values, key_excluded, "csv")
        self.table.append({"timesteps": step, **{k: v for k, v in values.items() if k != "time/total_timesteps"}})

    def close(self) -> None:
        """Nothing is held open."""


class CountingLogger(Logger):
    """SB3's logger of a run that was resumed: its iterations count from the run's beginning.

    :param earlier: iterations before this call of `learn`
    """

    def __init__(self, folder: str | None, output_formats: list[KVWriter], earlier: int) -> None:
        super().__init__(folder, output_formats)
        self.earlier = earlier

    def record(self, key: str, value: Any, exclude: str | tuple[str, ...] | None = None) -> None:
        """Record a value; see SB3."""
        super().record(key, value + self.earlier if key == "time/iterations" else value, exclude)


class RunLogger:
    """Makes the logger of a run; its state is the folder of TensorBoard's log, which a resumed run goes on with.

    :param settings: of the run
    :raises InputError: when TensorBoard is asked for and missing
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.tensorboard: str | None = None
        if settings.tensorboard_log is not None and importlib.util.find_spec("tensorboard") is None:
            asked = settings.tensorboard_log
            raise InputError("tensorboard_log", "the package tensorboard is missing", asked, "pip install tensorboard")

    def make(self, name: str, folder: RunFolder | None, verbose: int, earlier: int = 0) -> Logger:
        """Return the logger.

        :param name: of the algorithm's class, as SB3 names its folders
        :param folder: of the run
        :param verbose: 1 prints SB3's tables
        :param earlier: iterations before this call of `learn`
        """
        outputs: list[KVWriter] = []
        if folder is not None:
            outputs.append(TableWriter(Table(folder.progress)))
        if verbose:
            outputs.append(HumanOutputFormat(sys.stdout))
        if self.settings.tensorboard_log is not None:
            parent = Path(self.settings.tensorboard_log) / plain_name(self.settings.env)
            self.tensorboard = self.tensorboard or str(parent / f"{name}_{get_latest_run_id(str(parent), name) + 1}")
            outputs.append(TensorBoardOutputFormat(self.tensorboard))
        return CountingLogger(self.tensorboard, outputs, earlier)

    def get_state(self) -> dict[str, Any]:
        """Return the folder of TensorBoard's log."""
        return {"tensorboard": self.tensorboard}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on with that folder."""
        self.tensorboard = state["tensorboard"]
