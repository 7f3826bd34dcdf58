"""Comparisons: the same terms for all, nothing chosen on the fresh seeds, no failed run dropped."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from optuna.trial import TrialState, create_trial

from sb3_course.config.errors import InputError
from sb3_course.tuning.comparison import Contest, collect, compare, fresh_plan, select
from sb3_course.tuning.plan import FRESH_SEEDS
from sb3_course.tuning.results import Comparison, Configuration, Run
from sb3_course.tuning.study import create_study


def contest(**arguments: Any) -> Contest:
    """Return the terms of a comparison that takes a moment."""
    brief = {"n_timesteps": 64, "n_trials": 3, "seeds": (0, 1), "n_fresh": 2}
    terms = {"pruner": "none", "eval_freq": 32, "eval_episodes": 1, "final_episodes": 2}
    return Contest(
        **{"algos": ("reinforce", "vpg"), "env": "sb3_course/OneShot-v0", "terms": terms, **brief, **arguments}
    )


def filled(terms: Contest, values: list[float | None], early: set[int] = frozenset()) -> Any:  # type: ignore[assignment]
    """Return a study whose trials have these scores; None is a failure."""
    study = create_study(terms.plans()["reinforce"])
    for number, value in enumerate(values):
        notes: dict[str, Any] = {"ticket": number, "settings": {"learning_rate": 10.0 ** -(number + 1)}}
        if number < 2:
            notes["point"] = ("default", "preset")[number]
        if number in early:
            notes["pruned_after"] = 1
        if value is None:
            study.add_trial(create_trial(state=TrialState.FAIL, user_attrs=notes | {"reason": "nan"}))
        else:
            study.add_trial(create_trial(value=value, user_attrs=notes))
    return study


def test_every_side_has_the_same_terms() -> None:
    plans = contest(algos=("reinforce", "reinforce_baseline", "a2c", "ppo")).plans()
    same = {(plan.n_timesteps, plan.n_trials, plan.seeds, plan.sampler_seed, plan.score, plan.pruner, plan.eval_freq)
            for plan in plans.values()}  # fmt: skip
    assert len(same) == 1
    assert {tuple(point.name for point in plan.points) for plan in plans.values()} == {("default", "preset")}


def test_fresh_seeds_are_never_tuning_seeds() -> None:
    terms = contest(seeds=(7, 8, 9), n_fresh=20)
    plan = fresh_plan(terms, [Configuration("a", "vpg", "default", {})])
    assert plan.seeds == tuple(range(FRESH_SEEDS + 7, FRESH_SEEDS + 20_007, 1_000))
    assert plan.n_trials == 20


def test_the_best_by_its_tuning_score_is_the_one_the_verdicts_are_about() -> None:
    found = select(contest(top=2), "reinforce", filled(contest(), [1.0, 2.0, 5.0, 9.0, 7.0]))
    assert [(each.label, each.tuning_score, each.chosen) for each in found] == [
        ("reinforce, default", 1.0, False),
        ("reinforce, preset", 2.0, False),
        ("reinforce, tuned", 9.0, True),
        ("reinforce, tuned 2", 7.0, False),
    ]


def test_a_default_that_wins_is_not_run_twice() -> None:
    found = select(contest(top=2), "reinforce", filled(contest(), [9.0, 2.0, 5.0]))
    assert [(each.label, each.chosen) for each in found] == [
        ("reinforce, default", True),
        ("reinforce, preset", False),
        ("reinforce, tuned", False),
    ]


def test_a_trial_that_ended_early_is_never_chosen() -> None:
    found = select(contest(top=1), "reinforce", filled(contest(), [1.0, 2.0, 50.0, 5.0], early={2}))
    assert [each.tuning_score for each in found if each.chosen] == [5.0]


def test_where_every_trial_failed_the_default_is_compared() -> None:
    found = select(contest(), "reinforce", filled(contest(), [None, None, None]))
    assert [(each.label, each.tuning_score, each.chosen) for each in found] == [
        ("reinforce, default", None, True),
        ("reinforce, preset", None, False),
    ]


def test_a_failed_run_counts_as_the_worst_score() -> None:
    runs = (Run(1, (10, 20), (1.0, 3.0), final=4.0), Run(2, failure="nan"))
    other = Configuration("b", "vpg", "tuned", {}, (Run(1, (10, 20), (-5.0, -7.0), final=0.0),))
    mine = Configuration("a", "vpg", "tuned", {}, runs)
    found = Comparison("env", 20, 1, (0,), (1, 2), "auc", None, (mine, other))
    assert np.array_equal(found.scores(mine), [2.0, -6.0])
    assert len(mine.failures) == 1


@pytest.mark.usefixtures("served_workers")
def test_a_whole_comparison_is_continued_where_it_was(lab: Any) -> None:
    terms, asked = contest(), iter(range(3))
    assert compare(terms, lab.storage(), "match", 1, lambda: next(asked, None) is None) is None
    first = compare(terms, lab.storage(), "match", 2)
    again = compare(terms, lab.storage(), "match", 2)
    assert first == again
    assert first is not None
    assert [each.algo for each in first.chosen] == ["reinforce", "vpg"]
    for each in first.configurations:
        assert [run.seed for run in each.runs] == list(first.fresh_seeds)
        assert not each.failures


def test_other_terms_are_refused(lab: Any) -> None:
    compare(contest(), lab.storage(), "match", 1, lambda: True)
    with pytest.raises(InputError, match="'match/reinforce' was begun with another n_timesteps"):
        compare(contest(n_timesteps=96), lab.storage(), "match", 1, lambda: True)


def test_a_run_that_died_is_collected_with_its_reason(lab: Any) -> None:
    terms = contest()
    configurations = [Configuration("a", "vpg", "default", {}), Configuration("b", "reinforce", "default", {})]
    study = create_study(fresh_plan(terms, configurations))
    for ticket in range(4):
        label, seed = "ab"[ticket % 2], terms.fresh_seeds[ticket // 2]
        run = Run(seed, (64,), (1.0,), (0.1,), 1.0) if ticket else Run(seed, failure="FloatingPointError: nan")
        notes = {"ticket": ticket, "point": label, "runs": [run.to_json()]}
        study.add_trial(create_trial(value=1.0, user_attrs=notes))
    found = collect(terms, configurations, study)
    assert [len(each.failures) for each in found.configurations] == [1, 0]


def test_the_report_shows_what_was_fixed_beside_what_was_searched() -> None:
    base = {"policy_kwargs": "dict(activation_fn=nn.Tanh)"}
    terms = contest(terms={**contest().terms, "base": base})
    searched = {"gamma": 0.9, "policy_kwargs": {"net_arch": "[8]"}}
    study = create_study(fresh_plan(terms, [Configuration("a", "vpg", "tuned", searched)]))
    for ticket, seed in enumerate(terms.fresh_seeds):
        notes = {"ticket": ticket, "runs": [Run(seed, (64,), (1.0,), (0.1,), 1.0).to_json()]}
        study.add_trial(create_trial(value=1.0, user_attrs=notes))
    (found,) = collect(terms, [Configuration("a", "vpg", "tuned", searched)], study).configurations
    assert found.settings == {"gamma": 0.9, "policy_kwargs": {"net_arch": "[8]", "activation_fn": "nn.Tanh"}}
