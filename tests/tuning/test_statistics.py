"""Averages, intervals and verdicts against hand, brute force, SciPy and recorded figures of rliable."""

from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sb3_course.config.errors import InputError
from sb3_course.tuning import verdicts
from sb3_course.tuning.results import Run
from sb3_course.tuning.statistics import (
    Interval,
    Reached,
    iqm,
    optimality_gap,
    performance_profile,
    pooled,
    probability_of_improvement,
    seconds_to,
    steps_to,
    stratified_bootstrap,
)
from sb3_course.tuning.verdicts import EXACT, Verdict, holm, judge, judge_pairs, rank_test

RUNS = st.lists(st.integers(-3, 3), min_size=1, max_size=7)
PROBABILITIES = st.lists(st.floats(0, 1), min_size=1, max_size=5)


# -- rliable ---------------------------------------------------------------------------------------------------------

# What rliable 1.2.0 (arch 7.2.0, NumPy 2.4.6, SciPy 1.17.1) says of two tasks, ten runs of x and seven of y:
# metrics.aggregate_iqm, metrics.probability_of_improvement, library.score_distributions, and
# library.get_interval_estimates(reps=50000) after np.random.seed(0), task A divided by 100 where both are pooled.
X = np.array([
    [12.5, 40.0, 33.25, 8.0, 95.0, 61.5, 40.0, 27.75, 54.0, 19.0],
    [0.31, 0.72, 0.05, 0.64, 0.5, 0.5, 0.93, 0.11, 0.88, 0.27],
])  # fmt: skip
Y = np.array([[10.0, 22.5, 40.0, 5.5, 31.0, 18.25, 47.0], [0.2, 0.5, 0.44, 0.09, 0.61, 0.5, 0.33]])


@pytest.mark.parametrize(
    ("scores", "recorded"),
    [(X, 10.417), (Y, 7.2875), (X[0], 35.666666666666664), (Y[1], 0.394)],
)
def test_iqm_is_rliables(scores, recorded):
    assert iqm(scores) == pytest.approx(recorded, rel=1e-12)


def test_probability_of_improvement_is_rliables():
    assert probability_of_improvement(X[0], Y[0]) == pytest.approx(0.6714285714285714, rel=1e-12)
    assert probability_of_improvement(Y[0], X[0]) == pytest.approx(0.32857142857142857, rel=1e-12)
    assert probability_of_improvement(X, Y).mean() == pytest.approx(0.6428571428571428, rel=1e-12)


def test_performance_profile_is_rliables():
    shares = performance_profile(X, [0, 0.27, 0.5, 0.9, 12.5, 40.0, 95.0])
    assert shares == pytest.approx([1.0, 0.85, 0.7, 0.55, 0.4, 0.15, 0.0], rel=1e-12)


@pytest.mark.parametrize(
    ("strata", "statistic", "recorded", "tolerance"),
    [
        ([X[0] / 100, X[1]], pooled(iqm), (0.4145, 0.27524375, 0.565), 0.01),
        ([X[0]], pooled(iqm), (35.66666667, 21.04166667, 54.16666667), 0.6),
        ([X[0], Y[0]], probability_of_improvement, (0.67142857, 0.39285714, 0.90714286), 0.01),
        ([X[0], Y[0]], lambda x, y: iqm(x, -1) - iqm(y, -1), (11.31666667, -8.25020833, 33.30833333), 0.7),
    ],
    ids=["IQM of two tasks", "IQM", "probability of improvement", "difference of IQMs"],
)
def test_intervals_are_rliables(strata, statistic, recorded, tolerance):
    ours = stratified_bootstrap(strata, statistic, seed=1, resamples=50_000)
    assert ours.value == pytest.approx(recorded[0], rel=1e-7)
    assert ours[1:] == pytest.approx(recorded[1:], abs=tolerance)


# -- averages --------------------------------------------------------------------------------------------------------


def test_iqm_by_hand():
    assert iqm([100, 1, 2, 3, 4, 5, 6, -90]) == pytest.approx((2 + 3 + 4 + 5) / 4)
    assert iqm([1, 2, 9]) == pytest.approx(4)  # a quarter of three is no run
    assert iqm([5.5]) == 5.5


def test_iqm_along_the_runs():
    scores = np.arange(24.0).reshape(3, 8) ** 2
    np.testing.assert_allclose(iqm(scores, axis=-1), [iqm(row) for row in scores])


def test_profile_counts_only_what_is_above():
    assert performance_profile([1, 2, 2, 3], [0, 2, 3]).tolist() == [1, 0.25, 0]


def run(*means, failure=None):
    steps = tuple(range(100, 100 * len(means) + 1, 100))
    final = None if failure else means[-1]
    return Run(0, steps, means, tuple(step / 50 for step in steps), final, failure)


def test_steps_and_seconds_to_a_threshold():
    runs = [run(1, 5, 9), run(5, 1, 1), run(1, 2, 6)]
    assert steps_to(runs, 5) == Reached(200, 3, 3)
    assert seconds_to(runs, 5) == Reached(4, 3, 3)
    assert steps_to(runs, 6) == Reached(300, 2, 3, spent=300)
    assert steps_to(runs, 9) == Reached(np.inf, 1, 3, spent=300)
    assert seconds_to(runs, 9) == Reached(np.inf, 1, 3, spent=6)
    assert steps_to([run(1), run(2, 2, 2)], 9) == Reached(np.inf, 0, 2, spent=200)


def test_a_failed_run_reaches_nothing():
    assert steps_to([run(9), run(9, 9, failure="a loss that is no number")], 5) == Reached(np.inf, 1, 2, spent=200)
    whole = [run(1, 1, 1), run(1, failure="a loss that is no number")]
    assert steps_to(whole, 5) == Reached(np.inf, 0, 2, spent=300)  # what failed early says nothing of the others
    assert steps_to([Run(0, failure="at once")], 5) == Reached(np.inf, 0, 1, spent=None)


# -- intervals -------------------------------------------------------------------------------------------------------


def test_the_bootstrap_is_scipys():
    theirs = stats.bootstrap(
        (X[0], Y[0]), lambda x, y, axis: x.mean(axis) - y.mean(axis), n_resamples=50_000, method="percentile"
    ).confidence_interval
    ours = stratified_bootstrap([X[0], Y[0]], lambda x, y: x.mean(-1) - y.mean(-1), 0, resamples=50_000)
    assert ours[1:] == pytest.approx(theirs, abs=0.5)


def test_the_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(0)
    drawn = rng.normal(3.0, 2.0, size=(1000, 30))
    intervals = [stratified_bootstrap([x], lambda s: s.mean(-1), rng, resamples=400, level=0.8) for x in drawn]
    covered = np.mean([low <= 3.0 <= high for _, low, high in intervals])
    # 0.784: of normal quantiles times the standard deviation with n instead of n − 1, against Student's t.
    exact = 1 - 2 * stats.t.sf(stats.norm.ppf(0.9) * np.sqrt(29 / 30), 29)
    assert covered == pytest.approx(exact, abs=3 * np.sqrt(exact * (1 - exact) / 1000))


def test_each_stratum_keeps_its_own_runs():
    seen = []
    stratified_bootstrap([[1, 2], [10, 20, 30]], lambda a, b: seen.append((a, b)) or a.mean(-1) + b.mean(-1), 0)
    (low, high), _ = seen
    assert low.shape == (2000, 2)
    assert high.shape == (2000, 3)
    assert set(low.ravel()) == {1, 2}
    assert set(high.ravel()) == {10, 20, 30}


def test_equal_seeds_give_equal_intervals():
    def interval(seed):
        return stratified_bootstrap([X[0]], pooled(iqm), seed)

    assert interval(3) == interval(3) == interval(np.random.default_rng(3))
    assert interval(3) != interval(4)


def test_an_interval_in_words():
    assert str(Interval(0.81254, 0.7, 1.0)) == "0.813 [0.7, 1]"
    assert str(Interval(-12345.6, -20000.0, 0.00123)) == "-12,300 [-20,000, 0.00123]"


# -- pairs -----------------------------------------------------------------------------------------------------------


@given(RUNS, RUNS)
def test_probability_of_improvement_by_counting(x, y):
    wins = sum((a > b) + (a == b) / 2 for a in x for b in y)
    assert probability_of_improvement(x, y) == pytest.approx(wins / (len(x) * len(y)), abs=1e-12)
    assert probability_of_improvement(y, x) == pytest.approx(1 - probability_of_improvement(x, y), abs=1e-12)


@given(RUNS, RUNS)
def test_the_rank_test_by_counting_all_choices(x, y):
    ranks = stats.rankdata(x + y)
    own = ranks[: len(x)].sum()
    sums = np.array([sum(chosen) for chosen in combinations(ranks, len(x))])
    assert rank_test(x, y) == pytest.approx(min(1, 2 * min((sums <= own).mean(), (sums >= own).mean())), rel=1e-9)


@pytest.mark.parametrize(("m", "n"), [(20, 20), (3, 30), (50, 50)])
def test_without_ties_the_rank_test_is_scipys_exact_one(m, n):
    rng = np.random.default_rng(m)
    for shift in (0, 0.4, 0.8):
        x, y = rng.normal(shift, 1, m), rng.normal(0, 1, n)
        assert rank_test(x, y) == pytest.approx(stats.mannwhitneyu(x, y, method="exact").pvalue, rel=1e-9)


def test_many_runs_are_approximated(monkeypatch):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 20, 60) + 2, rng.integers(0, 20, EXACT - 59)
    assert rank_test(x, y) == pytest.approx(stats.mannwhitneyu(x, y, method="asymptotic").pvalue, rel=1e-12)
    approximate = rank_test(x, y)
    monkeypatch.setattr(verdicts, "EXACT", 1000)
    assert approximate == pytest.approx(rank_test(x, y), rel=0.01)
    assert approximate != rank_test(x, y)


def test_three_ties_against_three_show_nothing():
    assert rank_test([1, 1, 1], [0, 0, 0]) == pytest.approx(0.1)
    assert stats.mannwhitneyu([1, 1, 1], [0, 0, 0]).pvalue < 0.05  # the approximation falls for it


def test_a_task_that_four_of_forty_runs_solve():
    def false_rate(test):
        sides = [np.repeat([1, 0, 1, 0], [mine, 20 - mine, 4 - mine, 16 + mine]) for mine in range(5)]
        found = np.array([test(both[:20], both[20:]) <= 0.05 for both in sides])
        return stats.hypergeom(40, 4, 20).pmf(np.arange(5)) @ found

    assert false_rate(rank_test) <= 0.05
    approximation = false_rate(lambda x, y: stats.mannwhitneyu(x, y, method="asymptotic").pvalue)
    assert approximation == pytest.approx(0.10602910602910603)


@pytest.mark.parametrize("runs", [1, 5, 20, 80])
def test_equal_scores_have_p_one(runs):
    assert rank_test([2.5] * runs, [2.5] * runs) == 1
    verdict = judge([2.5] * runs, [2.5] * runs)
    assert verdict == Verdict("not shown", 1.0, Interval(0.5, 0.5, 0.5), Interval(0, 0, 0))


@given(PROBABILITIES)
def test_holm_by_brute_force(p):
    # Holm's test is closed: a hypothesis goes when Bonferroni rejects every intersection that contains it.
    groups = [group for size in range(1, len(p) + 1) for group in combinations(range(len(p)), size)]
    closed = [
        max(min(1, len(group) * min(p[j] for j in group)) for group in groups if i in group) for i in range(len(p))
    ]
    assert holm(p) == pytest.approx(closed, rel=1e-12)


def test_holm_by_hand():
    for order in permutations(range(4)):
        p, adjusted = np.array([0.01, 0.04, 0.03, 0.005]), np.array([0.03, 0.06, 0.06, 0.02])
        assert holm(p[list(order)]) == pytest.approx(adjusted[list(order)])
    assert holm([0.4, 0.6]).tolist() == [0.8, 0.8]
    assert holm([0.7, 0.6]).tolist() == [1, 1]


# -- verdicts --------------------------------------------------------------------------------------------------------

LOW, HIGH = np.arange(20.0), np.arange(20.0) + 9.5


def test_a_verdict_and_its_numbers():
    verdict = judge(HIGH, LOW)
    assert verdict.word == "better"
    assert verdict.p_value == pytest.approx(stats.mannwhitneyu(HIGH, LOW, method="exact").pvalue)
    assert verdict.difference.value == pytest.approx(9.5)
    assert verdict.probability.value == probability_of_improvement(HIGH, LOW)
    for value, low, high in (verdict.probability, verdict.difference):
        assert low < value < high


@given(RUNS.filter(lambda runs: len(runs) > 3), RUNS.filter(lambda runs: len(runs) > 3), st.integers(0, 4))
def test_swapped_sides_swap_the_verdict(x, y, shift):
    x = [score + shift for score in x]
    there, back = judge(x, y), judge(y, x)
    assert {there.word, back.word} in ({"not shown"}, {"better", "worse"})
    assert there.p_value == pytest.approx(back.p_value, rel=1e-9)
    assert there.difference.value == pytest.approx(-back.difference.value)
    assert (there.word == "better") == (there.p_value <= 0.05 and probability_of_improvement(x, y) > 0.5)


def test_the_p_value_decides():
    own = judge(HIGH, LOW)
    assert judge(HIGH, LOW, alpha=own.p_value).word == "better"
    assert judge(HIGH, LOW, alpha=own.p_value * 0.99).word == "not shown"
    assert judge(HIGH, LOW, p_value=0.051).word == "not shown"
    assert judge(LOW, HIGH, p_value=0.049).word == "worse"
    assert judge(LOW + 0.5, LOW, p_value=0.01).word == "better"  # by however little
    assert judge(LOW, LOW, p_value=0.0).word == "not shown"  # neither side is ahead


def test_pairs_of_one_report_are_corrected_together():
    scores = {"a": HIGH - 3, "b": LOW, "c": LOW + 0.5}
    pairs = [("a", "b"), ("b", "a"), ("b", "c")]
    own = [rank_test(scores[x], scores[y]) for x, y in pairs]
    together = judge_pairs(scores, pairs)
    assert [verdict.p_value for verdict in together] == pytest.approx(holm(own))
    assert [verdict.word for verdict in together] == ["better", "worse", "not shown"]
    assert [verdict.word for verdict in judge_pairs(scores, pairs, alpha=own[0])] == ["not shown"] * 3
    assert judge_pairs(scores, pairs[:1], alpha=own[0])[0].word == "better"
    assert judge_pairs(scores, []) == []


def test_the_sentence_is_about_configurations():
    verdict = Verdict("better", 0.00321, Interval(0.81, 0.66, 0.93), Interval(31.4, 10.2, 52.0))
    assert verdict.sentence("dqn, tuned", "a2c, tuned") == (
        "The configuration 'dqn, tuned' scores better than the configuration 'a2c, tuned': a run of the first beats a "
        "run of the second with probability 0.81 [0.66, 0.93], difference of IQMs 31.4 [10.2, 52], p = 0.0032."
    )
    worse = Verdict("worse", 1e-9, Interval(0, 0, 0), Interval(-3, -4, -2))
    assert "'a' scores worse than the configuration 'b'" in worse.sentence("a", "b")
    assert worse.sentence("a", "b").endswith("p < 0.0001.")
    unclear = judge(LOW, LOW).sentence("a", "b")
    assert unclear.startswith("No difference is shown between the configurations 'a' and 'b':")


# -- refusals --------------------------------------------------------------------------------------------------------

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: iqm([]), r"^scores: is empty"),
        (lambda: iqm([1, NAN]), r"^scores: is not finite \(got nan"),
        (lambda: performance_profile([1], []), r"^thresholds: is empty"),
        (lambda: performance_profile([INF], [1]), r"^scores: is not finite \(got inf"),
        (lambda: stratified_bootstrap([], np.mean, 0), r"^strata: is empty"),
        (lambda: stratified_bootstrap([[1], []], np.mean, 0), r"^strata: is empty"),
        (lambda: stratified_bootstrap([[[1, 2]]], np.mean, 0), r"^strata: has the wrong shape \(got \(1, 2\)"),
        (lambda: probability_of_improvement([1], []), r"^y: is empty"),
        (lambda: rank_test([NAN], [1]), r"^x: is not finite"),
        (lambda: judge([1], [-INF]), r"^y: is not finite"),
        (lambda: judge([1], [1], p_value=1.5), r"^p_value: is out of bounds \(got 1.5"),
        (lambda: judge([1], [1], p_value=NAN), r"^p_value: is out of bounds"),
        (lambda: holm([]), r"^p_values: is empty"),
        (lambda: holm([0.5, NAN]), r"^p_values: is not finite"),
        (lambda: holm([0.5, 1.1]), r"^p_values: is out of bounds"),
        (lambda: steps_to([], 1), r"^runs: is empty"),
        (lambda: seconds_to([run(1)], NAN), r"^threshold: is not finite"),
        (lambda: judge_pairs({"rainbow": [1]}, [("rainbow", "rainbo")]), r"did you mean 'rainbow'\?"),
    ],
)
def test_what_is_no_sample_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


# -- several tasks ---------------------------------------------------------------------------------------------------


def test_optimality_gap_by_hand():
    assert optimality_gap([0.5, 1.5, -0.5]) == pytest.approx((0.5 + 0 + 1.5) / 3)  # what is beyond 1 counts as 1
    assert optimality_gap([1.0, 2.0]) == 0
    gap = stratified_bootstrap([[0.0, 1.0], [0.5, 3.0]], pooled(optimality_gap), 0)
    assert gap.value == pytest.approx((1 + 0 + 0.5 + 0) / 4)  # rliable's definition, aggregate_optimality_gap
    assert (gap.low, gap.high) == (0.0, 0.75)  # the best and the worst that a task's own two runs can give


SEVERAL = st.lists(st.tuples(st.lists(st.integers(0, 3), min_size=2, max_size=3),
                             st.lists(st.integers(0, 3), min_size=2, max_size=3)), min_size=1, max_size=3)  # fmt: skip


@given(SEVERAL)
def test_the_rank_test_of_several_tasks_by_counting_all_choices(tasks):
    own, sums = 0.0, np.zeros(1)
    for x, y in tasks:
        ranks = stats.rankdata(x + y)
        own += ranks[: len(x)].sum()
        sums = np.add.outer(sums, [sum(chosen) for chosen in combinations(ranks, len(x))]).ravel()
    wanted = min(1, 2 * min((sums <= own + 1e-9).mean(), (sums >= own - 1e-9).mean()))
    assert rank_test([x for x, _ in tasks], [y for _, y in tasks]) == pytest.approx(wanted, rel=1e-9)


def test_many_runs_of_several_tasks_are_approximated(monkeypatch):
    rng = np.random.default_rng(1)
    x, y = rng.integers(0, 30, (3, 30)) + 2, rng.integers(0, 30, (3, 30))
    exact = rank_test(x, y)
    monkeypatch.setattr(verdicts, "EXACT", 10)
    assert rank_test(x, y) == pytest.approx(exact, rel=0.01)
    assert rank_test(np.ones((2, 9)), np.ones((2, 9))) == 1


def test_one_task_is_a_list_of_one():
    assert judge([HIGH], [LOW]) == judge(HIGH, LOW)


def test_a_verdict_over_tasks_ranks_each_by_itself():
    # Ours is ahead by 6 in both tasks, whose scores lie 1,000 apart: pooled, the distance would hide it.
    ours, theirs = [LOW + 6, LOW + 1006], [LOW, LOW + 1000]
    verdict = judge(ours, theirs)
    assert verdict.word == "better"
    assert verdict.p_value < rank_test(ours[0], theirs[0])
    assert verdict.probability.value == pytest.approx(probability_of_improvement(ours[0], theirs[0]))
    assert verdict.difference.value == pytest.approx(iqm(np.ravel(ours)) - iqm(np.ravel(theirs)))
    assert rank_test(np.ravel(ours), np.ravel(theirs)) > verdict.p_value
    with pytest.raises(InputError, match=r"^y: has another number of tasks \(got 1, want 2\)"):
        judge(ours, theirs[:1])
