"""Gaussian policies with heads of their own for μ and σ: start, guard, and SB3's contracts in A2C and PPO."""

import copy
import pickle
from math import log, pi

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3 import A2C, PPO

import sb3_course
from sb3_course.config.errors import InputError
from sb3_course.policy_gradient import gaussian

VECTOR = spaces.Box(-1e6, 1e6, (3,), np.float32)
OBSERVATIONS = {
    "GaussianMlpPolicy": VECTOR,
    "GaussianCnnPolicy": spaces.Box(0, 255, (36, 36, 1), np.uint8),
    "GaussianMultiInputPolicy": spaces.Dict({"a": VECTOR, "b": spaces.Discrete(4)}),
}
ALGORITHMS = {A2C: {"n_steps": 8}, PPO: {"n_steps": 16, "batch_size": 8, "n_epochs": 2}}


class Toy(gym.Env):
    """Random observations; the nearer the two actions are to 2 and -2, the better."""

    def __init__(self, observation_space, action_space=None):
        self.observation_space = observation_space
        self.action_space = action_space or spaces.Box(-5, 5, (2,), np.float32)

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self.t = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        self.t += 1
        reward = -float(np.square(action - np.array([2.0, -2.0])).sum())
        return self.observation_space.sample(), reward, False, self.t >= 5, {}


def make(algorithm=A2C, alias="GaussianMlpPolicy", seed=0, **policy_kwargs):
    env = Toy(copy.deepcopy(OBSERVATIONS[alias]))
    policy_kwargs = {"net_arch": [8]} | policy_kwargs
    return algorithm(alias, env, seed=seed, device="cpu", policy_kwargs=policy_kwargs, **ALGORITHMS[algorithm])


def observations(model, n=7):
    space = model.observation_space
    space.seed(1)
    samples = [space.sample() for _ in range(n)]
    if isinstance(space, spaces.Dict):
        samples = {key: np.stack([sample[key] for sample in samples]) for key in samples[0]}
    return model.policy.obs_to_tensor(samples if isinstance(samples, dict) else np.stack(samples))[0]


def moments(model, seen=None):
    with th.no_grad():
        distribution = model.policy.get_distribution(observations(model) if seen is None else seen).distribution
    return distribution.mean, distribution.stddev


def weights(model):
    return {key: tensor.clone() for key, tensor in model.policy.state_dict().items()}


def same(one, two):
    return one.keys() == two.keys() and all(th.equal(one[key], two[key]) for key in one)


@pytest.mark.parametrize("alias", OBSERVATIONS)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_starts_at_mean_0_and_deviation_1_exactly_for_every_observation(algorithm, alias):
    mean, sigma = moments(make(algorithm, alias))
    assert mean.shape == sigma.shape == (7, 2)
    assert (mean == 0).all()
    assert (sigma == 1).all()


@pytest.mark.parametrize(
    "options",
    [
        {"ortho_init": False},
        {"net_arch": []},
        {"net_arch": {"pi": [5, 5], "vf": [3]}, "activation_fn": th.nn.ReLU},
        {"share_features_extractor": False},
        {"shared_layers": [6], "net_arch": []},
        {"critic": False},
        {"log_std_init": -2.0},
        {"sigma_min": 1.0},
    ],
)
def test_starts_so_whatever_the_network(options):
    mean, sigma = moments(make(**options), th.tensor([[0.0, 0.0, 0.0], [1e6, -3.0, 1e-9]]))
    assert (mean == 0).all()
    assert (sigma == 1).all()


@pytest.mark.parametrize("alias", OBSERVATIONS)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_trains_saves_loads_and_predicts(tmp_path, algorithm, alias):
    model = make(algorithm, alias)
    before = weights(model)
    model.learn(48)
    after = weights(model)
    for key in ("action_net.weight", "action_net.bias", "sigma_net.weight", "sigma_net.bias", "value_net.weight"):
        assert not th.equal(before[key], after[key])
    mean, sigma = moments(model)
    assert (mean != mean[0]).any()
    assert (sigma != sigma[0]).any()  # it depends on the state

    model.save(tmp_path / "model.zip")
    loaded = algorithm.load(tmp_path / "model.zip", env=Toy(OBSERVATIONS[alias]), device="cpu")
    assert type(loaded.policy) is getattr(gaussian, alias)
    assert same(weights(loaded), after)
    seen = {key: value.numpy() for key, value in observations(model).items()} if "Multi" in alias else None
    seen = observations(model).numpy() if seen is None else seen
    for deterministic in (True, False):
        th.manual_seed(3)
        expected = model.predict(seen, deterministic=deterministic)[0]
        th.manual_seed(3)
        assert np.array_equal(loaded.predict(seen, deterministic=deterministic)[0], expected)
    loaded.learn(32, reset_num_timesteps=False)

    model.policy.save(tmp_path / "policy.pt")
    policy = type(model.policy).load(tmp_path / "policy.pt", device="cpu")
    assert same(dict(policy.state_dict()), after)
    assert policy.sigma_min == model.policy.sigma_min


def test_log_probabilities_and_entropy_are_the_gaussian_s():
    model = make().learn(40)
    policy, seen, actions = model.policy, observations(model), th.randn(7, 2)
    mean, sigma = moments(model)
    values, log_prob, entropy = policy.evaluate_actions(seen, actions)
    expected = -0.5 * ((actions - mean) / sigma) ** 2 - sigma.log() - 0.5 * log(2 * pi)
    assert th.allclose(log_prob, expected.sum(1), rtol=1e-5, atol=1e-5)
    assert th.allclose(entropy, (sigma.log() + 0.5 * (1 + log(2 * pi))).sum(1))
    assert values.shape == (7, 1)
    assert th.equal(policy.get_distribution(seen).mode(), mean)
    drawn, _, drawn_log_prob = policy(seen)
    assert th.equal(policy.evaluate_actions(seen, drawn)[1], drawn_log_prob)


def test_outputs_of_our_own_algorithms_are_the_moments_and_the_value():
    model = make().learn(40)
    mean, sigma = moments(model)
    outputs = model.policy.outputs(observations(model))
    assert th.equal(outputs[:, :4], th.cat([mean, sigma.log()], dim=1))
    assert th.equal(outputs[:, 4:], model.policy.predict_values(observations(model)))


def test_our_own_algorithms_learn_with_it():
    env = gym.make("sb3_course/OneShot-v0", tau=0.5, zeta=0.25)
    options = {"net_arch": [8]}
    model = sb3_course.REINFORCE(gaussian.GaussianMlpPolicy, env, seed=0, learning_rate=0.01, policy_kwargs=options)
    model.learn(600)
    mean, sigma = moments(model, th.ones(1, 1))
    assert abs(mean.item() - 0.5) < 0.25
    assert sigma.item() < 0.8


def test_the_spread_is_clamped_from_below_and_nothing_is_added_to_it():
    policy = make(sigma_min=0.01).policy
    seen = th.zeros(1, 3)
    for bias, expected in ((-50.0, 0.01), (0.0, log(2)), (30.0, 30.0)):
        with th.no_grad():
            policy.sigma_net.bias.fill_(bias)
        distribution = policy.get_distribution(seen).distribution
        assert th.allclose(distribution.stddev, th.tensor(expected), rtol=1e-6, atol=0)
        policy.sigma_net.bias.grad = None
        distribution.log_prob(th.ones(1, 2)).sum().backward()
        assert th.isfinite(policy.sigma_net.bias.grad).all()
        assert (policy.sigma_net.bias.grad == 0).all() == (bias < 0)


def test_the_heads_can_learn_a_spread_that_depends_on_the_state():
    policy = make(net_arch=[16]).policy
    th.manual_seed(0)
    seen = th.cat([th.ones(256, 3), -th.ones(256, 3)])
    actions = th.randn(512, 2) * th.cat([th.full((256, 1), 0.2), th.full((256, 1), 2.0)])
    optimizer = th.optim.Adam(policy.parameters(), lr=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        (-policy.evaluate_actions(seen, actions)[1].mean()).backward()
        optimizer.step()
    sigma = policy.get_distribution(seen).distribution.stddev
    assert th.allclose(sigma[0], actions[:256].std(0), rtol=0.1)
    assert th.allclose(sigma[-1], actions[256:].std(0), rtol=0.1)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("space", [spaces.Discrete(2), spaces.MultiBinary(2), spaces.MultiDiscrete([2, 3])])
def test_actions_that_are_not_continuous_are_refused_in_one_line(algorithm, space):
    with pytest.raises(InputError, match=r"^action_space: .*continuous.*want Box\)$") as refusal:
        algorithm("GaussianMlpPolicy", Toy(VECTOR, space), device="cpu")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("sigma_min", [0.0, -1.0, 1.5, float("nan")])
def test_a_guard_that_is_none_or_above_the_start_is_refused(sigma_min):
    with pytest.raises(InputError, match=r"^sigma_min: "):
        make(sigma_min=sigma_min)


def test_there_is_no_parameter_besides_the_heads_and_the_optimizer_has_them_all():
    policy = make().policy
    assert not hasattr(policy, "log_std")
    held = {id(parameter) for group in policy.optimizer.param_groups for parameter in group["params"]}
    assert held == {id(parameter) for parameter in policy.parameters()}


def test_runs_repeat_under_a_seed():
    one, two, three = (make(PPO, seed=seed).learn(48) for seed in (0, 0, 1))
    assert same(weights(one), weights(two))
    assert not same(weights(one), weights(three))


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda policy: pickle.loads(pickle.dumps(policy))])
def test_a_copy_is_the_same_policy(duplicate):
    model = make().learn(16)
    other = duplicate(model.policy)
    mean, sigma = moments(model)
    distribution = other.get_distribution(observations(model)).distribution
    assert th.equal(distribution.mean, mean)
    assert th.equal(distribution.stddev, sigma)
