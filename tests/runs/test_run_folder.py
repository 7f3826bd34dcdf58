"""The run folder: claimed once, written whole, read even after a kill."""

import math
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from sb3_course.config.errors import InputError
from sb3_course.runs.curve import _plot, draw_curve
from sb3_course.runs.folder import RunFolder
from sb3_course.runs.tables import Table, read_table
from sb3_course.saving.arrays import load_state, save_state


def test_numbered_folders_follow_the_zoo(tmp_path: Path) -> None:
    names = []
    for _ in range(3):
        with RunFolder.numbered(tmp_path, "dqn", "sb3_course/GridWorld-v0").claim() as folder:
            names.append(folder.path.relative_to(tmp_path).as_posix())
    assert names == [f"dqn/sb3_course-GridWorld-v0_{k}" for k in (1, 2, 3)]


def test_two_runs_that_chose_the_same_number_get_two_folders(tmp_path: Path) -> None:
    first, second = (RunFolder.numbered(tmp_path, "dqn", "CartPole-v1") for _ in range(2))
    with first.claim(), second.claim():
        assert first.path != second.path


def test_creating_the_object_writes_nothing(tmp_path: Path) -> None:
    RunFolder(tmp_path / "a" / "b").check()
    assert list(tmp_path.iterdir()) == []


def test_a_claimed_folder_is_closed_to_others(tmp_path: Path) -> None:
    first, second = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "run")
    with first.claim(), pytest.raises(InputError, match="another process"), second.claim():
        pass
    with second.claim():
        pass


def test_overwrite_removes_the_run_and_nothing_else(tmp_path: Path) -> None:
    for name in ("config.yaml", "model.zip", "checkpoints/100/model.zip", "my_notes.txt"):
        path = tmp_path / "run" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("old")
    with pytest.raises(InputError, match="already holds a run"):
        RunFolder(tmp_path / "run").check()
    with RunFolder(tmp_path / "run", overwrite=True).claim():
        left = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert left == [".lock", ".lock.owner", "my_notes.txt"]


def test_a_table_grows_by_rows_and_columns(tmp_path: Path) -> None:
    table = Table(tmp_path / "t.csv")
    table.append({"a": 1, "b": "x,y"})
    table.append({"a": np.float64(2.5)})
    table.append({"a": 3, "c": None, "d": 0.1})
    rows = read_table(tmp_path / "t.csv")
    assert rows == [
        {"a": "1", "b": "x,y", "c": "", "d": ""},
        {"a": "2.5", "b": "", "c": "", "d": ""},
        {"a": "3", "b": "", "c": "", "d": "0.1"},
    ]


@pytest.mark.parametrize("torn", ["4", "4,", '4,"0.', "4,0.1", "\xff"])
def test_a_torn_last_line_is_ignored_and_repaired(tmp_path: Path, torn: str) -> None:
    path = tmp_path / "t.csv"
    Table(path).append({"a": 1, "b": 2})
    with open(path, "ab") as file:
        file.write(torn.encode("latin-1"))
    assert read_table(path) == [{"a": "1", "b": "2"}]
    Table(path).append({"a": 5, "b": 6})
    assert read_table(path) == [{"a": "1", "b": "2"}, {"a": "5", "b": "6"}]


def test_rows_after_a_point_can_be_dropped(tmp_path: Path) -> None:
    table = Table(tmp_path / "t.csv")
    for step in (10, 20, 30):
        table.append({"timesteps": step})
    table.keep(lambda row: int(row["timesteps"]) <= 20)
    table.append({"timesteps": 25})
    assert [row["timesteps"] for row in read_table(tmp_path / "t.csv")] == ["10", "20", "25"]


def test_a_missing_table_has_no_rows(tmp_path: Path) -> None:
    assert read_table(tmp_path / "absent.csv") == []


def test_states_come_back_as_they_were(tmp_path: Path) -> None:
    state = {
        "tree": {"sums": np.arange(6.0).reshape(2, 3), "size": np.int64(3)},
        "flags": [True, None, "word", 1.5],
        "rows": [np.array([1, 2], dtype=np.uint8), {"deep": np.zeros(0)}],
        "big": 2**100,
    }
    save_state(tmp_path / "s.npz", state)
    back = load_state(tmp_path / "s.npz")
    np.testing.assert_array_equal(back["tree"]["sums"], state["tree"]["sums"])  # type: ignore[index, call-overload]
    assert back["tree"]["size"] == 3
    assert back["flags"] == [True, None, "word", 1.5]
    assert back["rows"][0].dtype == np.uint8
    assert back["rows"][1]["deep"].shape == (0,)
    assert back["big"] == 2**100


def test_a_state_takes_no_objects(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="objects"):
        save_state(tmp_path / "s.npz", {"a": np.array([{}])})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("config", "episodes"), [("", 100), ("stats_window_size: 7\n", 7)])
def test_the_training_line_says_what_it_is_the_mean_of(tmp_path: Path, config: str, episodes: int) -> None:
    folder = RunFolder(tmp_path)
    folder.config.write_text("algo: dqn\n" + config)
    folder.progress.write_text("timesteps,rollout/ep_rew_mean\n100,9.5\n200,12.0\n")
    axes = Figure().add_subplot()
    _plot(axes, folder)
    assert axes.get_legend_handles_labels()[1] == [f"training, mean of the latest {episodes} episodes"]


def test_a_curve_can_be_drawn_from_any_rows(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert draw_curve(folder).read_bytes()[:4] == b"\x89PNG"  # nothing yet
    empty = folder.curve.stat().st_size
    Table(folder.progress).append({"timesteps": 10, "rollout/ep_rew_mean": math.nan})
    for step in (10, 20):
        Table(folder.evaluations).append(
            {"timesteps": step, "mean": step, "std": 1.0, "min": 0, "max": 30, "returns": "9.0 11.0"}
        )
    assert draw_curve(folder).stat().st_size > empty
