"""Processes killed inside a save, full disks, folders that vanish, two writers, signals: one line, and no file is torn.

`benchmarks/kill_saves.py` kills and fills forty times; here it does so a few times.
"""

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sb3_course.config.errors import InputError
from sb3_course.runs.door import INTERRUPTED, TERMINATED, GentleStop, run_door
from sb3_course.runs.folder import RunFolder
from sb3_course.runs.tables import Table, read_table
from sb3_course.saving import atomic_write, files


def test_what_was_there_loads_after_kills_and_full_disks_inside_a_save(project_root: Path) -> None:
    command = [sys.executable, "-W", "ignore", str(project_root / "benchmarks" / "kill_saves.py"), "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.stdout == "2 kills, 2 full disks (2 told in an OSError): 0 lost [] []\n", done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize("exchanges", [True, False])
def test_a_folder_takes_the_place_of_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchanges: bool) -> None:
    if not exchanges:
        monkeypatch.setattr(files, "_exchanged", lambda *_: False)
    for name in ("one", "two"):
        (tmp_path / ".new").mkdir()
        (tmp_path / ".new" / name).touch()
        files.replace_folder(tmp_path / ".new", tmp_path / "20")
        assert (os.listdir(tmp_path), os.listdir(tmp_path / "20")) == (["20"], [name])


@contextlib.contextmanager
def small_disk() -> Iterator[None]:
    """Let no file grow beyond twelve bytes, among them the one that a test's result may be printed to."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (12, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_told_with_the_file_s_name_and_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    atomic_write(path, "old")
    with small_disk(), pytest.raises(OSError, match=r"File too large: '.*/status\.json'$"):
        atomic_write(path, "x" * 1000)
    assert (os.listdir(tmp_path), path.read_text()) == (["status.json"], "old")


def test_a_row_that_found_no_room_is_not_left_in_half(tmp_path: Path) -> None:
    table = Table(tmp_path / "t.csv")
    table.append({"a": 1, "b": 2})
    with small_disk():
        with pytest.raises(OSError, match="File too large"):
            table.append({"a": 123456, "b": 7890})
        assert (tmp_path / "t.csv").read_text() == "a,b\n1,2\n"
        table.append({"a": 3, "b": ""})  # fits once more
    assert read_table(tmp_path / "t.csv")[-1] == {"a": "3", "b": ""}


def test_a_folder_that_vanishes_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> int:
        folder = RunFolder(tmp_path / "run")
        with folder.claim():
            shutil.rmtree(folder.path)
            folder.write_status("running")
        return 0

    assert run_door(work, "training") == 1
    told = capsys.readouterr().err
    assert told == f"error: training: FileNotFoundError: No such file or directory: {tmp_path}/run/status.json\n"


def test_a_lock_names_its_owner_and_dies_with_it(tmp_path: Path) -> None:
    code = (
        "import sys, time; from sb3_course.runs.folder import RunFolder\n"
        "with RunFolder(sys.argv[1]).claim(): print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "run")], stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        with (
            pytest.raises(InputError, match=rf"another process is writing to it, process {holder.pid} on .* since 2"),
            RunFolder(tmp_path / "run").claim(),
        ):
            pass
    finally:
        holder.kill()
        holder.wait()
    assert (tmp_path / "run" / ".lock.owner").exists()  # what kill -9 left behind stops nobody
    with RunFolder(tmp_path / "run").claim():
        pass
    assert not (tmp_path / "run" / ".lock.owner").exists()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, TERMINATED), (signal.SIGINT, INTERRUPTED)])
def test_a_signal_ends_a_door_with_its_status(number: int, status: int, capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGTERM)

    def at_once() -> int:
        os.kill(os.getpid(), number)
        return 0

    def gently() -> int:
        with GentleStop() as stop:
            os.kill(os.getpid(), number)
            return stop.status if stop.wanted() else 0

    def pressed_twice() -> int:
        with GentleStop():
            os.kill(os.getpid(), number)
            os.kill(os.getpid(), number)
        return 0

    assert run_door(at_once, "x") == status
    assert run_door(pressed_twice, "x") == status
    assert capsys.readouterr().err == "interrupted\ninterrupted\n"
    assert run_door(gently, "x") == status
    assert run_door(lambda: 0, "x") == 0
    assert signal.getsignal(signal.SIGTERM) is before
