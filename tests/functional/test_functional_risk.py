"""Risk measures against closed forms, brute force, and the properties that make them measures of risk."""

from statistics import NormalDist

import numpy as np
import pytest
import torch as th
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sb3_course.functional import CPW, CVaR, Mean, MeanVariance, UpperCVaR, Wang
from sb3_course.functional.risk import Distortion

NORMAL = NormalDist()
MEASURES = [
    Mean(), CVaR(0.25), CVaR(0.037), UpperCVaR(0.25), UpperCVaR(0.6), Wang(-0.75), Wang(0.75), CPW(0.71), CPW(1.7),
    MeanVariance(0.1), MeanVariance(-0.1),
]  # fmt: skip
DISTORTIONS = [measure for measure in MEASURES if isinstance(measure, Distortion)]
AVERSE = [CVaR(0.25), CVaR(0.9), Wang(-0.75), Wang(-3), MeanVariance(0.1)]
SEEKING = [UpperCVaR(0.25), UpperCVaR(0.9), Wang(0.75), Wang(3), MeanVariance(-0.1)]
NEUTRAL = [CVaR(1), UpperCVaR(1), Wang(0), CPW(1), MeanVariance(0)]

masses = arrays(np.float64, 9, elements=st.sampled_from([0.0, 0.0, 0.01, 0.4, 1.0, 5.0])).filter(lambda m: m.sum() > 0)
distributions = masses.map(lambda m: m / m.sum())
atoms = arrays(np.float64, 9, elements=st.integers(-200, 200), unique=True).map(lambda z: np.sort(z) / 10)
samples = arrays(np.float64, 12, elements=st.integers(-100, 100).map(lambda k: k / 10))
shares = st.floats(0.01, 1)


# -- closed forms ---------------------------------------------------------------------------------------------------


def distorted(measure, p):
    """g(p), each from its paper."""
    match measure:
        case CVaR(alpha):
            return min(p / alpha, 1)
        case UpperCVaR(alpha):
            return max(p - (1 - alpha), 0) / alpha
        case Wang(eta):
            return NORMAL.cdf(NORMAL.inv_cdf(p) - eta)
        case CPW(eta):
            return p**eta / (p**eta + (1 - p) ** eta) ** (1 / eta)
        case _:
            return p


def two_atoms(measure, low, high, p):
    """The value of a distribution with P(low) = p and P(high) = 1 − p."""
    if isinstance(measure, MeanVariance):
        return p * low + (1 - p) * high - measure.c * p * (1 - p) * (high - low) ** 2
    share = distorted(measure, p)
    return share * low + (1 - share) * high


@pytest.mark.parametrize("measure", MEASURES + NEUTRAL, ids=str)
@given(p=st.floats(0.001, 0.999), low=st.floats(-20, 0), width=st.floats(0.1, 20))
def test_two_atom_laws_have_their_closed_form(measure, p, low, width):
    expected = two_atoms(measure, low, low + width, p)
    distribution, support = np.array([p, 1 - p]), np.array([low, low + width])
    np.testing.assert_allclose(measure(distribution, support), expected, rtol=1e-9, atol=1e-9)
    tensors = th.tensor(distribution, requires_grad=True), th.tensor(support)
    np.testing.assert_allclose(float(measure(*tensors).detach()), expected, rtol=1e-9, atol=1e-9)
    # the same distribution among atoms of no mass
    wide = np.array([low - 50, low, low + width / 3, low + width, low + width + 9])
    np.testing.assert_allclose(measure(np.array([0, p, 0, 1 - p, 0]), wide), expected, rtol=1e-9, atol=1e-8)


@pytest.mark.parametrize("measure", MEASURES + NEUTRAL, ids=str)
@pytest.mark.parametrize("n_low", [1, 3, 9])
def test_quantiles_of_two_values_have_their_closed_form(measure, n_low):
    quantiles = np.array([-4.0] * n_low + [6.0] * (10 - n_low))
    np.testing.assert_allclose(measure.of_quantiles(quantiles), two_atoms(measure, -4, 6, n_low / 10), rtol=1e-9)


@given(distribution=distributions, support=atoms, alpha=shares)
def test_cvar_takes_the_worst_share_and_cuts_the_atom_at_its_edge(distribution, support, alpha):
    def tail(order):
        left, total = alpha, 0.0
        for i in order:
            total += min(distribution[i], left) * support[i]
            left -= min(distribution[i], left)
        return total / alpha

    np.testing.assert_allclose(CVaR(alpha)(distribution, support), tail(range(9)), atol=1e-9)
    np.testing.assert_allclose(UpperCVaR(alpha)(distribution, support), tail(range(8, -1, -1)), atol=1e-9)


def test_cvar_of_quantiles_counts_a_part_of_one():
    assert CVaR(0.25).of_quantiles(np.array([3.0, 1.0, 2.0, 0.0])) == 0
    np.testing.assert_allclose(CVaR(0.4).of_quantiles(np.array([3.0, 1.0, 2.0, 0.0])), 0.6 * 1 / 1.6)
    np.testing.assert_allclose(UpperCVaR(0.4).of_quantiles(np.array([3.0, 1.0, 2.0, 0.0])), (3 + 0.6 * 2) / 1.6)


@pytest.mark.parametrize("measure", DISTORTIONS, ids=str)
@given(distribution=distributions, support=atoms)
def test_a_distortion_is_the_mean_under_the_distorted_cdf(measure, distribution, support):
    levels = np.minimum(np.cumsum(distribution) / distribution.sum(), 1)
    g = [0.0] + [distorted(measure, p) if 0 < p < 1 else p for p in levels]
    np.testing.assert_allclose(measure(distribution, support), np.diff(g) @ support, atol=1e-9)


@pytest.mark.parametrize("measure", [CVaR(0.25), Wang(-0.75), Wang(0.5)], ids=str)
def test_names_and_signs_are_those_of_distorted_quantile_levels(measure):
    """Dabney et al. (2018): the mean of F⁻¹(β(τ)), τ uniform, with β = ατ and β = Φ(Φ⁻¹(τ) + η)."""
    distribution, support = np.array([0.1, 0.3, 0.05, 0.35, 0.2]), np.array([-5.0, -1.0, 0.0, 2.0, 7.0])
    taus = (np.arange(20_000) + 0.5) / 20_000
    levels = [
        measure.alpha * tau if isinstance(measure, CVaR) else NORMAL.cdf(NORMAL.inv_cdf(tau) + measure.eta)
        for tau in taus
    ]
    drawn = support[np.searchsorted(np.cumsum(distribution), levels)]
    np.testing.assert_allclose(measure(distribution, support), drawn.mean(), atol=2e-3)


@pytest.mark.parametrize("eta", [-1.0, -0.75, 0.0, 0.75])
def test_wang_moves_a_normal_law_by_eta_standard_deviations(eta):
    quantiles = np.array([2 + 3 * NORMAL.inv_cdf((i + 0.5) / 4000) for i in range(4000)])
    np.testing.assert_allclose(Wang(eta).of_quantiles(quantiles), 2 + 3 * eta, atol=0.02)


def test_cpw_weighs_rare_losses_and_rare_gains_more():
    rare = np.array([0.01, 0.99])
    assert CPW()(rare, np.array([-100.0, 0.0])) < -1  # the mean
    assert CPW()(rare[::-1], np.array([0.0, 100.0])) > 1


# -- properties -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("measure", NEUTRAL, ids=str)
@given(distribution=distributions, support=atoms, sample=samples)
def test_neutral_parameters_give_the_mean(measure, distribution, support, sample):
    np.testing.assert_allclose(measure(distribution, support), distribution @ support, atol=1e-9)
    np.testing.assert_allclose(measure.of_quantiles(sample), sample.mean(), atol=1e-9)


@pytest.mark.parametrize("measures", [AVERSE, SEEKING], ids=["averse", "seeking"])
@given(distribution=distributions, support=atoms, sample=samples)
def test_averse_is_at_most_the_mean_and_seeking_at_least(measures, distribution, support, sample):
    sign = 1 if measures is AVERSE else -1
    for measure in measures:
        assert sign * (distribution @ support - measure(distribution, support)) >= -1e-9
        assert sign * (sample.mean() - measure.of_quantiles(sample)) >= -1e-9


@given(
    distribution=distributions,
    support=atoms,
    alphas=st.tuples(shares, shares),
    etas=st.tuples(st.floats(-5, 5), st.floats(-5, 5)),
)
def test_values_are_monotone_in_the_parameter(distribution, support, alphas, etas):
    def rising(kind, parameters):
        small, large = sorted(parameters)
        return kind(small)(distribution, support) <= kind(large)(distribution, support) + 1e-9

    assert rising(CVaR, alphas)
    assert rising(Wang, etas)
    assert rising(lambda alpha: UpperCVaR(1.01 - alpha), [min(alpha, 1) for alpha in alphas])
    assert rising(lambda c: MeanVariance(-c), etas)


@pytest.mark.parametrize("measure", DISTORTIONS, ids=str)
@given(
    sample=samples,
    gains=arrays(np.float64, 12, elements=st.floats(0, 5)),
    scale=st.floats(0, 9),
    shift=st.floats(-9, 9),
)
def test_distortions_never_prefer_less_and_follow_units(measure, sample, gains, scale, shift):
    value = measure.of_quantiles(sample)
    assert measure.of_quantiles(sample + gains) >= value - 1e-9
    np.testing.assert_allclose(measure.of_quantiles(scale * sample + shift), scale * value + shift, atol=1e-8)


@given(sample=samples, alpha=shares, eta=st.floats(-5, 5))
def test_seeking_is_averse_to_the_mirrored_return(sample, alpha, eta):
    np.testing.assert_allclose(UpperCVaR(alpha).of_quantiles(sample), -CVaR(alpha).of_quantiles(-sample), atol=1e-8)
    np.testing.assert_allclose(Wang(eta).of_quantiles(sample), -Wang(-eta).of_quantiles(-sample), atol=1e-8)


@pytest.mark.parametrize("kind", [CVaR, UpperCVaR, Wang, CPW])
@pytest.mark.parametrize("make", [np.asarray, th.as_tensor])
def test_distorted_levels_rise_from_zero_to_one_up_to_the_bounds(kind, make):
    for parameter in (*kind.bounds, *np.linspace(*kind.bounds, 7)):
        g = np.asarray(kind(float(parameter)).distort(make(np.linspace(0, 1, 2001))))
        assert (np.diff(g) >= 0).all()
        assert g[0] == 0
        assert g[-1] == 1


def test_cpw_would_not_rise_below_its_bound():
    levels = np.linspace(0, 1, 2001)
    below = object.__new__(CPW)
    object.__setattr__(below, "eta", 0.27)
    assert (np.diff(below.distort(levels)) < 0).any()
