"""State from files that does not fit the model: converted with the right values, or refused with the difference."""

import numpy as np
import pytest
import torch as th
from stable_baselines3 import DQN
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.envs import BitFlippingEnv
from stable_baselines3.her.her_replay_buffer import HerReplayBuffer

from sb3_course import CategoricalDQN, DoubleDQN, NStepDQN, PrioritizedDQN, Rainbow
from sb3_course.config.errors import InputError
from sb3_course.replay import PrioritizedReplayBuffer, ReplayBuffer

SMALL = {"seed": 0, "device": "cpu", "buffer_size": 50, "learning_starts": 10, "policy_kwargs": {"net_arch": [4]}}


def make(cls, env="CartPole-v1", **kwargs):
    return cls("MlpPolicy", env, **SMALL | kwargs)


@pytest.fixture
def moved(tmp_path):
    """Return a function that hands one model's replay buffer to another by a file."""

    def move(one, other):
        trusted = {"trust_pickle": True} if type(one) is DQN else {}  # SB3 pickles
        path = tmp_path / f"buffer.{'pkl' if trusted else 'npz'}"
        one.save_replay_buffer(path)
        if trusted:
            with pytest.raises(InputError, match=r"the file is a pickle.*want trust_pickle=True"):
                other.load_replay_buffer(path)
        other.load_replay_buffer(path, **trusted)
        return other

    return move


def rows(model):
    buffer = model.replay_buffer
    names = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")
    return [np.array(getattr(buffer, name)[: buffer.size()], dtype=float) for name in names]


# -- replay buffers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [40, 70])
@pytest.mark.parametrize("source", [DoubleDQN, DQN])
def test_uniform_rows_in_a_prioritized_model_are_drawn_by_its_priorities(moved, source, steps):
    one = make(source).learn(steps)
    model = moved(one, make(Rainbow, alpha=0.5))
    buffer, n = model.replay_buffer, min(steps, 50)
    assert type(buffer) is PrioritizedReplayBuffer
    assert (buffer.size(), buffer.pos, buffer.alpha, buffer.n_steps) == (n, one.replay_buffer.pos, 0.5, 3)
    for mine, theirs in zip(rows(model), rows(one), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    np.testing.assert_array_equal(buffer.probabilities(np.arange(n)), np.full(n, 1 / n))
    buffer.update(np.array([3]), np.array([16.0]))  # √16 of a sum of n − 1 + 4
    assert buffer.probabilities(np.array([3]))[0] == pytest.approx(4 / (n + 3), rel=1e-6)
    model.learn(30, reset_num_timesteps=False)
    assert model._n_updates > 0


def test_prioritized_rows_in_a_uniform_model_are_drawn_alike(moved):
    one = make(PrioritizedDQN).learn(40)
    model = moved(one, make(DoubleDQN, prioritized=False))
    assert type(model.replay_buffer) is ReplayBuffer
    assert set(model._replay.sample_batch(20).weights.tolist()) == {1.0}
    np.testing.assert_array_equal(rows(model)[0], rows(one)[0])
    model.learn(30, reset_num_timesteps=False)


@pytest.mark.parametrize(("alpha", "expected"), [(0.6, 0.6), (0.3, 0.3), (0.0, 0.0)])
def test_priorities_keep_their_size_under_another_alpha(moved, alpha, expected):
    one = make(PrioritizedDQN, alpha=0.6, train_freq=1, learning_starts=8).learn(9)
    one.replay_buffer.update(np.arange(9), np.arange(9.0))
    buffer = moved(one, make(PrioritizedDQN, alpha=alpha)).replay_buffer
    powers = (np.arange(9) + 1e-6) ** expected
    assert buffer.alpha == alpha
    np.testing.assert_allclose(buffer.probabilities(np.arange(9)), powers / powers.sum(), rtol=1e-9)
    assert buffer.max_priority == pytest.approx(8 + 1e-6)


def test_hindsight_keeps_its_episodes_with_and_without_priorities(moved):
    hindsight = {"replay_buffer_class": HerReplayBuffer, "learning_starts": 20}

    def made(cls):
        return cls("MultiInputPolicy", BitFlippingEnv(n_bits=4, continuous=False, max_steps=4), **SMALL | hindsight)

    one = made(NStepDQN).learn(30)
    finished = np.flatnonzero(one.replay_buffer._episodes.lengths)
    two = moved(one, made(Rainbow))
    np.testing.assert_array_equal(np.flatnonzero(two.replay_buffer.tree[np.arange(50)]), finished)
    three = moved(two, made(NStepDQN))
    assert type(three.replay_buffer) is type(one.replay_buffer) is not type(two.replay_buffer)
    np.testing.assert_array_equal(np.unique(three.replay_buffer.draw(2_000)), finished)
    for model in (two, three):
        model.learn(20, reset_num_timesteps=False)
    with pytest.raises(InputError, match="its rows are not those of the model's class"):
        moved(made(DQN), two)


def test_the_transitions_of_something_else_are_refused_and_nothing_changes(moved):
    model = make(NStepDQN).learn(20)
    before = model.replay_buffer
    for other, words in (
        (make(DoubleDQN, "Acrobot-v1"), "another observation_space"),
        (make(DoubleDQN, make_vec_env("CartPole-v1", 2)), r"another n_envs \(got 2, want 1\)"),
        (make(DoubleDQN, buffer_size=2), r"n_steps: .*\(got 3, want at most 2"),
        (make(DQN, optimize_memory_usage=True, replay_buffer_kwargs={"handle_timeout_termination": False}), "rows"),
    ):
        with pytest.raises(InputError, match=words):
            moved(other, model)
        assert model.replay_buffer is before


def test_the_state_of_prioritized_draws_is_not_lost_in_uniform_ones():
    state = make(PrioritizedDQN).learn(20).get_state()
    with pytest.raises(InputError, match="the state has priorities"):
        make(DoubleDQN).set_state(state)


@pytest.mark.parametrize("kwargs", [{"beta": 0.9, "alpha": 0.2}, {"beta": 0.9}], ids=str)
def test_what_is_asked_of_the_replay_buffer_itself_wins(kwargs):
    model = make(PrioritizedDQN, beta0=0.1, alpha=0.7, replay_buffer_kwargs=kwargs)
    assert (model.replay_buffer.alpha, model.replay_buffer.beta) == (kwargs.get("alpha", 0.7), 0.9)
    model.learn(20)
    model.replay_buffer.progress(1.0)
    assert model.replay_buffer.beta == pytest.approx(0.9)
    model.replay_buffer.progress(0.5)
    assert model.replay_buffer.beta == pytest.approx(0.95)


# -- supports ---------------------------------------------------------------------------------------------------------


def supports(model):
    """Return the ends of every support that a model has, as a set: one where there is one truth."""
    found = [model.q_net.support, model.q_net_target.support, model._learner.estimate.held["support"]]
    found.append(model._actor._estimate.held["support"])
    return {(float(z[0]), float(z[-1])) for z in found} | {(model.v_min, model.v_max)}


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_weights_bring_their_support_along(backend, tmp_path):
    one = make(CategoricalDQN, v_min=-3.0, v_max=7.0, backend=backend)
    other = make(CategoricalDQN, v_min=0.0, v_max=100.0, backend=backend)
    observations = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    other.set_parameters(one.get_parameters())
    assert supports(other) == {(-3.0, 7.0)}
    third = make(CategoricalDQN, v_min=0.0, v_max=100.0, backend=backend)
    third.set_state(one.get_state())
    assert supports(third) == {(-3.0, 7.0)}
    other.save(tmp_path / "model")
    loaded = CategoricalDQN.load(tmp_path / "model")
    assert supports(loaded) == {(-3.0, 7.0)}
    for model in (other, third, loaded):
        actions = [each.predict(observations, deterministic=True)[0] for each in (one, model)]
        np.testing.assert_array_equal(*actions)
    with pytest.raises(InputError, match=r"v_max: not that of the networks \(got 50.0, want 7.0\)"):
        CategoricalDQN.load(tmp_path / "model", v_max=50.0)
    assert supports(CategoricalDQN.load(tmp_path / "model", v_max=7.0)) == {(-3.0, 7.0)}


# -- what is given to load --------------------------------------------------------------------------------------------


def test_a_model_that_is_to_act_only_needs_no_memory(tmp_path):
    model = make(Rainbow, buffer_size=1_000).learn(20)
    model.save(tmp_path / "model")
    loaded = Rainbow.load(tmp_path / "model", buffer_size=1)
    assert (loaded.replay_buffer.buffer_size, loaded.replay_buffer.n_steps) == (3, 3)
    observations = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    actions = [each.predict(observations, deterministic=True)[0] for each in (model, loaded)]
    np.testing.assert_array_equal(*actions)
    with pytest.raises(InputError, match="n_steps: a window cannot be longer"):
        make(Rainbow, buffer_size=1)


def test_a_loaded_buffer_is_on_the_models_device(tmp_path):
    model = make(DoubleDQN).learn(30)
    model.save_replay_buffer(tmp_path / "buffer.pkl")
    model.device = th.device("meta")  # a device that every machine has
    model.load_replay_buffer(tmp_path / "buffer.pkl")
    assert model.replay_buffer.device == model.device
