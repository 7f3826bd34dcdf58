"""The six switches together: every pair learns and survives a file, and what a whole run owes to each of them."""

from __future__ import annotations

import copy
import pickle
import warnings
from itertools import combinations
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.buffers import DictReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.envs import BitFlippingEnv
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from sb3_course import CategoricalDQN, DoubleDQN, DuelingDQN, NoisyDQN, NStepDQN, PrioritizedDQN, Rainbow
from sb3_course.config.text import InputError
from sb3_course.value import acting

OFF: dict[str, Any] = {
    "double": False, "dueling": False, "noisy": False, "prioritized": False, "n_steps": 1, "n_atoms": 1,
}  # fmt: skip
ON: dict[str, Any] = {"double": True, "dueling": True, "noisy": True, "prioritized": True, "n_steps": 3, "n_atoms": 11}


def make(cls: type = Rainbow, env: Any = "CartPole-v1", policy: str = "MlpPolicy", **kwargs: Any) -> Any:
    settings: dict[str, Any] = {
        "learning_starts": 20, "batch_size": 16, "buffer_size": 300, "train_freq": 1, "learning_rate": 1e-3,
        "target_update_interval": 20, "v_min": 0.0, "v_max": 120.0, "seed": 0, "device": "cpu",
        "policy_kwargs": {"net_arch": [16]},
    }  # fmt: skip
    if cls in (Rainbow, CategoricalDQN):
        settings["n_atoms"] = 11
    return cls(policy, env, **(settings | kwargs))


def assert_same_networks(one: Any, two: Any) -> None:
    """Assert that weights, samples of the noise and the optimizer are the same, bit for bit."""
    mine, theirs = one.policy.state_dict(), two.policy.state_dict()
    assert mine.keys() == theirs.keys()
    for name in mine:
        assert th.equal(mine[name], theirs[name]), name
    for some, same in zip(one.policy.optimizer.state.values(), two.policy.optimizer.state.values(), strict=True):
        assert all(th.equal(some[key], same[key]) for key in ("step", "exp_avg", "exp_avg_sq"))


def assert_same_replay(one: Any, two: Any) -> None:
    """Assert that what was seen, its priorities and the position in the ring are the same."""
    mine, theirs = one.get_state(), two.get_state()
    assert mine.keys() == theirs.keys()
    for name in mine:
        np.testing.assert_array_equal(mine[name], theirs[name], err_msg=name)


def assert_refused(field: str, cls: type, **kwargs: Any) -> None:
    with pytest.raises(InputError, match=rf"^{field}: .+\Z"):  # a dot is no line break
        make(cls, **kwargs)


# -- combinations ---------------------------------------------------------------------------------------------------

PAIRS = list(combinations(ON, 2))


@pytest.mark.parametrize("others", [OFF, ON], ids=["on", "off"])
@pytest.mark.parametrize("pair", PAIRS, ids="+".join)
def test_any_two_switches_on_or_off_learn_and_survive_a_file(
    tmp_path: Any, pair: tuple[str, str], others: dict[str, Any]
) -> None:
    """On one class; the rest is the other way round."""
    changed = ON if others is OFF else OFF
    switches = {**others, **{name: changed[name] for name in pair}}
    model = make(DoubleDQN, **switches)
    before = copy.deepcopy(dict(model.q_net.named_parameters()))
    model.learn(50)
    assert all(not th.equal(before[name], weight) for name, weight in model.q_net.named_parameters())
    model.save(tmp_path / "model")
    loaded = DoubleDQN.load(tmp_path / "model", env=gym.make("CartPole-v1"), device="cpu")
    assert {name: getattr(loaded, name) for name in ON} == switches
    assert_same_networks(loaded, model)
    observations = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
    actions = [each.predict(observations, deterministic=True)[0] for each in (model, loaded)]
    np.testing.assert_array_equal(*actions)
    loaded.learn(10, reset_num_timesteps=False)
    assert (loaded.num_timesteps, loaded.replay_buffer.n_steps) == (60, switches["n_steps"])
    assert hasattr(loaded.replay_buffer, "tree") == switches["prioritized"]


BAD: list[dict[str, Any]] = [
    {"n_atoms": 0}, {"n_atoms": 2.5}, {"v_min": 1.0, "v_max": -1.0}, {"v_min": 120.0}, {"alpha": -0.1},
    {"beta0": 1.1}, {"n_steps": 0}, {"exploration_ladder": -1.0}, {"dueling": 1}, {"noisy": "yes"}, {"prioritized": 0},
]  # fmt: skip


@pytest.mark.parametrize("bad", BAD, ids=str)
@pytest.mark.parametrize("cls", [DuelingDQN, PrioritizedDQN, NStepDQN, NoisyDQN, CategoricalDQN, Rainbow])
def test_a_wrong_value_is_named_in_one_line_whatever_the_other_switches(cls: type, bad: dict[str, Any]) -> None:
    assert_refused(next(iter(bad)), cls, **bad)


# -- exploration ----------------------------------------------------------------------------------------------------


@pytest.fixture
def at_the_coin(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return a list that gets the ε of every toss, as it reaches the coin."""
    seen: list[Any] = []
    tossed = acting.epsilon_greedy

    def watched(rng: Any, epsilon: Any, *args: Any) -> Any:
        seen.append(epsilon)
        return tossed(rng, epsilon, *args)

    monkeypatch.setattr(acting, "epsilon_greedy", watched)
    return seen


@pytest.mark.parametrize("cls", [NoisyDQN, Rainbow])
@pytest.mark.parametrize("ladder", [0.0, 7.0])
def test_with_noise_the_coin_never_explores_and_without_it_does(
    at_the_coin: list[Any], cls: type, ladder: float
) -> None:
    """Whatever the exploration arguments say."""
    for noisy, rate in ((True, 0.0), (False, 1.0)):
        arguments = {"exploration_initial_eps": 1.0, "exploration_final_eps": 1.0, "exploration_ladder": ladder}
        make(cls, make_vec_env("CartPole-v1", 2), noisy=noisy, **arguments).learn(60)
        assert len(at_the_coin) == 20
        assert all(np.all(epsilon == rate) for epsilon in at_the_coin)
        at_the_coin.clear()


def test_env_i_of_the_ladder_explores_with_its_power_of_epsilon(at_the_coin: list[Any]) -> None:
    """ε_i = ε^(1 + 7i/3) for four envs, all along a falling ε; with a ladder of 0 it is ε for each."""
    schedule = {"exploration_initial_eps": 0.9, "exploration_final_eps": 0.1, "exploration_fraction": 0.5}
    model = make(DoubleDQN, make_vec_env("CartPole-v1", 4), exploration_ladder=7.0, **schedule).learn(200)
    # Step t acts with the ε that follows step t − 1: behind the warm-up of 20 the first toss has seen 20 of 200.
    rates = np.maximum(0.9 - 0.8 * np.arange(20, 200, 4) / 100, 0.1)
    expected = rates[:, None] ** (1 + 7.0 * np.arange(4) / 3)
    np.testing.assert_allclose(at_the_coin, expected, rtol=1e-12)
    assert model.exploration_rate == pytest.approx(0.1)
    at_the_coin.clear()
    make(DoubleDQN, make_vec_env("CartPole-v1", 4), exploration_ladder=0.0, **schedule).learn(200)
    np.testing.assert_allclose(np.broadcast_to(np.transpose([at_the_coin]), expected.shape), np.transpose([rates] * 4))


def test_one_env_stands_on_the_first_rung(at_the_coin: list[Any]) -> None:
    make(DoubleDQN, exploration_ladder=7.0, exploration_initial_eps=0.4, exploration_final_eps=0.4).learn(40)
    assert at_the_coin == [pytest.approx(0.4)] * 20


def test_every_env_of_the_ladder_tosses_a_coin_of_its_own() -> None:
    """ε = ½ and exponents 1, 2, 3: how often each env leaves the greedy action, and how often two do at once."""
    model = make(DoubleDQN, exploration_ladder=2.0)
    model.exploration_rate = 0.5
    observations = np.zeros((3, 4), dtype=np.float32)
    greedy = model.predict(observations, deterministic=True)[0]
    left = np.array([model.predict(observations)[0] != greedy for _ in range(3_000)])  # half of those who explore
    np.testing.assert_allclose(left.mean(0), [1 / 4, 1 / 8, 1 / 16], atol=0.025)
    assert (left[:, 0] & left[:, 1]).mean() == pytest.approx(1 / 32, abs=0.012)  # 1/16 of one common coin


# -- the support ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [CategoricalDQN, Rainbow])
def test_a_support_too_small_warns_once_and_one_that_fits_never(cls: type) -> None:
    """Rewards of 1 lie beyond ±0.5 for certain, and r + 0.99·z from 0 to 120 inside of it."""
    for low, high, least, most, times in ((-0.5, 0.5, 0.4, 1.0, 1), (0.0, 120.0, 0.0, 0.0, 0)):
        model = make(cls, v_min=low, v_max=high)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model.learn(80, log_interval=1_000)  # 60 updates, of which several are counted
            model.learn(80, log_interval=1_000)
        told = [str(warning.message) for warning in caught if "return distribution" in str(warning.message)]
        assert len(told) == times
        assert all("lies outside v_min=-0.5 ... v_max=0.5: widen the support" in text for text in told)
        assert least <= model.logger.name_to_value["train/clipped_mass"] <= most


# -- priorities -----------------------------------------------------------------------------------------------------


class Betas(BaseCallback):
    """Keep the buffer's β as a callback finds it at every step, and the step."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[int, float] = {}

    def _on_step(self) -> bool:
        self.seen[self.num_timesteps] = self.model.replay_buffer.beta
        return True


@pytest.mark.parametrize("cls", [PrioritizedDQN, Rainbow])
def test_beta_rises_from_its_start_to_1_with_the_env_steps_of_four_envs(cls: type) -> None:
    betas = Betas()
    model = make(cls, make_vec_env("CartPole-v1", 4), beta0=0.7).learn(200, callback=betas)
    trained = np.arange(28, 201, 4)  # a callback sees the β of the updates before its step, the first of them at 24
    np.testing.assert_allclose([betas.seen[step] for step in trained], 0.7 + 0.3 * (trained - 4) / 200, rtol=1e-12)
    assert {betas.seen[step] for step in range(4, 25, 4)} == {0.7}
    assert model.replay_buffer.beta == 1.0


@pytest.mark.parametrize("n_atoms", [1, 11])
def test_new_transitions_take_the_largest_error_of_the_run_so_far(n_atoms: int) -> None:
    """In every env; 1 until the first update, and never less afterwards."""
    env = make_vec_env("CartPole-v1", 3)
    model = make(PrioritizedDQN, env, n_atoms=n_atoms, learning_rate=0.02, v_max=20.0, buffer_size=150, gamma=0.9)
    buffer, add, update = model.replay_buffer, model.replay_buffer.add, model.replay_buffer.update
    largest, expected, found = [1.0], [], []

    def watched_update(indices: np.ndarray, priorities: np.ndarray) -> None:
        update(indices, priorities)
        largest.append(max(largest[-1], float(priorities.max()) + buffer.priority_eps))

    def watched_add(*args: Any) -> None:
        slot = buffer.pos
        add(*args)
        expected.append(largest[-1] ** model.alpha)
        found.append(buffer.tree[np.arange(3 * slot, 3 * slot + 3)])

    buffer.add, buffer.update = watched_add, watched_update
    model.learn(300)
    assert buffer.full
    np.testing.assert_allclose(found, np.transpose([expected] * 3), rtol=1e-6)
    assert len(np.unique(expected)) > 3


class Parts(gym.ObservationWrapper):
    """The pole as a Dict."""

    def __init__(self) -> None:
        super().__init__(gym.make("CartPole-v1"))
        part = spaces.Box(-np.inf, np.inf, (2,), np.float32)
        self.observation_space = spaces.Dict({"cart": part, "pole": part})

    def observation(self, observation: np.ndarray) -> dict[str, np.ndarray]:
        return {"cart": observation[:2], "pole": observation[2:]}


def test_dict_observations_windows_priorities_and_normalised_envs_learn_together() -> None:
    """Four envs; the learner gets what the statistics make of the windows, and weights that differ."""
    env = VecNormalize(DummyVecEnv([Parts] * 4), gamma=0.9)
    model = make(PrioritizedDQN, env, "MultiInputPolicy", n_steps=3, gamma=0.9, v_max=20.0).learn(400)
    assert model._n_updates > 90
    assert all(th.isfinite(weight).all() for weight in model.q_net.parameters())
    batch = model._replay.sample_batch(64, env)
    raw = model.replay_buffer.gather(batch.indices)
    for key, values in env.normalize_obs(raw.observations).items():
        np.testing.assert_array_equal(batch.observations[key], values)
        np.testing.assert_array_equal(batch.next_observations[key], env.normalize_obs(raw.next_observations)[key])
    np.testing.assert_allclose(batch.rewards, raw.rewards * env.normalize_reward(np.ones(1)), rtol=1e-5)
    np.testing.assert_allclose(np.unique(raw.rewards), [1.0, 1.9, 2.71])  # windows cut by ends among them
    assert np.ptp(batch.weights) > 0.05
    assert len(np.unique(model.replay_buffer.tree[np.arange(300)])) > 50
    assert set(batch.indices % 4) == {0, 1, 2, 3}


@pytest.mark.parametrize("cls", [PrioritizedDQN, Rainbow])
def test_a_prioritized_buffer_from_a_file_goes_on_as_the_one_in_memory(tmp_path: Any, cls: type) -> None:
    """Draws, weights, new priorities and what is learned from them."""
    model = make(cls, alpha=0.9).learn(120)
    model.save(tmp_path / "model")
    model.save_replay_buffer(tmp_path / "buffer")
    loaded = cls.load(tmp_path / "model", env=gym.make("CartPole-v1"), device="cpu")
    loaded.load_replay_buffer(tmp_path / "buffer")
    assert_same_replay(loaded.replay_buffer, model.replay_buffer)
    loaded.set_rng(copy.deepcopy(model.rng))
    loaded.set_logger(model.logger)
    before = model.replay_buffer.get_state()["leaves"]
    for each in (model, loaded):
        each.train(10, 16)
    assert_same_networks(loaded, model)
    assert_same_replay(loaded.replay_buffer, model.replay_buffer)
    assert (before != model.replay_buffer.get_state()["leaves"]).sum() > 25


@pytest.mark.parametrize("cls", [PrioritizedDQN, Rainbow])
def test_priorities_and_a_buffer_without_them_are_refused_in_one_line(cls: type) -> None:
    flipping = {"env": BitFlippingEnv(n_bits=4, continuous=False), "policy": "MultiInputPolicy"}
    assert_refused("prioritized", cls, replay_buffer_class=DictReplayBuffer, **flipping)
    assert_refused("optimize_memory_usage", cls, optimize_memory_usage=True)


# -- state ----------------------------------------------------------------------------------------------------------


def test_a_fresh_rainbow_goes_on_acting_and_learning_bit_for_bit_from_a_state() -> None:
    """Noise, draws, priorities, β and target: 80 more steps in a copy of the env end in equal weights and replay."""
    model, other = make(seed=0, env=make_vec_env("CartPole-v1", 2)), make(seed=7, env=make_vec_env("CartPole-v1", 2))
    model.learn(100)
    other.set_state(pickle.loads(pickle.dumps(model.get_state())))
    other.env, other._last_obs = copy.deepcopy(model.env), model._last_obs.copy()
    for each in (model, other):
        each.learn(80, reset_num_timesteps=False)
    assert model.num_timesteps == other.num_timesteps == 180
    assert_same_networks(other, model)
    assert_same_replay(other.replay_buffer, model.replay_buffer)
    assert other.rng.bit_generator.state == model.rng.bit_generator.state


def test_what_policy_kwargs_say_of_the_network_is_said_to_the_model() -> None:
    """sb3-contrib takes the width of its distributions there; a switch must not mean two things in one model."""
    asked = {"net_arch": [4], "n_atoms": 21, "v_min": -1.0, "noisy": False}
    model = Rainbow("MlpPolicy", "CartPole-v1", policy_kwargs=asked, exploration_initial_eps=1.0, device="cpu")
    assert (model.n_atoms, model.v_min, model.noisy) == (21, -1.0, False)
    assert (model.q_net.n_atoms, model.q_net.support[0].item(), model.q_net.noisy) == (21, -1.0, False)
    with pytest.raises(InputError, match=r"^n_atoms: not accepted \(got 0"):
        Rainbow("MlpPolicy", "CartPole-v1", policy_kwargs={"n_atoms": 0}, device="cpu")
