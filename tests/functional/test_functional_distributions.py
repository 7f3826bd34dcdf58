"""Action distributions against torch.distributions and autograd, and samples against what they are drawn from."""

import numpy as np
import pytest
import torch as th
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import chisquare, kstest
from torch import distributions as torch_distributions

from sb3_course.functional.distributions import (
    BernoulliActions,
    CategoricalActions,
    MultiCategoricalActions,
)
from sb3_course.functional.gaussians import GaussianActions
from sb3_course.functional.losses import policy_gradient

# Loses by bad luck with this chance, were the seeds not fixed.
LOST = 1e-4
N_SAMPLES = 40_000
LAST_BEFORE_1 = np.nextafter(1.0, 0.0)
EXACT = {"rtol": 1e-9, "atol": 1e-11}


def normal_of(outputs):
    mean, log_std = outputs.chunk(2, dim=1)
    return torch_distributions.Independent(torch_distributions.Normal(mean, log_std.exp()), 1)


class SideBySide:
    """Independent categorical distributions, in torch's terms."""

    def __init__(self, outputs, sizes):
        self.distributions = [torch_distributions.Categorical(logits=piece) for piece in outputs.split(sizes, dim=1)]

    def log_prob(self, actions):
        return sum(distribution.log_prob(actions[:, i]) for i, distribution in enumerate(self.distributions))

    def entropy(self):
        return sum(distribution.entropy() for distribution in self.distributions)


# name: (ours, torch's of the same outputs, actions of the right kind for a seed)
DISTRIBUTIONS = {
    "categorical": (
        CategoricalActions(5),
        lambda x: SideBySide(x, [5]),
        lambda rng, n: rng.integers(5, size=(n, 1)),
    ),
    "multi-categorical": (
        MultiCategoricalActions([2, 4, 3]),
        lambda x: SideBySide(x, [2, 4, 3]),
        lambda rng, n: rng.integers([2, 4, 3], size=(n, 3)),
    ),
    "bernoulli": (
        BernoulliActions(3),
        lambda x: torch_distributions.Independent(torch_distributions.Bernoulli(logits=x), 1),
        lambda rng, n: rng.integers(2, size=(n, 3)),
    ),
    "gaussian": (GaussianActions(3), normal_of, lambda rng, n: rng.normal(scale=3, size=(n, 3))),
}
every_distribution = pytest.mark.parametrize("name", DISTRIBUTIONS)


@st.composite
def outputs_of(draw, name, bound=6.0):
    n_batch = draw(st.integers(1, 7))
    return draw(arrays(np.float64, (n_batch, DISTRIBUTIONS[name][0].n_outputs), elements=st.floats(-bound, bound)))


def by_torch(name, outputs, actions):
    """Return ((log π, ∇ log π), (H, ∇H)) of torch.distributions and autograd."""
    leaf = th.tensor(outputs, requires_grad=True)
    theirs, scores = DISTRIBUTIONS[name][1](leaf), []
    given_actions = th.tensor(actions, dtype=th.float64 if name in ("bernoulli", "gaussian") else th.int64)
    for values in (theirs.log_prob(given_actions), theirs.entropy()):
        (gradients,) = th.autograd.grad(values.sum(), leaf, retain_graph=True)
        scores.append((values.detach().numpy(), gradients.numpy()))
    return scores


# -- log-probability, entropy, gradients ------------------------------------------------------------------------------


@every_distribution
@given(data=st.data())
def test_values_and_gradients_are_those_of_torch(name, data):
    distribution, _, draw_actions = DISTRIBUTIONS[name]
    outputs = data.draw(outputs_of(name))
    actions = draw_actions(np.random.default_rng(data.draw(st.integers(0, 1000))), len(outputs))
    for mine, theirs in zip(
        (distribution.log_prob(outputs, actions), distribution.entropy(outputs)),
        by_torch(name, outputs, actions),
        strict=True,
    ):
        assert mine.values.shape == (len(outputs),)
        np.testing.assert_allclose(mine.values, theirs[0], **EXACT)
        np.testing.assert_allclose(mine.gradients, theirs[1], **EXACT)


@every_distribution
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numpy_and_torch_give_the_same_in_the_precision_of_the_outputs(name, dtype):
    distribution, _, draw_actions = DISTRIBUTIONS[name]
    rng = np.random.default_rng(0)
    outputs, actions = rng.normal(size=(50, distribution.n_outputs)).astype(dtype), draw_actions(rng, 50)
    actions = actions.astype(dtype) if name == "gaussian" else actions
    draw = rng.standard_normal if distribution.normal else rng.random
    random = draw((50, distribution.n_random))
    tensors = [th.tensor(array) for array in (outputs, actions, random)]
    exactness = 1e-12 if dtype == np.float64 else 2e-5
    for mine, theirs in (
        (distribution.log_prob(outputs, actions), distribution.log_prob(*tensors[:2])),
        (distribution.entropy(outputs), distribution.entropy(tensors[0])),
    ):
        for numbers, tensor in zip(mine, theirs, strict=True):
            assert isinstance(tensor, th.Tensor)
            assert numbers.dtype == dtype == tensor.numpy().dtype
            np.testing.assert_allclose(numbers, tensor.numpy(), rtol=exactness, atol=exactness)
    samples = distribution.sample(outputs, random), distribution.sample(tensors[0], tensors[2])
    assert samples[0].shape == actions.shape
    np.testing.assert_allclose(samples[0], samples[1].numpy(), rtol=exactness, atol=exactness)
    assert samples[0].dtype == samples[1].numpy().dtype == (dtype if name == "gaussian" else np.int64)


@every_distribution
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extreme_outputs_stay_finite(name, dtype):
    distribution, _, draw_actions = DISTRIBUTIONS[name]
    rng = np.random.default_rng(1)
    outputs = rng.choice(np.array([-1e3, 0.0, 1e3], dtype), size=(200, distribution.n_outputs))
    if name == "gaussian":  # means; that σ is not 0 is the policy's business
        outputs[:, 3:] = rng.choice(np.array([-10.0, 10.0], dtype), size=(200, 3))
    actions = draw_actions(rng, 200)
    actions = actions.astype(dtype) if name == "gaussian" else actions
    for array in (outputs, th.tensor(outputs)):
        like = th.tensor(actions) if isinstance(array, th.Tensor) else actions
        for scores in (distribution.log_prob(array, like), distribution.entropy(array)):
            assert all(np.isfinite(np.asarray(part)).all() for part in scores)
        assert (np.asarray(distribution.log_prob(array, like).values) <= 31).all()
    if name != "gaussian":  # to the limit they are the same as torch's, which are finite too
        for mine, theirs in zip(
            (distribution.log_prob(outputs, actions), distribution.entropy(outputs)),
            by_torch(name, outputs.astype(np.float64), actions),
            strict=True,
        ):
            np.testing.assert_allclose(mine.values, theirs[0], rtol=1e-6, atol=1e-9)
            np.testing.assert_allclose(mine.gradients, theirs[1], rtol=1e-6, atol=1e-9)


@every_distribution
def test_arguments_are_left_alone(name):
    distribution, _, draw_actions = DISTRIBUTIONS[name]
    rng = np.random.default_rng(2)
    outputs, actions = rng.normal(size=(5, distribution.n_outputs)), draw_actions(rng, 5)
    before = outputs.copy(), actions.copy()
    distribution.log_prob(outputs, actions)
    distribution.entropy(outputs)
    np.testing.assert_array_equal(outputs, before[0])
    np.testing.assert_array_equal(actions, before[1])


# -- sampling ---------------------------------------------------------------------------------------------------------


def assert_frequencies(actions, probabilities):
    counts = np.bincount(actions, minlength=len(probabilities))
    assert (counts[probabilities == 0] == 0).all()
    possible = probabilities > 0
    assert chisquare(counts[possible], probabilities[possible] * len(actions)).pvalue > LOST


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_categorical_samples_have_the_probabilities_of_the_softmax(dtype):
    rng, logits = np.random.default_rng(3), np.array([-1.0, 0.5, -2000.0, 2.0, 0.0], dtype)
    actions = CategoricalActions(5).sample(np.tile(logits, (N_SAMPLES, 1)), rng.random((N_SAMPLES, 1)))
    probabilities = np.exp(logits.astype(np.float64) - 2) / np.exp(logits.astype(np.float64) - 2).sum()
    assert_frequencies(actions[:, 0], probabilities)
    with pytest.raises(AssertionError):
        assert_frequencies(actions[:, 0], probabilities[::-1])


def test_multi_categorical_samples_are_independent_and_each_from_its_own_logits():
    rng, outputs = np.random.default_rng(4), np.array([0.3, -0.4, 1.0, 0.0, -1.0])
    actions = MultiCategoricalActions([2, 3]).sample(np.tile(outputs, (N_SAMPLES, 1)), rng.random((N_SAMPLES, 2)))
    p, q = (np.exp(x) / np.exp(x).sum() for x in (outputs[:2], outputs[2:]))
    assert_frequencies(actions[:, 0] * 3 + actions[:, 1], np.outer(p, q).ravel())


def test_bernoulli_samples_are_independent_and_each_from_its_own_logit():
    rng, outputs = np.random.default_rng(5), np.array([0.7, -1.2])
    actions = BernoulliActions(2).sample(np.tile(outputs, (N_SAMPLES, 1)), rng.random((N_SAMPLES, 2)))
    p, q = (np.array([1 - on, on]) for on in 1 / (1 + np.exp(-outputs)))
    assert_frequencies(actions[:, 0] * 2 + actions[:, 1], np.outer(p, q).ravel())


def test_gaussian_samples_are_normal_with_the_mean_and_deviation_of_the_outputs():
    rng, outputs = np.random.default_rng(6), np.array([1.5, -40.0, np.log(0.2), np.log(7.0)])
    actions = GaussianActions(2).sample(np.tile(outputs, (N_SAMPLES, 1)), rng.standard_normal((N_SAMPLES, 2)))
    for column, mean, std in ((0, 1.5, 0.2), (1, -40.0, 7.0)):
        assert kstest(actions[:, column], "norm", args=(mean, std)).pvalue > LOST
        assert kstest(actions[:, column], "norm", args=(mean + 0.05 * std, std)).pvalue < LOST
    assert abs(np.corrcoef(actions.T)[0, 1]) < 4 / np.sqrt(N_SAMPLES)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("make", [np.asarray, th.tensor])
@given(data=st.data())
def test_random_numbers_0_and_just_below_1_give_the_first_and_the_last_possible_action(make, dtype, data):
    n_actions = data.draw(st.integers(1, 40))
    elements = st.sampled_from([-1e3, -20.0, -1.0, 0.0, 0.3, 20.0, 1e3])
    logits = data.draw(arrays(dtype, (1, n_actions), elements=elements))
    log_p = logits.astype(np.float64) - logits.max()
    log_p -= np.log(np.exp(log_p).sum())
    p = np.exp(log_p[0].astype(dtype))
    for precision in (np.float64, dtype):
        for number in (precision(0.0), np.nextafter(precision(1.0), precision(0.0))):
            action = int(CategoricalActions(n_actions).sample(make(logits), make(np.array([[number]])))[0, 0])
            assert 0 <= action < n_actions
            assert p[action] > 0
            beyond = p[:action] if number == 0 else p[action + 1 :]
            assert beyond.sum() <= (0 if number == 0 else 1e-6)  # but for what rounding swallows


@pytest.mark.parametrize("make", [np.asarray, th.tensor])
def test_a_switch_that_is_certain_never_errs(make):
    outputs = make(np.array([[1e3, -1e3, 0.0], [1e3, -1e3, 0.0]]))
    actions = BernoulliActions(3).sample(outputs, make(np.array([[LAST_BEFORE_1] * 3, [0.0] * 3])))
    np.testing.assert_array_equal(np.asarray(actions), [[1, 0, 0], [1, 0, 1]])


def test_every_uniform_number_belongs_to_the_action_whose_interval_holds_it():
    logits = np.log(np.array([[0.25, 0.5, 0.25]]))
    for random, action in ((0.0, 0), (0.2499, 0), (0.2501, 1), (0.7499, 1), (0.7501, 2), (LAST_BEFORE_1, 2)):
        assert CategoricalActions(3).sample(logits, np.array([[random]])) == [[action]]


@every_distribution
def test_nothing_is_likelier_than_the_mode(name):
    distribution, _, draw_actions = DISTRIBUTIONS[name]
    rng = np.random.default_rng(9)
    outputs, actions = rng.normal(size=(300, distribution.n_outputs)), draw_actions(rng, 300)
    mode = distribution.mode(outputs)
    assert mode.shape == actions.shape
    np.testing.assert_array_equal(mode, distribution.mode(th.tensor(outputs)).numpy())
    likeliest, others = distribution.log_prob(outputs, mode).values, distribution.log_prob(outputs, actions).values
    same = (mode == actions).all(1)
    assert (likeliest[~same] > others[~same]).all()
    assert same.any() == (name != "gaussian")


# -- the loss ---------------------------------------------------------------------------------------------------------


@every_distribution
@pytest.mark.parametrize("ent_coef", [0.0, 0.3])
def test_the_policy_gradient_loss_and_its_gradient_are_those_of_autograd(name, ent_coef):
    distribution, torch_distribution, draw_actions = DISTRIBUTIONS[name]
    rng = np.random.default_rng(7)
    outputs, actions, psi = (
        rng.normal(size=(30, distribution.n_outputs)),
        draw_actions(rng, 30),
        rng.normal(scale=5, size=30),
    )
    leaf = th.tensor(outputs, requires_grad=True)
    theirs = torch_distribution(leaf)
    given_actions = th.tensor(actions, dtype=th.float64 if name in ("bernoulli", "gaussian") else th.int64)
    expected = -th.tensor(psi) * theirs.log_prob(given_actions) - ent_coef * theirs.entropy()
    expected.sum().backward()
    losses, gradients = policy_gradient(
        distribution.log_prob(outputs, actions), distribution.entropy(outputs), psi, ent_coef
    )
    np.testing.assert_allclose(losses, expected.detach().numpy(), **EXACT)
    np.testing.assert_allclose(gradients, leaf.grad.numpy(), **EXACT)


@every_distribution
def test_a_step_along_the_entropy_bonus_alone_raises_the_entropy(name):
    distribution, _, draw_actions = DISTRIBUTIONS[name]
    rng = np.random.default_rng(8)
    outputs = rng.normal(size=(30, distribution.n_outputs))
    scores = distribution.log_prob(outputs, draw_actions(rng, 30)), distribution.entropy(outputs)
    losses, gradients = policy_gradient(*scores, np.zeros(30), 1.0)
    np.testing.assert_array_equal(losses, -scores[1].values)
    assert (distribution.entropy(outputs - 0.01 * gradients).values > scores[1].values).all()
