"""Noisy policies in SB3's own A2C, PPO, DDPG, TD3 and SAC, by alias."""

import copy
import pickle

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3 import A2C, DDPG, PPO, SAC, TD3
from stable_baselines3.common.callbacks import BaseCallback, EvalCallback
from stable_baselines3.common.env_util import make_vec_env
from torch import nn

from sb3_course.networks import NoisyLinear, noisy_layers
from sb3_course.policy_gradient import noisy_policies, noisy_sac, noisy_td3

REPLAY = {"learning_starts": 16, "batch_size": 8, "buffer_size": 500, "train_freq": 4, "gradient_steps": 2}
ROLLOUTS = {A2C: {"n_steps": 8}, PPO: {"n_steps": 16, "batch_size": 8, "n_epochs": 2}}
ALGORITHMS = ROLLOUTS | dict.fromkeys((DDPG, TD3, SAC), REPLAY)
MODULES = {A2C: noisy_policies, PPO: noisy_policies, DDPG: noisy_td3, TD3: noisy_td3, SAC: noisy_sac}
VECTOR = spaces.Box(-1, 1, (3,), np.float32)
OBSERVATIONS = {
    "NoisyMlpPolicy": VECTOR,
    "NoisyCnnPolicy": spaces.Box(0, 255, (36, 36, 1), np.uint8),
    "NoisyMultiInputPolicy": spaces.Dict({"a": VECTOR, "b": spaces.Discrete(4)}),
}


class Toy(gym.Env):
    """Random observations; small actions are good."""

    def __init__(self, observation_space=VECTOR):
        self.observation_space = copy.deepcopy(observation_space)
        self.action_space = spaces.Box(-1, 1, (2,), np.float32)

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self.t = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        self.t += 1
        return self.observation_space.sample(), -float(np.square(action).sum()), False, self.t >= 5, {}


def make(algorithm, alias="NoisyMlpPolicy", seed=0, policy_kwargs=None, **kwargs):
    policy_kwargs = {"net_arch": [8]} | (policy_kwargs or {})
    settings = ALGORITHMS[algorithm] | kwargs
    env = settings.pop("env", None) or Toy(OBSERVATIONS.get(alias, VECTOR))
    return algorithm(alias, env, seed=seed, device="cpu", policy_kwargs=policy_kwargs, **settings)


def seen_by(model, n=6):
    space = copy.deepcopy(model.observation_space)
    space.seed(1)
    samples = [space.sample() for _ in range(n)]
    if isinstance(space, spaces.Dict):
        return {key: np.stack([sample[key] for sample in samples]) for key in samples[0]}
    return np.stack(samples)


def actions(model, deterministic, seed=3):
    with th.random.fork_rng(devices=[]):
        th.manual_seed(seed)
        return model.policy.predict(seen_by(model), deterministic=deterministic)[0]


def weights(model):
    return {key: tensor.clone() for key, tensor in model.policy.state_dict().items()}


def same(one, two):
    return one.keys() == two.keys() and all(th.equal(one[key], two[key]) for key in one)


def samples(network):
    return th.cat([layer.noise for layer in noisy_layers(network)])


class Each(BaseCallback):
    """Calls a function on the model after every step."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def _on_step(self):
        self.function(self.model)
        return True


# -- in SB3's own classes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alias", OBSERVATIONS)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_trains_saves_loads_and_predicts(tmp_path, algorithm, alias):
    model = make(algorithm, alias)
    assert type(model.policy) is getattr(MODULES[algorithm], alias)
    before = weights(model)
    model.learn(40)
    after = weights(model)
    actor = model.policy if algorithm in ROLLOUTS else model.actor
    learned = dict(actor.named_parameters(prefix="" if algorithm in ROLLOUTS else "actor"))
    assert [key for key in learned if th.equal(before[key], after[key])] == []  # σ included

    model.save(tmp_path / "model.zip")
    loaded = algorithm.load(tmp_path / "model.zip", env=Toy(OBSERVATIONS[alias]), device="cpu")
    assert same(weights(loaded), after)
    for deterministic in (True, False):
        assert np.array_equal(actions(loaded, deterministic), actions(model, deterministic))
    loaded.learn(24, reset_num_timesteps=False)
    assert not same(weights(loaded), after)

    model.policy.save(tmp_path / "policy.pt")
    policy = type(model.policy).load(tmp_path / "policy.pt", device="cpu")
    assert same(dict(policy.state_dict()), after)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_linear_layer_that_acts_is_noisy(algorithm):
    for alias in OBSERVATIONS:
        policy = make(algorithm, alias).policy
        acting = {"policy": policy} if algorithm in ROLLOUTS else {"actor": policy.actor}
        if algorithm in (DDPG, TD3):
            acting["target"] = policy.actor_target
        linear = [layer for part in acting.values() for layer in part.modules() if isinstance(layer, nn.Linear)]
        assert linear
        assert all(type(layer) is NoisyLinear for layer in linear)
        assert set(linear) == set(noisy_layers(policy))  # and no other: critics are plain
        kind, sigma0 = ("independent", 0.017) if algorithm in ROLLOUTS else ("factorised", 0.5)
        assert {(layer.kind, layer.sigma0) for layer in linear} == {(kind, sigma0)}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_options_of_the_noise_can_be_given_and_are_saved(tmp_path, algorithm):
    options = {"noise": "activations", "sigma0": 0.1}
    policy = make(algorithm, policy_kwargs={"noisy_kwargs": options}).learn(24).policy
    policy.save(tmp_path / "policy.pt")
    for one in (policy, type(policy).load(tmp_path / "policy.pt", device="cpu")):
        assert {(layer.noise_on, layer.sigma0) for layer in noisy_layers(one)} == {("activations", 0.1)}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_noise_of_sigma_zero_trains_as_the_plain_policy(algorithm):
    plain = weights(make(algorithm, "MlpPolicy").learn(48))
    noisy = make(algorithm, policy_kwargs={"noisy_kwargs": {"sigma0": 0.0}})
    for layer in noisy_layers(noisy.policy):  # σ itself has a gradient
        layer.weight_sigma.requires_grad_(False)
        layer.bias_sigma.requires_grad_(False)
    noisy.learn(48)
    assert same({key: value for key, value in weights(noisy).items() if key in plain}, plain)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_deterministic_predictions_are_free_of_noise_and_no_prediction_changes_it(algorithm):
    model = make(algorithm, policy_kwargs={"noisy_kwargs": {"sigma0": 2.0}})
    sample, quiet, loud = samples(model.policy), actions(model, True), actions(model, False)
    assert not np.allclose(quiet, loud)
    model.policy.set_training_mode(True)  # as SB3 leaves it after `learn`
    assert np.array_equal(actions(model, False), loud)
    assert th.equal(samples(model.policy), sample)
    model.policy.draw_noise()
    assert np.array_equal(actions(model, True), quiet)
    assert not np.allclose(actions(model, False), loud)
    for layer in noisy_layers(model.policy):
        layer.zero_noise()
    assert np.array_equal(actions(model, True), quiet)
    assert np.array_equal(actions(model, False), quiet) == (algorithm in (DDPG, TD3))  # the others still draw actions


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_evaluating_every_step_leaves_the_run_bit_equal(algorithm):
    without = make(algorithm).learn(48)

    def look(model):
        for deterministic in (True, False):
            actions(model, deterministic)

    callbacks = [Each(look), EvalCallback(Toy(), n_eval_episodes=1, eval_freq=1, verbose=0, warn=False)]
    evaluated = make(algorithm).learn(48, callback=callbacks)
    assert same(weights(evaluated), weights(without))
    look(without)  # between two calls of `learn`, too
    for model in (without, evaluated):
        model.set_random_seed(5)  # SB3's generators are global
        model.learn(24, reset_num_timesteps=False)
    assert same(weights(evaluated), weights(without))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_runs_repeat_under_a_seed(algorithm):
    one, two, three = (make(algorithm, seed=seed).learn(32) for seed in (0, 0, 1))
    assert same(weights(one), weights(two))
    assert not (samples(one.policy) == samples(three.policy)).any()


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda policy: pickle.loads(pickle.dumps(policy))])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_copy_of_a_policy_draws_for_itself(algorithm, duplicate):
    model = make(algorithm)
    model.learn(24)
    actions(model, True)  # SB3's policies hold on to the graph of the last distribution
    policy, other, before = model.policy, duplicate(model.policy), samples(model.policy)
    assert th.equal(samples(other), before)
    draws = []
    for one in (other, policy):
        one.set_training_mode(True)
        if algorithm in ROLLOUTS:
            one.set_training_mode(False)
        else:
            one.actor(th.zeros(1, 3))
        draws.append(samples(one))
        assert not (draws[-1] == before).any()
        assert one is policy or th.equal(samples(policy), before)
    assert th.equal(*draws)  # its generator went along


# -- the life of a sample: one a rollout ----------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ROLLOUTS)
def test_a_sample_is_drawn_where_a_rollout_starts_and_held_through_its_gradient_steps(algorithm):
    model, held, trained = make(algorithm), [], []
    evaluate = model.policy.evaluate_actions
    model.policy.evaluate_actions = lambda *args: trained.append(samples(model.policy)) or evaluate(*args)
    model.learn(64, callback=Each(lambda model: held.append(samples(model.policy))))
    n_steps = model.n_steps
    rollouts = [held[start : start + n_steps] for start in range(0, 64, n_steps)]
    per_rollout = len(trained) // len(rollouts)
    for i, rollout in enumerate(rollouts):
        updates = trained[i * per_rollout : (i + 1) * per_rollout]
        assert updates
        assert all(th.equal(sample, rollout[0]) for sample in rollout + updates)
        assert i == 0 or not (rollout[0] == rollouts[i - 1][0]).any()


@pytest.mark.parametrize("batch_size", [32, 8])
def test_ppo_s_first_ratios_are_one(batch_size):
    loud = {"noisy_kwargs": {"sigma0": 0.5}}
    model = make(PPO, env=make_vec_env(Toy, 2, seed=0), batch_size=batch_size, n_epochs=1, policy_kwargs=loud)
    batches, ratios, evaluate = [], [], model.policy.evaluate_actions

    def note(observations, taken):
        result = evaluate(observations, taken)
        old = batches[len(ratios)].old_log_prob
        ratios.append(th.exp(result[1] - old))
        return result

    get = model.rollout_buffer.get
    model.rollout_buffer.get = lambda size: batches.extend(get(size)) or iter(batches)
    model.policy.evaluate_actions = note
    model.learn(32)
    assert len(ratios) == 32 // batch_size
    # Products of 2 and of many rows round differently: the last bits of a logarithm.
    assert th.allclose(ratios[0], th.ones(batch_size), rtol=0, atol=2e-6)
    assert dict(model.logger.name_to_value)["train/approx_kl"] < (1e-6 if batch_size == 32 else 1e-2)


def test_ppo_s_ratio_is_one_to_the_last_bit_in_batches_of_the_same_shape():
    model = make(PPO, env=make_vec_env(Toy, 2, seed=0), policy_kwargs={"noisy_kwargs": {"sigma0": 0.5}})
    model.train = lambda: None
    model.learn(32)
    model.policy.set_training_mode(True)
    buffer = model.rollout_buffer
    for observations, taken, old in zip(buffer.observations, buffer.actions, buffer.log_probs, strict=True):
        _, log_prob, _ = model.policy.evaluate_actions(th.as_tensor(observations), th.as_tensor(taken))
        assert (th.exp(log_prob - th.as_tensor(old)) == 1).all()
