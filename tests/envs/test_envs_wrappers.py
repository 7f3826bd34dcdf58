"""The two wrappers: the reward the agent sees, and the score that stays unwrapped."""

import math
import pickle
from collections.abc import Callable

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from stable_baselines3 import DQN
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor

from sb3_course.envs import NoDoneMask, ShapedCartPole, TerminalReward


class Constant(gym.Env[int, int]):
    """Reward 2 a step; terminates at step ``length``."""

    def __init__(self, length: int) -> None:
        self.observation_space = gym.spaces.Discrete(1)
        self.action_space = gym.spaces.Discrete(2)
        self.length = length

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return 0, {}

    def step(self, action):
        self.steps += 1
        return 0, 2.0, self.steps >= self.length, False, {}


def both(env: gym.Env) -> gym.Env:
    """Return the environment with both wrappers, and every end as a truncation."""
    return NoDoneMask(TerminalReward(ShapedCartPole(env), reward=-3.0, truncation=True))


WRAPPED = pytest.mark.parametrize("wrap", [ShapedCartPole, TerminalReward, both], ids=["shaped", "terminal", "both"])


def test_terminal_reward_replaces_only_the_last_reward() -> None:
    env = TerminalReward(Constant(3))
    env.reset()
    assert [env.step(0)[1:3] for _ in range(3)] == [(2.0, False), (2.0, False), (-1.0, True)]
    env = TerminalReward(Constant(2), reward=7)
    env.reset()
    assert [env.step(0)[1] for _ in range(2)] == [2.0, 7.0]


def test_terminal_reward_leaves_truncation_alone() -> None:
    env = TerminalReward(gym.wrappers.TimeLimit(Constant(10), 2))
    env.reset()
    env.step(0)
    assert env.step(0)[1:4] == (2.0, False, True)
    # Terminated and truncated in one step: it did terminate.
    env = TerminalReward(gym.wrappers.TimeLimit(Constant(2), 2))
    env.reset()
    env.step(0)
    assert env.step(0)[1:4] == (-1.0, True, True)


def test_terminal_reward_can_be_the_reward_of_any_end() -> None:
    env = TerminalReward(gym.wrappers.TimeLimit(Constant(10), 2), truncation=True)
    env.reset()
    assert [env.step(0)[1:4] for _ in range(2)] == [(2.0, False, False), (-1.0, False, True)]
    with pytest.raises(ValueError, match=r"^truncation: is not a switch \(got 'false', want True or False\)$"):
        TerminalReward(Constant(2), truncation="false")


def test_shaped_reward_is_the_formula() -> None:
    env = ShapedCartPole(gym.make("CartPole-v1"))
    env.reset(seed=0)
    env.action_space.seed(0)
    for _ in range(200):
        (x, _, theta, _), reward, terminated, truncated, _ = env.step(env.action_space.sample())
        limit = 12 * 2 * math.pi / 360
        assert type(reward) is float
        assert reward == pytest.approx((2.4 - abs(x)) / 2.4 - 0.8 + (limit - abs(theta)) / limit - 0.5, abs=1e-5)
        if terminated or truncated:
            env.reset()


def test_shaped_reward_at_known_states() -> None:
    env = ShapedCartPole(gym.make("CartPole-v1"))
    env.reset(seed=0)
    inner = env.unwrapped
    limit = inner.theta_threshold_radians
    # No velocities, so one Euler step leaves x and theta as they are.
    for x, theta, reward in ((0.0, 0.0, 0.7), (1.2, 0.0, 0.2), (0.0, limit / 2, 0.2), (2.4, -limit, -1.3)):
        inner.state = np.array([x, 0.0, theta, 0.0])
        assert env.step(0)[1] == pytest.approx(reward, abs=1e-12)


def test_shaped_reward_reads_the_thresholds_of_its_environment() -> None:
    inner = gym.make("CartPole-v1")
    inner.unwrapped.x_threshold = 4.8
    env = ShapedCartPole(inner)
    env.reset(seed=0)
    env.unwrapped.state = np.array([2.4, 0.0, 0.0, 0.0])
    assert env.step(0)[1] == pytest.approx(0.5 - 0.8 + 0.5)


def test_shaped_reward_does_not_read_the_observation() -> None:
    plain = ShapedCartPole(gym.make("CartPole-v1"))
    changed = ShapedCartPole(
        gym.wrappers.TransformObservation(gym.make("CartPole-v1"), lambda o: 0 * o, plain.observation_space)
    )
    for env in (plain, changed):
        env.reset(seed=0)
    assert [plain.step(1)[1] for _ in range(5)] == [changed.step(1)[1] for _ in range(5)]


def test_other_environments_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^env: has no x_threshold .* \(got 'Constant', want CartPole\)$"):
        ShapedCartPole(Constant(2))
    with pytest.raises(ValueError, match=r"^reward: is not finite \(got nan, want a finite number\)$"):
        TerminalReward(Constant(2), reward=float("nan"))


@WRAPPED
def test_monitor_inside_scores_the_unwrapped_reward(wrap: Callable[[gym.Env], gym.Env]) -> None:
    env = wrap(Monitor(gym.make("CartPole-v1")))
    env.reset(seed=0)
    rewards = []
    while True:
        _, reward, terminated, truncated, info = env.step(len(rewards) % 2)
        rewards.append(reward)
        if terminated or truncated:
            break
    assert info["episode"]["r"] == len(rewards)
    assert sum(rewards) != pytest.approx(len(rewards))


@WRAPPED
def test_evaluate_policy_scores_the_unwrapped_reward(wrap: Callable[[gym.Env], gym.Env]) -> None:
    # make_vec_env puts Monitor inside its wrapper_class.
    vector = make_vec_env("CartPole-v1", n_envs=2, seed=0, wrapper_class=wrap)
    model = DQN("MlpPolicy", "CartPole-v1", seed=0, device="cpu", policy_kwargs={"net_arch": [4]}, buffer_size=10)
    scores, lengths = evaluate_policy(model, vector, n_eval_episodes=4, return_episode_rewards=True)
    assert scores == lengths
    assert all(length >= 8 for length in lengths)


def test_specs_survive_json_and_pickle() -> None:
    env = both(gym.make("CartPole-v1"))
    text = env.spec.to_json()
    again = gym.make(EnvSpec.from_json(text))
    assert again.spec.to_json() == text
    copy = pickle.loads(pickle.dumps(env))
    for other in (env, again, copy):
        other.reset(seed=5)
    seen: list[list[tuple[object, ...]]] = [[], [], []]
    for steps, other in zip(seen, (env, again, copy), strict=True):
        while not steps or not any(steps[-1][1:]):
            steps.append(other.step(1)[1:4])
    assert seen[0] == seen[1] == seen[2]
    assert seen[0][-1] == (-3.0, False, True)
