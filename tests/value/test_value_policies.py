"""The policy's options: heads, atoms, noise; and that with none of them it is SB3's policy."""

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.torch_layers import NatureCNN
from stable_baselines3.dqn.policies import DQNPolicy

from sb3_course import DoubleDQN, Rainbow
from sb3_course.config.text import InputError
from sb3_course.networks import NoisyLinear, noisy_layers, reset_noise
from sb3_course.value.q_policies import CnnPolicy, MultiInputPolicy, NatureConvolutions, QPolicy, TablePolicy

VECTOR = spaces.Box(-1, 1, (4,))
IMAGE = spaces.Box(0, 255, (1, 36, 36), np.uint8)
DICT = spaces.Dict({"vector": VECTOR, "image": IMAGE})
SPACES = {"mlp": (QPolicy, VECTOR), "cnn": (CnnPolicy, IMAGE), "multi": (MultiInputPolicy, DICT)}
OPTIONS = [
    {},
    {"head": "dueling"},
    {"head": "state_action"},
    {"n_atoms": 5, "v_min": -1.0, "v_max": 3.0},
    {"noisy": True},
    {"noisy": True, "noisy_kwargs": {"kind": "independent", "noise": "activations", "sigma0": 0.3}},
    {"head": "dueling", "n_atoms": 3, "noisy": True, "rescale_gradient": True},
    {"head": "dueling", "noisy": True, "noisy_streams": ["advantage"]},
    {"head": "dueling", "net_arch": {"shared": [8], "value": [4], "advantage": [6]}},
    {"head": "state_action", "n_atoms": 3, "noisy": True},
]


def make(kind="mlp", **options):
    cls, space = SPACES[kind]
    th.manual_seed(0)
    return cls(space, spaces.Discrete(3), lambda _: 1e-3, **options)


def observations(policy, n=4):
    space = policy.observation_space
    space.seed(0)
    seen = [space.sample() for _ in range(n)]
    if isinstance(space, spaces.Dict):
        return {key: np.stack([each[key] for each in seen]) for key in space}
    return np.stack(seen)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("kind", SPACES)
def test_every_combination_has_the_contracts_shapes_and_survives_a_file(tmp_path, kind, options):
    policy = make(kind, **options)
    reset_noise(policy.q_net, np.random.default_rng(0).standard_normal)
    seen = policy.obs_to_tensor(observations(policy))[0]
    n_atoms = options.get("n_atoms", 1)
    assert policy.q_net.outputs(seen).shape == (4, 3, n_atoms)
    assert policy.q_net(seen).shape == (4, 3)
    policy.save(tmp_path / "policy.pt")
    loaded = type(policy).load(tmp_path / "policy.pt", device="cpu")
    assert loaded._get_constructor_parameters().keys() == policy._get_constructor_parameters().keys()
    assert loaded.head_kwargs == policy.head_kwargs
    assert th.equal(loaded.q_net(seen), policy.q_net(seen))
    assert str(loaded) == str(policy)
    again = type(policy.q_net)(**policy.q_net._get_constructor_parameters())
    again.load_state_dict(policy.q_net.state_dict())
    assert th.equal(again(seen), policy.q_net(seen))


@pytest.mark.parametrize("n_atoms", [1, 2])
def test_without_options_it_is_sb3s_policy(n_atoms):
    ours, theirs = make(n_atoms=n_atoms), None
    th.manual_seed(0)
    theirs = DQNPolicy(VECTOR, spaces.Discrete(3), lambda _: 1e-3)
    extra = set() if n_atoms == 1 else {"q_net.support", "q_net_target.support"}
    assert set(ours.state_dict()) == set(theirs.state_dict()) | extra
    for key, weights in theirs.state_dict().items() if n_atoms == 1 else ():
        assert th.equal(ours.state_dict()[key], weights)


def test_values_are_the_mean_of_the_categorical_distribution():
    net = make(n_atoms=3, v_min=-1.0, v_max=5.0).q_net
    assert net.support.tolist() == [-1, 2, 5]
    logits = th.log(th.tensor([[[0.5, 0.25, 0.25], [1e-30, 1e-30, 1.0], [1.0, 1.0, 1.0]]]))
    th.testing.assert_close(net.estimate.values(logits), th.tensor([[1.25, 5.0, 2.0]]))
    th.testing.assert_close(net.estimate.values(logits + 1000), th.tensor([[1.25, 5.0, 2.0]]), rtol=1e-3, atol=1e-3)


def test_noise_of_sigma_zero_changes_nothing():
    plain, noisy = make(), make(noisy=True, noisy_kwargs={"sigma0": 0.0})
    reset_noise(noisy, np.random.default_rng(0).standard_normal)
    seen = plain.obs_to_tensor(observations(plain))[0]
    assert th.equal(noisy.q_net(seen), plain.q_net(seen))
    assert th.equal(noisy.q_net_target(seen), plain.q_net_target(seen))


def test_deterministic_predictions_are_free_of_noise_and_leave_the_sample():
    policy = make(noisy=True, noisy_kwargs={"sigma0": 20.0})
    plain = make()
    seen = observations(policy, 200)
    reset_noise(policy.q_net, np.random.default_rng(0).standard_normal)
    samples = [layer.noise.clone() for layer in noisy_layers(policy)]
    first = policy.predict(seen, deterministic=False)[0]
    assert (policy.predict(seen, deterministic=True)[0] == plain.predict(seen, deterministic=True)[0]).all()
    assert (policy.predict(seen, deterministic=False)[0] == first).all()
    assert (first != plain.predict(seen, deterministic=True)[0]).any()
    for layer, sample in zip(noisy_layers(policy), samples, strict=True):
        assert th.equal(layer.noise, sample)


def test_images_of_dueling_and_noisy_networks_have_the_papers_layers():
    for options in ({"head": "dueling"}, {"noisy": True}, {"head": "dueling", "noisy": True}):
        policy = make("cnn", **options)
        net = policy.q_net
        assert type(net.features_extractor) is NatureConvolutions
        assert policy.net_arch == [512]
        linear = [layer for layer in net.modules() if isinstance(layer, th.nn.Linear)]
        assert len(linear) == (4 if options.get("head") else 2)  # none besides the head's
        assert all(isinstance(layer, NoisyLinear) == options.get("noisy", False) for layer in linear)
        assert linear[0].in_features == net.features_dim == net.features_extractor.features_dim
    for options in ({}, {"noisy": True, "features_extractor_kwargs": {"features_dim": 7}}):
        assert type(make("cnn", **options).q_net.features_extractor) is NatureCNN
    assert make("cnn", noisy=True, net_arch=[16]).q_net.q_net[0].out_features == 16
    assert not make("cnn", noisy=True, features_extractor_class=NatureCNN).net_arch


def test_convolutions_are_those_of_sb3():
    th.manual_seed(0)
    theirs = NatureCNN(IMAGE)
    th.manual_seed(0)
    ours = NatureConvolutions(IMAGE)
    pixels = th.rand(2, 1, 36, 36)
    as_ours = pixels.contiguous(memory_format=th.channels_last)  # which the same convolutions round differently
    assert th.equal(theirs.linear(ours(pixels)), theirs(as_ours))
    assert th.allclose(theirs(as_ours), theirs(pixels), atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"head": "duelling"}, "head: unknown head; did you mean 'dueling'?"),
        ({"net_arch": {"value": [8]}}, "net_arch: the plain head is one stream"),
        ({"head": "dueling", "net_arch": {"values": [8]}}, "net_arch: unknown stream; did you mean 'value'?"),
        ({"n_atoms": 5, "v_min": 1.0, "v_max": 1.0}, "v_min: the support needs a width"),
        ({"noisy": True, "noisy_streams": ["value"]}, "noisy_streams: the plain head is one stream (got ['value']"),
        ({"head": "dueling", "noisy_streams": ["vale"]}, "noisy_streams: unknown stream; did you mean 'value'?"),
        ({"noisy": True, "noisy_kwargs": {"sigma0": -1}}, "sigma0: a standard deviation"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(InputError) as error:
        make(**options)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize("name", ["noisy", "n_atoms"])
def test_a_table_is_one_plain_layer(name):
    with pytest.raises(InputError, match=f"{name}: a table is one plain layer"):
        TablePolicy(spaces.Discrete(3), spaces.Discrete(2), lambda _: 0.1, **{name: 2})


class OfAUser(Rainbow):
    """A class whose constructor says nothing of its arguments."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)


@pytest.mark.parametrize("kind", [Rainbow, OfAUser])
def test_streams_of_a_head_that_is_switched_off_are_left_aside(kind, tmp_path):
    asked = {"policy_kwargs": {"net_arch": [4], "noisy_streams": ["advantage"]}, "learning_starts": 0, "seed": 0}
    model = kind("MlpPolicy", "CartPole-v1", dueling=False, **asked)
    assert type(model.q_net.q_net) is th.nn.Sequential
    model.save(tmp_path / "model")
    assert type(kind.load(tmp_path / "model").q_net.q_net) is th.nn.Sequential
    assert len(kind("MlpPolicy", "CartPole-v1", **asked).q_net.noisy_streams) == 1
    with pytest.raises(InputError, match="noisy_streams: the plain head is one stream"):
        DoubleDQN("MlpPolicy", "CartPole-v1", noisy=True, **asked)
