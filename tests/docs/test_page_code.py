"""The Python of every page runs, in order, and prints what the page says; `tests/test_readme.py` runs the README's."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pages import ROOT, Block, blocks, pages, printed, shortened
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.vec_env import VecEnv
from study_worker import StudyWorker

from sb3_course import Rainbow
from sb3_course.config.yaml_files import load_yaml
from sb3_course.tuning import local_launcher

#: A page's blocks share a namespace, so a page is one test.
WITH_PYTHON = {
    page: found for page in pages()[1:] if (found := [each for each in blocks(page) if each.language == "python"])
}
#: Blocks that a test of their own runs, by what stands in them.
ELSEWHERE = {
    "from rl_zoo3.train import train": "tests/tuning/test_zoo_door.py: it takes the whole command line",
    'ALGORITHMS["mine"]': "tests/tuning/test_doors.py: a module that `--import` names has it",
}


class MyExtractor(FlattenExtractor):
    """Of the reader."""


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).with_suffix("").as_posix()


@pytest.mark.parametrize("page", WITH_PYTHON, ids=name_of)
def test_python_runs_and_prints_what_is_said(
    page: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    worker_server: bool,
    workers_from_one_server: None,
) -> None:
    monkeypatch.chdir(tmp_path)
    if worker_server:
        monkeypatch.setattr(local_launcher, "start_process", StudyWorker)
    script = ModuleType("__main__")  # in which pickles and manifests look for the page's classes
    monkeypatch.setitem(sys.modules, "__main__", script)
    names: dict[str, Any] = vars(script)
    names |= given(page, tmp_path)
    for block in WITH_PYTHON[page]:
        if any(text in block.text for text in ELSEWHERE):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of short budgets
            exec(compile(shortened(block), str(page), "exec"), names)
        said, lines = printed(block), capsys.readouterr().out.splitlines()
        assert [line for line in lines if line in said] == said, f"{block.place} printed {lines}"
    close(names)


def given(page: Path, folder: Path) -> dict[str, Any]:
    """Return what a page takes for granted: `docs/files.md` loads a model that the reader has saved."""
    if page.name != "files.md":
        return {}
    model = Rainbow("MlpPolicy", "CartPole-v1", policy_kwargs={"features_extractor_class": MyExtractor})
    model.save(folder / "model.zip")
    Rainbow("MlpPolicy", "CartPole-v1").save(folder / "plain.zip")
    return {"Rainbow": Rainbow, "MyExtractor": MyExtractor, "env": model.get_env()}


def close(names: dict[str, Any]) -> None:
    """Close what a page has left open."""
    for value in names.values():
        if isinstance(value, VecEnv):
            value.close()


def test_what_runs_elsewhere_is_still_there() -> None:
    every = "".join(block.text for found in WITH_PYTHON.values() for block in found)
    assert all(every.count(text) == 1 for text in ELSEWHERE)


@pytest.mark.parametrize("language", ["yaml"])
def test_data_is_read(language: str, tmp_path: Path) -> None:
    found: list[Block] = [each for page in pages() for each in blocks(page) if each.language == language]
    assert found
    for block in found:
        file = tmp_path / "page.yml"
        file.write_text(block.text)
        assert load_yaml(file), block.place
