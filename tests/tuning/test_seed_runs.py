"""`train --seeds`: every run is the one that its seed has alone, nothing is trained twice, the tables are right."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sb3_course.config.yaml_files import load_yaml
from sb3_course.runs import RunFolder, Settings, Watch, execute
from sb3_course.runs.tables import read_table
from sb3_course.train import main
from sb3_course.tuning.results import Run
from sb3_course.tuning.seed_report import SeedReport
from sb3_course.tuning.statistics import Interval

# A run of a tenth of a second, with ten evaluations and ten checkpoints.
BRIEF = ["--algo", "reinforce", "--env", "sb3_course/OneShot-v0", "-n", "200", "--eval-freq", "20"]
BRIEF += ["--save-freq", "20", "--eval-episodes", "2", "--final-episodes", "3"]


@pytest.fixture(autouse=True)
def in_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def curve(folder: Path) -> list[tuple[str, str]]:
    return [(row["timesteps"], row["returns"]) for row in read_table(RunFolder(folder).evaluations)]


@pytest.mark.usefixtures("served_workers")
def test_seeds_are_the_runs_of_their_seeds_and_what_is_there_already_is_kept(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    alone, many = tmp_path / "alone", tmp_path / "many"
    assert main([*BRIEF, "--seed", "6", "--run-dir", str(alone)]) == 0
    # Seed 5 is there already, seed 6 was stopped in the middle.
    assert main([*BRIEF, "--seed", "5", "--run-dir", str(many / "seed_5"), "--num-threads", "1"]) == 0
    settings = Settings.from_config({**load_yaml(alone / "config.yaml"), "num_threads": 1})
    asked = iter([False] * 40 + [True] * 10_000)
    assert not execute(settings, many / "seed_6", Watch(stop=lambda: next(asked))).finished
    before = (many / "seed_5" / "model.zip").stat()
    (many / "seeds.json").write_text("{}")  # such as a command leaves that is killed at once
    capfd.readouterr()

    command = [*BRIEF, "--num-threads", "1", "--seed", "5", "--run-dir", str(many), "--threshold", "0"]
    assert main([*command, "--seeds", "3", "--workers", "2"]) == 0
    out = capfd.readouterr().out
    finals = [RunFolder(many / f"seed_{seed}").status()["mean"] for seed in (5, 6, 7)]
    assert "reinforce on sb3_course/OneShot-v0, 3 seeds: IQM " in out
    assert "3 of 3 reach 0 (median 20 steps" in out
    assert (many / "seed_5" / "model.zip").stat() == before
    assert len(curve(alone)) == 10
    assert curve(many / "seed_6") == curve(alone)
    assert finals[1] == RunFolder(alone).status()["mean"]
    with open(many / "seeds.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(int(row["seed"]), float(row["final"])) for row in rows] == list(zip((5, 6, 7), finals, strict=True))
    assert {row["steps_to_threshold"] for row in rows} == {"20"}
    with Image.open(many / "curve.png") as picture:
        assert picture.size == (960, 540)

    # Once more, from the folder alone and with fewer or more seeds: nothing that has ended is trained again.
    assert main(["--resume", str(many)]) == 0
    assert main([*command, "--seeds", "5", "8"]) == 2  # --seed and a list
    capfd.readouterr()
    command = [word for word in command if word not in ("--seed", "5")]
    assert main([*command, "--seeds", "5", "8"]) == 0
    assert (many / "seed_5" / "model.zip").stat() == before
    assert "2 seeds: IQM " in capfd.readouterr().out
    assert (many / "seed_8" / "model.zip").is_file()


def runs() -> tuple[Run, ...]:
    means = ((0.0, 10.0), (2.0, 20.0), (4.0, 30.0), (100.0, 40.0))
    whole = tuple(Run(seed, (10, 20), mean, (1.0, 2.0), mean[1] + 1) for seed, mean in enumerate(means))
    return (*whole, Run(4, (10,), (0.0,), (1.0,), None, "FloatingPointError: NaN"))


def test_the_figures_of_many_seeds() -> None:
    report = SeedReport("dqn on CartPole-v1", runs(), 20.0)
    assert report.score is not None
    assert report.score.value == 26.0  # of 11, 21, 31, 41 the two in the middle
    assert 11 <= report.score.low < 26 < report.score.high <= 41
    steps, band = report.band()
    assert steps.tolist() == [10, 20]
    assert [each.value for each in band] == [3.0, 25.0]
    found = report.reached()
    assert found is not None
    assert (found[0].median, found[0].reached, found[0].total) == (20.0, 3, 5)  # never, 20, 20, 10, never
    assert found[1].median == 2.0


def test_the_line_and_the_tables() -> None:
    report = SeedReport("dqn on CartPole-v1", runs(), 20.0)
    assert report.line() == (
        f"dqn on CartPole-v1, 5 seeds: IQM {report.score}, 95 % interval; "
        "3 of 5 reach 20 (median 20 steps, 2.0 s); 1 failed"
    )
    rows = list(csv.DictReader(report.rows().splitlines()))
    assert [row["steps_to_threshold"] for row in rows] == ["", "20", "20", "10", ""]
    assert rows[4]["failure"] == "FloatingPointError: NaN"
    assert [float(row["auc"]) for row in rows[:4]] == [5.0, 11.0, 17.0, 70.0]
    assert "| steps to 20, median | 20.0 (3 of 5 runs) |" in report.table()


def test_without_a_score_or_a_threshold() -> None:
    failed = SeedReport("dqn on CartPole-v1", runs()[4:], None)
    assert failed.line() == "dqn on CartPole-v1, 1 seeds: no run has a score; 1 failed"
    assert failed.band()[1] == []
    one = SeedReport("dqn on CartPole-v1", runs()[:1], None)
    assert one.score == Interval(11.0, 11.0, 11.0)
    assert np.isfinite(one.score).all()
