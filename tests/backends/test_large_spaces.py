"""Spaces of many numbers cost memory in proportion to their size, not to its square."""

import time
import tracemalloc
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.torch_layers import FlattenExtractor

from sb3_course import QTable
from sb3_course.backends.numpy_networks import features_of


class Passing(gym.Env):
    """Walks through the states one by one; every step pays 2."""

    action_space = spaces.Discrete(4)

    def __init__(self, n_states):
        self.observation_space, self.state = spaces.Discrete(n_states), 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state = 0
        return self.state, {}

    def step(self, action):
        self.state += 1
        return self.state, 2.0, False, False, {}


def features(space):
    """Return what the NumPy backend makes of observations, and the most memory that building it took, in bytes."""
    extractor = FlattenExtractor(space)
    network = SimpleNamespace(observation_space=space, features_extractor=extractor, normalize_images=True)
    tracemalloc.start()
    try:
        found = features_of(network)
        return found, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_one_number_of_many_is_one_of_many_inputs():
    found, peak = features(spaces.Discrete(20_000))
    assert peak < 20_000 * 4 * 4  # an identity matrix takes 1.6 GB
    rows = found(np.array([0, 19_999, 7]))
    assert rows.shape == (3, 20_000)
    assert (rows.dtype, rows.flags.carray) == (np.float32, True)
    assert [tuple(place) for place in np.argwhere(rows)] == [(0, 0), (1, 19_999), (2, 7)]
    assert rows.sum() == 3


def test_several_numbers_of_many_are_inputs_one_after_the_other():
    found, peak = features(spaces.MultiDiscrete([20_000, 3]))
    assert peak < 20_003 * 4 * 4
    rows = found(np.array([[19_999, 0], [5, 2]]))
    assert rows.shape == (2, 20_003)
    assert rows.flags.carray
    assert [tuple(place) for place in np.argwhere(rows)] == [(0, 19_999), (0, 20_000), (1, 5), (1, 20_002)]


@pytest.mark.parametrize("n", [1, 2, 16])
def test_inputs_are_the_rows_of_the_identity(n):
    found, _ = features(spaces.Discrete(n))
    np.testing.assert_array_equal(found(np.arange(n)), np.eye(n, dtype=np.float32))
    with pytest.raises(IndexError):
        found(np.array([n]))


def test_a_table_of_a_hundred_thousand_states_learns():
    """Q[s, a] = α·2 of each state that was left, with the actions that were taken, and 0 elsewhere."""
    model = QTable("MlpPolicy", Passing(100_000), learning_rate=0.5, seed=0, device="cpu")
    taken = []
    model.learn(20, callback=lambda seen, _: taken.append(int(seen["actions"][0])) or True)
    expected = np.zeros((100_000, 4), np.float32)
    expected[np.arange(20), taken] = 1.0
    np.testing.assert_array_equal(model.q_table, expected)


def test_a_table_of_a_million_states_is_built_in_under_a_second():
    env, times = Passing(1_000_000), []
    for _ in range(3):  # a busy machine is slow at times
        start = time.process_time()
        model = QTable("MlpPolicy", env, seed=0, device="cpu")
        times.append(time.process_time() - start)
        if times[-1] < 1:
            break
    assert min(times) < 1
    assert model.q_table.shape == (1_000_000, 4)
    assert not model.q_table.any()
