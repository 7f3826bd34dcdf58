"""Tampered files: each is refused in one line, and none runs code, grows without bounds or loads all the same.

`benchmarks/tampered.py` opens each in a process of its own, and measures what that one grows to.
"""

import re
import shutil
import warnings
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import optuna
import pytest
import tampered
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from sb3_course import DoubleDQN
from sb3_course.config.errors import InputError
from sb3_course.config.yaml_files import load_yaml, parse_yaml
from sb3_course.enjoy import main as enjoy
from sb3_course.runs.environment import normalization_state, set_normalization_state
from sb3_course.saving.arrays import load_state, save_state
from sb3_course.train import main as train
from sb3_course.tuning.objective import Objective
from sb3_course.tuning.planner import plan_for

# A gigabyte of blanks takes seconds to pack; one of the kind is enough here.
SLOW = {"zip bomb in data", "zip bomb in the tensors", "zip bomb inside the tensors"}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """Return a model, and the folder of the files that it wrote, which load."""
    folder = tmp_path_factory.mktemp("good")
    model: Any = DoubleDQN("MlpPolicy", "CartPole-v1", buffer_size=50, learning_starts=5, device="cpu", seed=0).learn(
        20
    )
    model.save(folder / "model.zip")
    model.save_replay_buffer(folder / "replay.npz")
    assert DoubleDQN.load(folder / "model.zip").num_timesteps == 20
    model.load_replay_buffer(folder / "replay.npz")
    return model, folder


def refused(path: Path, marker: Path, load: Any) -> str:
    """Return the line that refuses a file, after a look whether code has run."""
    with pytest.raises(InputError) as caught:
        load(path)
    assert not marker.exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", sorted(set(tampered.MODELS) - SLOW))
def test_a_model_that_was_tampered_with_is_refused(kind: str, good: tuple[Any, Path], tmp_path: Path) -> None:
    marker = tmp_path / "code ran"
    path = tmp_path / "model.zip"
    path.write_bytes(tampered.MODELS[kind](tampered.members_of(good[1] / "model.zip"), marker))
    line = refused(path, marker, DoubleDQN.load)
    assert re.match(r"(model|manifest|gamma|learning_rate): ", line)


@pytest.mark.parametrize("kind", tampered.BUFFERS)
def test_a_replay_buffer_that_was_tampered_with_is_refused(kind: str, good: tuple[Any, Path], tmp_path: Path) -> None:
    model, folder = good
    marker, path, before = tmp_path / "code ran", tmp_path / "replay.npz", model.replay_buffer
    path.write_bytes(tampered.BUFFERS[kind]((folder / "replay.npz").read_bytes(), marker))
    assert refused(path, marker, model.load_replay_buffer).startswith("replay buffer: ")
    assert model.replay_buffer is before


@pytest.mark.parametrize("kind", ["a pickled tensor", "truncated", "manifest missing", "layers of a terabyte"])
def test_the_command_line_refuses_them_with_status_2(
    kind: str, good: tuple[Any, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.yaml").write_text("algo: double_dqn\nenv: CartPole-v1\nn_timesteps: 2000\n")
    marker = tmp_path / "code ran"
    raw = tampered.MODELS[kind](tampered.members_of(good[1] / "model.zip"), marker)
    (tmp_path / "model.zip").write_bytes(raw)
    assert enjoy([str(tmp_path)]) == 2
    told = capsys.readouterr()
    assert (told.out, told.err.count("\n"), marker.exists()) == ("", 1, False)
    assert re.match(r"error: (model|manifest): .*", told.err)


def test_a_link_to_nothing_and_a_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "model.zip").symlink_to(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError):
        DoubleDQN.load(tmp_path / "model.zip")
    (tmp_path / "folder.zip").mkdir()
    with pytest.raises(InputError, match="model: cannot be loaded: Is a directory"):
        DoubleDQN.load(tmp_path / "folder.zip")


@pytest.mark.parametrize("target", ["/dev/zero", "/proc", "model.zip"])
def test_links_to_what_is_no_file_are_refused(target: str, tmp_path: Path) -> None:
    (tmp_path / "model.zip").symlink_to(target)
    with pytest.raises(InputError, match=r"model: cannot be loaded: (is no plain file|Is a directory|Too many levels)"):
        DoubleDQN.load(tmp_path / "model.zip")


def test_a_config_without_an_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").symlink_to("/dev/zero")
    with pytest.raises(InputError, match="not a text file, or a very long one"):
        load_yaml(tmp_path / "config.yaml")


# --------------------------------------------------------------------------------------------------- checkpoints


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished run with one checkpoint."""
    path = tmp_path_factory.mktemp("resumed") / "run"
    words = [
        "--algo",
        "double_dqn",
        "-n",
        "256",
        "-params",
        "learning_starts:64",
        "buffer_size:300",
        "--eval-freq",
        "0",
    ]
    words += ["--final-episodes", "1", "--save-freq", "256", "--verbose", "0", "--run-dir", str(path)]
    assert train(words) == 0
    assert [each.name for each in (path / "checkpoints").iterdir()] == ["256"]
    return path


TORN = [
    *(("state.npz", kind) for kind in sorted(set(tampered.STATES) - {"a zip bomb"})),
    ("replay.npz", "an array of objects"), ("replay.npz", "rows missing"),
    ("replay.npz", "rewards that are not finite"),
    ("model.zip", "a pickled tensor"), ("model.zip", "NaN weights"), ("model.zip", "other shapes"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "kind"), TORN)
def test_a_run_does_not_go_on_from_a_checkpoint_that_was_tampered_with(
    name: str, kind: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(run, tmp_path / "run")
    marker, path = tmp_path / "code ran", tmp_path / "run" / "checkpoints" / "256" / name
    table: Any = {"state.npz": tampered.STATES, "replay.npz": tampered.REPLAYS, "model.zip": tampered.MODELS}[name]
    path.write_bytes(table[kind](tampered.members_of(path) if name == "model.zip" else path.read_bytes(), marker))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a checkpoint is left out
        assert train(["--resume", str(tmp_path / "run"), "-n", "512"]) == 2
    told = capsys.readouterr().err
    assert re.fullmatch(r"error: [^\n]+\n", told)
    assert not marker.exists()
    assert DoubleDQN.load(tmp_path / "run" / "model.zip").num_timesteps == 256


# ---------------------------------------------------------------------------------------------------- statistics


STATISTICS: dict[str, Any] = {
    "a mean that is not finite": lambda state: state["obs"].update(mean=np.full(4, np.nan)),
    "a variance below zero": lambda state: state["obs"].update(var=-np.ones(4)),
    "a mean of another shape": lambda state: state["obs"].update(mean=np.zeros(7)),
    "no variance": lambda state: state["obs"].pop("var"),
    "a count below zero": lambda state: state["ret"].update(count=-1.0),
    "no observations": lambda state: state.pop("obs"),
    "returns of words": lambda state: state.update(returns=["a"]),
}


@pytest.mark.parametrize("kind", STATISTICS)
def test_statistics_that_were_tampered_with_are_refused_whole(kind: str, tmp_path: Path) -> None:
    env = VecNormalize(DummyVecEnv([lambda: gym.make("CartPole-v1")]))
    env.reset()
    state: Any = normalization_state(env)
    STATISTICS[kind](state)
    save_state(tmp_path / "statistics.npz", state)
    before = normalization_state(env)
    with pytest.raises(InputError, match="normalization: "):
        set_normalization_state(env, load_state(tmp_path / "statistics.npz"))
    np.testing.assert_equal(normalization_state(env), before)


# ----------------------------------------------------------------------------------------- configs and databases


@pytest.mark.parametrize("kind", tampered.CONFIGS)
def test_a_config_that_was_tampered_with_is_refused(kind: str, tmp_path: Path) -> None:
    marker = tmp_path / "code ran"
    with pytest.raises(InputError, match="config: ") as caught:
        parse_yaml(tampered.CONFIGS[kind].replace("{marker}", str(marker)), "config")
    assert not marker.exists()
    assert len(str(caught.value)) < 300


def test_anchors_and_merges_as_in_the_zoo_s_tables_are_read() -> None:
    text = "base: &base {gamma: 0.9}\nmine: {<<: *base, tau: 1.0}\n"
    assert parse_yaml(text, "config")["mine"] == {"gamma": 0.9, "tau": 1.0}


def test_a_sampler_that_unpickles_is_refused_on_a_storage_that_somebody_else_opened(tmp_path: Path) -> None:
    plan = plan_for("double_dqn", "CartPole-v1", n_timesteps=2_000, n_trials=2, seeds=[1], pruner="none")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sampler = optuna.samplers.CmaEsSampler()
    theirs = optuna.create_study(storage=f"sqlite:///{tmp_path}/theirs.db", sampler=sampler)
    theirs.set_user_attr("plan", plan.to_json())
    with pytest.raises(InputError, match=r"sampler: unpickles what the storage holds.*got 'CmaEsSampler'"):
        Objective.of(theirs)
    with pytest.raises(InputError, match=r"sampler: unpickles"):
        Objective(plan)(theirs.ask())
    mine = optuna.create_study(sampler=sampler)
    mine.set_user_attr("plan", plan.to_json())
    assert Objective.of(mine).plan.to_json() == plan.to_json()
