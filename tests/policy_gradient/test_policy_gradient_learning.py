"""Collecting and learning: every space and several envs, episodes whole over calls of `learn`, exact state."""

import copy

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback, StopTrainingOnMaxEpisodes
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from sb3_course import REINFORCE, VPG, ActorCritic, ReinforceBaseline

FAMILY = (VPG, REINFORCE, ReinforceBaseline, ActorCritic)


def make(cls=REINFORCE, env="CartPole-v1", policy="MlpPolicy", **kwargs):
    return cls(policy, env, **({"seed": 0, "device": "cpu", "policy_kwargs": {"net_arch": [8]}} | kwargs))


# -- spaces -----------------------------------------------------------------------------------------------------------

PICTURE = spaces.Box(0, 255, (36, 36, 1), np.uint8)
GREY = np.full((36, 36, 1), 100, np.uint8)
OBSERVED = {
    "MlpPolicy": (spaces.Box(-1, 1, (2,), np.float32), np.ones(2, np.float32)),
    "CnnPolicy": (PICTURE, GREY),
    "MultiInputPolicy": (spaces.Dict(picture=PICTURE, place=spaces.Discrete(3)), {"picture": GREY, "place": 1}),
}
# name: (action space, what is to be learned)
TASKS = {
    "discrete": (spaces.Discrete(3), 1),
    "started": (spaces.Discrete(3, start=3), 5),
    "multi-discrete": (spaces.MultiDiscrete([3, 2]), [2, 0]),
    "multi-binary": (spaces.MultiBinary(3), [1, 0, 1]),
    "box": (spaces.Box(-2, 2, (2,), np.float32), [0.5, -1.0]),
    "box, 2-d": (spaces.Box(np.array([[-3.0], [0.0]]), np.array([[0.0], [9.0]]), dtype=np.float64), [[-1.0], [1.0]]),
}


class Guess(gym.Env):
    """Two steps an episode; each pays for the share of the action that is right, or for being close to it."""

    def __init__(self, task="discrete", policy="MlpPolicy"):
        self.action_space, self.wanted = TASKS[task]
        self.observation_space, self.observed = OBSERVED[policy]
        self.time = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return copy.deepcopy(self.observed), {}

    def step(self, action):
        assert self.action_space.contains(action)
        assert np.asarray(action).dtype == self.action_space.dtype
        self.time += 1
        if isinstance(self.action_space, spaces.Box):
            reward = -float(np.abs(action - self.wanted).mean())
        else:
            reward = float(np.mean(action == np.array(self.wanted)))
        return copy.deepcopy(self.observed), reward, self.time == 2, False, {}


def assert_learned(model, task):
    action, _ = model.predict(model.get_env().reset(), deterministic=True)
    error = np.abs(action - np.array(TASKS[task][1])).max()
    assert error < (0.5 if task.startswith("box") else 1e-6)


SETTINGS = {"learning_rate": 0.02, "episodes_per_update": 8, "gamma": 0.5}


@pytest.mark.parametrize("n_envs", [1, 3])
@pytest.mark.parametrize("task", TASKS)
def test_every_action_space_is_learned(task, n_envs):
    model = make(env=DummyVecEnv([lambda: Guess(task)] * n_envs), baseline="mean", **SETTINGS)
    start = model.predict(model.get_env().reset(), deterministic=True)[0]
    model.learn(2400)
    assert_learned(model, task)
    assert start.shape == (n_envs, *TASKS[task][0].shape)
    for observation in (model.get_env().reset(), model.get_env().reset()[0]):  # whoever computes it
        mine, theirs = (asked.predict(observation, deterministic=True)[0] for asked in (model, model.policy))
        assert np.shape(mine) == np.shape(theirs)
        np.testing.assert_allclose(mine, theirs, rtol=1e-5)


@pytest.mark.parametrize("n_envs", [1, 3])
@pytest.mark.parametrize("cls", FAMILY)
def test_every_algorithm_learns(cls, n_envs):
    settings = {"learning_rate": 0.01, "n_steps": 8} if cls is ActorCritic else SETTINGS
    assert_learned(make(cls, DummyVecEnv([Guess] * n_envs), **settings).learn(2400), "discrete")


@pytest.mark.parametrize("cls", [REINFORCE, ActorCritic])
@pytest.mark.parametrize("policy", ["CnnPolicy", "MultiInputPolicy"])
def test_pictures_and_dictionaries_are_learned_from(policy, cls):
    settings = {"n_steps": 16} if cls is ActorCritic else {"episodes_per_update": 8}
    env = DummyVecEnv([lambda: Guess("discrete", policy)] * 3)
    model = make(cls, env, policy, learning_rate=1e-3, gamma=0.5, policy_kwargs={}, **settings)
    assert_learned(model.learn(600), "discrete")


@pytest.mark.parametrize("cls", [REINFORCE, ActorCritic])
def test_normalised_observations_and_rewards_reach_the_learner(cls, batches):
    env = VecNormalize(DummyVecEnv([lambda: gym.make("CartPole-v1", max_episode_steps=20)] * 2), clip_obs=1.0)
    model, seen = make(cls, env), []
    batches(model, seen)
    model.learn(300)
    observations = np.concatenate([batch.observations for batch in seen])
    assert np.abs(observations).max() == 1.0
    assert np.abs(np.concatenate([batch.rewards for batch in seen]) - 1).min() > 1e-3  # CartPole pays 1
    behind = [batch.open_observations for batch in seen if batch.open_observations is not None]
    assert np.abs(np.concatenate(behind)).max() <= 1.0


# -- whole episodes over calls of learn -------------------------------------------------------------------------------


class Diary(gym.Wrapper):
    """Writes down what was observed before every step, episode by episode."""

    def __init__(self, env):
        super().__init__(env)
        self.episodes = []

    def reset(self, **kwargs):
        self.last, info = super().reset(**kwargs)
        self.episodes.append([])
        return self.last, info

    def step(self, action):
        self.episodes[-1].append(self.last)
        self.last, *rest = super().step(action)
        return self.last, *rest


@pytest.fixture
def batches():
    """Return a function that makes a model append every batch it learns from to a list."""

    def keep(model, seen):
        update = model._update
        model._update = lambda batch: seen.append(batch) or update(batch)

    return keep


def pieces_of(seen):
    return [
        tuple(map(tuple, piece))
        for batch in seen
        for piece in np.split(batch.observations, np.flatnonzero(batch.ends)[:-1] + 1)
    ]


def diaries(model):
    """Return what the envs wrote down: finished episodes, and the open ones that were begun."""
    texts = [[tuple(map(tuple, rows)) for rows in env.episodes] for env in model.get_env().envs]
    return [text for episodes in texts for text in episodes[:-1]], [episodes[-1] for episodes in texts]


@pytest.mark.parametrize("n_envs", [1, 3])
@pytest.mark.parametrize("cls", [VPG, ReinforceBaseline])
def test_an_open_episode_goes_on_with_the_next_learn(cls, n_envs, batches):
    env = DummyVecEnv([lambda: Diary(gym.make("CartPole-v1"))] * n_envs)
    model, seen, was_open = make(cls, env, episodes_per_update=2), [], 0
    batches(model, seen)
    for _ in range(4):
        model.learn(50, reset_num_timesteps=False)
        was_open += sum(bool(rows) for rows in diaries(model)[1])
    finished, _ = diaries(model)
    assert sorted(pieces_of(seen)) == sorted(finished)
    assert was_open >= 4 * (n_envs - 1)
    assert model.num_timesteps >= 200


def test_learning_anew_forgets_the_open_episodes_of_the_envs_it_resets(batches):
    model, seen = make(env=DummyVecEnv([lambda: Diary(gym.make("CartPole-v1"))] * 3)), []
    batches(model, seen)
    model.learn(100)
    abandoned = diaries(model)[1]
    model.learn(100)
    assert not set(abandoned) & set(pieces_of(seen))
    assert set(pieces_of(seen)) < set(diaries(model)[0])


class StopAt(BaseCallback):
    def __init__(self, call):
        super().__init__()
        self.call = call

    def _on_step(self):
        return self.n_calls != self.call


@pytest.mark.parametrize("n_envs", [1, 3])
@pytest.mark.parametrize("stop", [lambda: StopAt(7), lambda: StopAt(23), lambda: StopTrainingOnMaxEpisodes(3)])
def test_a_callback_that_ends_training_breaks_no_episode(stop, n_envs, batches):
    """The step at which it stopped was taken: it belongs to its episode, whichever step it was."""
    env = DummyVecEnv([lambda: Diary(gym.make("CartPole-v1"))] * n_envs)
    model, seen = make(env=env), []
    batches(model, seen)
    model.learn(10_000, stop())
    assert model.num_timesteps < 1_000
    model.learn(200, reset_num_timesteps=False)
    assert sorted(pieces_of(seen)) == sorted(diaries(model)[0])


# -- numbers that are not finite --------------------------------------------------------------------------------------


class Spoiled(gym.Wrapper):
    """A reward that goes wrong at one step."""

    def __init__(self, at, value):
        super().__init__(gym.make("CartPole-v1"))
        self.left, self.value = at, value

    def step(self, action):
        observation, reward, *rest = super().step(action)
        self.left -= 1
        return observation, reward if self.left else self.value, *rest


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("cls", [REINFORCE, ActorCritic])
def test_a_reward_that_is_not_finite_stops_at_its_step(cls, value):
    model = make(cls, Spoiled(7, value))
    with pytest.raises(FloatingPointError, match=r"^reward: not finite at step 7 of env 0 \(got -?(nan|inf)\)"):
        model.learn(60)
    assert all(parameter.isfinite().all() for parameter in model.policy.parameters())


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_a_loss_that_is_not_finite_stops_without_a_step():
    model = make(env=Spoiled(7, 3e38), gamma=1.0)
    start = copy.deepcopy(model.policy.state_dict())
    with pytest.raises(
        FloatingPointError, match=r"^(policy_loss|gradient): not finite at step \d+ .*lower learning_rate"
    ):
        model.learn(60)
    assert all(th.equal(start[name], value) for name, value in model.policy.state_dict().items())


# -- state ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cls", "kwargs"),
    [
        (VPG, {}),
        (REINFORCE, {"baseline": "mean", "episodes_per_update": 2}),
        (ReinforceBaseline, {"learning_rate": lambda left: 1e-2 * left}),
        (ActorCritic, {"n_steps": 5}),
    ],
)
def test_a_model_put_back_continues_bit_for_bit(cls, kwargs):
    model, other = (
        make(cls, DummyVecEnv([lambda: gym.make("CartPole-v1")] * 2), seed=seed, **kwargs) for seed in (0, 1)
    )
    model.learn(120)
    state = model.get_state()
    other.env, other._last_obs = copy.deepcopy(model.env), model._last_obs.copy()
    other._last_episode_starts = model._last_episode_starts.copy()
    before = copy.deepcopy(model.policy.state_dict())
    model.learn(120, reset_num_timesteps=False)
    other.set_state(state)
    assert all(th.equal(other.policy.state_dict()[name], value) for name, value in before.items())
    other.learn(120, reset_num_timesteps=False)
    np.testing.assert_array_equal(model._last_obs, other._last_obs)
    assert (model.num_timesteps, model._n_updates) == (other.num_timesteps, other._n_updates)
    assert (model._return_mean, model._n_returns) == (other._return_mean, other._n_returns)
    for mine, theirs in zip(model.policy.parameters(), other.policy.parameters(), strict=True):
        assert th.equal(mine, theirs)
    moments, others = (m.policy.optimizer.state_dict()["state"] for m in (model, other))
    assert all(th.equal(moments[i][name], others[i][name]) for i in moments for name in moments[i])
    assert not th.equal(before["action_net.weight"], model.policy.state_dict()["action_net.weight"])
