"""The policies: raw outputs describe SB3's distributions, no critic means no parameters, a trunk is shared."""

import copy

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3 import A2C
from stable_baselines3.common.evaluation import evaluate_policy

from sb3_course import REINFORCE, ActorCritic
from sb3_course.config.errors import InputError
from sb3_course.policy_gradient.action_distribution import distribution_of
from sb3_course.policy_gradient.actor_policies import CnnPolicy, MlpPolicy, MultiInputPolicy

VECTOR = spaces.Box(-1, 1, (5,), np.float32)
PICTURE = spaces.Box(0, 255, (1, 36, 36), np.uint8)
ACTIONS = {
    "discrete": spaces.Discrete(4),
    "started": spaces.Discrete(3, start=7),
    "multi-discrete": spaces.MultiDiscrete([2, 3, 4]),
    "multi-binary": spaces.MultiBinary(3),
    "box": spaces.Box(-1, 1, (3,), np.float32),
    "box, 2-d": spaces.Box(-1, 1, (2, 2), np.float32),
}
SHAPES = {
    "default": {},
    "one layer": {"net_arch": [8]},
    "two streams": {"net_arch": {"pi": [8], "vf": [6, 5]}},
    "none": {"net_arch": []},
    "relu": {"net_arch": [8], "activation_fn": th.nn.ReLU, "ortho_init": False},
    "trunk": {"shared_layers": [8, 7]},
    "trunk and streams": {"shared_layers": [8], "net_arch": {"pi": [5], "vf": [6]}},
}
every_shape = pytest.mark.parametrize("shape", SHAPES)
with_or_without = pytest.mark.parametrize("critic", [False, True])


def make(cls=MlpPolicy, observation_space=VECTOR, action_space=ACTIONS["discrete"], seed=0, **kwargs):
    """Return a policy with outputs that differ from state to state."""
    th.manual_seed(seed)
    policy = cls(observation_space, action_space, lambda left: 1e-3, **kwargs)
    with th.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.3 * th.randn(parameter.shape))
    return policy


def observations(policy, n=20):
    """Return a batch as a learner hands it over."""
    policy.observation_space.seed(0)
    rows = [policy.observation_space.sample() for _ in range(n)]
    if isinstance(rows[0], dict):
        return {key: th.as_tensor(np.stack([row[key] for row in rows])) for key in rows[0]}
    return th.as_tensor(np.stack(rows))


KINDS = {
    "mlp": (MlpPolicy, VECTOR, {}),
    "one-hot": (MlpPolicy, spaces.Discrete(6), {}),
    "cnn": (CnnPolicy, PICTURE, {"features_extractor_kwargs": {"features_dim": 16}}),
    "dict": (MultiInputPolicy, spaces.Dict(picture=PICTURE, vector=VECTOR, place=spaces.Discrete(3)), {}),
    "two extractors": (CnnPolicy, PICTURE, {"share_features_extractor": False}),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def of_kind(kind, **kwargs):
    cls, observation_space, arguments = KINDS[kind]
    return make(cls, observation_space, **arguments, **kwargs)


# -- outputs and distributions ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ACTIONS)
@with_or_without
def test_the_outputs_describe_the_policys_own_distribution(name, critic):
    policy = make(action_space=ACTIONS[name], critic=critic)
    distribution, obs = distribution_of(ACTIONS[name], lambda function: function), observations(policy)
    outputs = policy.outputs(obs).detach()
    assert outputs.shape == (20, distribution.n_outputs + critic)
    assert outputs[:, : policy.action_net.out_features].std(dim=0).min() > 0.01
    actor, theirs = outputs[:, : distribution.n_outputs], policy.get_distribution(obs)
    rng = np.random.default_rng(0)
    random = th.as_tensor((rng.standard_normal if distribution.normal else rng.random)((20, distribution.n_random)))
    for actions in (distribution.sample(actor, random), theirs.sample().reshape(20, -1)):
        in_their_shape = actions[:, 0] if isinstance(ACTIONS[name], spaces.Discrete) else actions
        in_their_shape = in_their_shape.float() if name == "multi-binary" else in_their_shape
        expected = theirs.log_prob(in_their_shape)
        th.testing.assert_close(distribution.log_prob(actor, actions).values, expected, rtol=1e-6, atol=1e-6)
    th.testing.assert_close(distribution.entropy(actor).values, theirs.entropy(), rtol=1e-6, atol=1e-6)


@every_kind
@every_shape
def test_the_last_column_is_the_value_and_the_rest_does_not_depend_on_it(kind, shape):
    policy = of_kind(kind, **SHAPES[shape])
    obs = observations(policy, 6)
    outputs = policy.outputs(obs)
    th.testing.assert_close(outputs[:, -1:], policy.predict_values(obs), rtol=1e-6, atol=1e-6)
    logits = policy.get_distribution(obs).distribution.logits
    th.testing.assert_close(outputs[:, :-1].log_softmax(1), logits, rtol=1e-6, atol=1e-6)
    th.testing.assert_close(policy.evaluate_actions(obs, th.zeros(6))[0], outputs[:, -1:], rtol=1e-6, atol=1e-6)
    policy.optimizer.zero_grad()
    outputs[:, -1].sum().backward()
    assert policy.action_net.weight.grad is None or not policy.action_net.weight.grad.any()
    assert policy.value_net.weight.grad.any()


@pytest.mark.parametrize("action_space", [spaces.Text(3), spaces.Dict(), spaces.Tuple([])], ids=str)
def test_a_space_without_a_distribution_is_refused_in_one_line(action_space):
    with pytest.raises(InputError, match=r"^action_space: .*want Discrete") as refusal:
        distribution_of(action_space, lambda function: function)
    assert "\n" not in str(refusal.value)


def test_state_dependent_exploration_is_refused():
    with pytest.raises(InputError, match=r"^use_sde: "):
        make(action_space=ACTIONS["box"], use_sde=True)


@pytest.mark.parametrize("name", ACTIONS)
def test_predictions_are_actions_of_the_space(name):
    policy = make(action_space=ACTIONS[name])
    obs = observations(policy, 50).numpy()
    for deterministic in (False, True):
        actions, _ = policy.predict(obs, deterministic=deterministic)
        one, _ = policy.predict(obs[0], deterministic=deterministic)
        for action in (*actions, one):
            assert ACTIONS[name].contains(action.astype(ACTIONS[name].dtype))
            assert action.shape == ACTIONS[name].shape
    assert isinstance(one, np.ndarray)
    np.testing.assert_allclose(one, actions[0], atol=1e-6)


class PaysForTheLast(gym.Env):
    """One step; one of three actions, counted from 7, pays."""

    observation_space, action_space = VECTOR, ACTIONS["started"]

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(5, np.float32), {}

    def step(self, action):
        assert self.action_space.contains(action)
        return np.zeros(5, np.float32), float(action == 9), True, False, {}


def test_training_and_evaluation_count_actions_from_the_same_start():
    model = REINFORCE("MlpPolicy", PaysForTheLast(), learning_rate=0.01, seed=0, device="cpu").learn(600)
    assert evaluate_policy(model, PaysForTheLast(), 5, warn=False)[0] == 1.0


# -- with and without a critic ----------------------------------------------------------------------------------------


@every_kind
@every_shape
def test_without_a_critic_there_is_no_parameter_of_one(kind, shape):
    policy = of_kind(kind, critic=False, **SHAPES[shape])
    names = [name for name, _ in policy.named_parameters()]
    assert not [name for name in names if "value" in name or name.startswith("vf_")]
    policy.outputs(observations(policy, 3)).sum().backward()
    assert not [name for name, parameter in policy.named_parameters() if parameter.grad is None]
    th.testing.assert_close(policy.predict_values(observations(policy, 3)), th.zeros(3, 1))


@every_kind
@every_shape
@with_or_without
def test_the_optimizer_has_exactly_the_policys_parameters(kind, shape, critic):
    policy = of_kind(kind, critic=critic, **SHAPES[shape])
    held = [parameter for group in policy.optimizer.param_groups for parameter in group["params"]]
    assert len(held) == len(list(policy.parameters()))
    assert all(mine is theirs for mine, theirs in zip(held, policy.parameters(), strict=True))


def test_the_actor_has_the_same_parameters_with_a_critic_as_without():
    without, with_one = (dict(make(critic=critic, net_arch=[8]).named_parameters()) for critic in (False, True))
    assert without.keys() < with_one.keys()
    assert all(parameter.shape == with_one[name].shape for name, parameter in without.items())
    assert sorted(with_one.keys() - without.keys())[-1].startswith("value_net")


def test_weights_are_those_of_sb3s_policy():
    mine, theirs = (cls("MlpPolicy", "CartPole-v1", seed=0, device="cpu") for cls in (ActorCritic, A2C))
    assert list(mine.policy.state_dict()) == list(theirs.policy.state_dict())
    for one, two in zip(mine.policy.parameters(), theirs.policy.parameters(), strict=True):
        assert th.equal(one, two)


# -- the trunk --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["trunk", "trunk and streams"])
def test_actor_and_critic_both_send_gradients_into_the_trunk(shape):
    policy = make(**SHAPES[shape])
    outputs = policy.outputs(observations(policy))
    trunk = list(policy.mlp_extractor.trunk.parameters())
    assert len(trunk) == 2 * len(SHAPES[shape]["shared_layers"])
    for column in (outputs[:, 0], outputs[:, -1]):
        for gradient in th.autograd.grad(column.sum(), trunk, retain_graph=True):
            assert gradient.any()


def test_the_streams_of_a_trunk_are_apart_behind_it():
    policy = make(**SHAPES["trunk and streams"])
    obs = observations(policy)
    before = policy.outputs(obs).detach()
    with th.no_grad():
        policy.mlp_extractor.value_net[0].weight.add_(1.0)
    after = policy.outputs(obs).detach()
    assert th.equal(before[:, :-1], after[:, :-1])
    assert not th.isclose(before[:, -1], after[:, -1]).any()


# -- copies and files -------------------------------------------------------------------------------------------------


def assert_same_policy(mine, theirs):
    obs = observations(theirs, 6)
    assert (mine.critic, mine.shared_layers) == (theirs.critic, theirs.shared_layers)
    assert list(mine.state_dict()) == list(theirs.state_dict())
    assert th.equal(mine.outputs(obs), theirs.outputs(obs))
    plain = {key: value.numpy() for key, value in obs.items()} if isinstance(obs, dict) else obs.numpy()
    actions = [policy.predict(plain, deterministic=True)[0] for policy in (mine, theirs)]
    np.testing.assert_array_equal(*actions)


@every_kind
@every_shape
@with_or_without
def test_a_policy_is_saved_loaded_and_copied_by_itself(kind, shape, critic, tmp_path):
    policy = of_kind(kind, critic=critic, **SHAPES[shape])
    policy.save(tmp_path / "policy.pth")
    loaded, copied = type(policy).load(tmp_path / "policy.pth"), copy.deepcopy(policy)
    assert_same_policy(loaded, policy)
    assert_same_policy(copied, policy)
    with th.no_grad():
        copied.action_net.bias.add_(1.0)
    assert not th.equal(copied.action_net.bias, policy.action_net.bias)
    assert th.equal(loaded.action_net.bias, policy.action_net.bias)


@pytest.mark.parametrize("name", ["discrete", "multi-discrete", "multi-binary", "box"])
def test_every_action_space_goes_through_a_file(name, tmp_path):
    policy = make(action_space=ACTIONS[name])
    policy.save(tmp_path / "policy.pth")
    assert_same_policy(MlpPolicy.load(tmp_path / "policy.pth"), policy)


@every_shape
@pytest.mark.parametrize("cls", [REINFORCE, ActorCritic])
def test_a_model_goes_through_a_file_with_its_optimizer(cls, shape, tmp_path):
    model = cls("MlpPolicy", "CartPole-v1", policy_kwargs=SHAPES[shape], seed=0, device="cpu").learn(40)
    model.save(tmp_path / "model.zip")
    loaded = cls.load(tmp_path / "model.zip", env=model.get_env(), device="cpu")
    assert_same_policy(loaded.policy, model.policy)
    mine, theirs = (m.policy.optimizer.state_dict()["state"] for m in (loaded, model))
    assert mine.keys() == theirs.keys() != set()
    assert all(th.equal(mine[i]["exp_avg"], theirs[i]["exp_avg"]) for i in mine)
    loaded.learn(40, reset_num_timesteps=False)
    assert loaded.num_timesteps >= 80
