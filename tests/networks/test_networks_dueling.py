"""The dueling head: its equation, its shapes and its gradients."""

from functools import partial

import numpy as np
import pytest
import torch as th
from torch import nn

from sb3_course.config.errors import InputError
from sb3_course.networks import DuelingHead, NoisyLinear, noisy_layers, reset_noise, scale_gradient

ARCHES = [
    ([], ([], [], [])),
    ([8], ([], [8], [8])),
    ([16, 8], ([16], [8], [8])),
    ({"shared": [6, 5], "value": [4], "advantage": [7, 3]}, ([6, 5], [4], [7, 3])),
    ({"advantage": [7]}, ([], [], [7])),
]


def parts(head, features):
    """Return the value (B, 1, N) and the advantages (B, A, N)."""
    shared = head.shared(features)
    return head.value(shared).unsqueeze(1), head.advantage(shared).view(len(features), head.n_actions, head.n_atoms)


@pytest.mark.parametrize(("net_arch", "widths"), ARCHES, ids=str)
@pytest.mark.parametrize("n_atoms", [1, 5])
def test_value_plus_centred_advantages_for_every_atom(net_arch, widths, n_atoms):
    th.manual_seed(0)
    head = DuelingHead(4, 3, n_atoms, net_arch)
    features = th.randn(7, 4)
    outputs = head(features)
    assert outputs.shape == (7, 3, n_atoms)
    value, advantage = parts(head, features)
    th.testing.assert_close(outputs, value + advantage - advantage.mean(dim=1, keepdim=True))
    th.testing.assert_close(outputs.mean(dim=1, keepdim=True), value)  # the mean of what is added to V is 0
    for stream, hidden in zip((head.shared, head.value, head.advantage), widths, strict=True):
        layers = [layer.out_features for layer in stream if isinstance(layer, nn.Linear)]
        assert layers[: len(hidden)] == hidden
    assert not head.shared or isinstance(head.shared[-1], nn.ReLU)


def test_a_constant_added_to_the_advantages_changes_nothing():
    th.manual_seed(0)
    head = DuelingHead(4, 3, 5, [8]).double()
    features = th.randn(7, 4, dtype=th.float64)
    before = head(features)
    with th.no_grad():
        head.advantage[-1].bias.view(3, 5).add_(th.arange(5) * 100.0)  # one constant an atom, for all actions
    th.testing.assert_close(head(features), before, rtol=0, atol=1e-10)


@pytest.mark.parametrize("net_arch", [[8], [16, 8]], ids=str)
@pytest.mark.parametrize("layer", [nn.Linear, NoisyLinear])
def test_the_gradient_into_what_is_shared_is_exactly_one_over_root_two(net_arch, layer):
    th.manual_seed(0)
    plain, rescaled = DuelingHead(4, 3, 2, net_arch, layer=layer), DuelingHead(4, 3, 2, net_arch, layer=layer)
    rescaled.load_state_dict(plain.state_dict())
    rescaled.rescale_gradient = True
    features = th.randn(7, 4)
    entering = []
    for head in (plain, rescaled):
        # What enters the features when nothing is shared, else what enters the output of the shared part.
        seen = features.clone().requires_grad_()
        head.shared.register_forward_hook(lambda _, __, output, kept=entering: kept.append(output) or output)
        outputs = head(seen)
        entering[-1].retain_grad()
        outputs.square().sum().backward()
    assert th.equal(plain(features), rescaled(features))
    before, after = entering[0].grad, entering[1].grad
    assert (before != 0).any()
    assert th.equal(after, before * 2**-0.5)
    for one, two in zip(plain.value.parameters(), rescaled.value.parameters(), strict=True):
        assert th.equal(one.grad, two.grad)  # the streams themselves learn as before


def test_scale_gradient_is_the_identity_forwards_and_twice_differentiable():
    values = th.randn(5, dtype=th.float64, requires_grad=True)
    assert th.equal(scale_gradient(values, 0.5), values)
    (first,) = th.autograd.grad(scale_gradient(values, 0.5).pow(3).sum(), values, create_graph=True)
    th.testing.assert_close(first, 1.5 * values**2)
    (second,) = th.autograd.grad(first.sum(), values)
    assert th.isfinite(second).all()


def test_layers_and_activations_are_of_the_kind_given():
    head = DuelingHead(4, 3, 1, [8, 8], nn.Tanh, partial(NoisyLinear, kind="independent"))
    assert len(noisy_layers(head)) == 5
    assert not [layer for layer in head.modules() if isinstance(layer, nn.ReLU) or type(layer) is nn.Linear]


def test_noise_in_the_advantages_alone_moves_the_differences_of_actions_and_not_their_mean():
    noisy = partial(NoisyLinear, sigma0=2.0)
    head = DuelingHead(4, 3, 2, [8, 8], layer={"shared": nn.Linear, "value": nn.Linear, "advantage": noisy})
    assert noisy_layers(head) == noisy_layers(head.advantage)
    features = th.randn(5, 4)
    quiet = head(features)
    reset_noise(head, np.random.default_rng(0).standard_normal)
    moved = head(features) - quiet
    assert moved.abs().max() > 0.1
    th.testing.assert_close(moved.mean(dim=1), th.zeros(5, 2), rtol=0, atol=1e-5)


def test_one_action_and_an_empty_batch():
    head = DuelingHead(4, 1, 3, [8])
    features = th.randn(2, 4)
    th.testing.assert_close(head(features), parts(head, features)[0])
    assert DuelingHead(4, 3, 2, [8])(th.zeros(0, 4)).shape == (0, 3, 2)


def test_an_unknown_stream_is_named():
    with pytest.raises(InputError, match="net_arch: unknown stream; did you mean 'advantage'"):
        DuelingHead(4, 3, 1, {"advantages": [8]})
