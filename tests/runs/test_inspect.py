"""What `python -m sb3_course.inspect` says of files, none of which it loads."""

import pickle
from pathlib import Path

import pytest
import tampered

from sb3_course import DoubleDQN
from sb3_course.inspect import main

OLD = Path(__file__).parents[1] / "old_files"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    model = DoubleDQN("MlpPolicy", "CartPole-v1", buffer_size=50, learning_starts=5, device="cpu", seed=0).learn(20)
    model.save(folder / "model.zip")
    model.save_replay_buffer(folder / "replay.npz")
    return folder


def said(capsys: pytest.CaptureFixture[str], *paths: Path) -> list[str]:
    assert main([str(path) for path in paths]) == 0
    return capsys.readouterr().out.splitlines()


def test_a_model_a_buffer_and_a_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys, folder / "model.zip")
    assert lines[0] == f"{folder}/model.zip: a model of sb3_course.value.value_family:DoubleDQN, format 1"
    assert lines[1] == "  steps taken: 20"
    assert "  action_space: Discrete(2)" in lines
    lines = said(capsys, folder / "replay.npz")
    assert lines[0].endswith("a replay buffer of sb3_course.replay.buffers:ReplayBuffer, format 1")
    assert lines[1] == "  environments: 1, next slot: 20"
    lines = said(capsys, OLD / "run", OLD / "dqn.zip", OLD / "replay" / "uniform.pkl")
    assert "a run (" in lines[0]
    assert "  checkpoints: 62" in lines
    assert lines[-2].endswith("a model of Stable-Baselines3: loading it unpickles, which runs whatever code is in it")
    assert "a pickle, which runs" in lines[-1]


def test_what_is_damaged_is_refused_and_nothing_runs(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    marker, path = tmp_path / "code ran", tmp_path / "x"
    members = tampered.members_of(folder / "model.zip")
    path.write_bytes(pickle.dumps(tampered.Evil(marker)))
    said(capsys, path)
    for kind in ("truncated", "newer format", "manifest is no mapping", "duplicate members", "text", "empty"):
        path.write_bytes(tampered.MODELS[kind](members, marker))
        assert main([str(path)]) == 2, kind
        told = capsys.readouterr()
        assert (told.out, told.err.count("\n")) == ("", 1), kind
    assert main([str(tmp_path / "nothing")]) == 2
    assert not marker.exists()


def test_words_of_a_file_do_not_speak_to_the_terminal(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change = tampered.with_manifest(lambda manifest: manifest.update(versions={"\x1b[2J": "1"}))
    (tmp_path / "x.zip").write_bytes(change(tampered.members_of(folder / "model.zip"), tmp_path))
    assert "written with ?[2J 1" in said(capsys, tmp_path / "x.zip")[-1]
