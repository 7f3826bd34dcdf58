"""A callback that ends training, and training that goes on: every step is stored, and none crosses episodes."""

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from sb3_course import DoubleDQN, NStepDQN, PrioritizedDQN

LENGTH = 5


class Diary(gym.Env):
    """Says how many steps it has taken in all; every fifth ends an episode, every tenth by truncation."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (1,))
    action_space = gym.spaces.Discrete(2)
    steps = 0

    def _observation(self):
        return np.array([self.steps], dtype=np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = (self.steps // 100 + 1) * 100  # what is stored across episodes can be seen
        return self._observation(), {}

    def step(self, action):
        self.steps += 1
        count = self.steps % 100
        return self._observation(), float(count), count == LENGTH and self.steps < 300, count == LENGTH, {}


def make(cls, n_envs, **kwargs):
    env = DummyVecEnv([Diary] * n_envs)
    return cls("MlpPolicy", env, learning_starts=0, seed=0, device="cpu", policy_kwargs={"net_arch": [4]}, **kwargs)


def stops_at(step):
    return lambda seen, _: seen["self"].num_timesteps < step * seen["self"].n_envs


@pytest.mark.parametrize("n_envs", [1, 2])
@pytest.mark.parametrize("step", [5, 7, 10])
@pytest.mark.parametrize("cls", [DoubleDQN, PrioritizedDQN])
def test_the_step_at_which_a_callback_stops_is_stored_and_the_next_one_follows_it(cls, step, n_envs):
    model = make(cls, n_envs)
    model.learn(1_000, callback=stops_at(step))
    assert (model.num_timesteps, model.replay_buffer.size()) == (step * n_envs, step)
    assert model._n_calls == step
    assert model._episode_num == step // LENGTH * n_envs
    np.testing.assert_array_equal(model._last_obs, [[100 * (1 + step // LENGTH) + step % LENGTH]] * n_envs)
    model.learn(12 * n_envs, reset_num_timesteps=False)
    steps = np.arange(step + 12)
    buffer, seen = model.replay_buffer, np.repeat(100 * (1 + steps // LENGTH) + steps % LENGTH, n_envs)
    n = buffer.size()
    assert n == step + 12
    np.testing.assert_array_equal(buffer.observations[:n].ravel(), seen)
    np.testing.assert_array_equal(buffer.next_observations[:n].ravel(), seen + 1)
    np.testing.assert_array_equal(buffer.rewards[:n].ravel(), seen % 100 + 1)
    np.testing.assert_array_equal(buffer.dones[:n].ravel(), seen % 100 == LENGTH - 1)
    np.testing.assert_array_equal(buffer.timeouts[:n].ravel(), (seen % 100 == LENGTH - 1) & (seen >= 300))


def test_no_window_of_n_steps_misses_the_end_of_an_episode_at_which_training_stopped():
    model = make(NStepDQN, 1, gamma=1.0)
    model.learn(1_000, callback=stops_at(LENGTH))
    model.learn(LENGTH, reset_num_timesteps=False)
    batch = model.replay_buffer.gather(np.arange(2 * LENGTH))
    np.testing.assert_array_equal(batch.rewards, [1 + 2 + 3, 2 + 3 + 4, 3 + 4 + 5, 4 + 5, 5] * 2)
    np.testing.assert_array_equal(batch.discounts, [1, 1, 0, 0, 0] * 2)


def test_what_is_stored_at_a_stop_is_not_normalised():
    env = VecNormalize(DummyVecEnv([Diary]))
    model = DoubleDQN("MlpPolicy", env, learning_starts=0, seed=0, device="cpu", policy_kwargs={"net_arch": [4]})
    model.learn(1_000, callback=stops_at(LENGTH))
    buffer = model.replay_buffer
    np.testing.assert_allclose(buffer.next_observations[:5].ravel(), [101, 102, 103, 104, 105], rtol=1e-5)
    np.testing.assert_array_equal(buffer.rewards[:5].ravel(), [1, 2, 3, 4, 5])
