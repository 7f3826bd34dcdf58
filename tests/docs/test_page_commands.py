"""Every command in the README and on the pages is one that exists; cheap ones run."""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pages import FLAGS, NOT_OURS, PARSED_ONLY, ROOT, commands, pages

from sb3_course.tuning import worker_command
from sb3_course.zoo import COMMANDS

EVERY = [(page, *found) for page in pages() for found in commands(page)]
OURS = re.compile(r"(?:python -m sb3_course\.|sb3-course )(\w+)(.*)")


def words_of(command: str) -> list[str]:
    """Return a command's words, without comments and what a shell does with its output."""
    words = shlex.split(command, comments=True)
    return words[: words.index("|")] if "|" in words else words


def door(command: str) -> tuple[str, list[str]] | None:
    """Return which of our commands it is, and the words after it."""
    match = OURS.match(command.removeprefix("exec srun ").removeprefix("OMP_NUM_THREADS=1 "))
    return None if match is None else (match[1], words_of(match[2].replace("$STORAGE", "sqlite:///studies.db")))


def parse(name: str, words: list[str]) -> None:
    """Let the command's own parser read them."""
    if words[-1:] == ["..."]:
        words = words[:-1]
    if name == "zoo":
        assert not words or words[0] in COMMANDS
        return
    parser: Any = importlib.import_module(f"sb3_course.{name}")
    if (name, words[:1]) == ("tune", ["worker"]):
        parser, words = worker_command, words[1:]
    make: Any = parser.make_parser
    assert isinstance(make().parse(words), argparse.Namespace)


@pytest.mark.parametrize("page", sorted({page for page, *_ in EVERY}), ids=lambda page: page.stem)
def test_commands_are_read(page: Path) -> None:
    for _, place, command, _ in (each for each in EVERY if each[0] == page):
        found = door(command)
        if found is not None:
            parse(*found)
        else:
            check_others(place, command)


def check_others(place: str, command: str) -> None:
    """Hold `make`, `pip` and scripts against the tree; all else has to be on the list."""
    words = words_of(command.removeprefix("OMP_NUM_THREADS=1 "))
    if not words:
        return
    if words[0] == "make":
        targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert {word for word in words[1:] if word.isalpha()} <= {*targets}, place
    elif words[:2] == ["pip", "install"]:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        extras = set(re.findall(r"[\w-]+", "".join(re.findall(r"\[(.*?)\]", command))))
        assert extras <= {*project["optional-dependencies"]}, place
    elif words[0] == "python" and words[1].endswith(".py"):
        script = (ROOT / words[1]).read_text()
        flags = [word.split("=")[0] for word in words[2:] if word.startswith("--")]
        assert all(flag in script or shared(flag) for flag in flags), f"{place}: {command}"
    elif words[:2] == ["python", "-m"]:
        assert words[2] in ("pytest", "rl_zoo3.plots.plot_train", "sphinx"), f"{place}: {command}"
    else:
        assert any(command.startswith(known) for known in NOT_OURS), f"{place}: {command}"


def shared(flag: str) -> bool:
    """Whether a flag comes from what benchmarks share."""
    return any(flag in path.read_text() for path in (ROOT / "benchmarks").glob("*.py"))


RUN = [
    (page, place, command)
    for page, place, command, block in EVERY
    if block and (found := door(command)) and found[0] in ("train", "enjoy", "inspect", "plot", "list")
    and not any(text in command for text in PARSED_ONLY)
]  # fmt: skip


def test_cheap_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """Pages are read from above: a run that a command resumes or plays is one that a command before it has made."""
    done = set()
    for page, place, command in RUN:
        folder = tmp_path / page.stem
        folder.mkdir(exist_ok=True)
        monkeypatch.chdir(folder)
        name, words = door(command) or ("", [])
        lean = name == "enjoy" or "--resume" in words or command not in done
        if not lean:
            continue
        done.add(command)
        extra = [] if "--resume" in words or "--list" in words else shlex.split(FLAGS.get(name, ""))
        status = importlib.import_module(f"sb3_course.{name}").main([*words, *extra])
        assert status == 0, f"{place}: {command}\n{capsys.readouterr().err}"
    assert len(done) > 5


def test_the_lists_hold_nothing_that_is_gone() -> None:
    every = "\n".join(command for _, _, command, _ in EVERY)
    assert all(text in every for text in PARSED_ONLY), [text for text in PARSED_ONLY if text not in every]
