"""The categorical projection and the mass it clips, against a brute force."""

import warnings

import numpy as np
import pytest
import torch as th
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sb3_course.functional import clipped_mass, project

# (v_min, v_max, N); the second is one where a float32 position overshoots the last atom
SUPPORTS = [(-10, 10, 51), (0, 29.7, 101), (-1, 1, 2), (0, 5, 6), (0, 1, 3), (-300, -100, 11), (0, 99.3, 101)]
DTYPES = [np.float32, np.float64]


def brute_force(probabilities, rewards, discounts, support):
    """Bellemare et al. (2017), Eq. 7, term by term in float64."""
    support = support.astype(np.float64)
    gap = (support[-1] - support[0]) / (len(support) - 1)
    projected = np.zeros(probabilities.shape)
    for row, (distribution, reward, discount) in enumerate(zip(probabilities, rewards, discounts, strict=True)):
        for mass, atom in zip(distribution, support, strict=True):
            target = np.clip(float(reward) + float(discount) * atom, support[0], support[-1])
            projected[row] += float(mass) * np.clip(1 - np.abs(target - support) / gap, 0, 1)
    return projected


@st.composite
def problems(draw, dtype=None, inside=False):
    """Next probabilities, rewards, discounts and a support; `inside`: no target leaves the support."""
    dtype = dtype or draw(st.sampled_from(DTYPES))
    low, high, n = draw(st.sampled_from(SUPPORTS))
    batch = draw(st.integers(1, 5))
    support = np.linspace(low, high, n, dtype=dtype)
    masses = draw(arrays(np.float64, (batch, n), elements=st.sampled_from([0.0, 0.0, 1e-8, 0.3, 1.0, 7.0])))
    masses[np.arange(batch), draw(st.lists(st.integers(0, n - 1), min_size=batch, max_size=batch))] += 0.5
    discounts = draw(arrays(dtype, batch, elements=st.sampled_from([0, 1, 0.5, 0.99, 0.970299, 0.25])))
    if inside:
        share = draw(arrays(np.float64, batch, elements=st.floats(0, 1)))
        rewards = (1 - discounts.astype(np.float64)) * (low + share * (high - low))
    else:
        gap = (high - low) / (n - 1)
        anything = st.floats(-1.5 * abs(low) - 2, 1.5 * abs(high) + 2)
        whole = st.integers(-n, n).map(lambda k: k * gap)  # positions on atoms: the case that loses all mass
        rewards = draw(arrays(np.float64, batch, elements=anything | whole))
    probabilities = (masses / masses.sum(1, keepdims=True)).astype(dtype)
    return probabilities, rewards.astype(dtype), discounts, support


def tensors(problem):
    return [th.tensor(array) for array in problem]


def leaf(array):
    """Return a tensor that wants a gradient: it is not handed to NumPy, as if it were on an accelerator."""
    return th.tensor(array, requires_grad=True)


def as_array(array):
    return array.detach().numpy() if isinstance(array, th.Tensor) else array


def leaves(problem):
    return [leaf(array) for array in problem]


# -- projection -----------------------------------------------------------------------------------------------------


@given(problem=problems())
def test_projection_equals_the_brute_force(problem):
    projected = project(*problem)
    assert projected.dtype == problem[0].dtype
    # in float32 a position of 101 atoms and more has five digits after the point at best
    np.testing.assert_allclose(projected, brute_force(*problem), atol=1e-9 if projected.dtype == np.float64 else 2e-4)


@given(problem=problems())
def test_projection_keeps_the_mass_and_has_no_negative_entry(problem):
    for projected in (
        project(*problem),
        project(*tensors(problem)).numpy(),
        project(*leaves(problem)).detach().numpy(),
    ):
        np.testing.assert_allclose(projected.sum(1, dtype=np.float64), 1, atol=1e-6)
        assert (projected >= 0).all()


@given(problem=problems(inside=True))
def test_projection_keeps_the_mean_where_nothing_is_clipped(problem):
    probabilities, rewards, discounts, support = (array.astype(np.float64) for array in problem)
    mean = rewards + discounts * (probabilities @ support)
    projected = project(*problem).astype(np.float64)
    width = support[-1] - support[0]
    tolerance = 1e-12 * (width + 300) if problem[0].dtype == np.float64 else 1e-5 * width
    np.testing.assert_allclose(projected @ support, mean, rtol=0, atol=tolerance)
    np.testing.assert_array_equal(clipped_mass(*problem), 0)


@given(problem=problems())
def test_numpy_and_torch_project_alike(problem):
    for function in (project, clipped_mass):
        expected = function(*problem)
        on_cpu, anywhere = function(*tensors(problem)), function(*leaves(problem)).detach()
        assert on_cpu.dtype == anywhere.dtype == th.tensor(problem[0]).dtype
        np.testing.assert_array_equal(on_cpu.numpy(), expected)
        np.testing.assert_allclose(anywhere.numpy(), expected, atol=1e-6)


@given(problem=problems())
def test_rows_are_independent(problem):
    probabilities, rewards, discounts, support = problem
    together = project(*problem)
    for row in range(len(rewards)):
        part = slice(row, row + 1)
        alone = project(probabilities[part], rewards[part], discounts[part], support)
        np.testing.assert_array_equal(alone[0], together[row])


@pytest.mark.parametrize(("low", "high", "n"), SUPPORTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("make", [np.asarray, th.as_tensor, leaf])
def test_a_reward_of_whole_atoms_shifts_the_distribution(low, high, n, dtype, make):
    """Every b is an integer: l = ⌊b⌋ and u = ⌈b⌉ agree, and the published algorithm loses all mass."""
    support = np.linspace(low, high, n, dtype=dtype)
    probabilities = np.random.default_rng(0).dirichlet(np.ones(n), 3).astype(dtype)
    gap = (high - low) / (n - 1)
    rewards = np.array([0, gap, -gap], dtype)
    projected = as_array(project(make(probabilities), make(rewards), make(np.ones(3, dtype)), make(support)))
    np.testing.assert_array_equal(projected[0], probabilities[0])  # r = 0, γ = 1: to the last bit
    up, down = np.zeros(n), np.zeros(n)
    up[1:] = probabilities[1, :-1]
    up[-1] += probabilities[1, -1]
    down[:-1] = probabilities[2, 1:]
    down[0] += probabilities[2, 0]
    np.testing.assert_allclose(projected[1:], [up, down], atol=1e-5)


@given(problem=problems(), rewards=st.lists(st.floats(-400, 120), min_size=5, max_size=5))
def test_a_terminal_target_sits_on_two_neighbours_with_the_clipped_reward_as_mean(problem, rewards):
    probabilities, _, discounts, support = problem
    rewards = np.array(rewards[: len(discounts)], support.dtype)
    projected = project(probabilities, rewards, np.zeros_like(discounts), support)
    means = projected.astype(np.float64) @ support.astype(np.float64)
    expected = np.clip(rewards, support[0], support[-1])
    np.testing.assert_allclose(means, expected, atol=1e-5 * float(support[-1] - support[0]))
    for distribution in projected:
        used = np.flatnonzero(distribution > 1e-6)
        assert len(used) in (1, 2)
        assert used[-1] - used[0] <= 1


@pytest.mark.parametrize("make", [np.asarray, th.as_tensor, leaf])
def test_infinite_rewards_go_to_the_ends(make):
    rewards = make(np.array([np.inf, -np.inf]))
    distributions, support = make(np.full((2, 3), 1 / 3)), make(np.array([-1.0, 0.0, 1.0]))
    projected = project(distributions, rewards, make(np.full(2, 0.9)), support)
    np.testing.assert_allclose(as_array(projected), [[0, 0, 1], [1, 0, 0]], atol=1e-12)
    np.testing.assert_allclose(as_array(clipped_mass(distributions, rewards, make(np.full(2, 0.9)), support)), 1)


@pytest.mark.parametrize("make", [np.asarray, th.as_tensor, leaf])
def test_a_reward_that_is_not_a_number_is_not_hidden_and_stays_in_its_row(make):
    distributions, support = make(np.full((3, 3), 1 / 3)), make(np.array([-1.0, 0.0, 1.0]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # NumPy remarks on the cast
        projected = as_array(project(distributions, make(np.array([0.0, np.nan, 0.0])), make(np.ones(3)), support))
    assert np.isnan(projected[1]).any()
    np.testing.assert_allclose(projected[[0, 2]], 1 / 3)


def test_projection_leaves_its_arguments_alone():
    for make in (np.array, th.tensor):
        problem = [make([[0.5, 0.5]]), make([0.3]), make([0.9]), make([0.0, 1.0])]
        before = [array.tolist() for array in problem]
        project(*problem)
        clipped_mass(*problem)
        for array, old in zip(problem, before, strict=True):
            assert array.tolist() == old


@pytest.mark.parametrize("make", [np.asarray, th.as_tensor, leaf])
def test_small_probabilities_are_not_swallowed_by_a_large_one(make):
    """A terminal target of a nearly certain distribution: summed in float32 it would lose 2e-6."""
    distribution = np.full((1, 101), 2e-8, np.float32)
    distribution[0, 0] = 1 - 100 * 2e-8
    zero = make(np.zeros(1, np.float32))
    projected = project(make(distribution), zero, zero, make(np.linspace(0, 29.7, 101, dtype=np.float32)))
    np.testing.assert_allclose(as_array(projected)[0, 0], 1, atol=1e-7)


# -- clipped mass ---------------------------------------------------------------------------------------------------


@given(problem=problems())
def test_clipped_mass_is_the_share_of_targets_outside(problem):
    probabilities, rewards, discounts, support = (array.astype(np.float64) for array in problem)
    targets = rewards[:, None] + discounts[:, None] * support
    gap = support[1] - support[0]
    outside = np.maximum(support[0] - targets, targets - support[-1])
    surely, perhaps = (probabilities * (outside > slack * gap) for slack in (2e-3, 0))
    found = clipped_mass(*problem)
    assert (found >= surely.sum(1) - 1e-6).all()
    assert (found <= perhaps.sum(1) + 1e-6).all()


def test_clipped_mass_of_a_support_too_small():
    """CartPole at γ = 0.99 reaches 99.3: a support that ends at 50 is told so."""
    support = np.linspace(0, 50, 51, dtype=np.float32)
    distribution = np.zeros((2, 51), np.float32)
    distribution[0, 50], distribution[1, [10, 50]] = 1, [0.75, 0.25]
    found = clipped_mass(distribution, np.ones(2, np.float32), np.full(2, 0.99, np.float32), support)
    np.testing.assert_allclose(found, [1, 0.25])
