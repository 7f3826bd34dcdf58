"""What a run has learned as a picture: a model's values of every cell, through every wrapper; a policy's Gaussian."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch as th
from PIL import Image

from sb3_course.envs import GridWorldEnv, OneShotEnv
from sb3_course.registry import find
from sb3_course.runs import RunFolder, Settings, execute
from sb3_course.runs.environment import normalization_state, training_env
from sb3_course.runs.learned_picture import action_values, draw_learned
from sb3_course.runs.model import build_model

GRID, ONE_SHOT = "sb3_course/GridWorld-v0", "sb3_course/OneShot-v0"


def picture(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_values_are_those_of_what_the_model_sees(tmp_path: Path) -> None:
    """Coordinates, stacked and normalised: what a reset in each cell gives, and nothing else."""
    settings = Settings(
        algo="double_dqn", env=GRID, n_timesteps=100, normalize={}, frame_stack=2,
        env_kwargs={"observation": "coordinates", "slip": 0.3},
    )  # fmt: skip
    venv = training_env(settings)
    model = build_model(settings, venv)
    statistics = normalization_state(venv)
    assert statistics is not None
    mean, var = np.array([0.3, 0.9, 0.7, 1.4]), np.array([0.2, 1.0, 0.5, 2.0])
    statistics["obs"] |= {"mean": mean, "var": var}
    folder = RunFolder(tmp_path)
    assert draw_learned(folder, settings, model, statistics) == folder.values
    grid = GridWorldEnv(slip=0.3, render_mode="rgb_array")
    stacked = np.concatenate([np.zeros((12, 2)), np.stack(np.divmod(np.arange(12), 4), axis=1)], axis=1)  # none before
    seen = ((stacked - mean) / np.sqrt(var + 1e-8)).astype(np.float32)
    with th.no_grad():
        grid.q_values = model.policy.q_net(th.from_numpy(seen)).numpy()
    difference = np.abs(picture(folder.values).astype(int) - grid.render())
    assert difference.max() <= 2  # a value that rounds to another shade
    grid.q_values = np.zeros((12, 4))
    assert (picture(folder.values) != grid.render()).any()


@pytest.mark.parametrize("algo", ["dqn", "rainbow", "quantile_dqn", "qrdqn", "ppo", "reinforce", "ars"])
def test_the_largest_value_is_the_chosen_action(algo: str) -> None:
    model = find(algo).load()("MlpPolicy", "CartPole-v1", seed=1, device="cpu")
    observations = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    before = [buffer.clone() for buffer in model.policy.buffers()]
    values = action_values(model, observations)
    assert values.shape == (20, 2)
    np.testing.assert_array_equal(values.argmax(axis=1), model.predict(observations, deterministic=True)[0])
    assert all(th.equal(one, other) for one, other in zip(before, model.policy.buffers(), strict=True))
    if find(algo).family != "value":
        np.testing.assert_allclose(values.sum(axis=1), 1.0, rtol=1e-5)
    if algo == "ars":
        assert set(values.ravel()) == {0.0, 1.0}


def one_shot(policy: tuple[float, float]) -> OneShotEnv:
    env = OneShotEnv(render_mode="rgb_array")
    env.policy = policy
    return env


def test_a_one_shot_run_leaves_its_gaussian(tmp_path: Path) -> None:
    settings = Settings(algo="reinforce", env=ONE_SHOT, n_timesteps=40, eval_freq=0, save_freq=0, final_episodes=1)
    execute(settings, tmp_path / "run")
    model = find("reinforce").load().load(tmp_path / "run" / "model.zip")
    with th.no_grad():
        normal = model.policy.get_distribution(th.ones(1, 1)).distribution
    gaussian = float(normal.mean), float(normal.stddev)
    assert gaussian != (0.0, 1.0)  # something was learned
    assert (picture(tmp_path / "run" / "policy.png") == one_shot(gaussian).render()).all()
    assert (picture(tmp_path / "run" / "policy.png") != one_shot((gaussian[0] + 1, gaussian[1])).render()).any()


def test_a_policy_without_a_width_is_a_line(tmp_path: Path) -> None:
    settings = Settings(algo="td3", env=ONE_SHOT, n_timesteps=40)
    model = build_model(settings, training_env(settings))
    folder = RunFolder(tmp_path)
    assert draw_learned(folder, settings, model, None) == folder.policy
    action = float(model.predict(np.ones((1, 1), np.float32), deterministic=True)[0][0, 0])
    assert (picture(folder.policy) == one_shot((action, 0.0)).render()).all()


@pytest.mark.parametrize("settings", [
    Settings(algo="dqn", env="CartPole-v1", n_timesteps=10),
    Settings(algo="dqn", env="sb3_course/Bandit-v0", n_timesteps=10),
])  # fmt: skip
def test_other_environments_have_no_such_picture(tmp_path: Path, settings: Settings) -> None:
    assert draw_learned(RunFolder(tmp_path), settings, None, None) is None
    assert list(tmp_path.iterdir()) == []


def test_the_gaussian_is_drawn_where_it_is() -> None:
    green = np.array([0, 158, 115])

    def columns(policy: tuple[float, float] | None) -> Any:
        env = OneShotEnv(render_mode="rgb_array")
        env.policy = policy
        frame = env.render()[80:330]
        return np.flatnonzero((np.abs(frame.astype(int) - green).max(axis=2) < 12).any(axis=0))

    assert len(columns(None)) == 0
    for mean in (-5.0, 0.0, 2.0):
        seen = columns((mean, 0.0))
        assert seen.mean() == pytest.approx(62 + (mean + 10) / 20 * 552, abs=2)
    wide, narrow = columns((-5.0, 1.0)), columns((-5.0, 0.25))
    assert len(wide) > len(narrow) > len(columns((-5.0, 0.0)))
    with pytest.raises(ValueError, match="std"):
        OneShotEnv().policy = (0.0, -1.0)
    with pytest.raises(ValueError, match="mean"):
        OneShotEnv().policy = (float("nan"), 1.0)


def test_an_episode_can_begin_in_any_cell() -> None:
    grid = GridWorldEnv()
    for state in (0, 3, 7, 11):
        grid.begin_in(state)
        assert grid.reset()[0] == state
    grid.begin_in(None)
    assert grid.reset()[0] == 8
    for state in (5, 12, -1):  # a wall, and no cells
        with pytest.raises(ValueError, match="state: is no cell to stand in"):
            grid.begin_in(state)
