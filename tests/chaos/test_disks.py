"""Whole commands on read-only folders and full disks, and one whose folder vanishes: one line, earlier files intact."""

import re
import shutil
import sqlite3  # noqa: F401  # while everybody may read Python's own files
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from children import as_nobody, in_child, limit_files

from sb3_course import DoubleDQN, enjoy, train, tune
from sb3_course.runs import active_run
from sb3_course.runs.folder import RunFolder

BRIEF = [
    "--algo", "double_dqn", "-params", "learning_starts:64", "buffer_size:2000", "--final-episodes", "1",
    "--eval-episodes", "1", "--eval-freq", "256",
]  # fmt: skip
LINE = [*BRIEF, "-n", "512", "--save-freq", "256"]
TUNE = ["--algo", "reinforce", "--env", "sb3_course/OneShot-v0", "-n", "64", "--trials", "1", "--seeds", "1"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished run that everybody may read, in a folder that only its owner may write to."""
    folder = tmp_path_factory.mktemp("finished")
    assert train.main([*LINE, "--verbose", "0", "--run-dir", str(folder / "run")]) == 0
    return folder / "run"


def open_to_guests(folder: Path) -> None:
    """Let every user look into a folder of pytest's, which only its owner may by default."""
    for path in (folder, *folder.parents):  # one more of them where pytest has several processes
        if Path(tempfile.gettempdir()) in path.parents:
            path.chmod(0o755)


@pytest.fixture
def read_only(finished: Path, tmp_path: Path) -> Path:
    """Return a copy of its folder that this process and no other user may write to, or nobody where it is no root."""
    shutil.copytree(finished, tmp_path / "run")
    open_to_guests(tmp_path)
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    for path in (tmp_path / "run", tmp_path / "run" / "checkpoints"):
        path.chmod(0o555)
    return tmp_path


DOORS: dict[str, tuple[Callable[[Path], int], int, str]] = {
    "train": (
        lambda path: train.main([*LINE, "--run-dir", str(path / "run" / "new")]), 2, "log folder: cannot be written",
    ),
    "overwrite": (
        lambda path: train.main([*LINE, "--run-dir", str(path / "run"), "--overwrite"]), 2, "log folder: cannot be wr",
    ),
    "resume": (
        lambda path: train.main(["--resume", str(path / "run"), "-n", "1024"]), 2, "run folder: cannot be written",
    ),
    "tune": (
        lambda path: tune.main([*TUNE, "--storage", str(path / "run" / "a.db"), "--log-folder", str(path / "run")]), 2,
        "--log-folder: cannot be written",
    ),
    "storage": (
        lambda path: tune.main([*TUNE, "--storage", str(path / "run" / "a.db"), "--log-folder", str(path / "open")]), 2,
        "--storage: cannot be used: unable to open database file",
    ),
    "gif": (
        lambda path: enjoy.main([str(path / "run"), "--episodes", "1", "--png", str(path / "run" / "a.png")]), 2,
        "--png: cannot be written",
    ),
}  # fmt: skip


def state_of(folder: Path) -> dict[Path, tuple[int, ...]]:
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*")}


@pytest.mark.parametrize("door", DOORS)
def test_a_read_only_folder_is_told_in_one_line(door: str, read_only: Path) -> None:
    work, status, words = DOORS[door]
    before = state_of(read_only)

    def as_a_guest() -> int:
        as_nobody()
        return work(read_only)

    ended = in_child(as_a_guest)
    errors = [line for line in ended.err.splitlines() if "Warning" not in line and not line.startswith("  ")]
    assert (ended.status, len(errors)) == (status, 1), ended
    assert re.match(f"error: {words}", errors[0])
    assert state_of(read_only) == before


def test_a_folder_that_may_not_even_be_looked_into_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(0o700)
    open_to_guests(tmp_path)
    (tmp_path / "closed").chmod(0o000)

    def as_a_guest() -> int:
        as_nobody()
        return train.main([*LINE, "--run-dir", str(tmp_path / "closed" / "run")])

    ended = in_child(as_a_guest)
    assert (ended.status, ended.err.count("\n")) == (2, 1), ended
    assert ended.err.startswith("error: log folder: cannot be written")


@pytest.mark.parametrize("n_bytes", [0, 400, 20_000])
def test_a_full_disk_ends_a_run_in_one_line_and_leaves_whole_files(n_bytes: int, tmp_path: Path) -> None:
    run = tmp_path / "run"

    def on_a_full_disk() -> int:
        limit_files(n_bytes)
        return train.main([*LINE, "--run-dir", str(run)])

    ended = in_child(on_a_full_disk)
    assert ended.status in (1, 2)
    assert re.fullmatch(r"error: [^\n]*(File too large|cannot be written)[^\n]*\n", ended.err), ended
    assert not [path for path in run.rglob("*") if ".tmp" in path.name or path.name.startswith(".2")]
    if n_bytes > 1000:
        assert RunFolder(run).status()["state"] == "failed"


def test_a_full_disk_spoils_nothing_of_a_finished_run(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "run")
    checkpoint = tmp_path / "run" / "checkpoints" / "512" / "model.zip"

    def on_a_full_disk() -> int:
        limit_files(20_000)
        return train.main(["--resume", str(tmp_path / "run"), "-n", "1024", "--verbose", "0"])

    ended = in_child(on_a_full_disk)
    assert (ended.status, ended.err.count("\n")) == (1, 1), ended
    assert "File too large" in ended.err
    for path in (tmp_path / "run" / "model.zip", checkpoint):
        assert DoubleDQN.load(path).num_timesteps == 512
    assert train.main(["--resume", str(tmp_path / "run"), "--verbose", "0"]) == 0  # where there is room again
    assert DoubleDQN.load(tmp_path / "run" / "model.zip").num_timesteps == 1024


def test_a_folder_that_vanishes_between_checkpoints_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write: Any = active_run.write_checkpoint

    def write_and_lose(folder: RunFolder, *rest: Any) -> None:
        write(folder, *rest)
        shutil.rmtree(folder.path)

    monkeypatch.setattr(active_run, "write_checkpoint", write_and_lose)
    assert train.main([*LINE, "--run-dir", str(tmp_path / "run")]) == 1
    told = capsys.readouterr().err
    assert re.fullmatch(r"error: training: FileNotFoundError: No such file or directory: \S+\n", told)
