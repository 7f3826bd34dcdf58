"""Multi-layer perceptrons and heads against SB3's constructor and explicit loops."""

import copy

import numpy as np
import pytest
import torch as th
from stable_baselines3.common.torch_layers import create_mlp
from torch import nn

from sb3_course.networks import StateActionHead, gaussian_init, mlp


@pytest.mark.parametrize("net_arch", [[], [8], [64, 64], [5, 3, 7]])
@pytest.mark.parametrize("activation_fn", [nn.ReLU, nn.Tanh])
@pytest.mark.parametrize("bias", [True, False])
def test_mlp_has_the_weights_of_sb3s_create_mlp_from_the_same_seed(net_arch, activation_fn, bias):
    th.manual_seed(3)
    ours = mlp([4, *net_arch, 2], activation_fn, bias=bias)
    th.manual_seed(3)
    theirs = nn.Sequential(*create_mlp(4, 2, net_arch, activation_fn, with_bias=bias))
    assert [type(layer) for layer in ours] == [type(layer) for layer in theirs]
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for key, weight in ours.state_dict().items():
        assert th.equal(weight, theirs.state_dict()[key])
    observations = th.randn(5, 4)
    assert th.equal(ours(observations), theirs(observations))


def test_mlp_makes_layers_of_the_kind_it_is_given():
    class Doubled(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    net = mlp([3, 4, 2], nn.Identity, layer=Doubled)
    assert [type(layer) for layer in net] == [Doubled, nn.Identity, Doubled]


@pytest.mark.parametrize("n_atoms", [1, 5])
@pytest.mark.parametrize("net_arch", [[], [16], [8, 8]])
def test_state_action_head_is_one_pass_of_the_net_for_each_action(n_atoms, net_arch):
    th.manual_seed(0)
    head = StateActionHead(features_dim=6, n_actions=3, n_atoms=n_atoms, net_arch=net_arch)
    features = th.randn(4, 6)
    outputs = head(features)
    assert outputs.shape == (4, 3, n_atoms)
    for row in range(4):
        for action in range(3):
            onehot = th.zeros(3)
            onehot[action] = 1
            expected = head.net(th.cat([features[row], onehot]))
            th.testing.assert_close(outputs[row, action], expected, rtol=1e-5, atol=1e-6)


def test_state_action_head_sends_gradients_of_one_action_into_the_shared_weights():
    th.manual_seed(0)
    head = StateActionHead(2, 3, 1, [4])
    head(th.randn(1, 2))[0, 1].sum().backward()
    gradient = head.net[0].weight.grad
    assert (gradient[:, 3] != 0).any()  # the column of action 1
    assert (gradient[:, [2, 4]] == 0).all()


def test_state_action_head_keeps_its_one_hot_actions_out_of_the_state_dict_and_moves_them_along():
    head = StateActionHead(2, 3, 1, [4])
    assert not [key for key in head.state_dict() if "actions" in key]
    assert head.double().actions.dtype == th.float64
    assert th.equal(copy.deepcopy(head).actions, head.actions)


def test_gaussian_init_draws_weights_and_leaves_biases_alone():
    th.manual_seed(0)
    net = mlp([50, 200, 100])
    biases = [layer.bias.clone() for layer in net if isinstance(layer, nn.Linear)]
    gaussian_init(net, 0.1)
    for layer, bias in zip([net[0], net[2]], biases, strict=True):
        assert th.equal(layer.bias, bias)
        weights = layer.weight.detach().numpy().ravel()
        assert abs(weights.mean()) < 4 * 0.1 / np.sqrt(weights.size)
        assert abs(weights.std() - 0.1) < 4 * 0.1 / np.sqrt(2 * weights.size)
        assert weights.max() > 0.25  # N(0, 0.1²) has tails where a uniform draw of that deviation ends at 0.173


def test_gaussian_init_repeats_under_torchs_seed_and_zero_gives_zeros():
    weights = []
    for _ in range(2):
        net = mlp([4, 3, 2])
        th.manual_seed(1)
        gaussian_init(net, 0.1)
        weights.append(net[0].weight.detach().clone())
    assert th.equal(*weights)
    gaussian_init(net, 0.0)
    assert (net[0].weight == 0).all()
    assert (net[2].weight == 0).all()
