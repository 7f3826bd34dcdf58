"""Noisy layers against the paper's equations written out, and the explicit life of a sample."""

import copy
from math import sqrt

import numpy as np
import pytest
import torch as th
from stable_baselines3.common.utils import polyak_update
from torch import nn

from sb3_course.config.errors import InputError
from sb3_course.networks import NoisyLinear, gaussian_init, mlp, noise_free, noisy_layers, reset_noise, zero_noise

KINDS = [
    {"noise": noise, "kind": kind} for noise in ("weights", "activations") for kind in ("factorised", "independent")
]


def normal(seed=0):
    return np.random.default_rng(seed).standard_normal


def fixed(*numbers):
    """Draw these numbers, whatever is asked for."""
    return lambda size: np.array(numbers, dtype=np.float64)[:size]


def fill(layer, **values):
    with th.no_grad():
        for name, value in values.items():
            getattr(layer, name).copy_(th.tensor(value))


def test_factorised_noise_known_answer():
    layer = NoisyLinear(2, 1)
    fill(layer, weight=[[1.0, 2.0]], bias=[3.0], weight_sigma=[[0.1, 0.2]], bias_sigma=[0.5])
    layer.sample_noise(fixed(4.0, -9.0, 16.0))  # f gives 2, -3 for the inputs and 4 for the output
    weight, bias = layer.noisy_parameters()
    th.testing.assert_close(weight, th.tensor([[1 + 0.1 * 4 * 2, 2 + 0.2 * 4 * -3]]))
    th.testing.assert_close(bias, th.tensor([3 + 0.5 * 4]))
    th.testing.assert_close(layer(th.tensor([[1.0, -1.0]])), th.tensor([[1.8 - (2 - 2.4) + 5]]))


def test_independent_noise_known_answer():
    layer = NoisyLinear(2, 2, kind="independent")
    fill(
        layer, weight=[[1.0, 2.0], [0.0, 0.0]], bias=[3.0, 0.0], weight_sigma=[[0.1, 0.2], [1, 1]], bias_sigma=[1, 2.0]
    )
    layer.sample_noise(fixed(4.0, -9.0, 1.0, 2.0, 16.0, -1.0))
    weight, bias = layer.noisy_parameters()
    th.testing.assert_close(weight, th.tensor([[1.4, 0.2], [1.0, 2.0]]))
    th.testing.assert_close(bias, th.tensor([19.0, -2.0]))


def test_noise_on_activations_known_answer():
    layer = NoisyLinear(2, 2, noise="activations")
    fill(layer, weight=[[1.0, 2.0], [0.0, 1.0]], bias=[3.0, 0.0], sigma=[0.5, 2.0])
    layer.sample_noise(fixed(4.0, -9.0))
    outputs = layer(th.tensor([[1.0, 1.0], [0.0, 0.0]]))  # the whole batch shares the sample
    th.testing.assert_close(outputs, th.tensor([[6 + 2, 1 - 18], [3.0 + 2, -18]]))


@pytest.mark.parametrize("p", [4, 100])
def test_factorised_layers_start_as_in_the_paper(p):
    layer = NoisyLinear(p, 400)
    for mean in (layer.weight, layer.bias):
        check_uniform(mean, 1 / sqrt(p))
    for sigma in (layer.weight_sigma, layer.bias_sigma):
        assert (sigma == th.tensor(0.5 / sqrt(p))).all()
    assert (NoisyLinear(p, 3, sigma0=0.1).weight_sigma == th.tensor(0.1 / sqrt(p))).all()


@pytest.mark.parametrize("p", [4, 100])
def test_independent_layers_start_as_in_the_paper(p):
    layer = NoisyLinear(p, 400, kind="independent")
    for mean in (layer.weight, layer.bias):
        check_uniform(mean, sqrt(3 / p))
    for sigma in (layer.weight_sigma, layer.bias_sigma):
        assert (sigma == th.tensor(0.017)).all()


def check_uniform(values, bound):
    numbers = values.detach().numpy().ravel()
    assert bound * 0.97 < np.abs(numbers).max() <= bound * (1 + 1e-6)
    assert abs(numbers.mean()) < 5 * bound / sqrt(3 * numbers.size)
    assert abs((numbers**2).mean() - bound**2 / 3) < 5 * bound**2 * sqrt(4 / 45 / numbers.size)


@pytest.mark.parametrize("kind", ["factorised", "independent"])
@pytest.mark.parametrize("bias", [True, False])
def test_noise_on_activations_starts_as_large_as_that_of_noisy_weights(kind, bias):
    inputs = th.ones(1, 30) * th.tensor([1.0, -1.0]).repeat(15)
    layers = [NoisyLinear(30, 50, bias, noise=noise, kind=kind) for noise in ("weights", "activations")]
    draw = normal()
    for layer in layers:
        shifts = []
        with th.no_grad(), noise_free(layer):
            mean = layer(inputs)
        for _ in range(2000):
            layer.sample_noise(draw)
            shifts.append(layer(inputs).detach() - mean)
        std = th.stack(shifts).square().mean().sqrt()
        assert abs(std / layers[1].sigma.mean() - 1) < 0.03


@pytest.mark.parametrize("options", KINDS, ids=str)
@pytest.mark.parametrize("bias", [True, False])
def test_without_noise_or_sigma_it_is_the_plain_layer_of_the_same_seed(options, bias):
    th.manual_seed(0)
    plain = nn.Linear(5, 4, bias)
    th.manual_seed(0)
    layer, silent = NoisyLinear(5, 4, bias, **options), NoisyLinear(5, 4, bias, sigma0=0.0, **options)
    silent.load_state_dict(plain.state_dict(), strict=False)
    silent.sample_noise(normal())
    inputs = th.randn(3, 5)
    assert th.equal(silent(inputs), plain(inputs))
    if options["kind"] == "factorised":
        assert th.equal(layer(inputs), plain(inputs))  # a new layer has no sample yet
    layer.sample_noise(normal())
    noisy = layer(inputs)
    assert not th.equal(noisy, plain(inputs))
    layer.zero_noise()
    assert th.equal(layer(inputs), nn.functional.linear(inputs, layer.weight, layer.bias))


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_noise_changes_only_when_it_is_sampled(options):
    net = mlp([3, 8, 2], layer=lambda *sizes, bias: NoisyLinear(*sizes, bias, **options))
    inputs = th.randn(6, 3)
    reset_noise(net, normal(1))
    first = net(inputs)
    assert th.equal(net.eval()(inputs), first)
    assert th.equal(net.train()(inputs), first)
    reset_noise(net, normal(2))
    assert not th.equal(net(inputs), first)
    reset_noise(net, normal(1))
    assert th.equal(net(inputs), first)
    zero_noise(net)
    with noise_free(net):
        mean = net(inputs)
    assert th.equal(net(inputs), mean)


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_every_mean_and_sigma_gets_the_gradient_of_its_own_sample(options):
    layer = NoisyLinear(3, 2, **options)
    inputs, gradients = th.randn(5, 3), []
    for seeds in ((1,), (2,), (1, 2)):
        layer.zero_grad()
        losses = []
        for seed in seeds:
            layer.sample_noise(normal(seed))
            losses.append(layer(inputs).square().sum())
        sum(losses).backward()  # with another sample drawn between the forward passes
        gradients.append([parameter.grad.clone() for parameter in layer.parameters()])
    for one, two, both in zip(*gradients, strict=True):
        assert (one != 0).all()
        th.testing.assert_close(one + two, both)


@pytest.mark.parametrize(("p", "q", "rows"), [(1, 1, 1), (5, 3, 1), (3, 7, 4), (64, 32, 32)])
def test_the_noisy_weight_and_its_gradient_are_those_of_the_equation(p, q, rows):
    layer = NoisyLinear(p, q).double()
    layer.sample_noise(normal(1))
    x = th.tensor(normal(2)((rows, p)), requires_grad=True)
    noise_in, noise_out = layer.noise[:p], layer.noise[p:]
    weight = layer.weight + layer.weight_sigma * th.outer(noise_out, noise_in)
    equation = nn.functional.linear(x, weight, layer.bias + layer.bias_sigma * noise_out)
    asked = [x, *layer.parameters()]
    grad = th.tensor(normal(3)((rows, q)))
    made = layer(x)
    th.testing.assert_close(made, equation, rtol=1e-12, atol=1e-12)
    for ours, plain in zip(th.autograd.grad(made, asked, grad), th.autograd.grad(equation, asked, grad), strict=True):
        th.testing.assert_close(ours, plain, rtol=1e-12, atol=1e-12)
    if p * q < 30:
        assert th.autograd.gradgradcheck(layer, (x,))


def test_several_layers_at_once_and_derivatives_forwards_are_torchs_own():
    layers = [NoisyLinear(3, 2) for _ in range(4)]
    layers[0].sample_noise(normal(1))
    noise = {"noise": layers[0].noise}
    stacked = {
        name: th.stack([getattr(each, name).detach() for each in layers]) for name in dict(layers[0].named_parameters())
    }
    x = th.ones(5, 3)

    def outputs(parameters):
        return th.func.functional_call(layers[0], {**parameters, **noise}, x)

    together = th.func.vmap(outputs)(stacked)
    for index in range(4):
        alone = outputs({name: values[index] for name, values in stacked.items()})
        th.testing.assert_close(together[index], alone)
    first = {name: values[0] for name, values in stacked.items()}
    ones = {name: th.ones_like(values) for name, values in first.items()}
    _, forwards = th.func.jvp(outputs, (first,), (ones,))
    gradient = th.func.grad(lambda parameters: outputs(parameters).sum())(first)
    th.testing.assert_close(forwards.sum(), sum(values.sum() for values in gradient.values()))


def test_noise_free_leaves_samples_alone_nests_and_ends_with_an_error():
    net = mlp([3, 4, 2], layer=NoisyLinear)
    reset_noise(net, normal())
    inputs, samples = th.randn(2, 3), [layer.noise.clone() for layer in noisy_layers(net)]
    noisy = net(inputs)

    def interrupted():
        with noise_free(net):
            with noise_free(net[0]):
                pass
            assert th.equal(net(inputs), nn.functional.linear(th.relu(net[0](inputs)), net[2].weight, net[2].bias))
            assert not th.equal(net(inputs), noisy)
            raise KeyError

    with pytest.raises(KeyError):
        interrupted()
    assert th.equal(net(inputs), noisy)
    for layer, sample in zip(noisy_layers(net), samples, strict=True):
        assert th.equal(layer.noise, sample)


def test_a_state_dict_and_a_copy_carry_the_sample_and_polyak_averaging_does_not():
    one, two = mlp([3, 4, 2], layer=NoisyLinear), mlp([3, 4, 2], layer=NoisyLinear)
    reset_noise(one, normal(1))
    reset_noise(two, normal(2))
    inputs, own = th.randn(2, 3), two[0].noise.clone()
    polyak_update(one.parameters(), two.parameters(), tau=1.0)
    assert th.equal(two[0].weight_sigma, one[0].weight_sigma)
    assert th.equal(two[0].noise, own)
    assert not th.equal(one(inputs), two(inputs))
    two.load_state_dict(one.state_dict())
    assert th.equal(one(inputs), two(inputs))
    assert th.equal(copy.deepcopy(one)(inputs), one(inputs))
    reset_noise(one, normal(3))
    assert not th.equal(one(inputs), two(inputs))  # loaded, not shared


def test_any_source_of_normal_numbers_serves_and_its_memory_is_not_kept():
    layer = NoisyLinear(3, 2, kind="independent")
    generator = th.Generator().manual_seed(0)
    layer.sample_noise(lambda size: th.randn(size, generator=generator))
    numbers = np.ones(8, dtype=np.float32)
    layer.sample_noise(lambda size: numbers)
    numbers[:] = 5
    assert (layer.noise == 1).all()
    doubled = layer.double()
    doubled.sample_noise(normal())
    assert doubled.noise.dtype == th.float64


def test_one_sample_is_one_draw_of_the_papers_size():
    sizes = []
    for options in KINDS:
        for bias in (True, False):
            NoisyLinear(7, 3, bias, **options).sample_noise(lambda size: sizes.append(size) or np.zeros(size))
    assert sizes == [10, 10, 24, 21, 3, 3, 3, 3]


def test_gaussian_init_moves_means_only():
    net = mlp([3, 4, 2], layer=NoisyLinear)
    sigma = net[0].weight_sigma.clone()
    gaussian_init(net, 0.0)
    assert (net[0].weight == 0).all()
    assert th.equal(net[0].weight_sigma, sigma)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"noise": "weight"}, "noise: unknown kind of noise; did you mean 'weights'?"),
        ({"kind": "factorized"}, "kind: unknown kind of noise; did you mean 'factorised'?"),
        ({"sigma0": -1.0}, "sigma0: a standard deviation"),
        ({"sigma0": float("nan")}, "sigma0: a standard deviation"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(InputError) as error:
        NoisyLinear(2, 2, **options)
    assert str(error.value).startswith(message)
