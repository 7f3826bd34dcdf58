"""Output that nobody reads (`| head -1`) or that is closed (`>&-`): every command ends quietly, with its status."""

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from children import in_child

from sb3_course import compare, enjoy, inspect, plot, train, tune
from sb3_course import list as list_all
from sb3_course.runs.door import UNREAD

SHOT = ["--env", "sb3_course/OneShot-v0", "--algo", "reinforce", "-n", "64", "--eval-freq", "32"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("output") / "run")
    assert train.main([*SHOT, "--verbose", "0", "--run-dir", path]) == 0
    return path


COMMANDS: dict[str, tuple[Callable[[list[str]], int], list[str]]] = {
    "train --help": (train.main, ["--help"]),
    "train --list": (train.main, ["--list"]),
    "train": (train.main, [*SHOT, "--run-dir", "NEW"]),
    "train --resume": (train.main, ["--resume", "RUN", "-n", "128"]),
    "enjoy --help": (enjoy.main, ["--help"]),
    "enjoy": (enjoy.main, ["RUN"]),
    "tune --help": (tune.main, ["--help"]),
    "compare --help": (compare.main, ["--help"]),
    "inspect --help": (inspect.main, ["--help"]),
    "inspect": (inspect.main, ["RUN", "RUN/model.zip"]),
    "plot --help": (plot.main, ["--help"]),
    "plot": (plot.main, ["RUN", "--out", "OUT.png"]),
    "list": (list_all.main, []),
}  # fmt: skip


def started(name: str, run: str, tmp_path: Path) -> Callable[[], int]:
    main, words = COMMANDS[name]
    words = [
        word.replace("RUN", run).replace("NEW", str(tmp_path / "new")).replace("OUT", str(tmp_path / "out"))
        for word in words
    ]

    def work() -> int:
        try:
            return main(words)
        except SystemExit as end:  # of --help
            return end.code or 0  # type: ignore[return-value]

    return work


@pytest.mark.parametrize("name", COMMANDS)
def test_a_reader_that_leaves_ends_a_command_quietly(name: str, run: str, tmp_path: Path) -> None:
    work = started(name, run, tmp_path)

    def unread() -> int:
        reader, writer = os.pipe()
        os.close(reader)  # as `head` does once it has its lines
        os.dup2(writer, 1)
        return work()

    ended = in_child(unread)
    assert (ended.status, ended.err) == (UNREAD, "")
    assert not [path for path in tmp_path.rglob("*") if ".tmp" in path.name]


@pytest.mark.parametrize("name", ["train --help", "train", "enjoy", "tune --help", "inspect"])
def test_closed_output_changes_nothing(name: str, run: str, tmp_path: Path, monkeypatch: Any) -> None:
    work = started(name, run, tmp_path)

    def closed() -> int:
        os.close(1)
        os.close(2)
        sys.stdout = sys.stderr = None  # as Python leaves them
        return work()

    ended = in_child(closed)
    assert ended == (0, "", "")


def test_a_full_disk_in_place_of_the_terminal_is_told(run: str, tmp_path: Path) -> None:
    work = started("train --list", run, tmp_path)

    def full() -> int:
        os.dup2(os.open("/dev/full", os.O_WRONLY), 1)
        status = work()
        os._exit(status)  # what could not be written cannot be at the end, either

    ended = in_child(full)
    assert ended.status == 1
    assert re.fullmatch(r"error: training: OSError: .*No space left on device\n", ended.err)
