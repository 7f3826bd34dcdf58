"""Networks for images: shapes, layouts, spectral normalisation, and who builds the last layer."""

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3 import A2C, DQN
from stable_baselines3.common.torch_layers import NatureCNN
from stable_baselines3.common.vec_env import DummyVecEnv, VecTransposeImage

from sb3_course import DoubleDQN, Rainbow
from sb3_course.backends.modes import has_modes
from sb3_course.backends.torch_backend import TorchBackend
from sb3_course.config.errors import InputError
from sb3_course.config.text import read_value, resolve
from sb3_course.networks import ImpalaCnn, MinAtarCnn, NatureConvolutions, NoisyLinear, SpectralConv2d
from sb3_course.value.q_policies import CnnPolicy

ATARI = spaces.Box(0, 255, (4, 84, 84), np.uint8)
SMALL = spaces.Box(0, 255, (4, 10, 10), np.uint8)
ACTIONS = spaces.Discrete(3)


def make_env(space: spaces.Box):
    """Return an environment of random pictures."""

    class Env(gym.Env):
        observation_space, action_space = space, ACTIONS

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.left = 5
            return self.look(), {}

        def look(self):
            return self.np_random.integers(0, 2, space.shape).astype(space.dtype)

        def step(self, action):
            self.left -= 1
            return self.look(), 1.0, self.left == 0, False, {}

    return Env()


def parameters_of(module: th.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("options", "flat"),
    [
        # The strides of three pools leave 11 x 11 pixels of 84 x 84, the last pool 6 x 6.
        ({}, 11 * 11 * 32),
        ({"width": 2, "max_pool": True}, 6 * 6 * 64),
        ({"width": 2, "max_pool": True, "spectral_norm": True}, 6 * 6 * 64),
    ],
)
def test_impala_is_the_papers(options, flat):
    channels = [16 * options.get("width", 1), 32 * options.get("width", 1), 32 * options.get("width", 1)]
    by_hand, before = 0, 4
    for out in channels:
        by_hand += (before * 9 + 1) * out + 4 * (out * 9 + 1) * out
        before = out
    net = ImpalaCnn(ATARI, **options)
    assert sum(isinstance(layer, th.nn.Conv2d) for layer in net.modules()) == 15
    assert parameters_of(net.cnn) == by_hand
    assert [tuple(layer.weight.shape) for layer in net.linear.children() if hasattr(layer, "weight")] == [(256, flat)]
    assert net(th.rand(2, 4, 84, 84)).shape == (2, 256)
    bare = ImpalaCnn(ATARI, features_dim=None, **options)
    assert bare.features_dim == flat
    assert bare(th.rand(2, 4, 84, 84)).shape == (2, flat)
    spectral = [layer for layer in net.modules() if isinstance(layer, SpectralConv2d)]
    assert len(spectral) == (12 if options.get("spectral_norm") else 0)  # the residual blocks', not the first ones


def test_minatars_network_is_the_papers():
    net = MinAtarCnn(SMALL)
    assert parameters_of(net) == (4 * 9 + 1) * 16 + (8 * 8 * 16 + 1) * 128
    assert net(th.rand(3, 4, 10, 10)).shape == (3, 128)


@pytest.mark.parametrize(("extractor", "side"), [(ImpalaCnn, 24), (MinAtarCnn, 10)])
@pytest.mark.parametrize("channels", [3, 10])
def test_both_layouts_compute_the_same(extractor, side, channels):
    first = spaces.Box(0.0, 1.0, (channels, side, side))
    last = spaces.Box(0.0, 1.0, (side, side, channels))
    th.manual_seed(0)
    one = extractor(first, channels_last=False)
    th.manual_seed(0)
    other = extractor(last, channels_last=True)
    images = th.rand(2, channels, side, side)
    assert th.equal(one(images), other(images.permute(0, 2, 3, 1)))
    # 10 x 10 x 10, MinAtar's Seaquest, says nothing: first, as SB3 takes it.
    assert extractor(last).channels_last == (channels < side)
    assert not extractor(first).channels_last


def test_booleans_with_channels_last_are_learned_from():
    env = make_env(spaces.Box(0, 1, (10, 10, 4), bool))
    policy_kwargs = {"features_extractor_class": MinAtarCnn, "net_arch": []}
    model = DoubleDQN("MlpPolicy", env, learning_starts=4, buffer_size=50, batch_size=4, policy_kwargs=policy_kwargs)
    assert model.policy.q_net.features_extractor.channels_last
    model.learn(12)
    assert model.policy.q_net.features_extractor.cnn[0].weight.grad.abs().sum() > 0


def test_images_with_channels_last_come_transposed_and_scaled_as_sb3_does_it():
    venv = DummyVecEnv([lambda: make_env(spaces.Box(0, 255, (24, 24, 3), np.uint8))])
    options = {"features_extractor_class": ImpalaCnn, "net_arch": []}
    model = DQN("CnnPolicy", venv, buffer_size=10, policy_kwargs=options)
    assert isinstance(model.get_env(), VecTransposeImage)
    net = model.q_net
    pixels = np.full((1, 3, 24, 24), 255, np.uint8)
    assert th.equal(net(th.as_tensor(pixels)), net.q_net(net.features_extractor(th.ones(1, 3, 24, 24))))


@pytest.mark.parametrize("options", [{"head": "dueling"}, {"noisy": True}, {"head": "dueling", "noisy": True}])
@pytest.mark.parametrize(
    ("extractor", "space", "width"),
    [(None, ATARI, 512), (ImpalaCnn, ATARI, 256), (MinAtarCnn, SMALL, 128), (None, SMALL, 128)],
)
def test_one_rule_leaves_the_last_layer_to_dueling_and_noisy_heads(extractor, space, width, options):
    def make(**more):
        return CnnPolicy(space, ACTIONS, lambda _: 1e-3, features_extractor_class=extractor, **more)

    policy = make(**options)
    linear = [layer for layer in policy.q_net.modules() if isinstance(layer, th.nn.Linear)]
    assert policy.net_arch == [width]
    assert len(linear) == (4 if options.get("head") else 2)
    assert all(isinstance(layer, NoisyLinear) == options.get("noisy", False) for layer in linear)
    assert linear[0].in_features == policy.q_net.features_dim
    plain = make()
    assert (plain.net_arch, plain.q_net.features_dim) == ([], width)
    kept = make(**options, features_extractor_kwargs={"features_dim": 7})
    assert kept.q_net.features_dim == 7


def test_small_images_have_minatars_network_and_large_ones_sb3s():
    kinds = {shape: CnnPolicy(spaces.Box(0, 255, shape, np.uint8), ACTIONS, lambda _: 1e-3).q_net.features_extractor
             for shape in ((4, 10, 10), (10, 10, 10), (3, 35, 40), (3, 36, 40), (1, 84, 84))}  # fmt: skip
    assert [type(each) for each in kinds.values()] == [MinAtarCnn] * 3 + [NatureCNN] * 2


# ------------------------------------------------------------------------------------- spectral normalisation


def test_the_normalised_weight_has_norm_one_and_torchs_gradient():
    th.manual_seed(0)
    layer = SpectralConv2d(3, 5, 3, padding=1)
    theirs = th.nn.utils.parametrizations.spectral_norm(th.nn.Conv2d(3, 5, 3, padding=1))
    theirs.parametrizations.weight.original.data.copy_(layer.weight.data)
    theirs.bias.data.copy_(layer.bias.data)
    for _ in range(200):
        layer(th.rand(1, 3, 4, 4)), theirs(th.rand(1, 3, 4, 4))
    assert np.isclose(np.linalg.svd(layer.normalized_weight().detach().flatten(1).numpy())[1][0], 1, atol=1e-5)
    pixels = th.rand(2, 3, 8, 8)
    outputs, wanted = layer(pixels), theirs(pixels)
    assert th.allclose(outputs, wanted, atol=1e-5)
    outputs.square().sum().backward(), wanted.square().sum().backward()
    assert th.allclose(layer.weight.grad, theirs.parametrizations.weight.original.grad, atol=1e-4)


def test_only_training_follows_the_weight_and_the_target_gets_what_was_followed():
    th.manual_seed(0)
    options = {"features_extractor_class": ImpalaCnn, "features_extractor_kwargs": {"spectral_norm": True}}
    policy = CnnPolicy(spaces.Box(0, 255, (1, 16, 16), np.uint8), ACTIONS, lambda _: 0.1, **options)
    assert has_modes(policy.q_net)
    backend = TorchBackend(policy)
    pixels = th.randint(0, 255, (2, 1, 16, 16), dtype=th.uint8)
    with backend.updating():
        for _ in range(3):
            backend.backward(th.ones_like(backend.forward(pixels)))
            backend.step(None)
    vectors = [layer.running_u for layer in policy.q_net.modules() if isinstance(layer, SpectralConv2d)]
    before = [vector.clone() for vector in vectors]
    backend.evaluate(pixels), backend.act(pixels)
    assert all(map(th.equal, vectors, before))
    backend.update_target(1.0)
    assert th.equal(backend.evaluate(pixels), backend.evaluate(pixels, "target"))


def test_sb3s_own_dqn_copies_it_too():
    kwargs = {"features_extractor_class": ImpalaCnn, "features_extractor_kwargs": {"spectral_norm": True}}
    env = make_env(spaces.Box(0, 255, (1, 16, 16), np.uint8))
    model = DQN("CnnPolicy", env, learning_starts=4, buffer_size=20, batch_size=4, train_freq=1,
                policy_kwargs=kwargs)  # fmt: skip
    model.learn(20)
    model.target_update_interval = 1
    model._on_step()
    online, target = ([layer.running_u for layer in net.modules() if isinstance(layer, SpectralConv2d)]
                      for net in (model.q_net, model.q_net_target))  # fmt: skip
    assert all(map(th.equal, online, target))


# ------------------------------------------------------------------------------------------------ names, files


def test_short_names_are_read_and_a_saved_model_is_the_same(tmp_path):
    options = "dict(max_pool=True, spectral_norm=True)"
    kwargs = resolve(read_value(f"dict(features_extractor_class=ImpalaCnn, features_extractor_kwargs={options})"))
    assert kwargs["features_extractor_class"] is ImpalaCnn
    assert resolve(read_value("MinAtarCnn")) is MinAtarCnn
    env = make_env(spaces.Box(0, 255, (1, 16, 16), np.uint8))
    model = Rainbow("CnnPolicy", env, buffer_size=20, learning_starts=4, batch_size=4, policy_kwargs=kwargs)
    model.learn(8)
    model.save(tmp_path / "model")
    again = Rainbow.load(tmp_path / "model")
    assert not again.policy.features_extractor_kwargs["features_dim"]
    for one, other in zip(model.policy.state_dict().values(), again.policy.state_dict().values(), strict=True):
        assert th.equal(one, other)


def test_actor_critics_of_sb3_take_them():
    env = make_env(spaces.Box(0, 255, (1, 16, 16), np.uint8))
    A2C("CnnPolicy", env, policy_kwargs={"features_extractor_class": ImpalaCnn, "features_extractor_kwargs": {
        "spectral_norm": True}}).learn(10)  # fmt: skip


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ImpalaCnn(spaces.Box(0, 1, (4, 4))), "observation_space: is no image"),
        (lambda: MinAtarCnn(spaces.Box(0, 1, (2, 2, 1))), "observation_space: too small for MinAtarCnn"),
        (lambda: ImpalaCnn(ATARI, width=0), "width: is no multiplier of channels"),
    ],
)
def test_what_they_cannot_serve_is_refused_in_one_line(make, message):
    with pytest.raises(InputError) as error:
        make()
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_nature_convolutions_are_still_found_where_older_files_name_them():
    from sb3_course.value import q_policies

    assert q_policies.NatureConvolutions is NatureConvolutions
