"""One command for all: every subcommand goes to its door, help is quick and has examples, the rest is refused."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from sb3_course import __main__ as everything
from sb3_course import zoo
from sb3_course.config.commands import COMMANDS, NAMES, called
from sb3_course.envs import ENVIRONMENTS
from sb3_course.pictures.kinds import DEFAULT_KIND, KINDS
from sb3_course.registry import ALGORITHMS
from sb3_course.runs import presets

SUBCOMMANDS = ("train", "enjoy", "tune", "compare", "plot", "inspect", "list", "zoo")


def parser_of(name: str) -> Any:
    module = "sb3_course.tuning.worker_command" if name == "tune worker" else f"sb3_course.{name}"
    return import_module(module).make_parser()


def test_these_are_the_commands() -> None:
    assert NAMES == SUBCOMMANDS


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_every_help_says_how_it_is_called_and_ends_with_its_examples(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/sb3-course", name])
    try:
        status: Any = everything.main([*name.split(), "--help"])
    except SystemExit as end:
        status = end.code or 0
    out = capsys.readouterr().out
    assert status == 0
    if not name.startswith("zoo "):  # where rl_zoo3 says it
        assert out.startswith(f"usage: sb3-course {name}".rstrip() + " ")
    _, headed, shown = out.partition("\nexamples:\n")
    assert headed
    assert all(re.match(r"  (sb3-course |    \S)", line) for line in shown.splitlines()), "something stands behind them"
    for words, idea in COMMANDS[name].examples if name else (("train", ""), ("list algos", "")):
        assert f"  sb3-course {name} ".replace("  ", " ") + words in " ".join(shown.split("\n"))
        assert idea in shown
    assert len(max(shown.splitlines(), key=len)) <= 120


def test_every_kind_of_picture_and_every_command_of_the_zoo_has_an_example() -> None:
    drawn = {words.split()[0] for words, _ in COMMANDS["plot"].examples}
    assert {*KINDS} - {DEFAULT_KIND} <= drawn
    assert {name for name in COMMANDS if name.startswith("zoo ")} == {f"zoo {name}" for name in zoo.COMMANDS}


@pytest.mark.parametrize("name", [name for name in COMMANDS if not name.startswith("zoo")])
def test_every_example_is_understood(name: str) -> None:
    parser = parser_of(name)
    for words, _ in COMMANDS[name].examples:
        given = vars(parser.parse(shlex.split(words)))
        assert bool(given.keys() - {"what", "names"}) == bool(words) or name == "list"
        for algo in [given.get("algo", "dqn"), *given.get("algos", ())]:
            assert algo in ALGORITHMS


def test_the_overview_has_a_line_for_each_and_needs_no_torch(project_root: Path) -> None:
    code = (
        "import sys, time\nfrom sb3_course.__main__ import main\nassert main(['--help']) == 0\n"
        "heavy = {'torch', 'stable_baselines3', 'matplotlib', 'pandas', 'scipy', 'pydantic', 'numba'}\n"
        "print('LOADED', sorted(heavy & sys.modules.keys()), time.process_time())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=project_root)
    for name in NAMES:
        assert re.search(rf"^  {name}  +{re.escape(COMMANDS[name].idea[:40])}", done.stdout, re.MULTILINE)
    found = re.search(r"^LOADED \[\] ([\d.]+)$", done.stdout, re.MULTILINE)
    assert found is not None, done.stdout
    assert float(found[1]) < 1.0  # 0.2 where nobody else computes


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["trian"], "command: unknown; did you mean 'train'? (got 'trian', want train, enjoy, "),
        (["--verion"], "command: unknown; did you mean '--version'? "),
        (["frobnicate"], "command: unknown (got 'frobnicate', "),
        (["list", "algoss"], "WHAT: unknown; did you mean 'algos'? "),
        (["list", "algos", "rainbw"], "algo: unknown algorithm; did you mean 'rainbow'? "),
        (["list", "presets", "rainbw"], "algo: unknown algorithm; did you mean 'rainbow'? "),
        (["list", "envs", "NoSuchEnv"], "NAME: no environment has this in its id"),
        (["list", "--impot", "x"], "--impot: unknown flag; did you mean '--import'? "),
        (["list", "--import", "no_such_module"], "--import: cannot be imported: "),
        (["train", "--alog", "dqn"], "--alog: unknown flag; did you mean '--algo'? "),
        (["enjoy", "absent"], "RUN_OR_MODEL: no such file or folder"),
        (["tune", "--trials", "0"], "--trials: is out of bounds"),
        (["tune", "worker", "--most", "1"], "--study: is missing"),
        (["compare", "--algos", "vpg"], "--algos: "),
        (["inspect", "absent"], "FILE: cannot be read"),
        (["plot", "absent"], "RUN: no such folder"),
        (["zoo", "trian"], "command: unknown; did you mean 'train'? "),
    ],
)
def test_what_it_does_not_know_is_refused_in_one_line(
    words: list[str], what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert everything.main(words) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert re.fullmatch(rf"error: {re.escape(what)}.*\n", err), err
    assert list(tmp_path.iterdir()) == []


def test_it_knows_how_it_was_called(monkeypatch: pytest.MonkeyPatch) -> None:
    for program, name, shown in (
        ("/venv/bin/sb3-course", "train", "sb3-course train"),
        ("C:/venv/Scripts/sb3-course.exe", "train", "sb3-course train"),
        ("C:/venv/Scripts/sb3-course-script.py", "", "sb3-course"),
        ("/x/sb3_course/__main__.py", "tune worker", "python -m sb3_course tune worker"),
        ("/x/sb3_course/train.py", "train", "python -m sb3_course.train"),
        ("/x/other.py", "", "python -m sb3_course"),
    ):
        monkeypatch.setattr(sys, "argv", [program])
        assert called(name) == shown


def test_the_script_is_this_function(project_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project = tomllib.loads((project_root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["scripts"] == {"sb3-course": "sb3_course.__main__:main"}
    assert everything.main(["--version"]) == 0
    assert re.fullmatch(r"sb3_course \d+\.\d+\.\d+\n", capsys.readouterr().out)
    assert everything.main([]) == 0
    assert capsys.readouterr().out.startswith("usage: ")


def test_list_shows_algorithms_environments_and_presets(capsys: pytest.CaptureFixture[str]) -> None:
    assert everything.main(["list"]) == 0
    parts = capsys.readouterr().out.split("\n\n")
    assert [part.splitlines()[0] for part in parts] == [
        "algorithms", "environments", "presets", "that reproduce an article:",
    ]  # fmt: skip
    algos, envs, packaged, articles = (part.splitlines()[2:] for part in parts)
    assert [line.split()[0] for line in algos] == list(ALGORITHMS)
    ids = [line.split()[0] for line in envs]
    assert ids[: len(ENVIRONMENTS)] == [entry.id for entry in ENVIRONMENTS]
    assert {"CartPole-v1", "LunarLander-v3", "Acrobot-v1"} <= set(ids)
    assert "CartPole-v0" not in ids  # the newest version only
    with_cartpole = [
        name for name in ALGORITHMS if presets.has_file(name) and "CartPole-v1" in presets.environments(name)
    ]
    row = next(line.split() for line in envs if line.startswith("CartPole-v1"))
    assert row[1:] == ["gymnasium", "500", "475", str(len(with_cartpole))]
    assert [line.split()[0] for line in packaged] == [name for name in ALGORITHMS if presets.has_file(name)]
    assert [line.split()[0] for line in articles] == list(presets.names())


def test_list_narrows_down(capsys: pytest.CaptureFixture[str]) -> None:
    assert everything.main(["list", "envs", "pole"]) == 0
    ids = [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]]
    assert "CartPole-v1" in ids
    assert all("pole" in name.lower() for name in ids)
    assert everything.main(["list", "presets", "rainbow"]) == 0
    _, row = capsys.readouterr().out.splitlines()
    assert row.split("  ")[0] == "rainbow"
    assert "CartPole-v1" in row


def test_a_stream_of_few_characters_shows_what_it_can(project_root: Path) -> None:
    code = (
        "from sb3_course.runs.door import run_door\nimport sys\nsys.exit(run_door(lambda: print('a τ ± b') or 0, 'x'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        cwd=project_root,
        env={"PYTHONIOENCODING": "cp1252"},
        check=False,
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "a ? ± b".encode("cp1252"), b"")
