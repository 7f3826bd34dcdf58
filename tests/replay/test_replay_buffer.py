"""The replay buffer: storage, draws, state, normalisation, and use by SB3's own algorithms."""

import copy
import pickle
import sys
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from scipy import stats
from stable_baselines3 import DQN, SAC, TD3
from stable_baselines3.common.buffers import DictReplayBuffer, NStepReplayBuffer
from stable_baselines3.common.buffers import ReplayBuffer as SB3ReplayBuffer
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.envs import BitFlippingEnv, SimpleMultiObsEnv
from stable_baselines3.common.type_aliases import DictReplayBufferSamples, ReplayBufferSamples
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from sb3_course.config.text import InputError
from sb3_course.replay import Batch, ReplayBuffer

SPACES = {
    "box": spaces.Box(-1, 1, (3,)),
    "box64": spaces.Box(-1, 1, (2, 2), dtype=np.float64),
    "image": spaces.Box(0, 255, (2, 4, 4), dtype=np.uint8),
    "discrete": spaces.Discrete(7),
    "multi_discrete": spaces.MultiDiscrete([3, 4]),
    "multi_binary": spaces.MultiBinary(3),
    "dict": spaces.Dict({"a b": spaces.Box(-1, 1, (2,)), "n": spaces.Discrete(3), "bits": spaces.MultiBinary(2)}),
}
ACTIONS = {
    "discrete": spaces.Discrete(3),
    "box": spaces.Box(-1, 1, (2,)),
    "box64": spaces.Box(-1, 1, (2, 2), dtype=np.float64),
    "multi_binary": spaces.MultiBinary(4),
}


def fill(buffer, n_steps, seed=0, done=0.2):
    """Fill with random transitions of the buffer's own spaces, shaped as a VecEnv shapes them."""
    generator = np.random.default_rng(seed)
    observation_space, action_space = buffer.observation_space, buffer.action_space
    observation_space.seed(seed)
    action_space.seed(seed)

    def observe():
        rows = [observation_space.sample() for _ in range(buffer.n_envs)]
        if isinstance(observation_space, spaces.Dict):
            return {key: np.stack([row[key] for row in rows]) for key in observation_space.spaces}
        return np.stack(rows)

    for _ in range(n_steps):
        dones = generator.random(buffer.n_envs) < done
        buffer.add(
            observe(),
            observe(),
            np.stack([action_space.sample() for _ in range(buffer.n_envs)]),
            generator.normal(size=buffer.n_envs),
            dones,
            [{"TimeLimit.truncated": bool(flag and generator.random() < 0.5)} for flag in dones],
        )
    return buffer


def make(cls=ReplayBuffer, observation="box", action="discrete", size=60, n_envs=1, steps=40, **kwargs):
    spaces_of = copy.deepcopy((SPACES[observation], ACTIONS[action]))
    return fill(cls(size, *spaces_of, device="cpu", n_envs=n_envs, **kwargs), steps)


def assert_same(mine, theirs):
    """Assert equality of nested observations, tensors and arrays: values, shapes and types."""
    if isinstance(theirs, dict):
        assert mine.keys() == theirs.keys()
        for key in theirs:
            assert_same(mine[key], theirs[key])
    elif theirs is None:
        assert mine is None
    else:
        assert mine.dtype == theirs.dtype
        assert mine.shape == theirs.shape
        np.testing.assert_array_equal(np.asarray(mine), np.asarray(theirs))


# -- storage --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("observation", SPACES)
@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("n_envs", [1, 3])
def test_what_is_stored_and_sampled_is_what_sb3_stores_and_samples(observation, action, n_envs):
    cls = DictReplayBuffer if observation == "dict" else SB3ReplayBuffer
    mine, theirs = (make(c, observation, action, n_envs=n_envs) for c in (ReplayBuffer, cls))
    assert (mine.pos, mine.full, mine.buffer_size) == (theirs.pos, theirs.full, theirs.buffer_size)
    for name in ("observations", "next_observations", "actions", "rewards", "dones", "timeouts"):
        assert_same(getattr(mine, name), getattr(theirs, name))
    # SB3 draws slots and envs from NumPy's global generator: the same indices, handed to ours
    np.random.seed(5)  # noqa: NPY002
    reference = theirs.sample(200)
    np.random.seed(5)  # noqa: NPY002
    slots = np.random.randint(0, mine.size(), size=200)  # noqa: NPY002
    envs = np.random.randint(0, n_envs, size=200)  # noqa: NPY002
    samples = mine._samples(*mine._gather(slots * n_envs + envs, None))
    assert type(samples) is type(reference)
    for name in reference._fields:
        assert_same(getattr(samples, name), getattr(reference, name))


@pytest.mark.parametrize("n_envs", [1, 2])
def test_sb3s_attributes_are_views_that_can_be_written(n_envs):
    buffer = make(n_envs=n_envs)
    buffer.dones[3, 0] = 1
    buffer.rewards[3, 0] = 42
    buffer.observations[3, 0] = 0.5
    batch = buffer.gather(np.array([3 * n_envs]))
    assert batch.rewards == [42]
    np.testing.assert_array_equal(batch.observations, [[0.5] * 3])


def test_reset_empties_the_buffer_and_extend_fills_it():
    buffer = make(steps=100)
    buffer.reset()
    assert buffer.size() == 0
    other = make(steps=10)
    infos = [[{"TimeLimit.truncated": flag}] for flag in other.timeouts]
    fields = (other.observations, other.next_observations, other.actions, other.rewards, other.dones)
    buffer.extend(*(field[:10] for field in fields), infos[:10])
    np.testing.assert_array_equal(buffer.rewards[:10], other.rewards[:10])
    np.testing.assert_array_equal(buffer.timeouts[:10], other.timeouts[:10])


def test_a_batch_says_what_it_holds():
    buffer = make(n_envs=2, gamma=0.9, rng=np.random.default_rng(0))
    batch = buffer.sample_batch(333)
    assert isinstance(batch, Batch)
    assert batch.observations.shape == batch.next_observations.shape == (333, 3)
    assert batch.actions.shape == (333, 1)
    for field in (batch.rewards, batch.discounts, batch.weights):
        assert field.shape == (333,)
        assert field.dtype == np.float32
    assert set(np.unique(batch.discounts)) == {np.float32(0), np.float32(0.9)}
    assert batch.indices.shape == (333,)
    assert buffer.update(batch.indices, batch.rewards) is None


# -- draws ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n_envs", "steps"), [(1, 17), (3, 7), (3, 50)])
def test_every_stored_transition_is_drawn_equally_often(n_envs, steps):
    """Chi-square over (slot, env), partly filled and wrapped; nothing outside is ever drawn."""
    buffer = make(size=33, n_envs=n_envs, steps=steps, rng=np.random.default_rng(0))
    stored = buffer.size() * n_envs
    counts = np.bincount(np.concatenate([buffer.draw(50) for _ in range(40 * stored)]), minlength=stored)
    assert len(counts) == stored
    assert stats.chisquare(counts).pvalue > 1e-3


def test_the_draw_is_one_call_of_the_generator_it_was_given():
    buffer = make(n_envs=3, rng=np.random.default_rng(7))
    expected = np.random.default_rng(7).integers(buffer.size() * 3, size=32)
    np.testing.assert_array_equal(buffer.sample_batch(32).indices, expected)


def test_without_a_generator_it_draws_from_a_child_of_the_action_spaces():
    draws = []
    for seed in (3, 3, 4):
        space = spaces.Discrete(3)
        space.seed(seed)
        untouched = copy.deepcopy(space)
        buffer = ReplayBuffer(50, SPACES["box"], space, device="cpu")
        assert [space.sample() for _ in range(20)] == [untouched.sample() for _ in range(20)]
        draws.append(fill(buffer, 50).draw(20).tolist())
    assert draws[0] == draws[1] != draws[2]


def test_two_buffers_of_one_action_space_draw_differently():
    space = spaces.Discrete(3)
    space.seed(0)
    buffers = [ReplayBuffer(50, SPACES["box"], space, device="cpu") for _ in range(2)]
    draws = [fill(buffer, 50).draw(20).tolist() for buffer in buffers]
    assert draws[0] != draws[1]


def test_sampling_leaves_numpys_global_generator_alone():
    buffer = make()
    np.random.seed(1)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    buffer.sample(10)
    buffer.sample_batch(10)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


# -- Dict observations ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_envs", [1, 3])
def test_windows_of_dict_observations_are_those_of_arrays(n_envs):
    """SB3 refuses n-step returns for Dict observations; here the dict of one key equals the array under it."""
    plain = make(n_envs=n_envs, n_steps=3, gamma=0.9)
    observation = spaces.Dict({"x": SPACES["box"], "n": spaces.Discrete(9)})
    mixed = ReplayBuffer(60, observation, ACTIONS["discrete"], device="cpu", n_envs=n_envs, n_steps=3, gamma=0.9)
    for name in ("actions", "rewards", "dones", "timeouts"):
        getattr(mixed, name)[:] = getattr(plain, name)
    mixed.observations["x"][:], mixed.next_observations["x"][:] = plain.observations, plain.next_observations
    mixed.observations["n"][:] = np.arange(mixed.buffer_size)[:, None, None] % 9
    mixed.pos, mixed.full = plain.pos, plain.full
    indices = np.arange(plain.size() * n_envs)
    one, two = plain.gather(indices), mixed.gather(indices)
    for name in ("actions", "rewards", "discounts"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    np.testing.assert_array_equal(one.observations, two.observations["x"])
    np.testing.assert_array_equal(one.next_observations, two.next_observations["x"])
    np.testing.assert_array_equal(two.observations["n"][:, 0], indices // n_envs % 9)
    assert isinstance(mixed.sample(5), DictReplayBufferSamples)
    assert isinstance(plain.sample(5), ReplayBufferSamples)


# -- normalisation --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_steps", [1, 3])
@pytest.mark.parametrize("make_env", [lambda: gym.make("CartPole-v1"), lambda: SimpleMultiObsEnv(random_start=True)])
def test_samples_are_normalised_with_the_statistics_of_now_as_sb3_does(n_steps, make_env):
    norm_obs_keys = None if make_env().observation_space.shape else ["vec"]
    env = VecNormalize(DummyVecEnv([make_env] * 2), gamma=0.9, norm_obs_keys=norm_obs_keys)
    kind = {"device": "cpu", "n_envs": 2}
    mine = ReplayBuffer(100, env.observation_space, env.action_space, **kind, n_steps=n_steps, gamma=0.9)
    classes = {1: SB3ReplayBuffer, 3: NStepReplayBuffer}
    is_dict = isinstance(env.observation_space, spaces.Dict)
    theirs = None
    if not (is_dict and n_steps > 1):
        window = {"n_steps": 3, "gamma": 0.9} if n_steps > 1 else {}
        cls = DictReplayBuffer if is_dict else classes[n_steps]
        theirs = cls(100, env.observation_space, env.action_space, **kind, **window)
    env.seed(0)
    env.reset()
    observation = env.get_original_obs()
    for _ in range(60):
        actions = np.array([env.action_space.sample() for _ in range(2)])
        _, _, dones, infos = env.step(actions)
        following = env.get_original_obs()
        for buffer in filter(None, (mine, theirs)):
            buffer.add(observation, following, actions, env.get_original_reward(), dones, infos)
        observation = following
    indices = np.arange(mine.size() * 2)
    raw, normalised = mine.gather(indices), mine.gather(indices, env)
    assert_same(normalised.observations, env.normalize_obs(raw.observations))
    assert_same(normalised.next_observations, env.normalize_obs(raw.next_observations))
    if n_steps == 1:
        np.testing.assert_array_equal(normalised.rewards, env.normalize_reward(raw.rewards).astype(np.float32))
    np.testing.assert_array_equal(normalised.discounts, raw.discounts)
    if theirs is not None:
        slots, envs = np.divmod(indices, 2)
        with pytest.MonkeyPatch.context() as monkeypatch:
            monkeypatch.setattr(np.random, "randint", lambda *args, **kwargs: envs)
            reference = theirs._get_samples(slots, env)
        samples = mine._samples(*mine._gather(indices, env))
        for name in reference._fields:
            assert_same(getattr(samples, name), getattr(reference, name))


# -- copies and state -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda buffer: pickle.loads(pickle.dumps(buffer))])
@pytest.mark.parametrize("observation", ["box", "dict", "discrete"])
def test_a_copy_is_a_buffer_of_its_own_whose_views_share_its_memory(copied, observation):
    buffer = make(observation=observation, n_envs=2, n_steps=3)
    twin = copied(buffer)
    assert not np.shares_memory(twin._storage.table, buffer._storage.table)
    views = [twin.actions, twin.rewards, twin.dones, twin.timeouts]
    for observations in (twin.observations, twin.next_observations):
        views += list(observations.values()) if isinstance(observations, dict) else [observations]
    assert all(np.shares_memory(view, twin._storage.table) for view in views)
    one, two = buffer.sample_batch(64), twin.sample_batch(64)  # the generator was copied, too
    for mine, theirs in zip(one, two, strict=True):
        assert_same(mine, theirs)
    fill(twin, 5, seed=1)
    assert twin.pos != buffer.pos
    twin.rewards[0, 0] = 99
    assert twin.gather(np.array([0])).rewards != buffer.gather(np.array([0])).rewards


@pytest.mark.parametrize("steps", [0, 3, 20, 21, 47])
@pytest.mark.parametrize("observation", ["box", "dict"])
def test_a_restored_state_goes_on_as_if_nothing_had_happened(steps, observation):
    kwargs = {"observation": observation, "size": 40, "n_envs": 2, "n_steps": 3}
    buffer, other = make(steps=steps, **kwargs), make(steps=33, **kwargs)
    state = buffer.get_state()
    assert state["rows"].shape == (min(steps, 20), 2)
    other.set_state(pickle.loads(pickle.dumps(state)))
    for twin in (buffer, other):
        fill(twin, 7, seed=9)
    assert (buffer.pos, buffer.full) == (other.pos, other.full)
    indices = np.arange(buffer.size() * 2)
    for mine, theirs in zip(buffer.gather(indices), other.gather(indices), strict=True):
        assert_same(mine, theirs)


def test_the_state_is_a_copy():
    buffer = make()
    state = buffer.get_state()
    kept = state["rows"].copy()
    fill(buffer, 10, seed=4)
    np.testing.assert_array_equal(state["rows"], kept)


@pytest.mark.parametrize("other", [{"observation": "dict"}, {"size": 30}, {"n_envs": 2}, {"n_envs": 2, "size": 80}])
def test_the_state_of_another_buffer_is_refused(other):
    with pytest.raises(InputError, match="replay buffer"):
        make(**other).set_state(make().get_state())


# -- bad arguments --------------------------------------------------------------------------------------------------


def test_bad_arguments_are_refused_in_one_line():
    with pytest.raises(InputError, match=r"^n_steps: .*got 0"):
        make(n_steps=0)
    with pytest.raises(InputError, match=r"^optimize_memory_usage: .*want False"):
        make(optimize_memory_usage=True)
    with pytest.raises(InputError, match=r"^replay buffer: .*got '?0 transitions"):
        make(steps=0).sample_batch(3)
    with pytest.raises(ValueError, match=r"."):
        make(steps=0).sample(3)


def test_a_buffer_larger_than_memory_is_warned_about(monkeypatch):
    psutil = SimpleNamespace(virtual_memory=lambda: SimpleNamespace(available=10))
    monkeypatch.setitem(sys.modules, "psutil", psutil)
    with pytest.warns(UserWarning, match="not have apparently enough memory"):
        make()


def test_capacity_is_shared_out_among_the_envs():
    assert make(size=10, n_envs=3).buffer_size == 3
    assert make(size=2, n_envs=3).buffer_size == 1


# -- SB3's own algorithms -------------------------------------------------------------------------------------------


def train(cls, env, steps=60, seed=0, **kwargs):
    kwargs = {"buffer_size": 50, "learning_starts": 20, "policy_kwargs": {"net_arch": [8]}} | kwargs
    policy = "MultiInputPolicy" if isinstance(getattr(env, "observation_space", None), spaces.Dict) else "MlpPolicy"
    model = cls(policy, env, seed=seed, device="cpu", batch_size=16, **kwargs)
    return model.learn(steps)


def weights(model):
    return th.cat([parameter.detach().flatten() for parameter in model.policy.parameters()])


@pytest.mark.parametrize(("cls", "env"), [(DQN, "CartPole-v1"), (SAC, "Pendulum-v1"), (TD3, "Pendulum-v1")])
@pytest.mark.parametrize("window", [{}, {"n_steps": 3, "gamma": 0.97}])
def test_sb3s_algorithms_train_with_it_reproducibly(cls, env, window):
    runs = [
        train(cls, env, seed=seed, gamma=0.97, replay_buffer_class=ReplayBuffer, replay_buffer_kwargs=dict(window))
        for seed in (0, 0, 1)
    ]
    assert isinstance(runs[0].replay_buffer, ReplayBuffer)
    assert runs[0]._n_updates > 0
    assert th.equal(weights(runs[0]), weights(runs[1]))
    assert not th.equal(weights(runs[0]), weights(runs[2]))


class GlobalOrder:
    """NumPy's global generator in the order in which SB3's buffers use it: slots, then envs."""

    def integers(self, high, size):
        draw = np.random.randint(0, high, size=size)  # noqa: NPY002
        np.random.randint(0, 1, size=size)  # noqa: NPY002
        return draw


@pytest.mark.parametrize(("cls", "env"), [(DQN, "CartPole-v1"), (SAC, "Pendulum-v1"), (TD3, "Pendulum-v1")])
@pytest.mark.parametrize("n_steps", [1, 3])
def test_sb3s_algorithms_learn_bit_for_bit_what_they_learn_from_their_own_buffer(cls, env, n_steps):
    window = {"n_steps": n_steps, "gamma": 0.97, "rng": GlobalOrder()}
    ours = train(cls, env, gamma=0.97, replay_buffer_class=ReplayBuffer, replay_buffer_kwargs=window)
    theirs = train(cls, env, gamma=0.97, n_steps=n_steps)
    assert type(theirs.replay_buffer) is (NStepReplayBuffer if n_steps > 1 else SB3ReplayBuffer)
    assert th.equal(weights(ours), weights(theirs))


@pytest.mark.parametrize("n_steps", [1, 3])
def test_sb3s_algorithms_take_dict_observations_from_it(n_steps):
    env = make_vec_env(BitFlippingEnv, 2, env_kwargs={"n_bits": 4, "continuous": True})
    model = train(SAC, env, replay_buffer_class=ReplayBuffer, replay_buffer_kwargs={"n_steps": n_steps})
    assert model._n_updates > 0


def test_sb3s_algorithms_save_and_load_it(tmp_path):
    model = train(SAC, "Pendulum-v1", replay_buffer_class=ReplayBuffer, replay_buffer_kwargs={"n_steps": 3})
    model.save(tmp_path / "model.zip")
    model.save_replay_buffer(tmp_path / "buffer.pkl")
    loaded = SAC.load(tmp_path / "model.zip", env=gym.make("Pendulum-v1"))
    loaded.load_replay_buffer(tmp_path / "buffer.pkl")
    assert (loaded.replay_buffer.n_steps, loaded.replay_buffer.pos) == (3, model.replay_buffer.pos)
    loaded.learn(30, reset_num_timesteps=False)
