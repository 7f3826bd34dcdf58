"""With every switch off the value engine is SB3's DQN, bit for bit."""

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from stable_baselines3 import DQN
from stable_baselines3.common.envs import FakeImageEnv, SimpleMultiObsEnv
from stable_baselines3.common.utils import set_random_seed
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from sb3_course import DoubleDQN

FIELDS = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")


class SB3Order:
    """NumPy's global generator, drawn from in SB3's order."""

    def random(self, size):
        return np.random.random_sample(size)  # noqa: NPY002

    def integers(self, high, size):
        slots = np.random.randint(0, high, size)  # noqa: NPY002
        np.random.randint(0, 1, size)  # noqa: NPY002 - SB3 draws the env of each slot, even if there is one
        return slots


SB3S = {"train_freq": 4, "batch_size": 32}  # without the switch they are the default


def train(cls, env, steps, policy="MlpPolicy", learns=1, **kwargs):
    """Train on a fresh env and return the model and its weights after every call of `train`."""
    settings = {"learning_starts": 50, "learning_rate": 1e-3, "target_update_interval": 100, "buffer_size": 5000}
    settings |= SB3S if kwargs.get("double") else {}
    if cls is not DQN:
        settings |= {"double": kwargs.pop("double", False), "backend": "torch"}
    set_random_seed(0)  # some of SB3's environments draw globally when they are made
    model = cls(policy, env(), seed=0, device="cpu", **(settings | kwargs))
    if cls is not DQN:
        model.set_rng(SB3Order())
    for _ in range(learns):
        model.learn(steps, reset_num_timesteps=learns == 1)
    return model


def assert_equal(mine, theirs):
    """Assert that weights, optimizer and everything that was seen are the same, bit for bit."""
    assert mine._n_updates == theirs._n_updates > 0
    assert mine.num_timesteps == theirs.num_timesteps
    assert mine.exploration_rate == theirs.exploration_rate
    assert_same(dict(mine.policy.state_dict()), dict(theirs.policy.state_dict()))
    assert_same(mine.policy.optimizer.state_dict(), theirs.policy.optimizer.state_dict())
    assert (mine.replay_buffer.pos, mine.replay_buffer.full) == (theirs.replay_buffer.pos, theirs.replay_buffer.full)
    for name in FIELDS:
        assert_same(getattr(mine.replay_buffer, name), getattr(theirs.replay_buffer, name))


def assert_same(mine, theirs):
    if isinstance(theirs, dict):
        assert mine.keys() == theirs.keys()
        for key in theirs:
            assert_same(mine[key], theirs[key])
    elif isinstance(theirs, list):
        assert len(mine) == len(theirs)
        for one, two in zip(mine, theirs, strict=True):
            assert_same(one, two)
    elif isinstance(theirs, th.Tensor | np.ndarray):
        np.testing.assert_array_equal(np.asarray(mine), np.asarray(theirs))
    else:
        assert mine == theirs


def cart_pole():
    return gym.make("CartPole-v1")


def normalised_cart_pole():
    return VecNormalize(DummyVecEnv([cart_pole]), gamma=0.99)


class Pictures(FakeImageEnv):
    """Random pictures, the channels last; the reward depends on what was done."""

    def __init__(self):
        super().__init__(screen_height=36, screen_width=36, n_channels=1)
        self.observation_space.seed(0)

    def step(self, action):
        observation, _, terminated, truncated, info = super().step(action)
        return observation, float(action % 3 - 1), terminated, truncated, info


SMALL = {"policy_kwargs": {"net_arch": [16]}}
CASES = {
    "batch_32": (cart_pole, 1000, {"batch_size": 32, "train_freq": 4, "gradient_steps": 2}),
    "batch_33": (cart_pole, 600, {"batch_size": 33, "train_freq": 4, "gradient_steps": 2}),
    "batch_100": (cart_pole, 600, {"batch_size": 100, "train_freq": 4, "gradient_steps": 2}),
    "three_steps": (cart_pole, 600, {"n_steps": 3, "train_freq": 4}),
    "soft_target": (cart_pole, 600, {"tau": 0.05, "target_update_interval": 1, **SMALL}),
    "clipped_gradient": (cart_pole, 600, {"max_grad_norm": 0.05, **SMALL}),
    "full_ring_and_windows": (cart_pole, 600, {"buffer_size": 70, "n_steps": 4, "gamma": 0.9, **SMALL}),
    "learning_rate_schedule": (cart_pole, 600, {"learning_rate": lambda left: 1e-3 * left, **SMALL}),
    "exploration": (
        cart_pole,
        600,
        {"exploration_fraction": 0.5, "exploration_initial_eps": 0.7, "exploration_final_eps": 0.1, **SMALL},
    ),
    "once_an_episode": (cart_pole, 600, {"train_freq": (1, "episode"), "gradient_steps": -1, **SMALL}),
    "two_calls_of_learn": (cart_pole, 300, {"learns": 2, **SMALL}),
    "sgd": (cart_pole, 600, {"policy_kwargs": {"net_arch": [16], "optimizer_class": th.optim.SGD}}),
    "normalised": (normalised_cart_pole, 600, SMALL),
    "normalised_windows": (normalised_cart_pole, 600, {"n_steps": 3, **SMALL}),
    "timeouts_as_ends": (cart_pole, 600, {"replay_buffer_kwargs": {"handle_timeout_termination": False}, **SMALL}),
    "discrete": (lambda: gym.make("FrozenLake-v1"), 600, SMALL),
    "discrete_windows": (lambda: gym.make("sb3_course/GridWorld-v0"), 600, {"n_steps": 3, **SMALL}),
    "image": (
        Pictures,
        120,
        {"policy": "CnnPolicy", "buffer_size": 120, "target_update_interval": 30},
    ),
    "dict": (
        lambda: SimpleMultiObsEnv(channel_last=False),
        120,
        {"policy": "MultiInputPolicy", "buffer_size": 120, "target_update_interval": 30},
    ),
}


@pytest.fixture(scope="module")
def sb3s_weights():
    """Return what SB3 has learned after 300 steps, and in how many updates."""
    model = train(DQN, cart_pole, 300, **SMALL)
    return dict(model.policy.state_dict()), model._n_updates


@pytest.mark.parametrize("case", CASES)
def test_with_every_switch_off_it_is_sb3s_dqn(case):
    env, steps, kwargs = CASES[case]
    mine, theirs = (train(cls, env, steps, **kwargs) for cls in (DoubleDQN, DQN))
    assert_equal(mine, theirs)


@pytest.mark.parametrize(
    "change",
    [
        {"double": True},
        {"loss": "mse"},
        {"loss": "l2"},
        {"gamma": 0.98},
        {"n_steps": 2},
        {"max_grad_norm": 0.01},
        {"target_update_interval": 101},
        {"target_update_interval": (25, "update")},
    ],
    ids=str,
)
def test_the_comparison_sees_every_other_rule(change, sb3s_weights):
    """The proof that the test above can fail: each of these learns something else."""
    theirs, n_updates = sb3s_weights
    mine = train(DoubleDQN, cart_pole, 300, **SMALL, **change)
    assert mine._n_updates == n_updates
    with pytest.raises(AssertionError):
        assert_same(dict(mine.policy.state_dict()), theirs)


def test_the_comparison_sees_no_difference_without_one(sb3s_weights):
    """The test above fails for the rules, and not for what they are compared with."""
    assert_same(dict(train(DoubleDQN, cart_pole, 300, **SMALL).policy.state_dict()), sb3s_weights[0])


def test_double_changes_nothing_while_both_networks_are_the_same():
    """Construction, warm-up, exploration and the one update of 60 steps; only then do the networks differ."""
    runs = [
        train(cls, cart_pole, 60, **SMALL, train_freq=60, **kwargs)
        for cls, kwargs in ((DQN, {}), (DoubleDQN, {"double": True}))
    ]
    assert_same(dict(runs[0].policy.state_dict()), dict(runs[1].policy.state_dict()))
    for name in FIELDS:
        assert_same(getattr(runs[0].replay_buffer, name), getattr(runs[1].replay_buffer, name))


@pytest.mark.parametrize("policy_kwargs", [{}, {"net_arch": []}, {"net_arch": [8, 8], "activation_fn": th.nn.Tanh}])
def test_weights_go_both_ways_between_sb3s_dqn_and_the_plain_head(policy_kwargs):
    kwargs = {"policy_kwargs": policy_kwargs, "buffer_size": 100}
    mine, theirs = (cls("MlpPolicy", "CartPole-v1", seed=seed, **kwargs) for cls, seed in ((DoubleDQN, 0), (DQN, 1)))
    theirs.learn(120)
    assert list(mine.policy.state_dict()) == list(theirs.policy.state_dict())
    mine.set_parameters(theirs.get_parameters())
    assert_same(dict(mine.policy.state_dict()), dict(theirs.policy.state_dict()))
    observations = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    actions = [model.predict(observations, deterministic=True)[0] for model in (mine, theirs)]
    np.testing.assert_array_equal(*actions)
    mine.learn(120)
    theirs.set_parameters(mine.get_parameters())
    assert_same(mine.policy.optimizer.state_dict(), theirs.policy.optimizer.state_dict())
