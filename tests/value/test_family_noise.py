"""Noise in the engine: whose sample is used when, where it comes from, and that watching a run changes nothing."""

from __future__ import annotations

import copy
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env

from sb3_course import CategoricalDQN, DoubleDQN, DuelingDQN, NoisyDQN, Rainbow
from sb3_course.networks import noisy_layers

OPTIONS = [{}, {"kind": "independent"}, {"noise": "activations"}]
CASES = [
    *(pytest.param(NoisyDQN, {"noisy_kwargs": options}, id=str(options)) for options in OPTIONS),
    pytest.param(DuelingDQN, {}, id="dueling"),
    pytest.param(CategoricalDQN, {}, id="c51"),
    pytest.param(Rainbow, {}, id="rainbow"),
]


def make(cls: type, policy_kwargs: dict[str, Any] | None = None, **kwargs: Any) -> Any:
    settings: dict[str, Any] = {
        "noisy": True, "learning_starts": 20, "batch_size": 16, "buffer_size": 300, "train_freq": 1,
        "learning_rate": 1e-3, "target_update_interval": 50, "v_min": 0.0, "v_max": 100.0, "n_atoms": 1, "seed": 0,
        "device": "cpu",
    }  # fmt: skip
    if cls in (CategoricalDQN, Rainbow):
        settings["n_atoms"] = 11
    policy_kwargs = {"net_arch": [16], **(policy_kwargs or {})}
    env = kwargs.pop("env", "CartPole-v1")
    return cls("MlpPolicy", env, policy_kwargs=policy_kwargs, **(settings | kwargs))


def noise_of(net: Any) -> np.ndarray:
    """Return the sample of every noisy layer, one after the other."""
    return np.concatenate([layer.noise.numpy() for layer in noisy_layers(net)]).copy()


def assert_same_weights(one: Any, two: Any) -> None:
    mine, theirs = one.policy.state_dict(), two.policy.state_dict()
    assert mine.keys() == theirs.keys()
    for name in mine:  # the samples of the noise among them
        assert th.equal(mine[name], theirs[name]), name


class Evaluate(BaseCallback):
    """Predict at every step, deterministically."""

    def __init__(self) -> None:
        super().__init__()
        self.observations = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)

    def _on_step(self) -> bool:
        first, _ = self.model.predict(self.observations, deterministic=True)
        again, _ = self.model.predict(self.observations, deterministic=True)
        np.testing.assert_array_equal(first, again)
        return True


@pytest.mark.parametrize(("cls", "policy_kwargs"), CASES)
def test_evaluating_every_step_leaves_the_run_bit_equal(cls: type, policy_kwargs: dict[str, Any]) -> None:
    runs = [make(cls, policy_kwargs).learn(200, callback=callback) for callback in (None, Evaluate())]
    assert_same_weights(*runs)
    assert runs[0]._n_updates == 180
    np.testing.assert_array_equal(*(run.replay_buffer.actions for run in runs))
    assert runs[0].rng.bit_generator.state == runs[1].rng.bit_generator.state


@pytest.mark.parametrize(("cls", "policy_kwargs"), CASES)
def test_deterministic_predictions_are_those_of_the_means_and_leave_sample_and_generator(
    cls: type, policy_kwargs: dict[str, Any]
) -> None:
    model = make(cls, policy_kwargs).learn(100)
    sample, state = noise_of(model.q_net), copy.deepcopy(model.rng.bit_generator.state)
    observations = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)
    actions, _ = model.predict(observations, deterministic=True)
    means = copy.deepcopy(model.q_net)
    for layer in noisy_layers(means):
        layer.zero_noise()
    with th.no_grad():
        expected = means(th.tensor(observations)).argmax(1).numpy()
    np.testing.assert_array_equal(actions, expected)
    np.testing.assert_array_equal(noise_of(model.q_net), sample)
    assert sample.any()
    assert model.rng.bit_generator.state == state


def test_other_predictions_explore_by_a_new_sample_each() -> None:
    """Near a tie, which the noise decides: both actions are chosen, and never by a coin."""
    model = make(NoisyDQN).learn(60)
    with th.no_grad():
        for parameter in model.q_net.q_net[-1].parameters():
            parameter.zero_()
        model.q_net.q_net[-1].bias_sigma.fill_(1.0)
    observation = np.zeros(4, dtype=np.float32)
    samples, actions = [], []
    for _ in range(100):
        actions.append(int(model.predict(observation)[0]))
        samples.append(noise_of(model.q_net))
        assert actions[-1] == int(samples[-1][-2:].argmax())  # the values are the noise on the biases
    assert 20 < sum(actions) < 80
    assert len(np.unique(samples, axis=0)) == 100


def test_every_collected_action_has_a_new_sample() -> None:
    """One sample a step, shared by the envs that step at once."""

    class Samples(BaseCallback):
        def __init__(self) -> None:
            super().__init__()
            self.seen: list[np.ndarray] = []

        def _on_step(self) -> bool:
            self.seen.append(noise_of(self.model.q_net))
            return True

    samples = Samples()
    make(NoisyDQN, env=make_vec_env("CartPole-v1", 3), train_freq=1_000, learning_starts=30).learn(90, callback=samples)
    assert not np.concatenate(samples.seen[:10]).any()  # the warm-up acts at random
    assert len(np.unique(samples.seen[10:], axis=0)) == len(samples.seen) - 10 > 0


# -- one update -----------------------------------------------------------------------------------------------------


def watch(model: Any) -> list[tuple[str, np.ndarray]]:
    """Return a list that gets the sample of every forward pass of an update: (who asked, noise)."""
    seen: list[tuple[str, np.ndarray]] = []
    backend = model._backend
    forward, evaluate = backend.forward, backend.evaluate

    def watched_forward(observations: Any) -> Any:
        seen.append(("forward", noise_of(model.q_net)))
        return forward(observations)

    def watched_evaluate(observations: Any, net: str = "online") -> Any:
        seen.append((net, noise_of(model.q_net if net == "online" else model.q_net_target)))
        return evaluate(observations, net)

    backend.forward, backend.evaluate = watched_forward, watched_evaluate
    backend.replay_steps = lambda *asked: None  # one by one, or there is nothing to watch
    return seen


@pytest.mark.parametrize(("cls", "policy_kwargs"), CASES)
def test_choice_target_and_loss_have_samples_of_their_own_and_so_has_every_update(
    cls: type, policy_kwargs: dict[str, Any]
) -> None:
    model = make(cls, policy_kwargs, double=True).learn(60)
    seen = watch(model)
    model.train(3, 16)
    assert [name for name, _ in seen] == ["target", "online", "forward"] * 3
    samples = np.array([noise for _, noise in seen])
    assert (samples != 0).all()
    for i, one in enumerate(samples):
        for other in samples[:i]:
            assert (one != other).all()


def test_without_double_the_target_network_chooses_by_the_sample_it_is_judged_by() -> None:
    model = make(NoisyDQN).learn(60)
    seen = watch(model)
    model.train(2, 16)
    assert [name for name, _ in seen] == ["target", "forward"] * 2
    assert len(np.unique([noise for _, noise in seen], axis=0)) == 4


def test_a_plain_network_draws_no_noise() -> None:
    model = make(DoubleDQN, noisy=False)
    model.set_rng(Recorded())
    model.learn(60)
    assert model.rng.count("standard_normal") == 0
    assert model.rng.count("random") == 40


# -- epsilon --------------------------------------------------------------------------------------------------------


class Rates(BaseCallback):
    """Keep the exploration rate after every step."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[float] = []

    def _on_step(self) -> bool:
        self.seen.append(self.model.exploration_rate)
        return True


@pytest.mark.parametrize("cls", [NoisyDQN, Rainbow])
def test_noise_takes_the_place_of_epsilon(cls: type) -> None:
    """The rate is 0 whatever the schedule says; switched off, the schedule is back."""
    rates = Rates()
    model = make(cls, exploration_initial_eps=1.0, exploration_final_eps=0.5).learn(60, callback=rates)
    assert model.exploration_rate == 0
    assert set(rates.seen[1:]) == {0.0}
    plain = make(cls, noisy=False, exploration_initial_eps=1.0, exploration_final_eps=0.5).learn(60)
    assert plain.exploration_rate == 0.5


# -- where it comes from --------------------------------------------------------------------------------------------


class Recorded:
    """A generator that counts what it gives."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.calls: list[tuple[str, Any]] = []

    def count(self, name: str) -> int:
        return sum(call == name for call, _ in self.calls)

    def random(self, size: Any) -> Any:
        self.calls.append(("random", size))
        return self.rng.random(size)

    def integers(self, high: int, size: Any) -> Any:
        self.calls.append(("integers", size))
        return self.rng.integers(high, size=size)

    def standard_normal(self, size: Any) -> Any:
        self.calls.append(("standard_normal", size))
        return self.rng.standard_normal(size)


@pytest.mark.parametrize(("backend", "draws"), [("torch", 2), ("numpy", 1)])
def test_every_number_of_the_noise_comes_from_the_models_generator(backend: str, draws: int) -> None:
    """Two layers: (4 + 16) + (16 + 2) numbers for each of 40 actions and of two networks in each of 40 updates."""
    model = make(NoisyDQN, backend=backend)
    model.set_rng(Recorded())
    model.learn(60)
    assert model.rng.count("standard_normal") == draws * (40 + 2 * 40)
    assert sum(size for call, size in model.rng.calls if call == "standard_normal") == 38 * 120


@pytest.mark.parametrize(("cls", "policy_kwargs"), CASES)
def test_updates_leave_the_global_generators_alone_and_repeat_with_the_models_own(
    cls: type, policy_kwargs: dict[str, Any]
) -> None:
    model = make(cls, policy_kwargs).learn(60)
    start = model.get_state()
    outcomes = []
    for seed in (1, 1, 2):
        model.set_state(copy.deepcopy(start))
        model.set_rng(np.random.default_rng(seed))
        before = np.random.get_state()[1].copy(), th.get_rng_state()  # noqa: NPY002
        model.train(5, 16)
        model.predict(np.zeros(4, dtype=np.float32))
        np.testing.assert_array_equal(np.random.get_state()[1], before[0])  # noqa: NPY002
        assert th.equal(th.get_rng_state(), before[1])
        outcomes.append(th.cat([parameter.detach().flatten() for parameter in model.q_net.parameters()]))
    assert th.equal(outcomes[0], outcomes[1])
    assert not th.equal(outcomes[0], outcomes[2])


def test_a_seed_repeats_a_run_and_another_does_not() -> None:
    runs = [make(NoisyDQN, seed=seed).learn(150) for seed in (3, 3, 4)]
    assert_same_weights(*runs[:2])
    with pytest.raises(AssertionError):
        assert_same_weights(*runs[1:])


def test_the_sigmas_learn() -> None:
    model = make(NoisyDQN)
    before = [layer.weight_sigma.detach().clone() for layer in noisy_layers(model.q_net)]
    model.learn(100)
    for old, layer in zip(before, noisy_layers(model.q_net), strict=True):
        assert (layer.weight_sigma != old).float().mean() > 0.5


# -- files ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("cls", "policy_kwargs"), CASES)
def test_a_file_carries_means_sigmas_and_samples(tmp_path: Any, cls: type, policy_kwargs: dict[str, Any]) -> None:
    model = make(cls, policy_kwargs).learn(60)
    model.save(tmp_path / "model")
    loaded = cls.load(tmp_path / "model", env=gym.make("CartPole-v1"), device="cpu")
    assert_same_weights(loaded, model)
    assert (loaded.noisy, loaded.exploration_rate) == (True, 0.0)
    observations = np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32)
    actions = [each.predict(observations, deterministic=True)[0] for each in (model, loaded)]
    np.testing.assert_array_equal(*actions)
    loaded.learn(40, reset_num_timesteps=False)
    assert (loaded.num_timesteps, loaded.exploration_rate) == (100, 0.0)


@pytest.mark.parametrize(("cls", "policy_kwargs"), CASES)
def test_a_restored_state_draws_the_same_noise_and_learns_the_same(cls: type, policy_kwargs: dict[str, Any]) -> None:
    model, other = make(cls, policy_kwargs).learn(60), make(cls, policy_kwargs, seed=9).learn(25)
    other.set_state(copy.deepcopy(model.get_state()))
    for each in (model, other):
        each.train(5, 16)
    assert_same_weights(other, model)
    observations = np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32)
    np.testing.assert_array_equal(*(each.predict(observations)[0] for each in (model, other)))
