"""The verdict on real runs: seldom false, seldom blind, and a wrong test would be noticed."""

import csv
import runpy

import numpy as np
import pytest

from sb3_course.tuning.statistics import probability_of_improvement
from sb3_course.tuning.verdicts import rank_test


@pytest.fixture(scope="module")
def script(project_root):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(project_root / "benchmarks"))
        return runpy.run_path(str(project_root / "benchmarks" / "calibration.py"))


@pytest.fixture(scope="module")
def pool(script):
    return script["read_pool"]()


def test_the_recorded_pool(script, pool):
    with script["POOL"].open(encoding="utf-8", newline="") as file:
        seeds = [int(row["seed"]) for row in csv.DictReader(file)]
    assert seeds == list(range(10_000, 10_240))
    assert len(pool) == 240
    assert np.isfinite(pool).all()
    assert np.unique(pool).size > 200  # hardly a tie


def test_the_bound_is_three_standard_errors_above_alpha(script):
    assert script["ALPHA"] == 0.05
    assert script["RESAMPLINGS"] == 2000
    assert script["bound"]() == pytest.approx(0.05 + 3 * np.sqrt(0.05 * 0.95 / 2000))


@pytest.mark.parametrize(("kind", "tied"), [("pool", 0), ("ties", 1 / 2), ("two_values", 7 / 8)])
def test_equals_seldom_get_a_verdict(script, pool, kind, tied):
    scores = pool if kind == "pool" else script[kind](pool)
    assert np.unique(scores, return_counts=True)[1].max() / len(scores) == pytest.approx(tied, abs=0.02)
    assert script["share_of_verdicts"](scores) <= script["bound"]()


def test_the_planted_effect_is_found(script, pool):
    shift = script["planted"](pool)
    assert 0.8 <= probability_of_improvement(pool + shift, pool) <= 0.85
    assert script["share_of_verdicts"](pool, shift) >= 0.9


def test_a_test_that_says_too_much_is_noticed(script, pool):
    def one_sided(x, y):
        return rank_test(x, y) / 2

    assert script["share_of_verdicts"](pool, test=one_sided) > script["bound"]()


def test_a_test_that_says_too_little_is_noticed(script, pool):
    def corrected_for_fifty(x, y):
        return 50 * rank_test(x, y)

    assert script["share_of_verdicts"](pool, script["planted"](pool), corrected_for_fifty) < 0.9
