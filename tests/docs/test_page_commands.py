"""Every command of the pages is one that exists: its own parser reads it; of every door some run."""

from __future__ import annotations

import argparse
import importlib
import os
import re
import runpy
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pages import FLAGS, NOT_OURS, PARSED_ONLY, PLACEHOLDER, ROOT, commands, pages
from study_worker import StudyWorker

from sb3_course import zoo
from sb3_course.runs.typed_settings import read_settings
from sb3_course.tuning import local_launcher, worker_command
from sb3_course.zoo import COMMANDS

EVERY = [(page, *found) for page in pages() for found in commands(page)]
OURS = re.compile(r"(?:python -m sb3_course[. ]|sb3-course )(\w+)(.*)")


def words_of(command: str) -> list[str]:
    """Return a command's words, without comments and what a shell does with its output."""
    words = shlex.split(command, comments=True)
    return words[: words.index("|")] if "|" in words else words


def door(command: str) -> tuple[str, list[str]] | None:
    """Return which of our commands it is, and the words after it."""
    match = OURS.match(command.removeprefix("exec srun ").removeprefix("OMP_NUM_THREADS=1 "))
    return None if match is None else (match[1], words_of(match[2].replace("$STORAGE", "sqlite:///studies.db")))


def only_read(command: str) -> bool:
    """Whether a command is on the list of those that are not run, or has a word for the reader to replace."""
    return any(text in command for text in PARSED_ONLY) or re.search(PLACEHOLDER, command) is not None


def parse(name: str, words: list[str]) -> None:
    """Let the command's own parser read them."""
    if words[-1:] == ["..."]:
        words = words[:-1]
    if name == "COMMAND":  # a placeholder for any of them
        return
    if name == "zoo":
        if words:
            read_by(lambda: zoo.main(words))
        return
    parser: Any = importlib.import_module(f"sb3_course.{name}")
    if (name, words[:1]) == ("tune", ["worker"]):
        parser, words = worker_command, words[1:]
    make: Any = parser.make_parser
    options = make().parse(words)
    assert isinstance(options, argparse.Namespace)
    if name == "train" and not {"--resume", "--list"} & {*words} and not only_read(" ".join(["train", *words])):
        assert read_settings(vars(options)).n_timesteps  # values, names and bounds as well


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
    elif words[0] == "sb3-course":
        assert words[1:] == ["--help"], f"{place}: {command}"
    elif words[:2] == ["pip", "install"]:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        extras = set(re.findall(r"[\w-]+", "".join(re.findall(r"\[(.*?)\]", command))))
        assert extras <= {*project["optional-dependencies"]}, place
    elif words[0] == "python" and words[1].endswith(".py"):
        read_by_script(ROOT / words[1], words[2:])
    elif words[:2] == ["python", "-m"]:
        assert words[2] in ("pytest", "rl_zoo3.plots.plot_train", "sphinx"), f"{place}: {command}"
    else:
        assert any(command.startswith(known) for known in NOT_OURS), f"{place}: {command}"


class ReadError(BaseException):
    """Raised where a program has read its command line: nothing is computed."""


def read_by(program: Callable[[], object], *arguments: list[str], folder: Path = ROOT) -> None:
    """Let a program read its words with the parser that it makes, and go no further."""

    def read(parser: argparse.ArgumentParser, *_: Any, **__: Any) -> None:
        original(parser, *arguments)
        raise ReadError

    original = argparse.ArgumentParser.parse_args
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setattr(argparse.ArgumentParser, "parse_args", read)
        with pytest.raises(ReadError):
            program()


def read_by_script(script: Path, words: list[str]) -> None:
    """Let a script read the words of its command; all that it imports is there."""
    if "ArgumentParser" not in script.read_text("utf-8"):
        assert not words, f"{script.name} takes no flags"
        return
    read_by(lambda: runpy.run_path(str(script), run_name="__main__"), words, folder=script.parent)


def test_a_flag_of_another_script_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--kills" in (ROOT / "benchmarks" / "kill_workers.py").read_text("utf-8")
    read_by_script(ROOT / "benchmarks" / "results.py", ["ladder", "--seeds", "3"])
    with pytest.raises(SystemExit):
        read_by_script(ROOT / "benchmarks" / "results.py", ["ladder", "--kills", "40"])
    assert "unrecognized arguments: --kills 40" in capsys.readouterr().err


RUN = [
    (place, command)
    for _, place, command, block in EVERY
    if block and (found := door(command)) and found[0] in ("train", "enjoy", "inspect", "plot", "list")
    and not only_read(command)
]  # fmt: skip


def test_cheap_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """All in one folder: a run that a command resumes or plays is one that a command before it has made.

    Of commands that train one algorithm the first is run; what the others say is read above.
    """
    monkeypatch.chdir(tmp_path)
    done = set()
    for place, command in RUN:
        name, words = door(command) or ("", [])
        trains = "--algo" in words and words[words.index("--algo") + 1]
        if (trains or command) in done:
            continue
        done.add(trains or command)
        kind = "resume" if "--resume" in words else "list" if "--list" in words else name
        status = importlib.import_module(f"sb3_course.{name}").main([*words, *shlex.split(FLAGS.get(kind, ""))])
        assert status == 0, f"{place}: {command}\n{capsys.readouterr().err}"
    assert len(done) > 5


@pytest.mark.parametrize(("name", "text"), [("tune", "--algo rainbow"), ("compare", "OneShot")])
def test_a_search_and_a_comparison_run(
    name: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, worker_server: bool, capsys: Any
) -> None:
    place, words = next(
        (place, found[1])
        for _, place, command, block in EVERY
        if block and text in command and (found := door(command)) and found[0] == name and "worker" not in found[1]
    )
    monkeypatch.chdir(tmp_path)
    for _, other, command, _ in EVERY:
        if other.rpartition(":")[0] == place.rpartition(":")[0] and command.startswith("mkdir -p "):
            Path(command.removeprefix("mkdir -p ")).mkdir(parents=True)
    if worker_server:
        monkeypatch.setattr(local_launcher, "start_process", StudyWorker)
    status = importlib.import_module(f"sb3_course.{name}").main([*words, *shlex.split(FLAGS[name])])
    told = capsys.readouterr()
    assert status == 0, f"{place}: {told.err}"
    report = re.search(r"^report: (.*)$", told.out, re.MULTILINE)
    assert report
    assert "<html" in Path(report[1]).read_text("utf-8")


@pytest.mark.filterwarnings("ignore:total_timesteps")
def test_the_commands_of_the_zoo_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    """All of its page, in its order: what is played and plotted is what was trained."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    done = []
    for _, place, command, block in EVERY:
        found = door(command)
        if not block or found is None or found[0] != "zoo":
            continue
        words = found[1]
        cut = " ".join(FLAGS.get(f"zoo {word}", "") for word in words)
        assert zoo.main([*words, *cut.split()]) == 0, f"{place}: {command}\n{capfd.readouterr().err}"
        done.append(words[0])
    assert {*done} == {*COMMANDS} - {"plot_from_file"}  # which needs rliable
    assert re.search(r"Mean reward: \d", capfd.readouterr().out)
    assert len([*(tmp_path / "logs" / "rainbow").glob("*/CartPole-v1.zip")]) == 2  # the preset's, and the trial's


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_what_has_to_pass_is_style_types_tests_and_pages() -> None:
    alone = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(["make", "-n", "test"], cwd=ROOT, env=alone, capture_output=True, text=True, check=True)
    for command in ("ruff check .", "ruff format --check .", "mypy", "pytest -n 2", "sphinx -W -n"):
        assert re.search(rf"^\.venv/bin/(python -m )?{re.escape(command)}", done.stdout, re.MULTILINE), command
    assert (ROOT / ".ci" / "run").read_text("utf-8").endswith("\nmake test\n")


def test_the_lists_hold_nothing_that_is_gone() -> None:
    every = "\n".join(command for _, _, command, _ in EVERY)
    assert all(text in every for text in PARSED_ONLY), [text for text in PARSED_ONLY if text not in every]
