"""Ctrl-C and SIGTERM to `train` while it starts and in a rollout, with environments in processes of their own too.

`benchmarks/signals.py` has every command and ten moments of each.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sb3_course.config import starting

FEW = [
    "--env", "sb3_course/OneShot-v0", "--algo", "reinforce", "-n", "400", "--eval-freq", "0", "--final-episodes", "1",
    "--run-dir", "RUN", "--import", "signal_hook",
]  # fmt: skip


@pytest.fixture
def signals(project_root: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the benchmark as a module."""
    monkeypatch.syspath_prepend(str(project_root / "benchmarks"))
    import signals

    return signals


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
@pytest.mark.parametrize(
    ("at", "how"),
    [
        (0.15, ("SIGINT", "group")),
        (0.7, ("SIGTERM", "process")),
        ("rollout", ("SIGINT", "group")),
        ("processes", ("SIGTERM", "group")),
        ("processes start", ("SIGINT", "group")),
    ],
)
def test_a_signal_ends_a_command_quietly(at: Any, how: tuple[str, str], signals: Any, tmp_path: Path) -> None:
    words = [*FEW, "--vec-env", "subproc"] if str(at).startswith("processes") else FEW
    calls = {
        "rollout": f"{signals.GRADIENT}#2",
        "processes": f"{signals.GRADIENT}#2",
        "processes start": signals.STARTS,
    }
    moment = signals.Moment(words, calls.get(at, at))
    wrong, took = signals.attempt("train", moment, how, tmp_path, and_go_on=at == "processes")
    assert wrong == ""
    assert took < 60


def test_every_moment_is_the_call_of_a_function_that_is_there(signals: Any) -> None:
    import signal_hook

    moments = [moment for command in signals.MOMENTS.values() for moment in command.values()]
    for where in [moment.at for moment in moments if isinstance(moment.at, str)]:
        owner, name, _ = signal_hook.find(where)
        assert callable(getattr(owner, name)), where


def test_only_a_command_of_ours_is_ended_at_once(project_root: Path) -> None:
    for words, ends in (
        (["-c", "import sb3_course"], False),
        (["-m", "sb3_course.train", "--list"], True),
        (["-m", "sb3_course", "train", "--list"], True),
        (["-m", "sb3_course.tuning.workers"], False),
    ):
        code = f"import sys; sys.argv, sys.orig_argv = {['-m', *words[2:]]}, {['python', *words]}\n"
        code += "import signal, sb3_course; print(signal.getsignal(signal.SIGINT).__name__)"
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=project_root
        )
        assert done.stdout == f"{'_leave' if ends else 'default_int_handler'}\n"
    assert not starting.is_command()  # pytest is none


@pytest.mark.parametrize("script", ["/venv/bin/sb3-course", "C:/venv/Scripts/sb3-course.exe"])
def test_the_script_is_a_command_and_a_process_that_it_starts_is_none(script: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(sys, "argv", [script, "train"])
    monkeypatch.setattr(sys, "orig_argv", ["python", script, "train"])
    assert starting.is_command()
    monkeypatch.setattr(sys, "orig_argv", ["python", "-c", "from multiprocessing.spawn import spawn_main"])
    assert not starting.is_command()
