"""Returns and advantages over time against the double sums that define them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from stable_baselines3.common import utils

from sb3_course.functional.returns import (
    discount_factors,
    explained_variance,
    gae,
    q_lambda,
    reward_to_go,
    total_return,
)

EXACT = {"rtol": 1e-10, "atol": 1e-9}
shapes = st.one_of(st.tuples(st.integers(1, 12)), st.tuples(st.integers(1, 12), st.integers(1, 4)))
numbers = st.floats(-10, 10)
fractions = st.floats(0, 1)


@st.composite
def pieces(draw):
    """Rewards, values, values after each step (any at an end: 0 where it terminated), ends; (T,) or (T, E)."""
    shape = draw(shapes)
    rewards, values, behind = (draw(arrays(np.float64, shape, elements=numbers)) for _ in range(3))
    ends = draw(arrays(np.bool_, shape))
    following = np.concatenate([values[1:], behind[-1:]])  # V of the next row, which belongs to the same piece
    terminated = draw(arrays(np.bool_, shape))
    return rewards, values, np.where(ends, behind * ~terminated, following), ends


def columns(*arguments):
    """Return every env's column of (T, E) arrays, or the one of (T,) arrays."""
    return zip(*(np.reshape(argument, (len(argument), -1)).T for argument in arguments), strict=True)


def by_definition(term, ends, factor):
    """Return ``Σ_{k=t}^{end of the piece of t} factor^(k − t) · term_k``, summed one by one, (T,)."""
    sums = []
    for t in range(len(term)):
        stop = next((k for k in range(t, len(term)) if ends[k]), len(term) - 1)
        sums.append(sum(factor ** (k - t) * term[k] for k in range(t, stop + 1)))
    return np.array(sums)


def assert_columns(result, expected, like):
    assert result.shape == like.shape
    for column, truth in zip(columns(result), expected, strict=True):
        np.testing.assert_allclose(column[0], truth, **EXACT)


@given(piece=pieces(), gamma=fractions)
def test_reward_to_go_is_the_discounted_sum_up_to_the_end_of_the_episode(piece, gamma):
    rewards, _, _, ends = piece
    expected = [by_definition(r, e, gamma) for r, e in columns(rewards, ends)]
    assert_columns(reward_to_go(rewards, ends, gamma), expected, rewards)


@given(piece=pieces(), gamma=fractions)
def test_total_return_is_the_first_reward_to_go_of_its_episode(piece, gamma):
    rewards, _, _, ends = piece
    expected = []
    for r, e in columns(rewards, ends):
        starts = [max([k + 1 for k in range(t) if e[k]], default=0) for t in range(len(r))]
        expected.append(by_definition(r, e, gamma)[starts])
    assert_columns(total_return(rewards, ends, gamma), expected, rewards)


@given(piece=pieces(), gamma=fractions, gae_lambda=fractions)
def test_gae_is_the_sum_of_residuals_discounted_by_gamma_lambda(piece, gamma, gae_lambda):
    rewards, values, following, ends = piece
    deltas = rewards + gamma * following - values
    expected = [by_definition(d, e, gamma * gae_lambda) for d, e in columns(deltas, ends)]
    assert_columns(gae(rewards, values, following, ends, gamma, gae_lambda), expected, rewards)


@given(piece=pieces(), gamma=fractions)
def test_gae_0_is_the_one_step_residual_to_the_last_bit(piece, gamma):
    rewards, values, following, ends = piece
    advantages = gae(rewards, values, following, ends, gamma, 0.0)
    np.testing.assert_array_equal(advantages, rewards + gamma * following - values)


@given(piece=pieces(), gamma=fractions)
def test_gae_1_is_the_return_less_the_value_where_every_piece_terminates(piece, gamma):
    rewards, values, following, ends = piece
    ends, following = ends.copy(), following.copy()
    ends[-1] = True
    following[ends] = 0.0
    advantages = gae(rewards, values, following, ends, gamma, 1.0)
    np.testing.assert_allclose(advantages, reward_to_go(rewards, ends, gamma) - values, **EXACT)


@given(piece=pieces(), gamma=fractions)
def test_gae_1_is_the_bootstrapped_return_less_the_value_where_pieces_are_open(piece, gamma):
    rewards, values, following, ends = piece
    returns = gae(rewards, values, following, ends, gamma, 1.0) + values
    expected = []
    for r, f, e in columns(rewards, following, ends):
        last = e.copy()
        last[-1] = True  # after the last row the value stands for all that comes
        expected.append(by_definition(r + gamma * f * last, e, gamma))
    assert_columns(returns, expected, rewards)


@given(piece=pieces(), gamma=fractions, gae_lambda=fractions)
def test_envs_side_by_side_are_envs_one_by_one(piece, gamma, gae_lambda):
    rewards, values, following, ends = piece
    together = gae(rewards, values, following, ends, gamma, gae_lambda)
    for r, v, f, e, result in columns(rewards, values, following, ends, together):
        np.testing.assert_array_equal(gae(r, v, f, e, gamma, gae_lambda), result)


def test_by_hand():
    rewards, ends = np.array([1.0, 2.0, 4.0, 8.0, 16.0]), np.array([False, False, True, False, False])
    np.testing.assert_array_equal(reward_to_go(rewards, ends, 0.5), [3.0, 4.0, 4.0, 16.0, 16.0])
    np.testing.assert_array_equal(total_return(rewards, ends, 0.5), [3.0, 3.0, 3.0, 16.0, 16.0])
    values, following = np.array([1.0, 2.0, 3.0, 4.0, 5.0]), np.array([2.0, 3.0, 0.0, 5.0, 6.0])
    np.testing.assert_array_equal(gae(rewards, values, following, ends, 0.5, 0.0), [1.0, 1.5, 1.0, 6.5, 14.0])
    np.testing.assert_array_equal(gae(rewards, values, following, ends, 0.5, 1.0), [2.0, 2.0, 1.0, 13.5, 14.0])
    np.testing.assert_array_equal(gae(rewards, values, following, ends, 0.5, 0.5), [1.4375, 1.75, 1.0, 10.0, 14.0])


def test_an_episode_of_one_step_has_its_reward_as_return():
    rewards, ends = np.array([3.0, -1.0, 2.0]), np.ones(3, bool)
    for function in (reward_to_go, total_return):
        np.testing.assert_array_equal(function(rewards, ends, 0.9), rewards)


def test_arguments_are_left_alone():
    rewards, values, following = np.arange(4.0), np.ones(4), np.full(4, 2.0)
    ends = np.array([False, True, False, False])
    copies = [array.copy() for array in (rewards, values, following, ends)]
    gae(rewards, values, following, ends, 0.9, 0.9)
    total_return(rewards, ends, 0.9)
    for array, copied in zip((rewards, values, following, ends), copies, strict=True):
        np.testing.assert_array_equal(array, copied)


def test_a_reward_does_not_flow_back_across_an_end():
    generator = np.random.default_rng(0)
    rewards, ends = generator.normal(size=(20, 3)), np.zeros((20, 3), bool)
    ends[[4, 9, 14], [0, 1, 2]] = True
    changed = rewards.copy()
    changed[15:] += 7.0
    before, after = (reward_to_go(r, ends, 0.9) for r in (rewards, changed))
    for env, end in enumerate([4, 9, 14]):
        np.testing.assert_array_equal(before[: end + 1, env], after[: end + 1, env])
        assert (before[end + 1 :, env] != after[end + 1 :, env]).all()


@given(steps=arrays(np.int64, 20, elements=st.integers(0, 500)), gamma=fractions)
def test_discount_factors_are_powers_of_gamma(steps, gamma):
    expected = [np.prod(np.full(t, gamma)) for t in steps]
    factors = discount_factors(steps, gamma)
    assert factors.dtype == np.float64
    np.testing.assert_allclose(factors, expected, rtol=1e-11, atol=1e-300)


@pytest.mark.parametrize("steps", [[0, 1, 2, 3, 0, 1], np.array([0, 1, 2, 3, 0, 1], np.int32)])
def test_discount_factors_start_anew_with_an_episode_and_gamma_0_leaves_the_first_step(steps):
    np.testing.assert_array_equal(discount_factors(steps, 0.5), [1, 0.5, 0.25, 0.125, 1, 0.5])
    np.testing.assert_array_equal(discount_factors(steps, 0.0), [1, 0, 0, 0, 1, 0])
    np.testing.assert_array_equal(discount_factors(steps, 1.0), np.ones(6))


@given(pieces())
def test_the_explained_variance_is_that_of_sb3(piece):
    targets, predictions = (part.ravel() for part in piece[:2])
    wanted = utils.explained_variance(predictions, targets)
    if targets.std() > 1e-3:
        assert explained_variance(predictions, targets) == pytest.approx(wanted, rel=1e-6, abs=1e-6)


def test_targets_that_do_not_vary_have_no_explained_variance():
    assert np.isnan(explained_variance(np.arange(3.0), np.ones(3)))


@given(piece=pieces(), gamma=fractions, trace=st.sampled_from([0.0, 0.3, 0.65, 1.0]))
def test_q_lambda_returns_are_the_average_of_the_n_step_returns_to_the_end_of_the_piece(piece, gamma, trace):
    """By the forward view: ``(1 − λ)·Σ_n λ^(n−1)·G^(n)``, all that is left of the weights on the longest."""
    rewards, _, behind, ends = piece
    ends = ends.copy()
    ends[-1] = True  # what was collected ends there
    expected = []
    for r, v, e in columns(rewards, behind, ends):
        returns = []
        for t in range(len(r)):
            longest = next(k for k in range(t, len(r)) if e[k]) - t + 1
            n_step = [
                sum(gamma**k * r[t + k] for k in range(n)) + gamma**n * v[t + n - 1] for n in range(1, longest + 1)
            ]
            weights = [(1 - trace) * trace ** (n - 1) for n in range(1, longest)] + [trace ** (longest - 1)]
            returns.append(np.dot(weights, n_step))
        expected.append(np.array(returns))
    assert_columns(q_lambda(rewards, behind, ends, gamma, trace), expected, rewards)
