"""What `tune` and `compare` say where the packages of the extra are missing."""

import importlib.metadata
import importlib.util
import shlex
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from sb3_course import compare, tune
from sb3_course.tuning import options


@pytest.fixture
def wanted(project_root: Path) -> list[str]:
    project = tomllib.loads((project_root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extra: list[str] = project["optional-dependencies"]["tuning"]
    return extra


@pytest.fixture
def without_optuna(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec

    def find(name: str, *rest: Any) -> Any:
        return None if name in ("optuna", "sqlalchemy") else found(name, *rest)

    monkeypatch.setattr(options.importlib.util, "find_spec", find)


@pytest.mark.usefixtures("without_optuna")
@pytest.mark.parametrize("door", [tune, compare], ids=lambda door: door.__name__)
def test_the_command_that_installs_what_is_missing(
    door: Any, wanted: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [f"{line} ; extra == 'tuning'" for line in wanted]
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: lines)
    assert door.main([]) == 2
    told = capsys.readouterr().err
    start = "error: installation: packages are missing: optuna, sqlalchemy (want "
    assert told.startswith(start)
    command = shlex.split(told.removeprefix(start).rstrip().removesuffix(")"))
    # The Python that has to import them, so that neither an activated environment nor a path on PyPI matters.
    assert command[:4] == [sys.executable, "-m", "pip", "install"]
    assert Path(command[0]).is_file()
    assert set(command[4:]) == {line for line in wanted if line.startswith(("optuna", "sqlalchemy"))}


@pytest.mark.usefixtures("without_optuna")
def test_without_metadata_the_names_serve(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def absent(name: str) -> Any:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "requires", absent)
    assert tune.main([]) == 2
    assert capsys.readouterr().err.rstrip().endswith("-m pip install optuna sqlalchemy)")


def test_what_is_looked_for_is_the_extra(wanted: list[str]) -> None:
    assert sorted(options._NEEDED) == sorted(line.split(">")[0] for line in wanted)
