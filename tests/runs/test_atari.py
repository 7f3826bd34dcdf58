"""Atari's games and MinAtar's from the command line: presets, frames, exact resume, refusals."""

import io
import zipfile
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium.utils.env_checker import check_env

from sb3_course.config.errors import InputError
from sb3_course.runs import RunFolder, Settings, Watch, execute, known_envs, presets, resume
from sb3_course.runs.environment import make_one, training_env
from sb3_course.runs.known_envs import env_arguments, find_env, frames_per_step
from sb3_course.runs.words import Wrapper
from sb3_course.sb3.env_state import env_state, set_env_state
from sb3_course.train import main

ALE = pytest.importorskip("ale_py") and "ALE/Breakout-v5"
MINATAR = pytest.importorskip("minatar") and "MinAtar/Breakout-v1"
SKIPPING = (Wrapper("stable_baselines3.common.atari_wrappers:AtariWrapper"),)
#: Sizes that fit a test, for any algorithm of the value family.
TINY = ("buffer_size:400", "learning_starts:100", "batch_size:4", "train_freq:20", "target_update_interval:50")
FEW = ("--eval-freq", "0", "--final-episodes", "1", "--n-eval-envs", "1", "--save-freq", "0",
       "--env-kwargs", "max_episode_steps:120")  # fmt: skip


def atari(**more: Any) -> Settings:
    return Settings(algo="double_dqn", env=ALE, n_timesteps=1000, **more)


def run_of(tmp_path: Path, algo: str, env: str, *more: str, steps: int = 200) -> int:
    return main(["--algo", algo, "--env", env, "-n", str(steps), *FEW, "--run-dir", str(tmp_path / "run"), *more])


# ----------------------------------------------------------------------------------------------------- frames


def test_one_step_is_four_frames_and_never_sixteen() -> None:
    bare, wrapped = atari(), atari(env_wrapper=SKIPPING)
    assert (env_arguments(bare, False), env_arguments(wrapped, False)) == ({}, {"frameskip": 1})
    kept = env_arguments(atari(env_wrapper=SKIPPING, env_kwargs={"repeat_action_probability": 0.0}), False)
    assert kept == {"repeat_action_probability": 0.0, "frameskip": 1}
    once = (Wrapper(SKIPPING[0].name, {"frame_skip": 1}),)
    counted = {
        4: (bare, wrapped, atari(env_wrapper=once), Settings(algo="dqn", env="PongNoFrameskip-v4", n_timesteps=9,
                                                             env_wrapper=SKIPPING)),
        1: (atari(env_kwargs={"frameskip": 1}), Settings(algo="dqn", env=MINATAR, n_timesteps=9)),
        2: (atari(env_wrapper=(Wrapper(SKIPPING[0].name, {"frame_skip": 2}),)),),
    }  # fmt: skip
    assert {frames: {frames_per_step(each) for each in settings} for frames, settings in counted.items()} == {
        frames: {frames} for frames in counted
    }
    with pytest.raises(InputError) as error:
        make_one(atari(env_wrapper=SKIPPING, env_kwargs={"frameskip": 4}))
    assert str(error.value) == (
        "frameskip: frames are skipped twice, by the environment and by AtariWrapper "
        "(got 4, want 1, or AtariWrapper(frame_skip=1))"
    )


def test_a_step_plays_four_frames() -> None:
    env = make_one(atari(env_wrapper=SKIPPING))
    env.reset(seed=0)
    before = env.unwrapped.ale.getEpisodeFrameNumber()  # type: ignore[attr-defined]
    for _ in range(5):
        env.step(1)
    assert env.unwrapped.ale.getEpisodeFrameNumber() - before == 20  # type: ignore[attr-defined]


# ---------------------------------------------------------------------------------------------------- presets


@pytest.mark.parametrize("algo", ["dqn", "double_dqn", "dueling_dqn", "per_dqn", "nstep_dqn", "noisy_dqn", "c51",
                                  "quantile_dqn", "rainbow", "qrdqn"])  # fmt: skip
def test_every_value_algorithm_has_a_preset_for_ataris_games(algo: str) -> None:
    for env in (ALE, "PongNoFrameskip-v4"):
        assert presets.section_of(algo, env) == "atari"
        settings = Settings.resolve(algo, env)
        assert (settings.env_wrapper, settings.frame_stack, settings.n_timesteps) == (SKIPPING, 4, 10_000_000)
        assert frames_per_step(settings) == 4


@pytest.mark.parametrize("algo", ["dqn", "double_dqn", "qrdqn", "quantile_dqn", "rainbow"])
def test_minatar_has_presets(algo: str) -> None:
    for game in ("Asterix", "Breakout", "Freeway", "Seaquest", "SpaceInvaders"):
        env = f"MinAtar/{game}-v1"
        assert presets.section_of(algo, env) == env
        settings = Settings.resolve(algo, env)
        # Obando-Ceron & Castro 2021: 1,000 steps before learning, an update every 4 steps, a target every 1,000.
        values = [settings.hyperparameters[name] for name in ("learning_starts", "train_freq", "buffer_size")]
        assert values == [1000, 4, 100_000]


# ------------------------------------------------------------------------------------------------------- runs


def test_the_whole_command_trains_on_an_atari_game(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run_of(tmp_path, "rainbow", ALE, "-params", *TINY) == 0
    out, err = capfd.readouterr()
    assert err == ""
    assert out.startswith("settings: presets/rainbow.yml, section atari; 200 steps = 800 frames\n")
    assert "after 200 steps (800 frames) in" in out
    assert RunFolder(tmp_path / "run").status()["timesteps"] == 200


@pytest.mark.parametrize("algo", ["rainbow", "qrdqn"])
def test_minatar_trains(tmp_path: Path, algo: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run_of(tmp_path, algo, MINATAR, "-params", *TINY) == 0
    out, err = capfd.readouterr()
    assert err == ""
    assert out.startswith(f"settings: presets/{algo}.yml, section {MINATAR}\n")
    assert "frames" not in out


@pytest.mark.parametrize("env", [ALE, MINATAR])
def test_a_killed_run_goes_on_as_if_it_had_not_been(tmp_path: Path, env: str) -> None:
    small = {"buffer_size": 400, "learning_starts": 100, "batch_size": 4, "train_freq": 20, "n_timesteps": 200}
    few = {"eval_freq": 0, "save_freq": 100, "final_episodes": 1, "env_kwargs": {"max_episode_steps": 160}}
    # Of small pictures; everything else is the preset's.
    wrapper = {"env_wrapper": {SKIPPING[0].name: {"screen_size": 36}}} if env == ALE else {}
    settings = Settings.resolve("double_dqn", env, {**small, **few, **wrapper, "target_update_interval": 50})
    whole = RunFolder(tmp_path / "whole")
    execute(settings, whole)
    part = RunFolder(tmp_path / "part")
    calls = iter([False] * 6 + [True] * 1000)
    stopped = execute(settings, part, Watch(stop=lambda: next(calls)))
    assert 100 < stopped.timesteps < 200
    _, lost = resume(part.path, Watch())
    assert not lost
    ours, theirs = (th.load(_weights(folder), weights_only=True) for folder in (part, whole))
    assert all(map(th.equal, ours.values(), theirs.values()))
    assert part.status()["returns"] == whole.status()["returns"]


def _weights(folder: RunFolder) -> Any:
    with zipfile.ZipFile(folder.model) as archive:
        return io.BytesIO(archive.read("policy.pth"))


@pytest.mark.parametrize("sticky", [0.25, 0.0])
def test_a_game_goes_on_in_its_middle(sticky: float) -> None:
    """Of the second game, which its own generator has begun: its actions alone would lead elsewhere."""
    settings = atari(env_wrapper=SKIPPING, frame_stack=4, env_kwargs={"repeat_action_probability": sticky})
    one, other = training_env(settings), training_env(settings)
    rng = np.random.default_rng(0)
    one.reset()
    other.reset()
    episodes = 0
    while episodes < 6:
        episodes += int(one.step(rng.integers(4, size=1))[2][0])
    state = env_state(one)
    assert ("actions" in state["envs"][0]) == (sticky > 0)  # the last of which is no part of the game's own state
    assert not set_env_state(other, state)
    for _ in range(150):
        actions = rng.integers(4, size=1)
        mine, theirs = one.step(actions), other.step(actions)
        assert all(np.array_equal(x, y) for x, y in zip(mine[:3], theirs[:3], strict=True))
    one.close(), other.close()


def test_check_env_passes_what_ale_py_registers() -> None:
    check_env(find_env(ALE).make().unwrapped, skip_render_check=True)


# --------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(("env", "package", "extra"), [(ALE, "ale_py", "atari"), (MINATAR, "minatar", "minatar")])
def test_what_is_not_installed_is_refused_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path, env: str, package: str,
    extra: str,
) -> None:  # fmt: skip
    find = known_envs.importlib.util.find_spec
    monkeypatch.setattr(known_envs.importlib.util, "find_spec", lambda name: None if name == package else find(name))
    assert run_of(tmp_path, "double_dqn", env, "-params", *TINY) == 2
    want = f"error: env: {package} is not installed (got '{env}', want pip install \"sb3_course[{extra}]\")\n"
    assert capfd.readouterr().err == want
    assert not (tmp_path / "run").exists()


def test_a_game_that_does_not_exist_is_refused() -> None:
    with pytest.raises(InputError, match="did you mean 'ALE/Breakout-v5'"):
        find_env("ALE/Breakuot-v5")
    assert "ALE/Breakout-v5" in gym.registry
