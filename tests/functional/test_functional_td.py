"""Errors of a batch against loops over its transitions, for both libraries and for an estimate of one's own."""

import numpy as np
import pytest
import torch as th

from sb3_course.functional import LOSSES, categorical_errors, cross_entropy, errors_at_actions, project, td_errors
from sb3_course.functional.categorical import softmax

B, A = 9, 4


def batch_of(n_atoms, seed=0):
    """Return outputs, actions, next outputs, values of the next actions, rewards, discounts and weights."""
    rng = np.random.default_rng(seed)
    outputs, following = rng.standard_normal((2, B, A, n_atoms)).astype(np.float32)
    values = rng.standard_normal((B, A)).astype(np.float32)
    values[0, 1:] = values[0, 1:].max()  # the first of several largest picks
    return [outputs, rng.integers(A, size=B), following, values, *rng.random((3, B)).astype(np.float32)]


def as_torch(arguments):
    return [th.as_tensor(each) if isinstance(each, np.ndarray) else each for each in arguments]


def assert_errors(found, losses, gradients, predictions, targets):
    for mine, theirs in zip(found, (losses, gradients, predictions, targets), strict=True):
        np.testing.assert_allclose(np.asarray(mine), np.stack(theirs), rtol=1e-6, atol=1e-7)


def one_by_one(arguments, target_of, loss_of):
    """Return losses, gradients, predictions and targets of every transition."""
    outputs, actions, following, values, rewards, discounts, weights = arguments
    rows = []
    for b in range(B):
        target = target_of(following[b, np.argmax(values[b])], rewards[b], discounts[b])
        prediction, gradient = outputs[b, actions[b]], np.zeros_like(outputs[b])
        loss, slope = loss_of(prediction, target)
        gradient[actions[b]] = slope * weights[b] / B
        rows.append((loss, gradient, prediction, target))
    return list(zip(*rows, strict=True))


@pytest.mark.parametrize("make", [list, as_torch])
@pytest.mark.parametrize("loss", LOSSES)
def test_expected_returns(loss, make):
    arguments = batch_of(1)

    def loss_of(prediction, target):
        value, slope = LOSSES[loss](prediction, target)
        return value[0], slope

    expected = one_by_one(arguments, lambda picked, reward, discount: reward + discount * picked, loss_of)
    assert_errors(td_errors(*make(arguments), loss), *expected)


@pytest.mark.parametrize("make", [list, as_torch])
def test_distributions_over_atoms(make):
    arguments, support = batch_of(7), np.linspace(-2, 2, 7, dtype=np.float32)

    def target_of(picked, reward, discount):
        return project(softmax(picked[None]), reward[None], discount[None], support)[0]

    def loss_of(prediction, target):
        loss, slope = cross_entropy(prediction[None], target[None])
        return loss[0], slope[0]

    found = categorical_errors(*make([*arguments[:4], support, *arguments[4:]]))
    assert_errors(found, *one_by_one(arguments, target_of, loss_of))


@pytest.mark.parametrize("make", [list, as_torch])
def test_an_estimate_of_ones_own_says_only_what_its_targets_and_its_loss_are(make):
    arguments = batch_of(5)
    outputs, actions, following, values, rewards, discounts, weights = make(arguments)
    found = errors_at_actions(
        outputs, actions, following, values, weights,
        lambda picked: rewards[:, None] + discounts[:, None] * picked,
        lambda predictions, targets: (((predictions - targets) ** 2).sum(1), 2 * (predictions - targets)),
    )  # fmt: skip
    expected = one_by_one(
        arguments,
        lambda picked, reward, discount: reward + discount * picked,
        lambda prediction, target: (((prediction - target) ** 2).sum(), 2 * (prediction - target)),
    )
    assert_errors(found, *expected)


def test_a_loss_that_nobody_knows_is_an_error():
    with pytest.raises(KeyError, match="cubic"):
        td_errors(*batch_of(1), "cubic")
