"""A checkpoint holds all that training depends on: from it, learning goes on bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from sb3_contrib import QRDQN
from stable_baselines3 import A2C, DDPG, PPO, SAC
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.noise import OrnsteinUhlenbeckActionNoise
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecFrameStack, VecNormalize

import sb3_course
from sb3_course.config.errors import InputError
from sb3_course.saving.arrays import load_state, save_state
from sb3_course.sb3 import recorded_env
from sb3_course.sb3.late_interval import LateInterval
from sb3_course.sb3.model_state import model_attributes
from sb3_course.sb3.recorded_env import EpisodeRecorder

REPLAY: dict[str, Any] = {"learning_starts": 60, "buffer_size": 200, "seed": 1, "target_update_interval": 30}
POLICY: dict[str, Any] = {"seed": 1}
OURS = {
    "DoubleDQN": {**REPLAY, "train_freq": 4}, "Rainbow": REPLAY, "NumpyDQN": REPLAY, "NeuralQ": {"seed": 1},
    "PQN": {"n_steps": 16, "batch_size": 16, "seed": 1}, "REINFORCE": POLICY, "ActorCritic": POLICY,
}  # fmt: skip


def pole() -> VecEnv:
    """Two poles, normalised and stacked."""
    makers = [lambda: EpisodeRecorder(gym.make("CartPole-v1"))] * 2
    return VecNormalize(VecFrameStack(DummyVecEnv(makers), 2))


def weights(model: Any) -> dict[str, Any]:
    """Return the model's weights."""
    return {name: value.clone() for name, value in model.policy.state_dict().items()}


@pytest.mark.parametrize("make_env", [lambda: gym.make("CartPole-v1"), pole], ids=["one", "two"])
@pytest.mark.parametrize("name", OURS)
def test_learning_goes_on_from_a_checkpoint_bit_for_bit(tmp_path: Path, name: str, make_env: Any) -> None:
    cls = getattr(sb3_course, name)
    whole = cls("MlpPolicy", make_env(), **OURS[name])
    whole.learn(240, callback=sb3_course.SaveCheckpoints(90, tmp_path, keep=1))
    (checkpoint,) = tmp_path.iterdir()
    resumed = cls.load_checkpoint(checkpoint, make_env())
    assert 0 < resumed.num_timesteps < 240
    resumed.learn(240 - resumed.num_timesteps, reset_num_timesteps=False)
    assert resumed.num_timesteps == whole.num_timesteps
    expected = weights(whole)
    for key, value in weights(resumed).items():
        assert th.equal(value, expected[key]), key
    np.testing.assert_array_equal(resumed._last_obs, whole._last_obs)


@pytest.mark.parametrize("n_envs", [1, 2])
def test_noise_that_remembers_goes_on(tmp_path: Path, n_envs: int) -> None:
    def make() -> DDPG:
        noise = OrnsteinUhlenbeckActionNoise(np.zeros(1), np.ones(1))
        makers = [lambda: EpisodeRecorder(gym.make("Pendulum-v1"))] * n_envs
        options: dict[str, Any] = {"learning_starts": 10, "buffer_size": 50, "seed": 1, "train_freq": 1}
        return DDPG("MlpPolicy", DummyVecEnv(makers), action_noise=noise, policy_kwargs={"net_arch": [4]}, **options)

    whole, resumed = make(), make()
    whole.learn(60, callback=sb3_course.SaveCheckpoints(30, tmp_path, keep=1))
    (checkpoint,) = tmp_path.iterdir()
    go_on = sb3_course.restore_checkpoint(resumed, checkpoint)
    resumed.learn(60 - resumed.num_timesteps, callback=go_on, reset_num_timesteps=False)
    assert_equal(resumed, whole)


def assert_equal(resumed: Any, whole: Any) -> None:
    """Compare steps and weights of two models, to the bit."""
    assert resumed.num_timesteps == whole.num_timesteps
    for key, value in weights(resumed).items():
        assert th.equal(value, weights(whole)[key]), key


SWING: dict[str, Any] = {"learning_starts": 10, "buffer_size": 50, "train_freq": 1, "gradient_steps": 1}
THEIRS: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "PPO": (PPO, "CartPole-v1", {"n_steps": 10, "batch_size": 20}),
    "SAC": (SAC, "Pendulum-v1", SWING),
    "QRDQN": (QRDQN, "CartPole-v1", SWING),
}


@pytest.mark.parametrize("name", THEIRS)
def test_sb3s_own_classes_and_their_callbacks_go_on(tmp_path: Path, name: str) -> None:
    cls, env_id, options = THEIRS[name]

    def venv() -> VecEnv:
        return DummyVecEnv([lambda: sb3_course.EpisodeRecorder(gym.make(env_id, max_episode_steps=30))] * 2)

    def make() -> tuple[Any, EvalCallback]:
        model = cls("MlpPolicy", venv(), seed=1, policy_kwargs={"net_arch": [4]}, **options)
        return model, EvalCallback(venv(), n_eval_episodes=2, eval_freq=11, log_path=str(tmp_path), verbose=0)

    (whole, scores), (resumed, rest) = make(), make()
    scores.eval_env.seed(5)  # once: what an evaluation plays depends on those before it
    whole.learn(120, callback=[scores, sb3_course.SaveCheckpoints(50, tmp_path / "c", keep=1, callbacks=[scores])])
    (checkpoint,) = (tmp_path / "c").iterdir()
    go_on = sb3_course.restore_checkpoint(resumed, checkpoint, [rest])
    assert 50 <= resumed.num_timesteps < 120
    resumed.learn(120 - resumed.num_timesteps, callback=[rest, go_on], reset_num_timesteps=False)
    assert_equal(resumed, whole)
    assert rest.evaluations_timesteps == scores.evaluations_timesteps
    assert len(rest.evaluations_results) == 5
    np.testing.assert_array_equal(rest.evaluations_results, scores.evaluations_results)
    with pytest.raises(InputError, match="callbacks: are others than the checkpoint's"):
        sb3_course.restore_checkpoint(resumed, checkpoint, [rest, rest])


def test_a_monitor_that_sb3_puts_around_a_recorder_goes_on_in_its_episode(tmp_path: Path) -> None:
    def make() -> PPO:
        env = sb3_course.EpisodeRecorder(gym.make("CartPole-v1"))
        return PPO("MlpPolicy", env, n_steps=16, batch_size=16, seed=1, policy_kwargs={"net_arch": [4]})

    whole, resumed = make(), make()
    whole.learn(64, callback=sb3_course.SaveCheckpoints(30, tmp_path, keep=1))
    (checkpoint,) = tmp_path.iterdir()
    go_on = sb3_course.restore_checkpoint(resumed, checkpoint)
    assert 30 <= resumed.num_timesteps < 64
    resumed.learn(64 - resumed.num_timesteps, callback=go_on, reset_num_timesteps=False)
    assert_equal(resumed, whole)
    episodes = [list(model.ep_info_buffer) for model in (whole, resumed)]
    assert [each["r"] for each in episodes[0]] == [each["r"] for each in episodes[1]] != []


def test_an_attribute_that_nobody_has_thought_of_is_noticed() -> None:
    model = A2C("MlpPolicy", "CartPole-v1")
    vars(model)["_new"] = lambda: 3
    assert model_attributes(model).opaque == ("_new",)


def test_an_environment_goes_on_in_the_middle_of_an_episode() -> None:
    one, two = (EpisodeRecorder(gym.make("sb3_course/GridWorld-v0", slip=0.5)) for _ in range(2))
    one.reset(seed=3)
    for action in (3, 2, 3, 1):
        one.step(action)
    assert two.restore_recorded(one.recorded_state()) == ""
    for action in (3, 2, 0, 1, 3, 3):
        np.testing.assert_array_equal(one.step(action)[0], two.step(action)[0])
    np.testing.assert_array_equal(one.reset()[0], two.reset()[0])


class Clock(gym.Env[Any, Any]):
    """Shows a number that no generator of its own decides."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (1,), np.float64)
    action_space = gym.spaces.Discrete(2)
    ticks = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        """Show the number."""
        super().reset(seed=seed)
        Clock.ticks += 1
        return np.array([float(Clock.ticks)]), {}

    def step(self, action: Any) -> Any:
        """Show the next number."""
        return self.reset()[0], 0.0, False, False, {}


class Endless(gym.Env[np.ndarray, np.ndarray]):
    """Adds up its actions, and never ends."""

    action_space = observation_space = gym.spaces.Box(-1, 1, (6,))

    def reset(self, **kwargs: Any) -> Any:
        super().reset(seed=kwargs.get("seed"))
        self.sum = np.zeros(6, np.float32)
        return self.sum.copy(), {}

    def step(self, action: np.ndarray) -> Any:
        self.sum = self.sum + action
        return self.sum.copy(), 0.0, False, False, {}


def test_a_long_episode_fits_its_file_and_one_that_is_too_long_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env, again = EpisodeRecorder(Endless()), EpisodeRecorder(Endless())
    env.reset(seed=0)
    for action in np.random.default_rng(0).normal(size=(60_000, 6)).astype(np.float32):
        env.step(action)
    save_state(tmp_path / "state.npz", env.recorded_state())
    assert again.restore_recorded(load_state(tmp_path / "state.npz")) == ""
    np.testing.assert_array_equal(again.env.sum, env.env.sum)
    monkeypatch.setattr(recorded_env, "LONGEST", 60_000)
    for _ in range(3):
        env.step(action)
    assert again.restore_recorded(env.recorded_state()) == "an episode of more than 60,000 steps cannot be kept"
    assert len(env.actions) == 60_001


def test_an_environment_that_leads_elsewhere_is_reset_and_says_so(tmp_path: Path) -> None:
    model = sb3_course.DoubleDQN("MlpPolicy", Clock(), learning_starts=5, buffer_size=50)
    model.learn(20)
    model.save_checkpoint(tmp_path / "c")
    with pytest.warns(UserWarning, match="resume is not exact for this environment"):
        resumed = sb3_course.DoubleDQN.load_checkpoint(tmp_path / "c", Clock())
    resumed.learn(10, reset_num_timesteps=False)
    assert resumed.num_timesteps >= 30


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    model = sb3_course.DoubleDQN("MlpPolicy", "CartPole-v1", buffer_size=50)
    model.save_checkpoint(tmp_path / "c")
    (tmp_path / "c" / "state.npz").write_bytes(b"torn")
    with pytest.raises(InputError, match="cannot be read"):
        sb3_course.DoubleDQN.load_checkpoint(tmp_path / "c", gym.make("CartPole-v1"))


def test_an_interval_goes_on_counting() -> None:
    late = LateInterval(4, 6)
    assert [n for n in range(1, 9) if n % late == 0] == [2, 6]
