"""The episode buffer: whole episodes of every env, none dropped, none mixed, against what the envs wrote down."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv

from sb3_course.replay.episodes import EpisodeBuffer
from sb3_course.saving.arrays import load_state, save_state

LENGTHS = ([3, 1, 8, 2], [5, 5, 1], [13, 4])  # of the three envs' episodes, over and over


class Counter(gym.Env):
    """Observes (env, episode, step) and writes down all that happens; every second episode is truncated."""

    action_space = spaces.Discrete(7)

    def __init__(self, index, as_dict=False):
        numbers = spaces.Box(0, 1000, (3,), np.float32)
        self.as_dict = as_dict
        self.observation_space = spaces.Dict(numbers=numbers, flag=spaces.Discrete(2)) if as_dict else numbers
        self.index, self.episode, self.time = index, -1, 0
        self.diary = {}  # (env, episode): [(observation, action, reward)]
        self.endings = {}  # (env, episode): whether it terminated

    def observe(self):
        numbers = np.array([self.index, self.episode, self.time], np.float32)
        return {"numbers": numbers, "flag": self.time % 2} if self.as_dict else numbers

    def reset(self, *, seed=None, options=None):
        self.episode, self.time = self.episode + 1, 0
        self.diary[self.index, self.episode] = []
        return self.observe(), {}

    def step(self, action):
        reward = self.index * 1e4 + self.episode * 100 + self.time + action / 10
        self.diary[self.index, self.episode].append((self.observe(), int(action), reward))
        self.time += 1
        done = self.time == LENGTHS[self.index][self.episode % len(LENGTHS[self.index])]
        terminated = done and self.episode % 2 == 0
        if done:
            self.endings[self.index, self.episode] = terminated
        return self.observe(), reward, terminated, done and not terminated, {}


def numbers_of(observations):
    return observations["numbers"] if isinstance(observations, dict) else observations


class Driver:
    """Steps three counting envs with random actions and fills a buffer."""

    def __init__(self, as_dict=False, seed=0):
        self.env = DummyVecEnv([lambda index=index: Counter(index, as_dict) for index in range(3)])
        self.buffer = EpisodeBuffer(3)
        self.rng = np.random.default_rng(seed)
        self.last = self.env.reset()

    def step(self):
        actions = self.rng.integers(7, size=(3, 1))
        observations, rewards, dones, infos = self.env.step(actions[:, 0])
        self.buffer.add(self.last, actions, rewards, dones, infos)
        self.last = observations
        return dones

    @property
    def diary(self):
        return {key: rows for env in self.env.envs for key, rows in env.diary.items()}

    @property
    def endings(self):
        return {key: ending for env in self.env.envs for key, ending in env.endings.items()}


def pieces_of(batch):
    """Return the rows of every piece, as slices."""
    stops = np.flatnonzero(batch.ends) + 1
    assert stops[-1] == len(batch.ends)
    return [slice(start, stop) for start, stop in zip([0, *stops[:-1]], stops, strict=True)]


def assert_rows(batch, piece, rows):
    """A piece holds exactly these rows of a diary."""
    observations, actions, rewards = zip(*rows, strict=True)
    np.testing.assert_array_equal(numbers_of(batch.observations)[piece], [numbers_of(o) for o in observations])
    if isinstance(batch.observations, dict):
        np.testing.assert_array_equal(batch.observations["flag"][piece], [o["flag"] for o in observations])
    np.testing.assert_array_equal(batch.actions[piece], np.array(actions)[:, None])
    np.testing.assert_allclose(batch.rewards[piece], rewards, rtol=1e-6)
    assert not batch.ends[piece][:-1].any()


def assert_open(batch, expected):
    """Exactly the last rows of pieces that go on are marked, with what was seen behind them."""
    rows = {row: behind for row, behind in expected.items() if behind is not None}
    assert batch.open_rows.tolist() == sorted(rows)
    if not rows:
        assert batch.open_observations is None
        return
    np.testing.assert_array_equal(numbers_of(batch.open_observations), [rows[row] for row in sorted(rows)])
    if isinstance(batch.open_observations, dict):
        np.testing.assert_array_equal(batch.open_observations["flag"], [rows[row][2] % 2 for row in sorted(rows)])


# -- whole episodes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("as_dict", [False, True])
@pytest.mark.parametrize("wanted", [1, 4, 7])
def test_every_finished_episode_is_handed_out_whole_and_once(wanted, as_dict):
    driver, seen = Driver(as_dict), []
    for _ in range(300):
        driver.step()
        if driver.buffer.n_episodes < wanted:
            continue
        n_finished = driver.buffer.n_episodes
        batch, behind = driver.buffer.take_episodes(), {}
        assert batch.n_episodes == n_finished == len(pieces_of(batch))
        assert driver.buffer.n_episodes == 0
        for piece in pieces_of(batch):
            index, episode, _ = (int(number) for number in numbers_of(batch.observations)[piece.start])
            assert_rows(batch, piece, driver.diary[index, episode])
            assert batch.steps[piece].tolist() == list(range(piece.stop - piece.start))
            terminated = driver.endings[index, episode]
            behind[piece.stop - 1] = None if terminated else (index, episode, piece.stop - piece.start)
            seen.append((index, episode))
        assert_open(batch, behind)
    assert len(seen) == len(set(seen))
    left = len(driver.endings) - len(seen)
    assert left == driver.buffer.n_episodes < wanted
    assert {index for index, _ in seen} == {0, 1, 2}
    assert len(seen) > 150


def test_the_longest_open_episode_is_known():
    driver = Driver()
    for _ in range(60):
        driver.step()
        assert driver.buffer.longest == max(env.time for env in driver.env.envs)


def test_reset_forgets_what_is_open_and_what_is_finished():
    driver = Driver()
    for _ in range(12):
        driver.step()
    driver.buffer.reset()
    assert (driver.buffer.n_episodes, driver.buffer.longest) == (0, 0)
    driver.last = driver.env.reset()
    while not driver.buffer.n_episodes:
        driver.step()
    batch = driver.buffer.take_episodes()
    for piece in pieces_of(batch):
        index, episode, _ = (int(number) for number in batch.observations[piece.start])
        assert_rows(batch, piece, driver.diary[index, episode])


# -- rollouts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("as_dict", [False, True])
@pytest.mark.parametrize("n_steps", [1, 2, 5, 20])
def test_rollouts_hand_out_every_step_once_and_count_on_over_the_cut(n_steps, as_dict):
    driver, handed_out, finished = Driver(as_dict), {}, 0
    for _ in range(300 // n_steps):
        dones = np.array([driver.step() for _ in range(n_steps)])
        batch, behind = driver.buffer.take_all(driver.last), {}
        assert len(batch.rewards) == 3 * n_steps
        assert batch.n_episodes == dones.sum()
        finished += batch.n_episodes
        for piece in pieces_of(batch):
            index, episode, first = (int(number) for number in numbers_of(batch.observations)[piece.start])
            rows = handed_out.setdefault((index, episode), [])
            assert first == len(rows)
            rows.extend(range(first, first + piece.stop - piece.start))
            assert batch.steps[piece].tolist() == rows[first:]
            assert_rows(batch, piece, driver.diary[index, episode][first : len(rows)])
            ended = len(rows) == LENGTHS[index][episode % len(LENGTHS[index])]
            terminated = ended and driver.endings[index, episode]
            behind[piece.stop - 1] = None if terminated else (index, episode, len(rows))
        assert_open(batch, behind)
    assert finished == len(driver.endings)
    assert {key: len(rows) for key, rows in handed_out.items()} == {k: len(v) for k, v in driver.diary.items() if v}


def test_an_env_whose_episode_ended_with_the_rollout_has_no_open_piece():
    driver = Driver()
    for _ in range(5):  # env 1 terminates with its fifth step
        driver.step()
    batch = driver.buffer.take_all(driver.last)
    opened = {tuple(row[:2].astype(int)) for row in batch.open_observations}
    assert opened == {(0, 1), (0, 2), (2, 0)}  # (0, 1) was truncated
    assert driver.buffer.longest == 5


# -- state ----------------------------------------------------------------------------------------------------------


def assert_same(mine, theirs):
    assert mine.n_episodes == theirs.n_episodes
    for name in ("actions", "rewards", "ends", "steps", "open_rows"):
        np.testing.assert_array_equal(getattr(mine, name), getattr(theirs, name))
    for name in ("observations", "open_observations"):
        one, two = getattr(mine, name), getattr(theirs, name)
        assert (one is None) == (two is None)
        for key in one if isinstance(one, dict) else [...]:
            np.testing.assert_array_equal(one[key], two[key])


@pytest.mark.parametrize("as_dict", [False, True])
@pytest.mark.parametrize("through_a_file", [False, True])
def test_a_buffer_put_back_continues_exactly(as_dict, through_a_file, tmp_path):
    driver = Driver(as_dict)
    for _ in range(3):
        driver.step()
    driver.buffer.take_all(driver.last)  # so that open pieces have an offset
    for _ in range(6):
        driver.step()
    state = driver.buffer.get_state()
    if through_a_file:
        save_state(tmp_path / "state.npz", state)
        state = load_state(tmp_path / "state.npz")
    twins = [EpisodeBuffer(3), EpisodeBuffer(3)]
    twins[0].set_state(state)
    original = driver.buffer
    for _ in range(15):
        before = driver.last
        actions = driver.rng.integers(7, size=(3, 1))
        driver.last, *rest = driver.env.step(actions[:, 0])
        for buffer in (original, twins[0]):
            buffer.add(before, actions, *rest)
    twins[1].set_state(state)  # still what it was: neither of the others has written into it
    assert twins[1].n_episodes == state["n_episodes"] < twins[0].n_episodes == original.n_episodes
    assert sum(piece.length for piece in twins[1]._open + twins[1]._closed) == 18
    assert_same(twins[0].take_episodes(), original.take_episodes())
    assert_same(twins[0].take_all(driver.last), original.take_all(driver.last))


# -- memory ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("as_dict", [False, True])
@pytest.mark.parametrize("cut", [False, True])
def test_memory_that_an_env_writes_to_again_is_not_kept(as_dict, cut):
    """One array for every observation, one for what is seen behind an episode."""
    seen, behind = np.zeros((2, 1)), np.zeros(1)
    wrap = (lambda array: {"x": array}) if as_dict else (lambda array: array)
    unwrap = (lambda batch: batch["x"]) if as_dict else (lambda batch: batch)
    buffer = EpisodeBuffer(2)
    for time in range(6):
        seen[:] = [[time], [10 + time]]
        behind[:] = 100 + time
        done = time % 2 == 1 and not cut
        infos = [{"TimeLimit.truncated": True, "terminal_observation": wrap(behind)} if done else {}] * 2
        buffer.add(wrap(seen), np.zeros((2, 1)), np.zeros(2), np.array([done] * 2), infos)
    seen[:], behind[:] = 50, -1
    batch = buffer.take_all(wrap(seen)) if cut else buffer.take_episodes()
    seen[:] = -2
    order = [*range(6), *range(10, 16)] if cut else [0, 1, 10, 11, 2, 3, 12, 13, 4, 5, 14, 15]
    np.testing.assert_array_equal(unwrap(batch.observations)[:, 0], order)
    expected = [50, 50] if cut else [101, 101, 103, 103, 105, 105]
    np.testing.assert_array_equal(unwrap(batch.open_observations)[:, 0], expected)
