"""Comparisons: the same terms for all, nothing chosen on the fresh seeds, no failed run dropped."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optuna.trial import TrialState, create_trial

from sb3_course import train
from sb3_course.config.errors import InputError
from sb3_course.tuning import scales
from sb3_course.tuning.agenda import Agenda, Whole
from sb3_course.tuning.comparison import Contest, collect, compare, fresh_plan, select, study_name
from sb3_course.tuning.exports import best_files, best_path
from sb3_course.tuning.plan import FRESH_SEEDS
from sb3_course.tuning.results import Comparison, Configuration, Run, ScoreScale, Task
from sb3_course.tuning.study import create_study

ONE_SHOT, BANDIT = "sb3_course/OneShot-v0", "sb3_course/Bandit-v0"


def contest(**arguments: Any) -> Contest:
    """Return the terms of a comparison that takes a moment."""
    brief = {"n_timesteps": 64, "n_trials": 3, "seeds": (0, 1), "n_fresh": 2}
    terms = {"pruner": "none", "eval_freq": 32, "eval_episodes": 1, "final_episodes": 2}
    return Contest(**{"algos": ("reinforce", "vpg"), "envs": (ONE_SHOT,), "terms": terms, **brief, **arguments})


def filled(terms: Contest, values: list[float | None], early: set[int] = frozenset()) -> Any:  # type: ignore[assignment]
    """Return a study whose trials have these scores; None is a failure."""
    study = create_study(terms.plans()[ONE_SHOT]["reinforce"])
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
    plans = contest(algos=("reinforce", "reinforce_baseline", "a2c", "ppo")).plans()[ONE_SHOT]
    same = {(plan.n_timesteps, plan.n_trials, plan.seeds, plan.sampler_seed, plan.score, plan.pruner, plan.eval_freq)
            for plan in plans.values()}  # fmt: skip
    assert len(same) == 1
    assert {tuple(point.name for point in plan.points) for plan in plans.values()} == {("default", "preset")}


def test_fresh_seeds_are_never_tuning_seeds() -> None:
    terms = contest(seeds=(7, 8, 9), n_fresh=20)
    plan = fresh_plan(terms, ONE_SHOT, [Configuration("a", "vpg", "default", {})])
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
    found = Task("env", None, (mine, other))
    assert np.array_equal(found.scores(mine, "auc"), [2.0, -6.0])
    assert len(mine.failures) == 1


@pytest.mark.usefixtures("served_workers")
def test_a_whole_comparison_is_continued_where_it_was(lab: Any) -> None:
    # Each of the three studies asks at least once, however fast its workers are: the third question is the last one.
    terms, asked = contest(), iter(range(2))
    assert compare(terms, lab.storage(), "match", 1, lambda: next(asked, None) is None) is None
    first = compare(terms, lab.storage(), "match", 2)
    again = compare(terms, lab.storage(), "match", 2)
    assert first == again
    assert first is not None
    (task,) = first.tasks
    assert [each.algo for each in task.chosen] == ["reinforce", "vpg"]
    for each in task.configurations:
        assert [run.seed for run in each.runs] == list(first.fresh_seeds)
        assert not each.failures


def test_other_terms_are_refused(lab: Any) -> None:
    compare(contest(), lab.storage(), "match", 1, lambda: True)
    with pytest.raises(InputError, match="'match/sb3_course/OneShot-v0/reinforce' was begun with another n_timesteps"):
        compare(contest(n_timesteps=96), lab.storage(), "match", 1, lambda: True)


def test_a_run_that_died_is_collected_with_its_reason(lab: Any) -> None:
    terms = contest()
    configurations = [Configuration("a", "vpg", "default", {}), Configuration("b", "reinforce", "default", {})]
    study = create_study(fresh_plan(terms, ONE_SHOT, configurations))
    for ticket in range(4):
        label, seed = "ab"[ticket % 2], terms.fresh_seeds[ticket // 2]
        run = Run(seed, (64,), (1.0,), (0.1,), 1.0) if ticket else Run(seed, failure="FloatingPointError: nan")
        notes = {"ticket": ticket, "point": label, "runs": [run.to_json()]}
        study.add_trial(create_trial(value=1.0, user_attrs=notes))
    found = collect(terms, ONE_SHOT, configurations, study)
    assert [len(each.failures) for each in found.configurations] == [1, 0]


def test_the_report_shows_what_was_fixed_beside_what_was_searched() -> None:
    base = {"policy_kwargs": "dict(activation_fn=nn.Tanh)"}
    terms = contest(terms={**contest().terms, "base": base})
    searched = {"gamma": 0.9, "policy_kwargs": {"net_arch": "[8]"}}
    study = create_study(fresh_plan(terms, ONE_SHOT, [Configuration("a", "vpg", "tuned", searched)]))
    for ticket, seed in enumerate(terms.fresh_seeds):
        notes = {"ticket": ticket, "runs": [Run(seed, (64,), (1.0,), (0.1,), 1.0).to_json()]}
        study.add_trial(create_trial(value=1.0, user_attrs=notes))
    (found,) = collect(terms, ONE_SHOT, [Configuration("a", "vpg", "tuned", searched)], study).configurations
    assert found.settings == {"gamma": 0.9, "policy_kwargs": {"net_arch": "[8]", "activation_fn": "nn.Tanh"}}


# ------------------------------------------------------------------------------------------- several environments


TWO = (ONE_SHOT, BANDIT)


def test_each_environment_is_tuned_on_the_same_terms_and_fresh_seeds() -> None:
    terms = contest(envs=TWO, n_fresh=3)
    plans = [plan for of_env in terms.plans().values() for plan in of_env.values()]
    assert [(plan.env, plan.algo) for plan in plans] == [(env, algo) for env in TWO for algo in ("reinforce", "vpg")]
    assert len({(plan.n_timesteps, plan.n_trials, plan.seeds, plan.sampler_seed, plan.pruner) for plan in plans}) == 1
    fresh = [fresh_plan(terms, env, [Configuration("a", "vpg", "default", {})]) for env in TWO]
    assert fresh[0].seeds == fresh[1].seeds == terms.fresh_seeds
    assert not set(terms.fresh_seeds) & set(terms.seeds)


@pytest.mark.usefixtures("served_workers")
def test_several_environments_are_continued_where_they_were(lab: Any) -> None:
    fixed = {**contest().terms, "base": {"policy_kwargs": "dict(activation_fn=nn.Tanh)"}}
    brief: dict[str, Any] = {"thresholds": {ONE_SHOT: 0.9}, "top": 1, "terms": fixed}
    one, two = contest(envs=TWO[:1], **brief), contest(envs=TWO, **brief)
    storage = lab.storage()
    alone = compare(one, storage, "match", 1)
    assert alone is not None
    numbers = storage.get_all_studies()
    told: list[Whole] = []
    asked = iter(range(2))
    # Stopped in the second environment: what the first one has is kept, and nothing of it is trained again.
    assert compare(two, storage, "match", 1, lambda: next(asked, None) is None) is None
    both = compare(two, storage, "match", 1, tell=lambda progress: told.append(progress.whole))
    assert both is not None
    assert both.envs == TWO
    assert both.tasks[0].configurations == alone.tasks[0].configurations
    assert alone.tasks[0].scale is None
    for task in both.tasks:
        assert [each.algo for each in task.chosen] == ["reinforce", "vpg"]
        assert task.scale is not None
        for each in task.configurations:
            assert [run.seed for run in each.runs] == list(both.fresh_seeds)
    assert both.tasks[0].scale == ScoreScale(scales.random_score(ONE_SHOT, {}), 0.9, "random actions, threshold")
    assert both.tasks[1].scale is not None
    best = max(run.score("auc") for each in both.tasks[1].configurations for run in each.runs)
    assert (both.tasks[1].scale.high, both.tasks[1].scale.meaning) == (best, "random actions, best run")
    names = [study.study_name for study in storage.get_all_studies()]
    assert len(names) == len(numbers) + 3
    for study in storage.get_all_studies():  # the budget is exact: no trial more, none less
        plan = storage.get_study_user_attrs(study._study_id)["plan"]
        assert len(storage.get_all_trials(study._study_id)) == plan["n_trials"]
    shares = [whole.share for whole in told]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    check_best_files(both, lab.folder)


def check_best_files(found: Comparison, folder: Path) -> None:
    """Train the file of each chosen configuration with a fresh seed, and find that run's own scores again."""
    files = best_files(found)
    assert set(files) == {best_path(env, algo) for env in TWO for algo in ("reinforce", "vpg")}
    for task in found.tasks:
        for each in task.chosen:
            run, path, made = each.runs[1], folder / "best.yml", folder / f"{task.env}-{each.algo}".replace("/", "-")
            path.write_text(files[best_path(task.env, each.algo)])
            assert train.main(["--config", str(path), "--seed", str(run.seed), "--run-dir", str(made)]) == 0
            with (made / "evaluations.csv").open(newline="") as file:
                scores = [(int(row["timesteps"]), float(row["mean"])) for row in csv.DictReader(file)]
            assert scores == list(zip(run.timesteps, run.means, strict=True))
            assert json.loads((made / "status.json").read_text())["mean"] == run.final


def test_a_comparison_of_before_goes_on_under_its_old_names(lab: Any) -> None:
    storage = lab.storage()
    plans = contest(envs=TWO).plans()
    create_study(plans[ONE_SHOT]["vpg"], storage=storage, name="match/vpg")
    assert study_name(storage, "match", plans[ONE_SHOT]["vpg"]) == "match/vpg"
    assert study_name(storage, "match", plans[BANDIT]["vpg"]) == f"match/{BANDIT}/vpg"
    assert study_name(storage, "match", plans[ONE_SHOT]["reinforce"]) == f"match/{ONE_SHOT}/reinforce"
    with pytest.raises(InputError, match="'match/vpg' was begun with another n_timesteps"):
        compare(contest(envs=TWO, n_timesteps=96), storage, "match", 1, lambda: True)


# ---------------------------------------------------------------------------------------------------------- scales


def test_random_actions_score_what_they_are_worth() -> None:
    # Two arms of fixed reward: a mean of 50 coins, always the same ones.
    base = {"env_kwargs": {"means": [0.0, 1.0], "stds": 0.0}}
    score = scales.random_score(BANDIT, base)
    assert score == scales.random_score(BANDIT, base)
    assert 50 * score == pytest.approx(round(50 * score))
    assert abs(score - 0.5) < 4 * 0.5 / np.sqrt(50)
    # They are scored as runs are: in the environment of evaluations, where that is another one.
    assert scales.random_score(BANDIT, {**base, "eval_env_kwargs": {"means": [3.0, 3.0], "stds": 0.0}}) == 3.0


def test_the_scale_of_scores() -> None:
    scores = np.array([30.0, 250.0, 20.0])
    assert scales.scale_of(20.0, 475.0, None, scores) == ScoreScale(20.0, 475.0, "random actions, threshold")
    assert scales.scale_of(20.0, None, None, scores) == ScoreScale(20.0, 250.0, "random actions, best run")
    assert scales.scale_of(1.0, 475.0, (1.0, 2.0), scores) == ScoreScale(1.0, 2.0)
    assert scales.scale_of(300.0, None, None, scores) == ScoreScale(20.0, 250.0, "worst run, best run")
    flat = scales.scale_of(300.0, None, None, np.array([5.0, 5.0]))
    assert flat.normalised([5.0]).tolist() == [0.0]
    assert ScoreScale(20.0, 475.0).normalised([20.0, 475.0, 702.5]).tolist() == [0.0, 1.0, 1.5]


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no environment": ({"envs": ()}, "--env: a comparison needs an environment"),
    "one twice": ({"envs": (ONE_SHOT, ONE_SHOT)}, "--env: one is named twice"),
    "an unknown one": ({"envs": (ONE_SHOT, "sb3_course/OneShoot-v0")}, "env: no environment .* did you mean"),
    "actions": ({"envs": (ONE_SHOT, "Acrobot-v1"), "algos": ("sac", "td3")}, "env: Acrobot-v1 has actions that"),
    "threshold elsewhere": ({"thresholds": {"sb3_course/OneShoot-v0": 1.0}}, "--threshold: names no .* did you mean"),
    "threshold": ({"thresholds": {ONE_SHOT: float("inf")}}, "--threshold: is not finite"),
    "reference of one": ({"references": {ONE_SHOT: (0.0, 1.0)}}, "--reference: puts scores of several"),
    "reference upside down": (
        {"envs": (ONE_SHOT, BANDIT), "algos": ("reinforce", "ppo"), "references": {ONE_SHOT: (1.0, 0.0)}},
        "--reference: the score that counts as 1 is not above",
    ),
    "threshold below random actions": (
        {"envs": (BANDIT, ONE_SHOT), "algos": ("reinforce", "ppo"), "thresholds": {BANDIT: -100.0}},
        "--reference: the score that counts as 1 is not above the one that counts as 0 in sb3_course/Bandit-v0",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_terms_that_cannot_be_are_refused(name: str, lab: Any) -> None:
    arguments, message = REFUSED[name]
    with pytest.raises(InputError, match=f"^{message}"):
        compare(contest(**arguments), str(lab.folder / "none.db"), "match")


# --------------------------------------------------------------------------------------------------- the whole


def test_the_whole_counts_every_part_and_its_own_pace() -> None:
    now = [0.0]
    agenda = Agenda({"a": 30, "b": 50, "fresh": 20}, lambda: now[0])
    assert agenda.look("a", 1.0) == Whole(0.3, None)  # found finished: no pace of ours
    now[0] = 10.0
    assert agenda.look("b", 0.2) == Whole(0.4, None)  # 10 runs were there before
    now[0] = 30.0
    assert agenda.look("b", 0.6) == Whole(0.6, 30.0 / 20 * 40)
    agenda.runs["fresh"] = 10  # fewer than thought
    now[0] = 40.0
    assert agenda.look("b", 1.0) == Whole(80 / 90, 40.0 / 40 * 10)
    now[0] = 50.0
    assert agenda.look("fresh", 0.0).share == 80 / 90
    assert agenda.look("fresh", 1.0) == Whole(1.0, 0.0)


def test_the_whole_in_words() -> None:
    assert Whole(0.12, None).words == "12 % of all"
    assert Whole(0.5, 20.0).words == "50 % of all, 20 s left"
    assert Whole(0.5, 125.0).words == "50 % of all, 2 min left"
    assert Whole(0.5, 3900.0).words == "50 % of all, 1 h 05 min left"
    assert Whole(1.0, 0.0).words == "100 % of all"
