"""The pages "Vectorized Environments", "Using Custom Environments" and "Dealing with NaNs"."""

from __future__ import annotations

from itertools import cycle
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.envs.registration import register
from gymnasium.wrappers import RescaleAction
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.envs import SimpleMultiObsEnv
from stable_baselines3.common.vec_env import DummyVecEnv, VecCheckNan, VecEnvWrapper, VecMonitor, VecVideoRecorder

from sb3_course import REINFORCE, ActorCritic, DoubleDQN, Rainbow

BOTH = pytest.mark.parametrize("cls", [DoubleDQN, ActorCritic])


class Pixels(gym.Env[Any, Any]):
    """A dot to be followed on a small screen, channels first."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 30}

    def __init__(self, size: int = 36, render_mode: str | None = None) -> None:
        self.action_space = spaces.Discrete(3)
        self.observation_space = spaces.Box(low=0, high=255, shape=(1, size, size), dtype=np.uint8)
        self.size, self.render_mode = size, render_mode

    def _observe(self) -> np.ndarray:
        screen = np.zeros((1, self.size, self.size), np.uint8)
        screen[0, :, self.place] = 255
        return screen

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed, options=options)
        self.place, self.left = int(self.np_random.integers(self.size)), 6
        return self._observe(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.place = int(np.clip(self.place + action - 1, 0, self.size - 1))
        self.left -= 1
        return self._observe(), float(self.place == 0), self.place == 0, self.left == 0, {}

    def render(self) -> np.ndarray:
        return np.moveaxis(self._observe(), 0, -1).repeat(3, axis=-1)


@pytest.mark.parametrize("cls", [DoubleDQN, Rainbow, ActorCritic, REINFORCE])
def test_an_environment_of_ones_own(cls: Any, quick: Any) -> None:
    check_env(Pixels())
    model = quick(cls, "CnnPolicy", Pixels())
    model.learn(total_timesteps=30)
    if "tests/Pixels-v0" not in gym.registry:
        register(id="tests/Pixels-v0", entry_point=Pixels, max_episode_steps=4)
    quick(cls, "CnnPolicy", "tests/Pixels-v0")


class Reshaped(gym.Wrapper[Any, Any, Any, Any]):
    """Makes a list of a table of choices."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        assert isinstance(env.action_space, spaces.MultiDiscrete)
        self.original_shape = env.action_space.nvec.shape
        self.action_space = spaces.MultiDiscrete(env.action_space.nvec.flatten())

    def step(self, action: np.ndarray) -> Any:
        return self.env.step(action.reshape(self.original_shape))


class Table(gym.Env[Any, Any]):
    """Wants a table of choices."""

    def __init__(self) -> None:
        self.observation_space = spaces.Box(-1, 1, (2,))
        self.action_space = spaces.MultiDiscrete([[2, 3], [4, 5]])

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action)
        return np.zeros(2, np.float32), 1.0, False, bool(self.np_random.random() < 0.2), {}


@pytest.mark.parametrize("cls", [ActorCritic, REINFORCE])
def test_a_table_of_choices_made_a_list(cls: Any, quick: Any) -> None:
    model = quick(cls, "MlpPolicy", Reshaped(Table())).learn(40)
    assert model.predict(np.zeros(2, np.float32))[0].shape == (4,)


class Slippery(gym.Env[Any, Any]):
    """One of several tasks: μ differs, and counts from the next episode on."""

    def __init__(self) -> None:
        self.observation_space, self.action_space = spaces.Box(0, 1, (1,)), spaces.Discrete(2)
        self.mu, self.used = 0.0, []

    def set_mu(self, new_mu: float) -> None:
        """Set μ."""
        self.mu = new_mu

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.left = 5
        self.used.append(self.mu)
        return np.array([self.mu], np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.left -= 1
        return np.array([self.used[-1]], np.float32), 1.0, self.left == 0, False, {}


class ChangeMu(BaseCallback):
    """Changes the task while training."""

    def __init__(self) -> None:
        super().__init__()
        self.mus = cycle([0.1, 0.2, 0.5, 0.13, 0.9])

    def _on_step(self) -> bool:
        self.training_env.env_method("set_mu", next(self.mus))
        return True


@BOTH
def test_a_callback_changes_the_task(cls: Any, quick: Any) -> None:
    vec_env = make_vec_env(Slippery, n_envs=2)
    model = quick(cls, "MlpPolicy", vec_env)
    model.learn(60, callback=ChangeMu())
    used = vec_env.env_method("get_wrapper_attr", "used")
    assert set(used[0]) - {0.0} <= {0.1, 0.2, 0.5, 0.13, 0.9}
    assert len(used[0]) > len(set(used[0])) > 1
    vec_env.env_method("set_wrapper_attr", "mu", 0.1)
    assert vec_env.has_attr("mu")
    assert vec_env.get_attr("mu") == [0.1, 0.1]


class OnlyVector(VecEnvWrapper):
    """Shows one key of Dict observations."""

    def __init__(self, venv: Any, key: str) -> None:
        self.key = key
        super().__init__(venv=venv, observation_space=venv.observation_space.spaces[key])

    def reset(self) -> np.ndarray:
        return self.venv.reset()[self.key]

    def step_wait(self) -> Any:
        obs, reward, done, infos = self.venv.step_wait()
        for info in infos:
            if "terminal_observation" in info:
                info["terminal_observation"] = info["terminal_observation"][self.key]
        return obs[self.key], reward, done, infos


@pytest.mark.parametrize("cls", [DoubleDQN, Rainbow, ActorCritic, REINFORCE])
def test_a_wrapper_of_the_vectorised_env(cls: Any, quick: Any) -> None:
    env = OnlyVector(VecMonitor(DummyVecEnv([lambda: SimpleMultiObsEnv(random_start=False)])), key="vec")
    model = quick(cls, "MlpPolicy", env).learn(60)
    assert model.observation_space == env.observation_space
    assert env.reset_infos == [{}]


@pytest.mark.parametrize("cls", [ActorCritic, REINFORCE])
def test_wrappers_of_each_env_options_and_seeds(cls: Any, quick: Any) -> None:
    arguments = {"min_action": -1.0, "max_action": 1.0}
    vec_env = make_vec_env("Pendulum-v1", n_envs=2, wrapper_class=RescaleAction, wrapper_kwargs=arguments)
    model = quick(cls, "MlpPolicy", vec_env).learn(40)
    vec_env.seed(1)
    vec_env.set_options({"x_init": 0.1, "y_init": 0.1})
    obs = vec_env.reset()
    np.testing.assert_allclose(obs[:, 0], np.cos(0.1), atol=0.01)
    assert np.abs(model.predict(obs)[0]).max() <= 1


@BOTH
def test_a_check_for_nan_names_the_environment(cls: Any, quick: Any) -> None:
    class Broken(gym.Env[Any, Any]):
        observation_space, action_space = spaces.Box(-np.inf, np.inf, (1,)), spaces.Discrete(2)

        def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
            super().reset(seed=seed)
            self.steps = 0
            return np.zeros(1, np.float32), {}

        def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
            self.steps += 1
            return np.full(1, np.nan if self.steps == 30 else 0.5, np.float32), 0.0, False, False, {}

    env = VecCheckNan(DummyVecEnv([Broken]), raise_exception=True)
    with pytest.raises(ValueError, match="found nan in observations"):
        quick(cls, "MlpPolicy", env).learn(total_timesteps=100)


@BOTH
def test_a_training_is_filmed(cls: Any, tmp_path: Path, quick: Any) -> None:
    env = DummyVecEnv([lambda: gym.make("CartPole-v1", render_mode="rgb_array")])
    filmed = VecVideoRecorder(env, str(tmp_path), lambda step: step == 10, video_length=5, name_prefix="film")
    model = quick(cls, "MlpPolicy", filmed).learn(30)
    assert model.num_timesteps == 30
    assert [path.name for path in tmp_path.iterdir()] == ["film-step-10-to-step-15.mp4"]
    from moviepy.video.io.VideoFileClip import VideoFileClip

    with VideoFileClip(str(tmp_path / "film-step-10-to-step-15.mp4")) as film:
        assert film.size == [600, 400]
        assert film.fps == 50
        assert round(film.duration * film.fps) in (5, 6)  # MoviePy 1 writes the last frame twice
