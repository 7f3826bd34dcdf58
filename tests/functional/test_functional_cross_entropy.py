"""Softmax and cross-entropy against torch and its autograd, KL against its definition, entropy and expectation."""

import math
import warnings

import numpy as np
import pytest
import torch as th
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sb3_course.functional import cross_entropy, entropy, expectation, expectations, kl_of_loss, log_softmax, softmax
from sb3_course.functional.array_api import steps

DTYPES = [np.float32, np.float64]


def kl(logits, targets):
    return kl_of_loss(cross_entropy(logits, targets)[0], targets)


logit_rows = arrays(np.float64, (4, 7), elements=st.floats(-30, 30))
mass_rows = arrays(np.float64, (4, 7), elements=st.sampled_from([0.0, 1e-12, 0.2, 1.0, 3.0])).map(
    lambda masses: (masses + 1e-300 * (masses.sum(1, keepdims=True) == 0)) / np.maximum(masses.sum(1), 7e-300)[:, None]
)


@pytest.mark.parametrize("dtype", DTYPES)
@given(logits=logit_rows)
def test_softmax_and_its_logarithm_are_those_of_torch(dtype, logits):
    logits = logits.astype(dtype)
    for shape in ((4, 7), (2, 2, 7), (28,)):
        array = logits.reshape(shape)
        expected = th.tensor(array).log_softmax(-1)
        assert th.equal(log_softmax(th.tensor(array)), expected)
        np.testing.assert_allclose(
            log_softmax(array), expected.numpy(), rtol=1e-6, atol=1e-5 if dtype == np.float32 else 1e-12
        )
        np.testing.assert_allclose(softmax(array), softmax(th.tensor(array)).numpy(), rtol=1e-5, atol=1e-7)
        assert log_softmax(array).dtype == softmax(array).dtype == dtype


@pytest.mark.parametrize("make", [np.asarray, th.as_tensor])
def test_extreme_logits_stay_finite(make):
    logits = make(np.array([[1e4, 0.0, -1e4], [1e38, -1e38, 0.0], [-3e4, -3e4, -3e4]], np.float32))
    targets = make(np.array([[0.0, 0.5, 0.5], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]], np.float32))
    losses, gradients = cross_entropy(logits[[0, 2]], targets[[0, 2]])
    np.testing.assert_allclose(np.asarray(losses), [15_000, np.log(3)], rtol=1e-6)
    np.testing.assert_allclose(np.asarray(gradients), [[1, -0.5, -0.5], [-2 / 3, 1 / 3, 1 / 3]], atol=1e-6)
    np.testing.assert_array_equal(np.asarray(softmax(logits))[1], [1, 0, 0])


@given(logits=logit_rows, targets=mass_rows)
def test_cross_entropy_and_its_gradient_are_those_of_torch_autograd(logits, targets):
    logits_leaf = th.tensor(logits, requires_grad=True)
    expected = F.cross_entropy(logits_leaf, th.tensor(targets), reduction="none")
    expected.sum().backward()
    for arguments in ((logits, targets), (th.tensor(logits), th.tensor(targets))):
        losses, gradients = cross_entropy(*arguments)
        np.testing.assert_allclose(np.asarray(losses), expected.detach().numpy(), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(np.asarray(gradients), logits_leaf.grad.numpy(), atol=1e-12)
        np.testing.assert_allclose(np.asarray(gradients).sum(1), 0, atol=1e-12)


@given(logits=logit_rows, targets=mass_rows, column=st.integers(0, 6))
def test_the_gradient_is_the_finite_difference_of_the_loss(logits, targets, column):
    step = np.zeros(7)
    step[column] = 1e-6
    difference = cross_entropy(logits + step, targets)[0] - cross_entropy(logits - step, targets)[0]
    np.testing.assert_allclose(cross_entropy(logits, targets)[1][:, column], difference / 2e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@given(logits=logit_rows, targets=mass_rows)
def test_kl_is_never_negative_and_equals_its_definition(dtype, logits, targets):
    logits, targets = logits.astype(dtype), targets.astype(dtype)
    expected = F.kl_div(th.tensor(logits).double().log_softmax(-1), th.tensor(targets).double(), reduction="none").sum(
        1
    )
    for make in (np.asarray, th.as_tensor):
        found = kl(make(logits), make(targets))
        assert (found >= 0).all()
        np.testing.assert_allclose(np.asarray(found), expected.numpy(), rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("make", [np.asarray, th.as_tensor])
@given(logits=logit_rows)
def test_kl_of_equal_distributions_is_zero_and_so_is_the_gradient(make, logits):
    logits = make(logits)
    np.testing.assert_allclose(np.asarray(kl(logits, softmax(logits))), 0, atol=1e-12)
    np.testing.assert_allclose(np.asarray(cross_entropy(logits, softmax(logits))[1]), 0, atol=1e-12)


@pytest.mark.parametrize("make", [np.asarray, th.as_tensor])
def test_entropy_of_known_distributions(make):
    distributions = make(np.array([[1.0, 0.0, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25], [0.5, 0.5, 0.0, 0.0]]))
    np.testing.assert_allclose(np.asarray(entropy(distributions)), [0, np.log(4), np.log(2)], atol=1e-15)


@pytest.mark.parametrize("make", [np.asarray, th.as_tensor])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_is_not_hidden(make, bad):
    logits, targets = make(np.array([[bad, 0.0], [0.0, 0.0]])), make(np.array([[0.5, 0.5], [1.0, 0.0]]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # inf − inf
        losses, found = cross_entropy(logits, targets)[0], kl(logits, targets)
    assert not math.isfinite(losses[0])
    assert not math.isfinite(found[0])
    np.testing.assert_allclose(float(losses[1]), np.log(2))


@pytest.mark.parametrize("make", [np.asarray, th.as_tensor])
def test_expectations_are_those_of_the_softmax(make):
    rng = np.random.default_rng(0)
    outputs, support = rng.standard_normal((5, 3, 4)), np.array([-1.0, 0.0, 2.0, 5.0])
    powers = np.exp(outputs)
    expected = (powers * support).sum(2) / powers.sum(2)
    np.testing.assert_allclose(np.asarray(expectations(make(outputs), make(support))), expected)


@pytest.mark.parametrize("shape", [(3,), (5, 3), (2, 4, 3), (0, 3)])
def test_expectation_of_any_number_of_leading_axes(shape):
    distributions, support = np.random.default_rng(0).random(shape), np.array([-1.0, 0.0, 2.5])
    expected = (distributions * support).sum(-1)
    np.testing.assert_allclose(expectation(distributions, support), expected)
    np.testing.assert_allclose(expectation(th.tensor(distributions), th.tensor(support)).numpy(), expected)


def test_steps_count_in_the_library_and_precision_of_the_array():
    assert steps(3, np.zeros(1, np.float32)).dtype == np.float32
    assert th.equal(steps(3, th.zeros(1, dtype=th.float64)), th.tensor([0.0, 1.0, 2.0], dtype=th.float64))
