"""Risk measures as objects: arrays of both libraries, precision, gradients, words and bounds."""

import numpy as np
import pytest
import torch as th

from sb3_course.functional import CPW, RISKS, CVaR, Mean, MeanVariance, UpperCVaR, Wang

MEASURES = [Mean(), CVaR(0.25), UpperCVaR(0.6), Wang(-0.75), Wang(0.75), CPW(0.71), CPW(1.7), MeanVariance(0.1)]


# -- arrays ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("measure", MEASURES, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numpy_and_torch_agree_for_any_number_of_leading_axes(measure, dtype):
    generator = np.random.default_rng(0)
    distribution, support = (
        generator.dirichlet(np.ones(51), (3, 4)).astype(dtype),
        np.linspace(-10, 10, 51, dtype=dtype),
    )
    quantiles = generator.normal(size=(3, 4, 20)).astype(dtype)
    for index in (..., 0, (0, 0)):
        for wants_gradient in (False, True):  # such tensors are not handed to NumPy, as if on an accelerator
            tensor, many = (
                th.tensor(array[index], requires_grad=wants_gradient) for array in (distribution, quantiles)
            )
            pairs = (
                (measure(distribution[index], support), measure(tensor, th.tensor(support))),
                (measure.of_quantiles(quantiles[index]), measure.of_quantiles(many)),
            )
            for mine, theirs in pairs:
                assert isinstance(theirs, th.Tensor)
                assert theirs.requires_grad == wants_gradient
                assert mine.dtype == theirs.detach().numpy().dtype == dtype
                assert mine.shape == theirs.shape == distribution[index].shape[:-1]
                np.testing.assert_allclose(mine, theirs.detach().numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("measure", MEASURES, ids=str)
def test_tensors_keep_their_gradient(measure):
    """No learner here needs it; a reader who maximises a risk measure does."""
    quantiles = th.tensor([3.0, -1.0, 0.5, 2.0], dtype=th.float64, requires_grad=True)
    assert th.autograd.gradcheck(measure.of_quantiles, (quantiles,))


@pytest.mark.parametrize("measure", MEASURES, ids=str)
def test_the_order_of_quantiles_does_not_matter_and_arguments_are_left_alone(measure):
    quantiles = np.array([3.0, -1.0, 0.5, 2.0])
    before = quantiles.copy()
    np.testing.assert_allclose(measure.of_quantiles(quantiles), measure.of_quantiles(np.sort(quantiles)))
    np.testing.assert_array_equal(quantiles, before)
    tensor = th.tensor(before)
    measure.of_quantiles(tensor)
    assert th.equal(tensor, th.tensor(before))


@pytest.mark.parametrize("make", [np.asarray, th.as_tensor])
@pytest.mark.parametrize("measure", [Wang(3), Wang(-3), UpperCVaR(0.001), CPW(0.3)], ids=str)
def test_single_precision_keeps_the_tails(make, measure):
    """1 − F in float32 keeps no digits; the distribution of a far tail do."""
    support = np.linspace(-10, 10, 51)
    distribution = np.exp(-0.5 * (support / 1.5) ** 2)
    distribution /= distribution.sum()
    exact = measure(distribution, support)
    assert abs(exact) > 0.5 or isinstance(measure, CPW)
    found = float(measure(make(distribution.astype(np.float32)), make(support.astype(np.float32))))
    np.testing.assert_allclose(found, exact, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("measure", MEASURES, ids=str)
def test_a_value_that_is_not_a_number_is_not_hidden(measure):
    for make in (np.asarray, th.as_tensor):
        assert np.isnan(float(measure(make(np.array([np.nan, 0.5])), make(np.array([0.0, 1.0])))))


# -- the objects ----------------------------------------------------------------------------------------------------


def test_measures_are_immutable_values_with_a_word():
    assert [str(measure) for measure in (Mean(), CVaR(), UpperCVaR(), Wang(), CPW(), MeanVariance(1))] == [
        "mean", "cvar:0.25", "cvar_seeking:0.25", "wang:-0.75", "cpw:0.71", "mean_variance:1.0",
    ]  # fmt: skip
    assert CVaR(0.25) == CVaR()
    assert hash(CVaR(0.25)) == hash(CVaR())
    assert CVaR(0.5) != UpperCVaR(0.5)
    with pytest.raises(AttributeError):
        CVaR().alpha = 0.5
    assert all(kind.word == word for word, kind in RISKS.items())


@pytest.mark.parametrize("kind", [kind for word, kind in RISKS.items() if word != "mean"])
def test_parameters_outside_their_bounds_are_refused(kind):
    low, high = kind.bounds
    kind(low), kind(high)
    for bad in (low - 1e-7 * abs(low), high * 1.01, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=f"{kind.word}: .* want a number from"):
            kind(bad)
