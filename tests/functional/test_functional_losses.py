"""Losses and their gradients against torch autograd, finite differences and each other's library."""

import numpy as np
import pytest
import torch as th
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sb3_course.functional import LOSSES, huber, l2, mean_gradient, mse
from sb3_course.functional.array_api import namespace, rows

TORCH_LOSS = {
    "huber": F.smooth_l1_loss,
    "l2": lambda predictions, targets, reduction: 0.5 * F.mse_loss(predictions, targets, reduction=reduction),
    "mse": F.mse_loss,
}

numbers = st.floats(-1e3, 1e3, width=32)
batches = st.integers(1, 40).flatmap(
    lambda n: st.tuples(arrays(np.float32, n, elements=numbers), arrays(np.float32, n, elements=numbers))
)


def autograd(name, predictions, targets, reduction):
    leaf = th.tensor(predictions, requires_grad=True)
    loss = TORCH_LOSS[name](leaf, th.tensor(targets), reduction=reduction)
    loss.sum().backward()
    return loss.detach().numpy(), leaf.grad.numpy()


def test_the_table_names_every_loss():
    assert {"huber": huber, "l2": l2, "mse": mse} == LOSSES


@pytest.mark.parametrize("name", LOSSES)
@given(batch=batches)
def test_loss_and_gradient_are_those_of_torch_autograd(name, batch):
    losses, gradients = LOSSES[name](*batch)
    expected_losses, expected_gradients = autograd(name, *batch, "none")
    # huber is written as one product, g(δ − ½g): it may differ from |δ| − ½ in the last bit, which is all that some
    # numbers below the smallest normal one have
    last_bit = float(np.finfo(np.float32).smallest_subnormal)
    np.testing.assert_allclose(losses, expected_losses, rtol=3e-7, atol=last_bit)
    np.testing.assert_array_equal(gradients, expected_gradients)


@pytest.mark.parametrize("name", LOSSES)
@given(batch=batches)
def test_numpy_and_torch_agree_to_the_last_bit(name, batch):
    from_numpy = LOSSES[name](*batch)
    from_torch = LOSSES[name](*map(th.tensor, batch))
    for mine, theirs in zip(from_numpy, from_torch, strict=True):
        assert isinstance(theirs, th.Tensor)
        assert mine.dtype == np.float32
        np.testing.assert_array_equal(mine, theirs.numpy())


@pytest.mark.parametrize("name", LOSSES)
@given(errors=arrays(np.float64, 20, elements=st.floats(-10, 10)))
def test_gradient_is_the_finite_difference_of_the_loss(name, errors):
    targets, step = np.linspace(-2, 2, 20), 1e-6
    predictions = targets + errors
    difference = LOSSES[name](predictions + step, targets)[0] - LOSSES[name](predictions - step, targets)[0]
    np.testing.assert_allclose(LOSSES[name](predictions, targets)[1], difference / (2 * step), atol=1e-6, rtol=1e-6)


def test_huber_is_quadratic_inside_one_and_linear_outside():
    errors = np.array([-3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0])
    losses, gradients = huber(errors, np.zeros(7))
    np.testing.assert_array_equal(losses, [2.5, 0.5, 0.125, 0.0, 0.125, 0.5, 2.5])
    np.testing.assert_array_equal(gradients, [-1.0, -1.0, -0.5, 0.0, 0.5, 1.0, 1.0])


@pytest.mark.parametrize("name", LOSSES)
def test_losses_leave_their_arguments_alone(name):
    predictions, targets = np.array([3.0, -0.5], np.float32), np.array([0.0, 1.0], np.float32)
    LOSSES[name](predictions, targets)
    assert predictions.tolist() == [3.0, -0.5]
    assert targets.tolist() == [0.0, 1.0]


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_is_not_hidden(name, bad):
    losses, _ = LOSSES[name](np.array([bad, 0.0], np.float32), np.zeros(2, np.float32))
    assert not np.isfinite(losses[0])
    assert losses[1] == 0


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("n_batch", [1, 3, 32, 33, 100, 127])
def test_mean_gradient_equals_torchs_backward_of_a_mean_bit_for_bit(name, n_batch):
    generator = np.random.default_rng(n_batch)
    predictions, targets = (generator.normal(0, 2, n_batch).astype(np.float32) for _ in range(2))
    _, expected = autograd(name, predictions, targets, "mean")
    gradients = mean_gradient(LOSSES[name](predictions, targets)[1], np.ones(n_batch, np.float32))
    np.testing.assert_array_equal(gradients, expected)


def test_mean_gradient_weighs_every_sample():
    weights = th.tensor([0.25, 1.0, 0.5, 0.0])
    errors = th.tensor([4.0, -0.5, 0.25, 9.0], requires_grad=True)
    (F.smooth_l1_loss(errors, th.zeros(4), reduction="none") * weights).mean().backward()
    gradients = mean_gradient(huber(errors.detach(), th.zeros(4))[1], weights)
    assert th.equal(gradients, errors.grad)


def test_dividing_by_the_batch_size_would_not_be_bit_equal():
    """Why `mean_gradient` multiplies: the two roundings do differ for batches of 33 and 100."""
    gradients = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    for n_batch in (33, 100):
        assert (gradients * np.float32(1.0 / n_batch) != gradients / np.float32(n_batch)).any()


def test_namespace_and_rows_follow_the_library_of_the_array():
    assert namespace(np.zeros(1)) is np
    assert namespace(np.float32(1)) is np
    assert namespace(th.zeros(1)) is th
    np.testing.assert_array_equal(rows(np.zeros((3, 2))), [0, 1, 2])
    assert th.equal(rows(th.zeros(3, 2)), th.tensor([0, 1, 2]))
