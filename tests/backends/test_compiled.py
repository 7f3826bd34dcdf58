"""Compiled loops compute what the functions in NumPy compute that they stand in for."""

from __future__ import annotations

import copy
import importlib
import math
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch as th
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sb3_course.backends import compiled, numpy_optimizers
from sb3_course.backends.numpy_chain import CompiledChain
from sb3_course.backends.numpy_layers import Chain
from sb3_course.backends.numpy_noise import NoiseSamples
from sb3_course.backends.numpy_optimizers import COMPILED
from sb3_course.backends.numpy_parameters import FlatParameters
from sb3_course.functional import categorical, distributions, softmax
from sb3_course.functional.risk import Mean
from sb3_course.networks import NoisyLinear, noisy_layers
from sb3_course.policy_gradient.action_distribution import CompiledCategorical
from sb3_course.registry import constructor_arguments, find
from sb3_course.value.estimates import Categorical, Expected, td_errors

pytest.importorskip("numba")
loops = importlib.import_module("sb3_course.backends.compiled.outputs")
chains = importlib.import_module("sb3_course.backends.compiled.chain")
GROUP = {"betas": (0.9, 0.999), "alpha": 0.99, "lr": 1e-3, "eps": 1e-5}


@pytest.mark.parametrize("step", COMPILED, ids=lambda step: step.__name__)
@pytest.mark.parametrize("size", [1, 7, 1_000, 70_001])
def test_a_compiled_step_is_the_step(step: Any, size: int) -> None:
    rng = np.random.default_rng(size)
    start = rng.standard_normal((4, size)).astype(np.float32)
    start[2:] **= 2
    both = []
    for function in (step, COMPILED[step]):
        values, grads, *statistics = start.copy()
        kept = (statistics[0], statistics[1]) if step is numpy_optimizers.adam else (statistics[1],)
        for n in range(1, 4):
            function(values, grads, kept, GROUP, float(n), np.empty(size, np.float32))
        both.append([values, *kept])
    for mine, theirs in zip(*both, strict=True):
        np.testing.assert_allclose(theirs, mine, rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize("step", COMPILED, ids=lambda step: step.__name__)
def test_what_is_no_number_stays_none(step: Any) -> None:
    values, grads, first, second = np.ones((4, 5), np.float32)
    grads[2] = np.nan
    kept = (first, second) if step is numpy_optimizers.adam else (second,)
    COMPILED[step](values, grads, kept, GROUP, 1.0, np.empty(5, np.float32))
    assert np.isnan(values).tolist() == [False, False, True, False, False]


def trained(algo: str, word: str, monkeypatch: pytest.MonkeyPatch) -> th.Tensor:
    """Return the weights after a few updates, with compiled loops or without."""
    monkeypatch.setenv("SB3_COURSE_COMPILED", word)
    assert compiled.available() == (word == "1")
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
    assert tuple(ACTIVATIONS) == compiled.ACTIVATIONS


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
    assert 60 * module[2].weight.numel() > chains.BLOCK
    assert module[2].weight.numel() < chains.SMALL < module[4].weight.numel()
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


@given(st.floats(-30, 30, width=32))
def test_the_compiled_hyperbolic_tangent_is_right_to_its_last_digits(x: float) -> None:
    value = float(chains.hyperbolic_tangent(np.float32(x)))
    assert value == pytest.approx(math.tanh(x), rel=4e-7, abs=1e-38)


@pytest.mark.parametrize("loss", ["huber", "l2", "mse"])
@pytest.mark.parametrize("n_batch", [1, 33])
def test_compiled_errors_are_the_errors(loss: str, n_batch: int) -> None:
    rng = np.random.default_rng(n_batch)
    outputs, next_outputs, selector = (3 * rng.standard_normal((3, n_batch, 4, 1))).astype(np.float32)
    selector[0, 1:] = selector[0, 1:].max()  # a draw: the first one is picked
    numbers = rng.random((3, n_batch)).astype(np.float32)
    batch = SimpleNamespace(rewards=numbers[0], discounts=numbers[1], weights=numbers[2])
    actions = rng.integers(4, size=n_batch)
    law = Expected(loss)
    found = law.errors(outputs, actions, next_outputs, selector, batch)
    wanted = td_errors(law, outputs, actions, next_outputs, law.values(selector), batch)
    for mine, theirs in zip(found, wanted, strict=True):
        assert mine.shape == theirs.shape
        assert mine.dtype == theirs.dtype
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("loss", ["huber", "l2", "mse"])
def test_an_output_that_is_no_number_makes_the_loss_none(loss: str) -> None:
    ones = np.ones((2, 3, 1), np.float32)
    batch = SimpleNamespace(rewards=ones[:, 0, 0], discounts=ones[:, 0, 0], weights=ones[:, 0, 0])
    for place in range(3):
        outputs = [ones.copy(), ones.copy(), ones.copy()]
        outputs[place][1] = np.nan
        found = Expected(loss).errors(outputs[0], np.zeros(2, np.int64), outputs[1], outputs[2], batch)
        wanted = td_errors(Expected(loss), outputs[0], np.zeros(2, np.int64), outputs[1], outputs[2][:, :, 0], batch)
        assert np.isnan(found.losses).tolist() == np.isnan(wanted.losses).tolist()
        assert np.isnan(found.grad_outputs).tolist() == np.isnan(wanted.grad_outputs).tolist()


def categorical_case(n_batch: int, n_atoms: int) -> tuple[Categorical, list[np.ndarray], np.ndarray, Any]:
    """Return a law, three kinds of logits (B, A, N), actions and a batch with ends, overshoots and whole positions."""
    rng = np.random.default_rng(n_batch)
    logits = list((3 * rng.standard_normal((3, n_batch, 4, n_atoms))).astype(np.float32))
    rewards, discounts, weights = rng.random((3, n_batch)).astype(np.float32)
    rewards[::3], discounts[::4], discounts[1::4] = 0, 0, 1
    rewards[1::5] = 30
    batch = SimpleNamespace(rewards=rewards, discounts=discounts, weights=weights)
    law = Categorical(np.linspace(-10, 10, n_atoms, dtype=np.float32), Mean())
    return law, logits, rng.integers(4, size=n_batch), batch


@pytest.mark.parametrize("n_atoms", [2, 51, 101])
@pytest.mark.parametrize("n_batch", [1, 33])
@pytest.mark.filterwarnings("ignore:.*of the return distribution lies outside")
def test_compiled_categorical_errors_are_the_errors(n_atoms: int, n_batch: int) -> None:
    law, (outputs, next_outputs, selector), actions, batch = categorical_case(n_batch, n_atoms)
    values = law.values(selector)
    np.testing.assert_allclose(values, Mean()(softmax(selector), law.support), rtol=1e-5, atol=1e-5)
    found = law.errors(outputs, actions, next_outputs, selector, batch)
    wanted = td_errors(law, outputs, actions, next_outputs, values, batch)
    for mine, theirs in zip(found, wanted, strict=True):
        assert mine.shape == theirs.shape
        assert mine.dtype == theirs.dtype
        np.testing.assert_allclose(mine, theirs, rtol=2e-6, atol=1e-6)
    np.testing.assert_allclose(found.targets.sum(1), 1, atol=1e-6)


@pytest.mark.parametrize("place", range(3))
@pytest.mark.filterwarnings("ignore:.*of the return distribution lies outside")
def test_logits_that_are_no_number_make_the_loss_none(place: int) -> None:
    law, logits, actions, batch = categorical_case(5, 51)
    logits[place][2, :, 7] = np.nan
    assert np.isnan(law.values(logits[2])).any() == (place == 2)
    found = law.errors(logits[0], actions, logits[1], logits[2], batch)
    assert np.isnan(found.losses).tolist() == [False, False, place < 2, False, False]


@given(st.floats(-200, 0, width=32))
def test_the_compiled_exponential_is_right_to_its_last_digits(x: float) -> None:
    value = float(loops.exponential(np.float32(x)))
    assert value == pytest.approx(math.exp(x), rel=3e-7, abs=2e-38)


@given(
    st.floats(-30, 30, width=32),
    st.floats(0, 1, width=32),
    st.sampled_from([(-10.0, 10.0, 51), (0.0, 100.0, 101), (-1.5, 7.25, 2)]),
)
def test_compiled_targets_lie_where_those_in_numpy_do(reward: float, discount: float, atoms: Any) -> None:
    support = np.linspace(*atoms, dtype=np.float32)
    found = np.empty_like(support)
    loops.positions(np.float32(reward), np.float32(discount), support, found)
    ones = np.array([reward], np.float32), np.array([discount], np.float32)
    wanted = np.clip(categorical._positions(*ones, support)[0], 0, len(support) - 1)
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("strided", [False, True])
def test_compiled_scores_are_the_scores(strided: bool) -> None:
    rng = np.random.default_rng(3)
    outputs = (3 * rng.standard_normal((40, 6))).astype(np.float32)
    outputs[0], outputs[1], outputs[2, 0] = 1e30, -1e30, np.nan
    outputs = outputs[:, :5] if strided else np.ascontiguousarray(outputs[:, :5])
    actions, law = rng.integers(5, size=(40, 1)), CompiledCategorical(5)
    for mine, theirs in zip(
        law.scores(outputs, actions), distributions.Categorical.scores(law, outputs, actions), strict=True
    ):
        np.testing.assert_allclose(mine.values, theirs.values, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(mine.gradients, theirs.gradients, rtol=1e-5, atol=1e-6)


def test_compiled_samples_are_the_samples() -> None:
    rng = np.random.default_rng(4)
    outputs, random = rng.standard_normal((1000, 5)).astype(np.float32), rng.random((1000, 1))
    outputs[0], random[:2] = 1e30, [[0.0], [np.nextafter(1.0, 0)]]
    law = CompiledCategorical(5)
    np.testing.assert_array_equal(law.sample(outputs, random), law.sample(outputs.astype(np.float64), random))


@pytest.mark.filterwarnings("ignore:.*of the return distribution lies outside")
def test_compiled_divergences_are_the_divergences() -> None:
    law, (outputs, next_outputs, selector), actions, batch = categorical_case(33, 51)
    found = law.errors(outputs, actions, next_outputs, selector, batch)
    np.testing.assert_array_less(0, (found.targets == 0).sum())  # whose logarithm is none
    mine = law.priorities(found.losses, found.predictions, found.targets)
    wanted = categorical.kl_of_loss(found.losses, found.targets)
    np.testing.assert_allclose(mine, wanted, rtol=1e-5, atol=2e-6)
    never_negative = law.priorities(np.zeros(33, np.float32), found.predictions, found.targets)
    assert ((never_negative >= 0) & (never_negative < 1e-6)).all()


@pytest.mark.parametrize("n_atoms", [1, 5])
@pytest.mark.parametrize("place", range(3))
@pytest.mark.filterwarnings("ignore:.*of the return distribution lies outside")
def test_one_action_that_is_no_number_is_the_one_picked(n_atoms: int, place: int) -> None:
    law: Any = Expected("huber") if n_atoms == 1 else Categorical(np.linspace(-2, 2, n_atoms, dtype=np.float32), Mean())
    rng = np.random.default_rng(place)
    outputs, logits = rng.standard_normal((2, 2, 3, n_atoms)).astype(np.float32)
    logits[1, place] = np.nan
    batch = SimpleNamespace(**dict.fromkeys(("rewards", "discounts", "weights"), np.ones(2, np.float32)))
    arguments = outputs, np.zeros(2, np.int64), logits
    found = law.errors(*arguments, logits, batch)
    wanted = td_errors(law, *arguments, law.values(logits), batch)
    assert np.isnan(found.losses).tolist() == np.isnan(wanted.losses).tolist() == [False, True]


def test_a_reward_that_is_no_number_makes_the_loss_none() -> None:
    law, (outputs, next_outputs, selector), actions, batch = categorical_case(5, 51)
    batch.rewards[2] = np.nan
    with pytest.warns(UserWarning, match="outside"):
        losses = law.errors(outputs, actions, next_outputs, selector, batch).losses
    assert np.isnan(losses).tolist() == [False, False, True, False, False]


@pytest.mark.parametrize("action", [-1, 4])
def test_an_action_without_an_output_is_refused(action: int) -> None:
    ones, actions = np.ones((2, 4, 1), np.float32), np.array([0, action])
    batch = SimpleNamespace(**dict.fromkeys(("rewards", "discounts", "weights"), np.ones(2, np.float32)))
    with pytest.raises(IndexError, match="action"):
        Expected("huber").errors(ones, actions, ones, ones, batch)
    law, logits, _, batch = categorical_case(2, 51)
    with pytest.raises(IndexError, match="action"):
        law.errors(logits[0], actions, logits[1], logits[2], batch)
    with pytest.raises(IndexError, match="action"):
        CompiledCategorical(4).scores(ones[:, :, 0], actions[:, None])
