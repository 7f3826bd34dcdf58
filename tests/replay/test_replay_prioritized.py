"""Prioritized replay: probabilities, weights and priorities by hand, and all else as in the uniform buffer."""

import copy
import pickle

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from scipy import stats
from stable_baselines3 import DQN
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.envs import SimpleMultiObsEnv
from stable_baselines3.common.type_aliases import DictReplayBufferSamples, ReplayBufferSamples
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from sb3_course.config.text import InputError
from sb3_course.replay import PrioritizedReplayBuffer, ReplayBuffer, SumTree

BOX = spaces.Box(-1, 1, (3,))
DICT = spaces.Dict({"x": BOX, "n": spaces.Discrete(4)})
EPS = 1e-6


def fill(buffer, steps, seed=0):
    generator = np.random.default_rng(seed)
    n_envs = buffer.n_envs

    def observe():
        x = generator.normal(size=(n_envs, 3)).astype(np.float32)
        return {"x": x, "n": generator.integers(4, size=n_envs)} if buffer.observation_space == DICT else x

    for _ in range(steps):
        dones = generator.random(n_envs) < 0.2
        infos = [{"TimeLimit.truncated": bool(done and generator.random() < 0.5)} for done in dones]
        actions = generator.integers(3, size=n_envs)
        buffer.add(observe(), observe(), actions, generator.normal(size=n_envs), dones, infos)
    return buffer


def make(size=60, n_envs=1, steps=40, space=BOX, cls=PrioritizedReplayBuffer, **kwargs):
    kwargs.setdefault("rng", np.random.default_rng(3))
    return fill(cls(size, space, spaces.Discrete(3), device="cpu", n_envs=n_envs, **kwargs), steps)


def everything(buffer):
    return np.arange(buffer.size() * buffer.n_envs)


def surprise(buffer, seed=1, scale=1.0):
    """Give every stored transition a priority of its own and return |δ|."""
    errors = np.random.default_rng(seed).exponential(scale, size=buffer.size() * buffer.n_envs)
    buffer.update(everything(buffer), errors)
    return errors


def assert_same(mine, theirs):
    if isinstance(theirs, dict):
        assert mine.keys() == theirs.keys()
        for key in theirs:
            assert_same(mine[key], theirs[key])
    else:
        assert mine.dtype == theirs.dtype
        np.testing.assert_array_equal(np.asarray(mine), np.asarray(theirs))


# -- probabilities and weights --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n_envs", "steps"), [(1, 40), (1, 75), (3, 7), (3, 50)])
def test_probabilities_and_weights_are_those_of_the_paper(n_envs, steps):
    """P(i) = p_i^α/Σ and w_i = (N·P(i))^−β / max w, with α applied once and N the stored transitions."""
    buffer = make(n_envs=n_envs, steps=steps, alpha=0.7, beta=0.5)
    errors = surprise(buffer)
    powers = (errors + EPS) ** 0.7
    probabilities = powers / powers.sum()
    np.testing.assert_allclose(buffer.probabilities(everything(buffer)), probabilities, rtol=1e-12)
    batch = buffer.sample_batch(33)
    weights = (len(errors) * probabilities[batch.indices]) ** -0.5
    np.testing.assert_allclose(batch.weights, weights / weights.max(), rtol=1e-6)
    assert batch.weights.dtype == np.float32
    assert batch.weights.max() == 1
    buffer.beta = 1.0  # whoever trains moves it
    weights = 1 / probabilities[batch.indices]
    np.testing.assert_allclose(buffer.weights(batch.indices), weights / weights.max(), rtol=1e-6)
    buffer.beta = 0.0
    assert (buffer.weights(batch.indices) == 1).all()


@pytest.mark.parametrize(("n_envs", "steps", "size"), [(1, 7, 60), (1, 90, 49), (3, 11, 99), (3, 50, 99)])
def test_with_alpha_0_every_weight_is_exactly_1_and_every_probability_exactly_1_in_n(n_envs, steps, size):
    buffer = make(size=size, n_envs=n_envs, steps=steps, alpha=0, beta=0.7)
    surprise(buffer, scale=100.0)
    buffer.update(np.array([0, 1]), np.array([0.0, 1e30]))
    fill(buffer, 2)
    stored = buffer.size() * n_envs
    assert (buffer.probabilities(everything(buffer)) == 1 / stored).all()
    assert (buffer.sample_batch(100).weights == 1).all()
    # one draw from each of B = N equal strata: each transition once
    assert (np.sort(buffer.draw(stored)) == everything(buffer)).all()


@pytest.mark.parametrize(("n_envs", "steps"), [(1, 17), (3, 50)])
def test_transitions_are_drawn_with_their_probabilities_and_empty_slots_never(n_envs, steps):
    buffer = make(size=60, n_envs=n_envs, steps=steps)
    powers = (surprise(buffer) + EPS) ** 0.6
    draws = [buffer.draw(1) for _ in range(10_000)] + [buffer.draw(50) for _ in range(400)]
    counts = np.bincount(np.concatenate(draws), minlength=len(powers))
    assert len(counts) == len(powers)
    assert stats.chisquare(counts, powers / powers.sum() * counts.sum()).pvalue > 1e-3


def test_a_batch_takes_one_draw_from_each_equal_part_of_the_sum():
    buffer = make()
    powers = (surprise(buffer) + EPS) ** 0.6
    ends = np.cumsum(powers) / powers.sum()
    uniform = np.random.default_rng(3).random(10)  # the one call that a draw makes of its generator
    expected = ends.searchsorted((np.arange(10) + uniform) / 10, side="right")
    np.testing.assert_array_equal(buffer.draw(10), expected)


@pytest.mark.parametrize("batch_size", [1, 32, 33, 100])
def test_a_draw_at_the_end_of_the_last_stratum_is_a_stored_transition(batch_size):
    class Highest:
        def random(self, size):
            return np.full(size, np.nextafter(1, 0))

    buffer = make(size=1000, steps=40)
    surprise(buffer)
    buffer.rng = Highest()
    assert buffer.draw(batch_size).max() == 39


# -- priorities -----------------------------------------------------------------------------------------------------


def test_new_transitions_get_the_largest_priority_seen_in_every_env_and_around_the_ring():
    buffer = make(size=30, n_envs=3, steps=4, alpha=0.5)
    assert (buffer.tree[everything(buffer)] == 1).all()  # 1 at the start
    buffer.update(np.array([2, 7]), np.array([9.0, 0.25]))
    fill(buffer, 1)
    leaves = buffer.tree[np.arange(30)]
    np.testing.assert_allclose(leaves[[2, 7]], [3, 0.5], rtol=1e-5)
    assert (leaves[12:15] == (9 + EPS) ** 0.5).all()
    assert (leaves[15:] == 0).all()
    buffer.update(everything(buffer), np.full(15, 0.01))
    fill(buffer, 6)  # the ring has 10 slots: the first one is overwritten
    leaves = buffer.tree[np.arange(30)]
    assert buffer.max_priority == 9 + EPS
    assert (leaves[:3] == (9 + EPS) ** 0.5).all()
    np.testing.assert_allclose(leaves[3:15], 0.1, rtol=1e-4)
    assert (leaves[15:] == (9 + EPS) ** 0.5).all()


def test_an_index_belongs_to_its_slot_and_env():
    buffer = make(size=30, n_envs=3, steps=10)
    buffer.update(everything(buffer), np.zeros(30))
    buffer.update(np.array([4 * 3 + 2]), np.array([1e9]))
    batch = buffer.sample_batch(16)
    assert (batch.indices == 14).all()
    np.testing.assert_array_equal(batch.rewards, np.full(16, buffer.rewards[4, 2]))
    np.testing.assert_array_equal(batch.observations[0], buffer.observations[4, 2])


@pytest.mark.parametrize("alpha", [0.6, 100.0])
def test_an_error_of_zero_keeps_a_chance(alpha):
    buffer = make(alpha=alpha)
    buffer.update(everything(buffer), np.zeros(40))
    np.testing.assert_allclose(buffer.probabilities(everything(buffer)), 1 / 40, rtol=1e-14)
    assert (buffer.sample_batch(8).weights == 1).all()


def test_priorities_may_come_as_a_tensor_or_in_single_precision():
    buffer, other = make(), make()
    errors = th.rand(5)
    buffer.update(np.arange(5), errors)
    other.update(np.arange(5), errors.numpy().astype(np.float64))
    assert_same(buffer.tree[np.arange(40)], other.tree[np.arange(40)])


@pytest.mark.parametrize(
    ("indices", "priorities", "message"),
    [
        ([0, 1], [1, np.nan], r"^priorities: .*got nan, want finite numbers >= 0"),
        ([0, 1], [-1e-9, 1], r"^priorities: .*got -1e-09"),
        ([0, 1], [1, np.inf], r"^priorities: .*got inf"),
        ([0, 1], [1, 2, 3], r"^priorities: there must be one for each index"),
        (None, [1, 2], r"^priorities: there must be one for each index"),
        ([0, 40], [1, 2], r"^indices: nothing is stored there .*want 0 to 39"),
        ([0, -1], [1, 2], r"^indices: .*got -1"),
        ([0.0, 1.0], [1, 2], r"^indices: not integers"),
    ],
)
def test_bad_updates_are_refused_in_one_line_and_change_nothing(indices, priorities, message):
    buffer = make()
    before = buffer.get_state()
    indices = None if indices is None else np.array(indices)
    with pytest.raises(InputError, match=message):
        buffer.update(indices, np.array(priorities, dtype=float))
    after = buffer.get_state()
    assert after["max_priority"] == before["max_priority"]
    np.testing.assert_array_equal(after["leaves"], before["leaves"])


def test_bad_arguments_are_refused_in_one_line():
    for name, values in {"alpha": (-0.1, np.nan, np.inf), "beta": (-0.1, 1.1), "priority_eps": (0, -1, np.nan)}.items():
        for value in values:
            with pytest.raises(InputError, match=rf"^{name}: .*\(got .*, want .*\)$"):
                make(**{name: value})
    with pytest.raises(InputError, match=r"^n_steps: .*got 0"):
        make(n_steps=0)
    for call in (lambda: make(steps=0).sample_batch(3), lambda: make(steps=0).sample(3)):
        with pytest.raises(InputError, match=r"nothing to (sample|draw) from"):
            call()


# -- what is sampled ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_steps", [1, 3])
@pytest.mark.parametrize("space", [BOX, DICT], ids=["box", "dict"])
@pytest.mark.parametrize("timeouts", [True, False])
@pytest.mark.parametrize(("n_envs", "steps"), [(1, 40), (2, 50)])
def test_transitions_are_those_of_the_uniform_buffer(n_steps, space, timeouts, n_envs, steps):
    kwargs = {"n_envs": n_envs, "steps": steps, "space": space, "n_steps": n_steps, "gamma": 0.9}
    kwargs["handle_timeout_termination"] = timeouts
    mine, theirs = make(**kwargs), make(cls=ReplayBuffer, **kwargs)
    surprise(mine)
    for buffer in (mine, theirs):
        buffer.cut()
    batch = mine.sample_batch(64)
    reference = theirs.gather(batch.indices)
    for name in batch._fields:
        if name != "weights":
            assert_same(getattr(batch, name), getattr(reference, name))
    form = DictReplayBufferSamples if space == DICT else ReplayBufferSamples
    mine.rng = np.random.default_rng(8)
    indices = copy.deepcopy(mine).draw(20)
    samples = mine.sample(20)
    assert isinstance(samples, form)
    assert_same(samples.rewards[:, 0], th.as_tensor(theirs.gather(indices).rewards))
    assert mine._get_samples(np.array([0, 5, 6])).rewards.shape == (3, 1)


@pytest.mark.parametrize("make_env", [lambda: gym.make("CartPole-v1"), lambda: SimpleMultiObsEnv(random_start=True)])
def test_samples_are_normalised_as_in_the_uniform_buffer(make_env):
    keys = None if make_env().observation_space.shape else ["vec"]
    env = VecNormalize(DummyVecEnv([make_env] * 2), norm_obs_keys=keys)
    spaces_of = env.observation_space, env.action_space
    mine, theirs = (cls(100, *spaces_of, "cpu", n_envs=2) for cls in (PrioritizedReplayBuffer, ReplayBuffer))
    env.reset()
    for _ in range(30):
        observation, actions = env.get_original_obs(), np.array([env.action_space.sample() for _ in range(2)])
        _, _, dones, infos = env.step(actions)
        for buffer in (mine, theirs):
            row = observation, env.get_original_obs(), actions, env.get_original_reward(), dones, infos
            buffer.add(*row)
    surprise(mine)
    batch = mine.sample_batch(50, env)
    reference = theirs.gather(batch.indices, env)
    for name in ("observations", "next_observations", "rewards", "discounts"):
        assert_same(getattr(batch, name), getattr(reference, name))


def test_reset_empties_the_buffer_and_extend_fills_it():
    buffer = make()
    surprise(buffer, scale=50.0)
    buffer.reset()
    assert (buffer.size(), buffer.tree.total, buffer.max_priority) == (0, 0, 1)
    other = make(steps=10)
    infos = [[{"TimeLimit.truncated": flag}] for flag in other.timeouts]
    fields = (other.observations, other.next_observations, other.actions, other.rewards, other.dones)
    buffer.extend(*(field[:10] for field in fields), infos[:10])
    assert buffer.tree.total == 10


# -- copies and state -----------------------------------------------------------------------------------------------


def restore(buffer):
    twin = make(size=buffer.buffer_size * buffer.n_envs, n_envs=buffer.n_envs, steps=33, n_steps=buffer.n_steps)
    surprise(twin, seed=9)
    twin.set_state(pickle.loads(pickle.dumps(buffer.get_state())))
    twin.rng = copy.deepcopy(buffer.rng)
    return twin


@pytest.mark.parametrize("copied", [restore, copy.deepcopy, lambda buffer: pickle.loads(pickle.dumps(buffer))])
@pytest.mark.parametrize("steps", [1, 19, 20, 47])
def test_a_copy_goes_on_bit_for_bit_as_if_nothing_had_happened(copied, steps):
    buffer = make(size=40, n_envs=2, steps=steps, n_steps=1 if steps == 1 else 3)
    surprise(buffer, scale=5.0)
    buffer.beta = 0.6
    twin = copied(buffer)
    for count in range(30):
        batches = [each.sample_batch(16) for each in (buffer, twin)]
        for mine, theirs in zip(*batches, strict=True):
            assert_same(mine, theirs)
        for each, batch in zip((buffer, twin), batches, strict=True):
            each.update(batch.indices, np.abs(batch.rewards) * 10)
            fill(each, 1, seed=count)
    assert buffer.max_priority == twin.max_priority > 1
    assert buffer.tree.total == twin.tree.total
    buffer.update(np.array([0]), np.array([1e3]))
    assert buffer.tree[0] != twin.tree[0]


def test_the_state_of_another_buffer_is_refused_and_changes_nothing():
    buffer = make()
    surprise(buffer)
    total = buffer.tree.total
    state = buffer.get_state()
    assert state["leaves"].shape == (60,)
    others = [
        make(cls=ReplayBuffer).get_state(), make(alpha=0.5).get_state(), make(size=30).get_state(),
        make(n_envs=2).get_state(), make(space=DICT).get_state(), state | {"leaves": np.ones(60)},
        state | {"leaves": np.full(60, np.nan)},
    ]  # fmt: skip
    for other in others:
        with pytest.raises(InputError):
            buffer.set_state(other)
        assert (buffer.tree.total, buffer.size()) == (total, 40)


# -- SB3's own algorithms -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("window", [{}, {"n_steps": 3, "gamma": 0.99}])
@pytest.mark.parametrize("n_envs", [1, 2])
def test_sb3s_dqn_trains_saves_and_loads_with_it(tmp_path, window, n_envs):
    def run(seed):
        env = make_vec_env("CartPole-v1", n_envs, seed=seed)
        model = DQN(
            "MlpPolicy", env, buffer_size=50, learning_starts=20, seed=seed, device="cpu", batch_size=16,
            replay_buffer_class=PrioritizedReplayBuffer, replay_buffer_kwargs={"alpha": 0.5, **window},
            policy_kwargs={"net_arch": [8]},
        )  # fmt: skip
        return model.learn(120)

    model, again = run(0), run(0)
    for one, two in zip(model.policy.parameters(), again.policy.parameters(), strict=True):
        assert th.equal(one, two)
    buffer = model.replay_buffer
    assert isinstance(buffer.tree, SumTree)
    assert (buffer.tree[everything(buffer)] == 1).all()  # SB3 reports no errors: uniform, by strata
    model.save_replay_buffer(tmp_path / "buffer.pkl")
    model.save(tmp_path / "model.zip")
    loaded = DQN.load(tmp_path / "model.zip", env=model.env)
    loaded.load_replay_buffer(tmp_path / "buffer.pkl")
    assert loaded.replay_buffer.alpha == 0.5
    loaded.learn(40, reset_num_timesteps=False)
