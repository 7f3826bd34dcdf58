"""Every twin computes what its plain function does: the whole table, by one property each."""

from __future__ import annotations

import importlib
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch as th
from torch import nn

from sb3_course.backends import make_backend, twins
from sb3_course.backends.numpy_noise import NoiseSamples
from sb3_course.backends.numpy_parameters import FlatParameters
from sb3_course.backends.protocol import Backend
from sb3_course.backends.twins import TWINS, best
from sb3_course.functional import LOSSES, td, td_errors
from sb3_course.networks import NoisyLinear, noisy_layers
from sb3_course.registry import find

pytest.importorskip("numba")

Array = np.ndarray
Rng = np.random.Generator


def floats(rng: Rng, *shape: int) -> Array:
    return (3 * rng.standard_normal(shape)).astype(np.float32)


def pay(rng: Rng, n: int) -> list[Array]:
    """Return rewards, discounts and weights, with ends, sums without a discount and rewards beyond any support."""
    rewards, discounts, weights = rng.random((3, n)).astype(np.float32)
    rewards[::3], rewards[1::5], discounts[::4], discounts[1::4] = 0, 30, 0, 1
    return [rewards, discounts, weights]


def of_means(rng: Rng, n: int, loss: str) -> list[Any]:
    values = floats(rng, n, 4)
    values[0, 1:] = values[0, 1:].max()  # of several largest the first one is picked
    return [floats(rng, n, 4, 1), rng.integers(4, size=n), floats(rng, n, 4, 1), values, *pay(rng, n), loss]


def of_categories(rng: Rng, n: int, n_atoms: int) -> list[Any]:
    support = np.linspace(-10, 10, n_atoms, dtype=np.float32)
    outputs = floats(rng, n, 4, n_atoms), rng.integers(4, size=n), floats(rng, n, 4, n_atoms), floats(rng, n, 4)
    return [*outputs, support, *pay(rng, n)]


def of_quantiles(rng: Rng, n: int, n_quantiles: int, kappa: float) -> list[Any]:
    quantiles, targets = floats(rng, n, n_quantiles), floats(rng, n, n_quantiles + 1)
    quantiles[0], targets[-1] = np.sort(quantiles[0]), 100  # learned, and known for sure
    targets[0, :n_quantiles] = quantiles[0]  # no error at all
    return [quantiles, targets, kappa]


def of_divergences(rng: Rng, n: int) -> list[Any]:
    targets = rng.dirichlet(np.full(51, 0.1), n).astype(np.float32)
    targets[::2, 9:] = 0  # whose logarithm is none
    losses = rng.random(n).astype(np.float32) * 5
    losses[::3] = 0  # less than the entropy
    return [losses, targets]


def of_optimizer(rng: Rng, n: int, n_statistics: int, n_steps: float = 3.0) -> list[Any]:
    group = {"betas": (0.9, 0.999), "alpha": 0.99, "lr": 1e-3, "eps": 1e-5}
    statistics = (floats(rng, 70 * n), floats(rng, 70 * n) ** 2)[-n_statistics:]
    return [floats(rng, 70 * n), floats(rng, 70 * n), statistics, group, n_steps, np.empty(70 * n, np.float32)]


def of_tree(rng: Rng, n: int, fan_out: int = 32) -> list[Any]:
    children = rng.random(5 * fan_out) ** 9
    children[::7] = 0
    nodes, before = rng.integers(5, size=n), rng.random(n)
    targets = before + rng.random(n) * children.reshape(5, fan_out).sum(1)[nodes]
    return [children, nodes, targets, before, fan_out]


def of_roots(rng: Rng, n: int, outside: bool = False) -> list[Any]:
    """Return targets up to the total, which rounding may yield, and perhaps one beyond it."""
    prefixes = np.add.accumulate(np.append(0, rng.random(70) ** 9 * (rng.random(70) < 0.5)))
    targets = rng.random(n) * prefixes[-1]
    targets[-1] = prefixes[-1] * (1 + outside)
    return [prefixes, targets, np.zeros(n, np.intp), np.zeros(n)]


def of_parents(rng: Rng, n: int, fan_out: int = 32) -> list[Any]:
    children, nodes = rng.random(5 * fan_out) ** 9, rng.integers(5 * fan_out, size=n)
    parents = children.reshape(5, fan_out).sum(1)
    children[nodes] = rng.random(n)
    return [children, parents, nodes, fan_out]


def of_windows(rng: Rng, n: int, n_steps: int) -> list[Any]:
    n_envs, size = 3, 60
    dones, timeouts = (rng.random((2, size)) < 0.1).astype(np.float32)
    powers = 0.97 ** np.arange(n_steps + 1, dtype=np.float32)
    return [rng.integers(size, size=n), floats(rng, size), dones, timeouts, n_envs, 30, powers]


def of_step(rng: Rng, n: int) -> list[Any]:
    rows = np.zeros((n + 4, 12), np.float32)  # twice two numbers of an observation, the action, three more, a rest
    columns, (obs, next_obs) = np.array([0, 2, 2, 6, 7, 8]), floats(rng, 2, n, 2)
    sound = rng.random() < 0.8
    step = obs, next_obs, rng.integers(3, size=n), floats(rng, n), np.arange(n) == (n if sound else 0)
    return [rows, np.zeros((n + 4, 6), np.int64), columns, 2, *step]


def of_chain(rng: Rng, n: int, layer: type, norm: bool = False) -> list[Any]:
    th.manual_seed(int(rng.integers(1000)))
    norms = [[nn.LayerNorm(6)], [nn.LayerNorm(5, eps=0.1, bias=False)], [nn.LayerNorm(4)]] if norm else [[], [], []]
    one, two, three = norms
    module = nn.Sequential(layer(3, 6), *one, nn.ReLU(), layer(6, 5), *two, nn.Tanh(), layer(5, 4), *three)
    for each in (module_norm for part in norms for module_norm in part):
        nn.init.normal_(each.weight)
    samples = NoiseSamples(noisy_layers(module))
    samples.draw(rng.standard_normal)
    flat = FlatParameters(module.parameters(), noise=samples)
    return [flat.layers(module), flat.values, flat.grads, samples.values]


def passes(chain: Any, arguments: list[Any], rng: Rng, n: int) -> list[Array]:
    """Return what a chain's passes compute, and the gradients."""
    x, back = floats(rng, n, 3), floats(rng, n, 4)
    outputs = chain.forward(x.copy(), remember=0).copy(), chain.forward(x.copy(), remember=n).copy()
    return [*outputs, chain.backward(back, wanted=True), arguments[2]]


def if_it_is_true(result: bool, arguments: list[Any], rng: Rng, n: int) -> list[Any]:
    return [np.array(result), *(arguments if result else [])]


def all_but_scratch(result: Any, arguments: list[Any], rng: Rng, n: int) -> list[Any]:
    return arguments[:-1]


@dataclass(frozen=True)
class Case:
    """What a twin is tried with.

    `exact` promises the last bit, `odd` lists what passes through as in the plain function, and `observe` returns what
    is compared, by default all that is returned or written to.
    """

    inputs: Callable[[Rng, int], list[Any]]
    exact: bool = False
    odd: tuple[float, ...] = (math.nan, math.inf, -math.inf)
    observe: Callable[[Any, list[Any], Rng, int], Any] = lambda result, arguments, rng, n: (result, arguments)


def case(function: Callable[..., list[Any]], *more: Any, **kwargs: Any) -> Case:
    return Case(lambda rng, n: function(rng, n, *more), **kwargs)


CASES: dict[str, list[Case]] = {
    "functional.categorical:expectations": [
        Case(lambda rng, n, k=k: [floats(rng, n, 4, k), np.linspace(-10, 10, k, dtype=np.float32)]) for k in (2, 51)
    ],
    "functional.categorical:kl_of_loss": [case(of_divergences, odd=(math.nan,))],
    "functional.distributions:category_scores": [
        Case(lambda rng, n: [floats(rng, n, 5), rng.integers(5, size=(n, 1))], odd=(math.nan,)),
        Case(lambda rng, n: [np.full((n, 5), 1e30, np.float32), rng.integers(5, size=(n, 1))], odd=(math.nan,)),
    ],
    "functional.distributions:sample_category": [
        Case(lambda rng, n: [floats(rng, n, 5), rng.random((n, 1))], exact=True),
        Case(lambda rng, n: [floats(rng, n, 5), np.full((n, 1), np.nextafter(1.0, 0))], exact=True),
    ],
    "functional.gaussians:log_spread": [
        Case(lambda rng, n, least=least: [floats(rng, n, 3), least], odd=(math.nan,)) for least in (1e-3, 1.0)
    ],
    "functional.gaussians:normal_scores": [
        Case(lambda rng, n, k=k: [floats(rng, n, 2 * k) / 2, floats(rng, n, k)], odd=(math.nan,)) for k in (1, 3)
    ],
    "functional.gaussians:sample_normal": [
        Case(lambda rng, n, k=k: [floats(rng, n, 2 * k), rng.standard_normal((n, k))]) for k in (1, 3)
    ],
    "functional.td:categorical_errors": [case(of_categories, k) for k in (2, 51, 101)],
    "functional.td:td_errors": [case(of_means, loss) for loss in LOSSES],
    "replay.sum_tree:tree_children": [case(of_tree, exact=True, odd=())],
    "replay.sum_tree:tree_parents": [case(of_parents, exact=True, odd=())],
    "replay.sum_tree:tree_roots": [
        case(of_roots, outside, exact=True, observe=if_it_is_true) for outside in (False, True)
    ],
    "replay.rows:write_step": [case(of_step, exact=True)],
    "replay.window:windows": [
        *(case(of_windows, n, exact=True) for n in (1, 2, 7)),
        case(of_windows, 10),  # NumPy adds up eight numbers and more in another order
    ],
    "value.estimates.quantile_return:quantile_huber": [
        Case(lambda rng, n, n_quantiles=n_quantiles, kappa=kappa: of_quantiles(rng, n, n_quantiles, kappa))
        for n_quantiles, kappa in ((1, 1.0), (7, 0.0), (51, 1.0), (200, 0.3))
    ],
    "backends.numpy_heads:join_streams": [
        Case(lambda rng, n, a=a, k=k: [floats(rng, n, k), floats(rng, n, a, k)]) for a, k in ((1, 3), (4, 1), (5, 51))
    ],
    "backends.numpy_heads:split_gradient": [
        Case(lambda rng, n, a=a, k=k: [floats(rng, n, a, k)]) for a, k in ((1, 3), (4, 1), (5, 51))
    ],
    "backends.numpy_layers:chain_of": [
        case(of_chain, layer, norm, odd=(), observe=passes)
        for norm in (False, True)
        for layer in (nn.Linear, NoisyLinear)
    ],
    "backends.numpy_noise:signed_roots": [
        Case(lambda rng, n: [rng.standard_normal(n), np.empty(n, np.float32)], exact=True)
    ],
    "backends.numpy_optimizers:adam": [case(of_optimizer, 2, odd=(math.nan,), observe=all_but_scratch)],
    "backends.numpy_optimizers:radam": [
        case(of_optimizer, 2, n_steps, odd=(math.nan,), observe=all_but_scratch) for n_steps in (3.0, 6.0, 5000.0)
    ],
    "backends.numpy_optimizers:rmsprop": [case(of_optimizer, 1, odd=(math.nan,), observe=all_but_scratch)],
    "backends.numpy_optimizers:rmsprop_tf_like": [case(of_optimizer, 1, odd=(math.nan,), observe=all_but_scratch)],
}
EVERY = [pytest.param(name, each, id=f"{name}-{i}") for name, cases in CASES.items() for i, each in enumerate(cases)]


def plain_of(name: str) -> Any:
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(f"sb3_course.{module}"), function)


def arrays_in(tree: Any) -> list[Array]:
    """Return all arrays in nested tuples, lists and dicts."""
    if isinstance(tree, dict):
        tree = list(tree.values())
    if isinstance(tree, list | tuple):
        return [array for part in tree for array in arrays_in(part)]
    return [tree] if isinstance(tree, np.ndarray) else []


def strided(array: Array) -> Array:
    """Return equal numbers that do not lie one after the other."""
    wide = np.empty((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
    wide[..., ::2] = array
    return wide[..., ::2]


def both(name: str, each: Case, n: int, change: Callable[[list[Any]], None] = lambda inputs: None) -> Any:
    """Yield pairs of arrays, of the plain function and of its twin: all that they return or write to."""
    plain = plain_of(name)
    assert best(plain) is not plain
    found = []
    for function in (plain, best(plain)):
        rng = np.random.default_rng(n)
        arguments = each.inputs(rng, n)
        change(arguments)
        with np.errstate(all="ignore"):
            result = function(*arguments)
            found.append(arrays_in(each.observe(result, arguments, rng, n)))
    return zip(*found, strict=True)


def assert_same(name: str, each: Case, pairs: Any) -> None:
    for mine, theirs in pairs:
        assert mine.shape == theirs.shape
        assert mine.dtype == theirs.dtype
        if each.exact or mine.dtype.kind != "f":
            np.testing.assert_array_equal(theirs, mine)
        else:
            np.testing.assert_allclose(theirs, mine, rtol=1e-5, atol=2e-6 * max(1, np.abs(mine).max()))


def test_every_row_is_tried() -> None:
    assert CASES.keys() == TWINS.keys()


@pytest.mark.parametrize("n", [1, 2, 7, 33, 64])
@pytest.mark.parametrize(("name", "each"), EVERY)
def test_a_twin_is_its_plain_function(name: str, each: Case, n: int) -> None:
    assert_same(name, each, both(name, each, n))


@pytest.mark.parametrize(("name", "each"), [pytest.param(name, CASES[name][0], id=name) for name in CASES])
@pytest.mark.filterwarnings("ignore:np.dot:Warning")  # is slower then
def test_arrays_need_not_lie_in_one_piece(name: str, each: Case) -> None:
    def change(inputs: list[Any]) -> None:
        if "chain" not in name:  # whose arrays are those of the whole network
            inputs[:] = [strided(each) if isinstance(each, np.ndarray) else each for each in inputs]

    assert_same(name, each, both(name, each, 5, change))


@pytest.mark.parametrize(("name", "each"), EVERY)
def test_what_is_not_finite_goes_where_it_goes_in_the_plain_function(name: str, each: Case) -> None:
    places = [i for i, array in enumerate(each.inputs(np.random.default_rng(0), 5)) if is_float(array)]
    for place, bad, index in itertools.product(places, each.odd, (-1, -3)):

        def change(inputs: list[Any], place: int = place, bad: float = bad, index: int = index) -> None:
            inputs[place].reshape(-1)[max(index, -inputs[place].size)] = bad

        for mine, theirs in both(name, each, 5, change):
            np.testing.assert_array_equal(np.isnan(theirs), np.isnan(mine))


def is_float(array: Any) -> bool:
    return isinstance(array, np.ndarray) and array.dtype.kind == "f"


# -- the table ------------------------------------------------------------------------------------------------------


def backend_of(name: str) -> Backend:
    model: Any = find("actor_critic").load()("MlpPolicy", "CartPole-v1", device="cpu")
    return make_backend(name, model.policy)


def test_only_numpy_has_twins_and_only_where_they_are_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    torch, numpy = backend_of("torch"), backend_of("numpy")
    assert torch.best(td_errors) is td_errors
    assert numpy.best(td_errors) is not td_errors
    assert numpy.best(np.sum) is np.sum
    assert twins.libraries() == ("numba",)
    monkeypatch.setenv("SB3_COURSE_COMPILED", "0")
    assert numpy.best(td_errors) is td_errors
    assert twins.libraries() == ()


def test_a_loss_without_a_twin_is_computed_in_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    def quartic(predictions: Array, targets: Array) -> tuple[Array, Array]:
        errors = predictions - targets
        return errors**4, 4 * errors**3

    monkeypatch.setitem(LOSSES, "quartic", quartic)
    arguments = of_means(np.random.default_rng(0), 9, "quartic")
    for mine, theirs in zip(td.td_errors(*arguments), best(td_errors)(*arguments), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_loss_that_nobody_knows_is_an_error() -> None:
    from sb3_course.backends.compiled.batch_errors import errors_of_means

    arguments = of_means(np.random.default_rng(0), 9, "cubic")
    for function in (td_errors, best(td_errors)):
        with pytest.raises(KeyError, match="cubic"):
            function(*arguments)
    with pytest.raises(ValueError, match="none of those known here"):
        errors_of_means(*arguments[:-1], 3)


@pytest.mark.parametrize("action", [-1, 4])
def test_an_action_without_an_output_is_refused(action: int) -> None:
    rng = np.random.default_rng(0)
    for name, inputs in (
        ("functional.td:td_errors", of_means(rng, 2, "huber")),
        ("functional.td:categorical_errors", of_categories(rng, 2, 51)),
        ("functional.distributions:category_scores", [floats(rng, 2, 4), np.zeros((2, 1), np.int64)]),
    ):
        inputs[1][1] = action
        with pytest.raises(IndexError, match="action"):
            best(plain_of(name))(*inputs)
