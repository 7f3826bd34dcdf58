"""`benchmarks/results.py` is killed, then interrupted: what was finished is kept, and the page is complete at last."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from children import Command
from pages import ROOT

GRID, N_SEEDS, STEPS = "sb3_course/GridWorld-v0", 6, 4
WORDS = ["ladder", "--envs", GRID, "--algos", "q_table", "--seeds", str(N_SEEDS), "--steps", str(STEPS)]


@pytest.fixture
def allowed(tmp_path: Path) -> Path:
    """Return a file that says how many seeds may be trained; the workers wait before the others."""
    path = tmp_path / "allowed"
    path.write_text("0")
    return path


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, allowed: Path) -> ModuleType:
    """Return the benchmark; commands and their workers are forked here, with all imported: fresh ones take seconds."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import results
    import worker_pool

    forking = SimpleNamespace(
        get_context=lambda _: multiprocessing.get_context("fork"), parent_process=multiprocessing.parent_process
    )
    monkeypatch.setattr(worker_pool, "multiprocessing", forking)
    results.work(results.Job(results.Entry("q_table", "q_table"), GRID, 0, 1, tmp_path))  # imports the rest
    import sb3_course.tuning.plots
    import sb3_course.tuning.seed_report  # noqa: F401
    from sb3_course import runs

    execute = runs.execute

    def when_allowed(settings: Any, *arguments: Any) -> Any:
        while settings.seed >= results.FIRST_SEED + int(allowed.read_text() or 0):
            time.sleep(0.005)
        return execute(settings, *arguments)

    monkeypatch.setattr(runs, "execute", when_allowed)
    return results


def finished(folder: Path) -> dict[str, int]:
    """Return the run files with their times; each is whole."""
    found = [path for path in folder.glob("*.json") if not path.name.startswith(".")]
    assert all(json.loads(path.read_text("utf-8"))["run"]["final"] is not None for path in found)
    return {path.name: path.stat().st_mtime_ns for path in found}


def wait_for(what: Callable[[], bool], seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until
        time.sleep(0.005)


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs /proc to find the workers")
def test_a_page_survives_a_kill_and_ctrl_c(
    results: ModuleType, allowed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, out, scratch = tmp_path / "runs", tmp_path / "out", tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))

    def main(words: list[str]) -> int:
        try:
            results.main(words)
        except SystemExit as end:
            print(end.code, file=sys.stderr)
            return 1
        return 0

    words = [*WORDS, "--folder", str(runs), "--out", str(out)]
    allowed.write_text("2")
    command = Command(main, words)
    wait_for(lambda: len(finished(runs)) == 2)
    workers = children(command.pid)
    os.kill(command.pid, signal.SIGKILL)
    assert command.wait() == -signal.SIGKILL
    assert len(workers) == 2
    try:
        wait_for(lambda: not any(map(lives, workers)), 10)  # nobody trains in the folders that come next
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(command.pid, signal.SIGKILL)
    first = finished(runs)
    assert len(first) == 2
    assert not [*out.glob("*.md")]

    allowed.write_text("4")
    command = Command(main, words)
    wait_for(lambda: len(finished(runs)) == 4)
    os.killpg(command.pid, signal.SIGINT)  # as a terminal does
    told, error = command.communicate()
    assert command.returncode == 1
    assert f"2 of {N_SEEDS} runs are there" in told
    assert error.endswith("interrupted: every finished run is kept; the same command goes on\n"), error
    second = finished(runs)
    assert len(second) == 4

    allowed.write_text(str(N_SEEDS))
    command = Command(main, words)
    told, error = command.communicate()
    assert command.returncode == 0, error
    assert f"4 of {N_SEEDS} runs are there" in told
    third = finished(runs)
    assert len(third) == N_SEEDS
    assert first.items() <= second.items() <= third.items()  # nothing was made again
    assert not [*scratch.glob("sb3_course-*")]  # those that were killed left their folders to the next
    row = next(line for line in (out / "ladder.md").read_text("utf-8").splitlines() if line.startswith("| `q_table` |"))
    assert [cell.strip() for cell in row.split("|")][2:5:2] == [str(STEPS), str(N_SEEDS)]
