"""Whole networks with twins and without, and what is particular to single compiled functions."""

from __future__ import annotations

import copy
import importlib
import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch as th
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sb3_course.backends.numpy_chain import CompiledChain
from sb3_course.backends.numpy_layers import Activation, Chain, Linear, chain_of
from sb3_course.backends.numpy_noise import NoiseSamples
from sb3_course.backends.numpy_parameters import FlatParameters
from sb3_course.backends.twins import best, in_use
from sb3_course.functional import categorical
from sb3_course.networks import NoisyLinear, noisy_layers
from sb3_course.registry import constructor_arguments, find

pytest.importorskip("numba")
activations, products, softmax, batch_errors = (
    importlib.import_module(f"sb3_course.backends.compiled.{name}")
    for name in ("activations", "products", "softmax", "batch_errors")
)


def trained(algo: str, word: str, monkeypatch: pytest.MonkeyPatch) -> th.Tensor:
    """Return the weights after a few updates, with compiled loops or without."""
    monkeypatch.setenv("SB3_COURSE_COMPILED", word)
    assert in_use() == (word == "1")
    starts = {"learning_starts": 20} if "learning_starts" in constructor_arguments(algo) else {}
    model = find(algo).load()("MlpPolicy", "CartPole-v1", backend="numpy", seed=0, **starts)
    model.learn(60)
    return th.nn.utils.parameters_to_vector(model.policy.parameters()).detach()


@pytest.mark.parametrize(
    "algo",
    ["double_dqn", "dueling_dqn", "noisy_dqn", "c51", "rainbow", "numpy_dqn", "reinforce_baseline", "actor_critic"],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_they_can_be_left_out(algo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with_them, without = trained(algo, "1", monkeypatch), trained(algo, "0", monkeypatch)
    th.testing.assert_close(with_them, without, rtol=1e-4, atol=1e-6)


ACTIVATIONS: dict[str, Any] = {
    "Identity": nn.Identity(), "ReLU": nn.ReLU(), "Tanh": nn.Tanh(), "Sigmoid": nn.Sigmoid(),
    "LeakyReLU": nn.LeakyReLU(0.1), "ELU": nn.ELU(0.7), "Softplus": nn.Softplus(),
}  # fmt: skip
LAYERS: dict[str, Any] = {"linear": nn.Linear, "noisy": NoisyLinear}


def chain(module: nn.Module, word: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, FlatParameters]:
    """Return the layers of `module`, compiled ("1") or in NumPy ("0"), and its parameters."""
    monkeypatch.setenv("SB3_COURSE_COMPILED", word)
    samples = NoiseSamples(noisy_layers(module))
    samples.draw(np.random.default_rng(1).standard_normal)
    flat = FlatParameters(module.parameters(), noise=samples)
    layers = flat.chain(module)
    assert isinstance(layers, CompiledChain) == (word == "1")
    return layers, flat


def test_every_activation_of_the_compiled_chain_is_tried() -> None:
    assert tuple(ACTIVATIONS) == activations.ACTIVATIONS


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("n_rows", [1, 2, 3, 8, 9, 121])
def test_a_compiled_chain_is_the_chain(
    name: str, layer: str, biased: bool, n_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    th.manual_seed(n_rows)
    make, rng = partial(LAYERS[layer], bias=biased), np.random.default_rng(n_rows)
    # The second weight is multiplied by blocks of rows, once there are many; the third is too large for that.
    module = nn.Sequential(
        make(7, 150), ACTIVATIONS[name], make(150, 130), ACTIVATIONS[name], make(130, 160), nn.ReLU()
    )
    assert 60 * module[2].weight.numel() > products.BLOCK
    assert module[2].weight.numel() < products.SMALL < module[4].weight.numel()
    x, back = (3 * rng.standard_normal((n_rows, width)).astype(np.float32) for width in (7, 160))
    kept = (n_rows + 1) // 2
    found = []
    for word in ("0", "1"):
        layers, flat = chain(copy.deepcopy(module), word, monkeypatch)
        outputs = [layers.forward(x.copy(), remember=0).copy() for _ in range(2)]
        flat.values *= 1.25
        layers.refresh(weights=True)
        outputs.append(layers.forward(x.copy(), remember=0).copy())
        flat.noise.draw(np.random.default_rng(2).standard_normal)
        layers.refresh(weights=False)
        outputs.append(layers.forward(x.copy(), remember=kept).copy())
        layers.forward(x.copy(), remember=0)  # between the two, which does no harm
        found.append([*outputs, layers.backward(back[:kept].copy(), wanted=True), flat.grads])
    for mine, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(theirs, mine, rtol=1e-5, atol=1e-5 * np.abs(mine).max())


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("n_rows", [1, 3, 9])
def test_what_is_no_number_passes_through_a_compiled_chain(
    name: str, layer: str, n_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers, flat = chain(nn.Sequential(LAYERS[layer](3, 4), ACTIVATIONS[name]), "1", monkeypatch)
    x = np.ones((n_rows, 3), np.float32)
    x[0] = np.nan
    assert np.isnan(layers.forward(x, remember=n_rows)).all(axis=1).tolist() == [True] + [False] * (n_rows - 1)
    layers.backward(np.full((n_rows, 4), np.nan, np.float32), wanted=False)
    assert np.isnan(flat.grads).any()


def test_observations_that_may_not_be_written_to_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    layers, _ = chain(nn.Sequential(nn.Linear(3, 4)), "1", monkeypatch)
    x = np.ones((5, 3), np.float32)
    wanted = layers.forward(x, remember=0).copy()
    x.flags.writeable = False
    np.testing.assert_array_equal(layers.forward(x, remember=0), wanted)
    np.testing.assert_array_equal(layers.forward(np.ones((3, 5), np.float32).T, remember=0), wanted)


@pytest.mark.parametrize("n_rows", [1, 20])
def test_observations_of_another_width_are_refused(n_rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    layers, _ = chain(nn.Sequential(nn.Linear(3, 4)), "1", monkeypatch)
    with pytest.raises(ValueError, match="as wide as"):
        layers.forward(np.ones((n_rows, 2), np.float32), remember=0)


@pytest.mark.parametrize("shape", [(5, 3), (5, 5), (6, 4)])
def test_gradients_of_another_shape_are_refused(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    layers, _ = chain(nn.Sequential(nn.Linear(3, 4), nn.ReLU()), "1", monkeypatch)
    layers.forward(np.ones((5, 3), np.float32), remember=5)
    with pytest.raises(ValueError, match="shape of the outputs"):
        layers.backward(np.ones(shape, np.float32), wanted=False)


def test_a_generator_that_draws_too_few_numbers_is_refused() -> None:
    samples = NoiseSamples([NoisyLinear(3, 4)])
    with pytest.raises(ValueError, match="broadcast"):
        samples.draw(lambda size: np.ones(size - 1))


@pytest.mark.parametrize(
    "module",
    [
        nn.Sequential(nn.ReLU(), nn.Linear(3, 4)),
        nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Tanh()),
        nn.Sequential(NoisyLinear(3, 4, kind="independent")),
        nn.Sequential(NoisyLinear(3, 4, noise="activations")),
        nn.Sequential(),
    ],
)
def test_layers_that_have_no_place_in_a_table_stay_layers(module: nn.Module) -> None:
    layers = FlatParameters(module.parameters(), noise=NoiseSamples(noisy_layers(module))).chain(module)
    assert type(layers) is Chain
    x = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)
    wanted = module(th.from_numpy(x.copy())).detach().numpy()
    np.testing.assert_allclose(layers.forward(x, remember=0), wanted, rtol=1e-5, atol=1e-6)


def test_an_activation_that_the_passes_do_not_know_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    layers, _ = chain(nn.Sequential(nn.Linear(3, 4), nn.ReLU()), "1", monkeypatch)
    layers._table[0, 7] = len(activations.ACTIVATIONS)
    with pytest.raises(ValueError, match="none of those known here"):
        layers.forward(np.ones((5, 3), np.float32), remember=0)


def test_layers_with_an_activation_without_a_twin_stay_layers() -> None:
    flat = FlatParameters(nn.Linear(3, 4).parameters())
    own = Activation("Square", lambda x: x * x, lambda grad, y: grad * 2 * np.sqrt(y))
    linear = Linear(*flat.value_views, *flat.grad_views)
    assert type(best(chain_of)([linear, own], flat.values, flat.grads, flat.noise.values)) is Chain


@given(st.floats(-30, 30, width=32))
def test_the_compiled_hyperbolic_tangent_is_right_to_its_last_digits(x: float) -> None:
    value = float(activations.hyperbolic_tangent(np.float32(x)))
    assert value == pytest.approx(math.tanh(x), rel=4e-7, abs=1e-38)


@given(st.floats(-200, 0, width=32))
def test_the_compiled_exponential_is_right_to_its_last_digits(x: float) -> None:
    value = float(softmax.exponential(np.float32(x)))
    assert value == pytest.approx(math.exp(x), rel=3e-7, abs=2e-38)


@given(
    st.floats(-30, 30, width=32),
    st.floats(0, 1, width=32),
    st.sampled_from([(-10.0, 10.0, 51), (0.0, 100.0, 101), (-1.5, 7.25, 2)]),
)
def test_compiled_targets_lie_where_those_in_numpy_do(reward: float, discount: float, atoms: Any) -> None:
    support = np.linspace(*atoms, dtype=np.float32)
    found = np.empty_like(support)
    batch_errors.positions(np.float32(reward), np.float32(discount), support, found)
    ones = np.array([reward], np.float32), np.array([discount], np.float32)
    wanted = np.clip(categorical._positions(*ones, support)[0], 0, len(support) - 1)
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("n_atoms", [2, 51, 101])
def test_compiled_targets_have_all_the_mass(n_atoms: int) -> None:
    rng = np.random.default_rng(n_atoms)
    outputs, following = rng.standard_normal((2, 33, 4, n_atoms)).astype(np.float32)
    support, actions = np.linspace(-10, 10, n_atoms, dtype=np.float32), rng.integers(4, size=33)
    rewards, discounts, weights = rng.random((3, 33)).astype(np.float32)
    rewards[:10] *= 30
    targets = batch_errors.categorical_errors(
        outputs, actions, following, outputs[:, :, 0], support, rewards, discounts, weights
    ).targets
    np.testing.assert_allclose(targets.sum(1), 1, atol=1e-6)
