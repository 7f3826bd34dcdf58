"""`benchmarks/results.py`: which runs a page has, each of them once, and the numbers of its table."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sb3_course.registry import ALGORITHMS

GRID = "sb3_course/GridWorld-v0"


@pytest.fixture
def results(project_root: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the benchmark as a module."""
    monkeypatch.syspath_prepend(str(project_root / "benchmarks"))
    import results

    return results


def options(folder: Path, **given: Any) -> argparse.Namespace:
    known = {"seeds": None, "first_seed": 200, "steps": None, "envs": None, "algos": None, "folder": folder}
    return argparse.Namespace(**{**known, **given})


def test_pages_have_the_rows_and_seeds_that_are_asked_for(results: Any, tmp_path: Path) -> None:
    pages = results.pages()
    ladder = results.jobs_of(pages["ladder"], options(tmp_path))
    own = {name for name, row in ALGORITHMS.items() if row.source == "sb3_course"}
    for env in ("CartPole-v1", "Acrobot-v1", GRID):
        labels = [job.entry.label for job in ladder if job.env == env]
        wanted = own | {"dqn", "qrdqn", "a2c", "ppo"}
        assert set(labels) == (wanted if env == GRID else wanted - {"q_table"})
        assert len(labels) == 10 * len(set(labels))
    hard = results.jobs_of(pages["hard"], options(tmp_path))
    assert {job.seed for job in hard} == set(range(200, 205))
    assert len(hard) == 2 * 6 * 5
    every = [job for page in pages.values() for job in results.jobs_of(page, options(tmp_path))]
    for job in every[:: len(every) // 16]:
        assert job.settings().seed == job.seed  # each is accepted
    assert len({job.path for job in ladder}) == len(ladder)
    files = {job.path: job.digest() for job in every}
    assert all(files[job.path] == job.digest() for job in every)  # two rows in one file are the same run


def test_cleanrls_rows_have_nothing_of_a_preset(results: Any, tmp_path: Path) -> None:
    dqn, c51 = (
        next(job for job in results.jobs_of(results.pages()["cleanrl"], options(tmp_path)) if job.entry.label == name)
        for name in ("CleanRL's dqn", "CleanRL's c51")
    )
    for job in (dqn, c51):
        settings = job.settings()
        assert (settings.n_timesteps, settings.env_wrapper, settings.normalize) == (500_000, (), None)
        assert settings.hyperparameters["learning_rate"] == 2.5e-4
        assert "n_steps" not in settings.hyperparameters or settings.hyperparameters["n_steps"] == 1
    assert (c51.settings().hyperparameters["n_atoms"], c51.settings().hyperparameters["v_min"]) == (101, -100)


def test_a_run_counts_once_and_other_settings_are_not_mixed_in(results: Any, tmp_path: Path) -> None:
    chosen: dict[str, Any] = {"seeds": 1, "algos": ["q_table"], "envs": [GRID]}
    (job,) = results.jobs_of(results.pages()["ladder"], options(tmp_path, steps=4, **chosen))
    assert results.kept(job) is None
    found = results.work(job)
    assert [path.name for path in tmp_path.iterdir()] == [job.path.name]  # whole, and nothing beside it
    assert len(found["run"]["means"]) == 4
    assert found["run"]["failure"] is None
    written = job.path.stat().st_mtime_ns
    assert results.work(job) == json.loads(job.path.read_text()) == found
    assert job.path.stat().st_mtime_ns == written
    (other,) = results.jobs_of(results.pages()["ladder"], options(tmp_path, steps=5, **chosen))
    assert other.path == job.path
    with pytest.raises(SystemExit, match="other settings"):
        results.kept(other)


def test_a_run_that_fails_is_told(results: Any, tmp_path: Path) -> None:
    entry = results.Entry("dqn", "dqn", {"learning_starts": 10, "policy": "CnnPolicy"})
    found = results.work(results.Job(entry, GRID, 200, 40, tmp_path))
    assert found["run"]["final"] is None
    assert found["run"]["failure"].startswith("InputError: ")


def write(job: Any, final: float) -> None:
    """Write the file of a run of two evaluations."""
    run = {"seed": job.seed, "timesteps": [10, 20], "means": [-150.0, final], "seconds": [1.0, 2.0], "final": final,
           "failure": None}  # fmt: skip
    row = {"label": job.entry.label, "digest": job.digest(), "run": run, "processor_seconds": job.seed - 199,
           "steps": 20}  # fmt: skip
    job.path.write_text(json.dumps(row))


def cells_of(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_table_is_that_of_the_runs(results: Any, tmp_path: Path) -> None:
    jobs = results.jobs_of(results.pages()["hard"], options(tmp_path, seeds=4, algos=["dqn"], envs=["MountainCar-v0"]))
    for job, final in zip(jobs, (-200.0, -105.0, -110.0, -100.0), strict=True):
        write(job, final)
    lines, every = results.table(jobs, "MountainCar-v0")
    assert "at -110" in lines[0]
    cells = cells_of(lines[2])
    assert len(cells_of(lines[0])) == len(cells_of(lines[1])) == len(cells)
    assert cells[:2] == ["`dqn`", "20"]
    assert cells[2].startswith("-108 [")
    assert cells[3:] == ["4", "3 of 4", "20", "2", "2"]
    assert [run.final for run in every["dqn"]] == [-200.0, -105.0, -110.0, -100.0]
    assert every["dqn"][0].timesteps == (10, 20)


def test_steps_are_comparable_where_a_wrapper_holds_actions(results: Any, tmp_path: Path) -> None:
    page = results.pages()["hard"]
    (job,) = results.jobs_of(page, options(tmp_path, seeds=1, algos=["pqn"], envs=["MountainCar-v0"]))
    write(job, -100.0)
    lines, every = results.table([job], "MountainCar-v0")
    cells = cells_of(lines[2])
    assert (cells[1], cells[5]) == ("20 x 12", "20 x 12")
    assert every["pqn"][0].timesteps == (120, 240)  # of the picture, with others on the same axis


def test_cleanrls_scores_stand_beside_ours(results: Any, tmp_path: Path) -> None:
    jobs = results.jobs_of(results.pages()["cleanrl"], options(tmp_path, envs=["Acrobot-v1"], algos=["double_dqn"]))
    for job, final in zip(jobs, (-100.0, -90.0, -80.0), strict=True):
        write(job, final)
    lines, _ = results.table(jobs, "Acrobot-v1")
    ours = dict(zip(cells_of(lines[0]), cells_of(lines[2]), strict=True))
    assert (ours["mean ± std"], ours["CleanRL"]) == ("-90.00 ± 8.16", "-91.54 ± 7.20")
    assert (ours["runs"], ours["at -100"]) == ("3", "3 of 3")


def test_a_page_names_its_seeds_and_the_command_that_makes_it(results: Any, tmp_path: Path) -> None:
    words = ["hard", "--envs", "MountainCar-v0", "--algos", "dqn", "--seeds", "2", "--first-seed", "300"]
    given = results.make_parser().parse_args([*words, "--folder", str(tmp_path)])
    page = results.pages()["hard"]
    jobs = results.jobs_of(page, given)
    for job in jobs:
        write(job, -100.0)
    command = results.command_of("hard", given)
    text, pictures = results.page_text("hard", page, jobs, command)
    assert "\n\nSeeds 300-301, a run each. " in text
    read = results.make_parser().parse_args([*command.split()[3:], "--folder", str(tmp_path)])
    assert read == given
    assert command in text
    assert {file: list(part) for file, part in pictures.items()} == {"hard-MountainCar-v0-curves-1.png": ["dqn"]}
    assert f"]({next(iter(pictures))})" in text
