"""Hindsight replay with n steps and priorities against plain loops, SB3's own buffer, and exact small cases."""

import copy
import pickle
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from scipy import stats
from stable_baselines3 import DQN, SAC, HerReplayBuffer
from stable_baselines3.common.envs import BitFlippingEnv
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from sb3_course import DoubleDQN, Rainbow
from sb3_course.config.errors import InputError
from sb3_course.replay import HindsightReplayBuffer, PrioritizedHindsightReplayBuffer, choose_class
from sb3_course.saving.arrays import load_state, save_state

GOAL = spaces.Box(-1e6, 1e6, (2,))
SPACE = spaces.Dict({"observation": spaces.Box(-1e6, 1e6, (1,)), "achieved_goal": GOAL, "desired_goal": GOAL})
WANTED = 5e5  # no transition achieves it: who has this goal has not been given another
CLASSES = [HindsightReplayBuffer, PrioritizedHindsightReplayBuffer]
STRATEGIES = ["future", "final", "episode"]


def pay(achieved: Any, desired: Any, bonus: Any = 0.0) -> Any:
    """Return a reward that tells which goals it is for."""
    return np.cos(achieved[..., 0] + 3 * achieved[..., 1]) + np.sin(desired[..., 0] - 2 * desired[..., 1]) + bonus


class Goals(gym.Env):
    """An env of which only `compute_reward` is asked."""

    observation_space, action_space = SPACE, spaces.Discrete(3)

    def compute_reward(self, achieved: Any, desired: Any, infos: Any) -> Any:
        assert achieved.shape == desired.shape == (len(infos), 2)
        return pay(achieved, desired, np.array([info.get("bonus", 0.0) for info in infos]))


@dataclass
class History:
    """A buffer, and in plain lists what was stored in it: at time t, env e achieves the goal (t, e)."""

    buffer: Any
    dones: list[np.ndarray]
    truncated: list[np.ndarray]
    bonus: bool = False

    def store(self, steps: int, seed: int = 0, done: float = 0.25) -> "History":
        generator = np.random.default_rng(seed)
        n = self.buffer.n_envs
        for _ in range(steps):
            t = len(self.dones)
            self.dones.append(generator.random(n) < done)
            self.truncated.append(self.dones[-1] & (generator.random(n) < 0.5))
            goals = {
                "achieved_goal": np.array([[t - 1, e] for e in range(n)], np.float32),
                "desired_goal": np.full((n, 2), WANTED, np.float32),
            }
            reached = np.array([[t, e] for e in range(n)], np.float32)
            obs = {"observation": np.full((n, 1), t, np.float32), **goals}
            following = {"observation": np.full((n, 1), t + 0.5, np.float32), **goals, "achieved_goal": reached}
            infos = [{"TimeLimit.truncated": bool(flag), "bonus": 0.1 * t} for flag in self.truncated[-1]]
            rewards = pay(reached, goals["desired_goal"], 0.1 * t if self.bonus else 0.0)
            self.buffer.add(obs, following, np.zeros(n, int), rewards, self.dones[-1], infos)
        return self

    @property
    def episodes(self) -> dict[tuple[int, int], tuple[int, int]]:
        """Of each transition (t, e) of a finished episode that is stored whole, its episode's first and last time."""
        found, slots, now = {}, self.buffer.buffer_size, len(self.dones)
        for e in range(self.buffer.n_envs):
            first = 0
            for t in range(now):
                if self.dones[t][e]:
                    first = max(first, t - slots + 1)  # of an episode longer than the ring the ring's last round
                    if first >= now - slots:
                        found |= {(time, e): (first, t) for time in range(first, t + 1)}
                    first = t + 1
        return found

    def where(self, index: int) -> tuple[int, int]:
        """Return the time and env of a flat index."""
        slot, e = divmod(int(index), self.buffer.n_envs)
        return max(range(slot, len(self.dones), self.buffer.buffer_size)), e


def make(cls: Any = HindsightReplayBuffer, slots: int = 30, n_envs: int = 2, steps: int = 50, **kwargs: Any) -> History:
    env = DummyVecEnv([Goals])
    kwargs = {"n_sampled_goal": 2, "rng": np.random.default_rng(3), "gamma": 0.9} | kwargs
    buffer = cls(slots * n_envs, SPACE, spaces.Discrete(3), env, "cpu", n_envs, **kwargs)
    return History(buffer, [], [], kwargs.get("copy_info_dict", False)).store(steps)


def everything(history: History) -> np.ndarray:
    """Return the flat indices of all that may be drawn."""
    buffer = history.buffer
    return np.array(sorted(t % buffer.buffer_size * buffer.n_envs + e for t, e in history.episodes))


# -- what is drawn --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize(
    ("slots", "n_envs", "steps", "done"), [(30, 2, 11, 0.25), (30, 3, 100, 0.2), (7, 1, 61, 0.1), (8, 2, 40, 0.6)]
)
def test_all_transitions_of_finished_episodes_are_drawn_and_no_others(cls, slots, n_envs, steps, done):
    """At every step: partly filled, around the ring, and with episodes longer than the ring."""
    history = make(cls, slots, n_envs, 0)
    drawn_from = 0
    for step in range(steps):
        history.store(1, seed=step, done=done)
        possible = everything(history)
        if len(possible) == 0:
            with pytest.raises(InputError, match=r"^replay buffer: no episode is finished .*want learning_starts"):
                history.buffer.sample_batch(4)
        else:
            assert set(history.buffer.draw(40 * len(possible))) == set(possible.tolist())
            drawn_from += 1
    assert drawn_from > 5


@pytest.mark.parametrize("n_envs", [1, 2])
def test_uniform_draws_are_uniform(n_envs):
    history = make(n_envs=n_envs)
    possible = everything(history)
    counts = np.bincount(history.buffer.draw(200 * len(possible)), minlength=60)[possible]
    assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize("n_envs", [1, 2])
def test_priorities_are_drawn_in_proportion_and_weigh_as_in_the_paper(n_envs):
    history = make(PrioritizedHindsightReplayBuffer, n_envs=n_envs, alpha=0.7, beta=0.5)
    buffer, possible = history.buffer, everything(history)
    errors = np.random.default_rng(0).exponential(size=len(possible))
    buffer.update(possible, errors)
    powers = (errors + 1e-6) ** 0.7
    probabilities = powers / powers.sum()
    np.testing.assert_allclose(buffer.probabilities(possible), probabilities, rtol=1e-12)
    draws = np.concatenate([buffer.draw(1) for _ in range(5_000)] + [buffer.draw(50) for _ in range(300)])
    counts = np.bincount(draws, minlength=60)
    assert counts.sum() == counts[possible].sum()
    assert stats.chisquare(counts[possible], probabilities * counts.sum()).pvalue > 1e-3
    batch = buffer.sample_batch(40)
    weights = probabilities[possible.searchsorted(batch.indices)] ** -0.5
    np.testing.assert_allclose(batch.weights, weights / weights.max(), rtol=1e-6)
    buffer.progress(0.5)
    assert buffer.beta == 0.75


def test_a_finished_episode_enters_with_the_largest_priority_and_leaves_for_good():
    history = make(PrioritizedHindsightReplayBuffer, slots=20, n_envs=1, steps=12, alpha=1.0)
    buffer = history.buffer
    buffer.update(everything(history)[:1], np.array([6.0]))
    old = everything(history)
    history.store(40, seed=8)
    newest = [t % 20 for t, _ in history.episodes if t >= 12]
    assert len(newest) > 3
    assert (buffer.tree[np.array(newest)] == 6 + 1e-6).all()
    assert np.count_nonzero(buffer.tree[np.arange(20)]) == len(history.episodes)
    lost = next(index for index in range(20) if index not in everything(history))
    with pytest.raises(InputError, match=rf"^indices: not of a finished episode \(got {lost}, want"):
        buffer.update(np.array([newest[0], lost]), np.ones(2))
    assert len(old) > 0


# -- what a batch says ----------------------------------------------------------------------------------------------


def check(history: History, batch: Any, strategy: str, n_steps: int, gamma: float = 0.9) -> np.ndarray:
    """Compare every entry of a batch with a plain loop over time; return which ones have another goal."""
    others = []
    for i, index in enumerate(batch.indices):
        t, e = history.where(index)
        first, last = history.episodes[t, e]
        goal = batch.observations["desired_goal"][i]
        others.append(goal[0] != WANTED)
        if others[-1]:
            assert goal[1] == e
            low = {"future": t, "final": last, "episode": first}[strategy]
            assert low <= goal[0] <= last
        end = min(t + n_steps - 1, last)
        bonus = 0.1 if history.bonus else 0.0
        rewards = [pay(np.array([k, e]), goal, bonus * k) for k in range(t, end + 1)]
        np.testing.assert_allclose(batch.rewards[i], sum(gamma**k * r for k, r in enumerate(rewards)), atol=2e-5)
        terminated = history.dones[end][e] and not history.truncated[end][e]
        np.testing.assert_allclose(batch.discounts[i], gamma ** (end + 1 - t) * (not terminated), rtol=1e-6)
        assert batch.observations["observation"][i] == t
        assert batch.next_observations["observation"][i] == end + 0.5
        np.testing.assert_array_equal(batch.next_observations["achieved_goal"][i], [end, e])
        np.testing.assert_array_equal(batch.next_observations["desired_goal"][i], goal)
    return np.array(others)


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("n_steps", [1, 3])
def test_goals_and_the_rewards_of_whole_windows_are_those_of_a_plain_loop(cls, strategy, n_steps):
    for steps, infos in ((20, False), (50, False), (73, True)):
        history = make(cls, steps=steps, goal_selection_strategy=strategy, n_steps=n_steps, copy_info_dict=infos)
        others = check(history, history.buffer.sample_batch(99), strategy, n_steps)
        assert others.sum() == 66
    long = make(cls, slots=7, steps=0, goal_selection_strategy=strategy, n_steps=n_steps).store(16, done=0)
    long.store(1, done=1).store(2, seed=1, done=1)  # the ring's last round of an episode is overwritten as a whole
    assert {t for t, _ in long.episodes} == {17, 18}
    long = make(cls, slots=7, steps=0, goal_selection_strategy=strategy, n_steps=n_steps).store(16, done=0)
    long.store(1, done=1)
    assert {t for t, _ in long.episodes} == set(range(10, 17))
    check(long, long.buffer.sample_batch(200), strategy, n_steps)
    before = copy.deepcopy(history.buffer.get_state())
    batch = history.buffer.sample_batch(50)
    for array in (*batch.observations.values(), *batch.next_observations.values(), batch.rewards):
        array += 1  # what is handed out is the caller's
    for name, values in history.buffer.get_state().items():
        np.testing.assert_array_equal(values, before[name])


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_each_goal_of_the_strategy_is_chosen_equally_often(strategy):
    history = make(slots=20, n_envs=1, steps=0, goal_selection_strategy=strategy, n_sampled_goal=99)
    buffer = history.buffer
    history.store(9, done=0).store(1, done=1)
    goals = buffer._achieved(buffer._episodes.achieved(np.full(8_000, 4), buffer.goal_selection_strategy, buffer.rng))
    times = {"future": range(4, 10), "final": range(9, 10), "episode": range(10)}[strategy]
    counts = np.bincount(goals[:, 0].astype(int), minlength=10)
    assert set(np.flatnonzero(counts)) == set(times)
    assert len(times) == 1 or stats.chisquare(counts[list(times)]).pvalue > 1e-3


@pytest.mark.parametrize("cls", CLASSES)
def test_the_share_of_replaced_goals_is_exact_and_any_transition_may_be_among_them(cls):
    """Prioritized draws come sorted: were the first ones replaced, old transitions would never keep their goals."""
    history = make(cls, n_sampled_goal=4, n_envs=1)
    buffer = history.buffer
    shares = {8: {6, 7}, 10: {8}, 1: {0, 1}}
    for batch_size, possible in shares.items():
        counts = [len(buffer._replaced(batch_size)) for _ in range(2_000)]
        assert set(counts) == possible
        assert abs(np.mean(counts) / batch_size - 0.8) < 0.03
    places = np.bincount(np.concatenate([buffer._replaced(10) for _ in range(2_000)]), minlength=10)
    assert stats.chisquare(places).pvalue > 1e-3
    assert len(make(n_sampled_goal=0).buffer._replaced(10)) == 0
    assert not check(history, make(cls, n_sampled_goal=0, n_envs=1).buffer.sample_batch(20), "future", 1).any()


def test_a_hand_made_case():
    """Bits 0 0 are flipped to 1 0, 1 1, 0 1: with the last one as goal the window of three pays −1, −1, 0."""
    env = DummyVecEnv([lambda: BitFlippingEnv(n_bits=2, continuous=False, max_steps=3)])
    options = {"n_steps": 3, "gamma": 0.5, "goal_selection_strategy": "final", "n_sampled_goal": 1_000_000}
    buffer = HindsightReplayBuffer(9, env.observation_space, env.action_space, env, "cpu", **options)
    states = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.int8)
    for t in range(3):
        obs, following = (
            {"observation": s[None], "achieved_goal": s[None], "desired_goal": states[2:3]} for s in states[t : t + 2]
        )
        infos = [{"TimeLimit.truncated": t == 2}]
        buffer.add(obs, following, np.zeros(1), np.array([-1.0 + (t == 1)]), np.array([t == 2]), infos)
    batch = buffer.sample_batch(200)
    assert set(batch.indices) == {0, 1, 2}
    for start, reward, discount in ((0, -1.5, 0.125), (1, -1.0, 0.25), (2, 0.0, 0.5)):
        chosen = batch.indices == start
        assert set(batch.rewards[chosen]) == {reward}
        assert set(batch.discounts[chosen]) == {discount}
    assert (batch.observations["desired_goal"] == [0, 1]).all()


@pytest.mark.parametrize("n_envs", [1, 2])
def test_one_step_with_final_goals_is_what_sb3s_buffer_says(n_envs):
    """Transitions, goals and rewards are those of SB3's own code at the same indices; nothing is left to chance."""
    env = DummyVecEnv([lambda: BitFlippingEnv(n_bits=4, continuous=False)] * n_envs)
    kwargs = {"n_sampled_goal": 1_000_000, "goal_selection_strategy": "final"}
    buffers = [
        cls(20 * n_envs, env.observation_space, env.action_space, env, device="cpu", n_envs=n_envs, **kwargs)
        for cls in (HindsightReplayBuffer, HerReplayBuffer)
    ]
    mine, theirs = buffers
    obs = env.reset()
    for _ in range(50):
        actions = np.array([env.action_space.sample() for _ in range(n_envs)])
        new_obs, rewards, dones, infos = env.step(actions)
        following = copy.deepcopy(new_obs)
        for e in np.flatnonzero(dones):
            for key in following:
                following[key][e] = infos[e]["terminal_observation"][key]
        for buffer in buffers:
            buffer.add(obs, following, actions, rewards, dones, infos)
        obs = new_obs
    possible = np.flatnonzero(theirs.ep_length > 0)
    assert set(mine.draw(2_000)) == set(possible)
    batch, terminated, _ = mine._in_hindsight(possible, None)
    reference = theirs._get_virtual_samples(*np.divmod(possible, n_envs))
    for key, values in batch.observations.items():
        np.testing.assert_array_equal(values, reference.observations[key])
        np.testing.assert_array_equal(batch.next_observations[key], reference.next_observations[key])
    for values, tensor in ((batch.rewards, reference.rewards), (terminated, reference.dones)):
        np.testing.assert_array_equal(values, tensor[:, 0])
    np.testing.assert_array_equal(batch.actions, reference.actions)


@pytest.mark.parametrize("n_steps", [1, 3])
def test_new_goals_and_rewards_are_normalised_like_all_others(n_steps):
    history = make(n_steps=n_steps, goal_selection_strategy="final", n_sampled_goal=1_000_000)
    buffer = history.buffer
    env = VecNormalize(buffer.env, norm_obs_keys=["observation", "achieved_goal", "desired_goal"], clip_obs=1e9)
    for key in SPACE.spaces:
        env.obs_rms[key].mean += 3.0
        env.obs_rms[key].var *= 25.0
    env.ret_rms.var = np.float64(4.0)
    indices = everything(history)
    (raw, *_), (normalised, *_) = (buffer._in_hindsight(indices, each) for each in (None, env))
    for name in ("observations", "next_observations"):
        for key, values in env.normalize_obs(getattr(raw, name)).items():
            np.testing.assert_array_equal(getattr(normalised, name)[key], values)
    np.testing.assert_allclose(normalised.rewards, raw.rewards / np.sqrt(4 + 1e-8), rtol=1e-5)
    np.testing.assert_array_equal(normalised.discounts, raw.discounts)


# -- ends, copies and state -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", CLASSES)
def test_a_cut_finishes_the_running_episodes_as_truncated(cls):
    history = make(cls, steps=0, n_steps=3)
    buffer = history.buffer
    buffer.cut()  # nothing is stored yet
    history.store(4, done=0)
    with pytest.raises(InputError, match="no episode is finished"):
        buffer.sample(3)
    buffer.cut()
    buffer.cut()
    history.store(5, done=0)
    assert set(buffer.draw(300)) == set(range(8))
    with pytest.warns(UserWarning, match="running episodes .* are truncated"):
        buffer.truncate_last_trajectory()
    assert set(buffer.draw(600)) == set(range(18))
    history.dones = [np.full(2, t in (3, 8)) for t in range(9)]
    history.truncated = history.dones
    check(history, buffer.sample_batch(60), "future", 3)
    buffer.truncate_last_trajectory()  # has nothing left to do
    buffer.reset()
    assert (buffer.size(), buffer._episodes.n_finished, buffer._episodes.running.tolist()) == (0, 0, [0, 0])


def through_a_pickle(history: History, path: Any) -> Any:
    twin = pickle.loads(pickle.dumps(history.buffer))
    assert twin.env is None
    with pytest.raises(InputError, match=r"^env: .*want set_env"):
        copy.deepcopy(twin).sample_batch(4)
    twin.set_env(history.buffer.env)
    return twin


def through_a_state(history: History, path: Any) -> Any:
    save_state(path / "replay.npz", history.buffer.get_state())
    old = history.buffer
    kwargs = {"copy_info_dict": old.copy_info_dict, "n_steps": old.n_steps}
    twin = make(type(old), old.buffer_size, old.n_envs, steps=37, **kwargs).buffer
    twin.set_state(load_state(path / "replay.npz"))
    twin.rng = copy.deepcopy(old.rng)
    return twin


@pytest.mark.parametrize("through", [through_a_pickle, through_a_state])
@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize(("steps", "infos"), [(20, True), (47, False), (61, True)])
def test_a_copy_goes_on_bit_for_bit_in_the_middle_of_episodes(tmp_path, through, cls, steps, infos):
    history = make(cls, steps=steps, n_steps=3, copy_info_dict=infos)
    if cls is PrioritizedHindsightReplayBuffer:
        history.buffer.update(everything(history), np.arange(len(history.episodes)) / 10.0)
    twin = History(through(history, tmp_path), list(history.dones), list(history.truncated), infos)
    for count in range(30):
        for each in (history, twin):
            each.store(1, seed=count)
        batches = [each.buffer.sample_batch(16) for each in (history, twin)]
        for mine, theirs in zip(*batches, strict=True):
            for key in mine if isinstance(mine, dict) else [...]:
                np.testing.assert_array_equal(mine[key], theirs[key])
        for each, batch in zip((history, twin), batches, strict=True):
            each.buffer.update(batch.indices, np.abs(batch.rewards))
    check(twin, batches[1], "future", 3)


@pytest.mark.parametrize("cls", CLASSES)
def test_the_state_of_another_buffer_is_refused_and_changes_nothing(cls):
    history = make(cls)
    buffer, state = history.buffer, history.buffer.get_state()
    lengths = state["episode_lengths"]
    others = [
        make(cls, slots=20).buffer.get_state(),
        make(cls, n_envs=1).buffer.get_state(),
        {key: value for key, value in state.items() if key != "episode_lengths"},
        state | {"episode_lengths": np.where(lengths > 0, lengths, 1)},
        state | {"episode_starts": state["episode_starts"] - 1},
        state | {"running": np.array([31, 0])},
    ]
    for other in others:
        with pytest.raises(InputError, match=r"^replay buffer: "):
            buffer.set_state(other)
    with pytest.raises(InputError, match=r"^replay buffer: the state is without infos"):
        make(cls, copy_info_dict=True).buffer.set_state(state)
    assert set(buffer.draw(3_000)) == set(everything(history).tolist())


def test_bad_arguments_are_refused_in_one_line():
    for name, value in {"n_sampled_goal": -1, "goal_selection_strategy": "past", "n_steps": 0}.items():
        with pytest.raises(InputError, match=rf"^{name}: .*\(got .*, want .*\)$"):
            make(**{name: value})
    with pytest.raises(InputError, match=r"^alpha: "):
        make(PrioritizedHindsightReplayBuffer, alpha=-1)
    for space in (GOAL, spaces.Dict({"observation": GOAL, "achieved_goal": GOAL})):
        with pytest.raises(InputError, match=r"^observation_space: hindsight needs goals"):
            HindsightReplayBuffer(9, space, spaces.Discrete(3), None)


def test_a_reward_of_another_size_is_refused():
    history = make(n_sampled_goal=1_000)
    history.buffer.env.envs[0].compute_reward = lambda *_: np.zeros(1)
    with pytest.raises(InputError, match=r"^env: compute_reward must pay each transition"):
        history.buffer.sample_batch(40)


# -- algorithms -----------------------------------------------------------------------------------------------------


def test_ours_takes_the_place_of_sb3s_where_it_cannot_serve():
    plain = {"prioritized": False, "n_steps": 1}
    assert choose_class(HerReplayBuffer, **plain) is HerReplayBuffer
    assert choose_class(HerReplayBuffer, **plain | {"n_steps": 2}) is HindsightReplayBuffer
    assert choose_class(HerReplayBuffer, **plain | {"prioritized": True}) is PrioritizedHindsightReplayBuffer
    assert choose_class(PrioritizedHindsightReplayBuffer, **plain) is HindsightReplayBuffer

    class Users(HerReplayBuffer):
        pass

    assert choose_class(Users, **plain | {"n_steps": 2}) is Users
    with pytest.raises(InputError, match=r"^prioritized: this replay buffer has no priorities"):
        choose_class(Users, **plain | {"prioritized": True})


def flipping(n_bits: int = 4, continuous: bool = False) -> BitFlippingEnv:
    return BitFlippingEnv(n_bits=n_bits, continuous=continuous)


SMALL = {"buffer_size": 200, "learning_starts": 20, "batch_size": 8, "seed": 0, "device": "cpu"}


@pytest.mark.parametrize(("cls", "buffer"), [(DQN, HindsightReplayBuffer), (SAC, PrioritizedHindsightReplayBuffer)])
def test_sb3s_algorithms_train_save_and_load_with_it(tmp_path, cls, buffer):
    options = {"n_steps": 3, "goal_selection_strategy": "episode"}
    env = flipping(continuous=cls is SAC)
    kwargs = {"replay_buffer_class": buffer, "replay_buffer_kwargs": options, **SMALL}
    model = cls("MultiInputPolicy", env, **kwargs).learn(62)
    model.save(tmp_path / "model")
    model.save_replay_buffer(tmp_path / "buffer")
    loaded = cls.load(tmp_path / "model", env=env)
    with pytest.warns(UserWarning, match="are truncated"):
        loaded.load_replay_buffer(tmp_path / "buffer")
    assert not loaded.replay_buffer._episodes.running.any()
    loaded.learn(30, reset_num_timesteps=False)
    assert loaded._n_updates > model._n_updates > 0


@pytest.mark.parametrize("n_envs", [1, 2])
def test_rainbow_trains_saves_and_loads_with_sb3s_class_replaced(tmp_path, n_envs):
    env = DummyVecEnv([flipping] * n_envs)
    kwargs = {"replay_buffer_class": HerReplayBuffer, "replay_buffer_kwargs": {"n_sampled_goal": 2}, **SMALL}
    runs = [Rainbow("MultiInputPolicy", env, **kwargs).learn(80) for _ in range(2)]
    for one, two in zip(*(run.policy.parameters() for run in runs), strict=True):
        assert th.equal(one, two)
    model = runs[0]
    buffer = model.replay_buffer
    assert type(buffer) is PrioritizedHindsightReplayBuffer
    assert (buffer.n_steps, buffer.gamma, buffer.n_sampled_goal) == (model.n_steps, model.gamma, 2)
    assert buffer.rng is model.rng
    assert len(np.unique(buffer.tree[np.arange(80)])) > 10
    model.save(tmp_path / "model")
    model.save_replay_buffer(tmp_path / "buffer")
    loaded = Rainbow.load(tmp_path / "model", env=env)
    assert type(loaded.replay_buffer) is PrioritizedHindsightReplayBuffer
    loaded.load_replay_buffer(tmp_path / "buffer", truncate_last_traj=False)
    loaded.learn(20, reset_num_timesteps=False)
    other = Rainbow("MultiInputPolicy", env, **kwargs)
    other.set_state(model.get_state())
    other.env.reset()
    np.testing.assert_array_equal(other.replay_buffer.draw(9), model.replay_buffer.draw(9))


class AnyGoal(BitFlippingEnv):
    """SB3's wants the same goal in every episode."""

    def reset(self, **kwargs: Any) -> Any:
        super().reset(**kwargs)
        self.desired_goal = self._obs_space.sample()
        return self._get_obs(), {}


@pytest.mark.learning
def test_with_hindsight_priorities_and_three_steps_it_flips_bits_that_it_cannot_flip_without():
    """Andrychowicz et al. 2017, section 3.1: a sparse reward that chance hardly finds."""
    won = []
    for buffer in (HerReplayBuffer, None):
        env = AnyGoal(n_bits=6, continuous=False)
        model = DoubleDQN(
            "MultiInputPolicy", env, seed=1, device="cpu", learning_rate=2e-3, train_freq=2, gamma=0.9, batch_size=64,
            learning_starts=200, target_update_interval=100, exploration_fraction=0.3, exploration_final_eps=0.1,
            prioritized=True, n_steps=3, replay_buffer_class=buffer, policy_kwargs={"net_arch": [64]},
        ).learn(3_000)  # fmt: skip
        env.seed(5)
        ends = []
        while len(ends) < 50:
            obs, over = env.reset()[0], False
            while not over:
                obs, _, terminated, truncated, _ = env.step(model.predict(obs, deterministic=True)[0])
                over = terminated or truncated
            ends.append(terminated)
        won.append(sum(ends))
    assert won[0] >= 35 > 15 >= won[1], won
