"""Studies: the same twice, also when interrupted; several seeds each; failures with reasons; other plans refused."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from sb3_course import train
from sb3_course.config.errors import InputError
from sb3_course.config.yaml_files import dump_yaml
from sb3_course.runs import Result, Settings, Watch, execute
from sb3_course.tuning import objective as objectives
from sb3_course.tuning.dimension import Dimension
from sb3_course.tuning.objective import Objective
from sb3_course.tuning.plan import FRESH_SEEDS, Plan, Point
from sb3_course.tuning.planner import plan_for
from sb3_course.tuning.spaces import RANGES, SPACES
from sb3_course.tuning.study import (
    configuration_of,
    create_study,
    load_study,
    make_pruner,
    ranked,
    tickets_of,
    write_best,
)
from sb3_course.tuning.workers import work

TEN = {"n_trials": 10}  # more than the random ones at the start


@pytest.fixture(scope="module")
def whole(lab_in: Any, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Any, ...]]:
    """Return the outcome of a study that nothing interrupted."""
    lab = lab_in(tmp_path_factory.mktemp("whole"))
    outcome: list[tuple[Any, ...]] = lab.outcome(lab.finish(lab.plan(**TEN)))
    return outcome


def test_the_same_study_twice_has_identical_trials(lab: Any, whole: Any) -> None:
    again = lab.finish(lab.plan(**TEN))
    assert lab.outcome(again) == whole
    assert len({str(trial.params) for trial in again.trials}) == 10  # and no point twice


def test_an_interrupted_study_ends_as_if_it_had_not_been(lab: Any, whole: Any) -> None:
    lab.begin(lab.plan(**TEN))
    for asked in (3, 25, 40, 60):  # every time with a storage, a study and a sampler of its own
        calls = iter(range(asked))
        work(lab.storage(), "study", lambda calls=calls: next(calls, None) is None)  # type: ignore[misc]
    assert any(state == "WAITING" for _, state, *_ in lab.outcome())
    work(lab.storage(), "study")
    assert lab.outcome() == whole


def test_another_seed_gives_another_study(lab: Any) -> None:
    first, second = (lab.at(name).finish(lab.plan(sampler_seed=seed)) for name, seed in (("a", 0), ("b", 1)))
    assert first.trials[2].params != second.trials[2].params


def test_a_trial_keeps_every_curve(lab: Any) -> None:
    study = lab.finish(lab.plan(n_trials=3))
    for trial in study.trials:
        runs = trial.user_attrs["runs"]
        assert [run["seed"] for run in runs] == [0, 1]
        assert all(run["timesteps"] == [32, 64] and len(run["means"]) == 2 and run["failure"] is None for run in runs)
        assert trial.value == pytest.approx(np.mean([np.mean(run["means"]) for run in runs]))
    assert [trial.user_attrs.get("point") for trial in study.trials] == ["default", "preset", None]


def test_the_final_score_may_be_the_objective(lab: Any) -> None:
    study = lab.finish(lab.plan(n_trials=1, score="final"))
    assert study.trials[0].value == pytest.approx(np.mean([run["final"] for run in study.trials[0].user_attrs["runs"]]))


def test_three_lines_of_python_are_a_study(lab: Any) -> None:
    study = create_study("reinforce", "sb3_course/OneShot-v0", **lab.brief)
    study.optimize(Objective.of(study), n_trials=3)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 3


def test_an_own_space_is_one_argument(lab: Any) -> None:
    space = (Dimension("learning_rate", 1e-3, 1e-2, log=True),)
    study = create_study("reinforce", "sb3_course/OneShot-v0", space=space, **lab.brief)
    study.optimize(Objective.of(study), n_trials=3)
    assert set(study.trials[2].params) == {"learning_rate"}


def test_what_is_fixed_is_not_searched(lab: Any) -> None:
    plan = lab.plan(base={"learning_rate": 0.01, "policy_kwargs": {"net_arch": [8]}})
    names = {dimension.name for dimension in plan.space}
    assert not names & {"learning_rate", "learning_rate_schedule", "policy_kwargs.net_arch"}
    assert plan.settings({"gamma": 0.5}, 3).hyperparameters["learning_rate"] == 0.01


def test_what_is_fixed_of_the_policy_leaves_the_rest_to_the_search(lab: Any) -> None:
    plan = plan_for(
        "reinforce", "sb3_course/OneShot-v0", **lab.brief, base={"policy_kwargs": "dict(activation_fn=nn.Tanh)"}
    )
    assert "policy_kwargs.net_arch" in {dimension.name for dimension in plan.space}
    kwargs = plan.settings({"policy_kwargs": {"net_arch": "[8]"}}, 0).hyperparameters["policy_kwargs"]
    assert (kwargs["net_arch"], str(kwargs["activation_fn"])) == ([8], "nn.Tanh")


def test_training_the_best_file_gives_the_trials_own_scores_seed_by_seed(lab: Any, tmp_path: Path) -> None:
    base = {"policy_kwargs": "dict(activation_fn=nn.Tanh)", "env_kwargs": {"tau": "2.5"}}
    study = lab.finish(lab.plan("a2c", n_timesteps=72, n_trials=3, base=base))
    for trial in study.trials:
        best = configuration_of(trial, study.user_attrs["plan"])
        (tmp_path / "best.yml").write_text(dump_yaml(best))
        for run in trial.user_attrs["runs"]:
            line = ["--config", str(tmp_path / "best.yml"), "--seed", str(run["seed"])]
            settings = train.read_settings(vars(train.make_parser().parse(line)))
            result = execute(settings)
            assert [score.timesteps for score in result.evaluations] == run["timesteps"]
            assert [score.mean for score in result.evaluations] == run["means"]
            assert result.mean == run["final"]
            assert str(settings.hyperparameters["policy_kwargs"]["activation_fn"]) == "nn.Tanh"
    kwargs = configuration_of(study.trials[2], study.user_attrs["plan"])["policy_kwargs"]
    params = study.trials[2].params
    assert kwargs.pop("activation_fn") == "nn.Tanh"
    assert kwargs == {key: params[f"policy_kwargs.{key}"] for key in ("net_arch", "log_std_init")}


@pytest.mark.parametrize("stored", [False, True])
def test_what_is_enqueued_is_what_is_trained(lab: Any, monkeypatch: pytest.MonkeyPatch, stored: bool) -> None:
    trained: list[Settings] = []

    def execute(settings: Settings, _folder: None, _watch: Watch) -> Result:
        trained.append(settings)
        return Result(_Score(1.0), (), 64, 1, 0.0, True, None)  # type: ignore[arg-type]

    monkeypatch.setattr(objectives, "execute", execute)
    plan = lab.plan(n_trials=3, seeds=1, score="final")
    storage = lab.storage() if stored else None
    study = create_study(plan, storage=storage, name="study")
    study.enqueue_trial({"gamma": 0.9, "policy_kwargs.net_arch": "[256, 256]"})
    study.enqueue_trial({"gama": 0.9})
    study.enqueue_trial({"gamma": 0.91})
    if storage is None:
        study.optimize(Objective.of(study), n_trials=6)
    else:
        tickets_of(study, plan).settle()
        work(storage, "study")
    first, wrong, between, *others = study.trials
    assert first.params["gamma"] == trained[0].hyperparameters["gamma"] == 0.9
    assert trained[0].hyperparameters["policy_kwargs"]["net_arch"] == [256, 256]
    assert "point" not in first.user_attrs
    assert (wrong.state.name, between.state.name) == ("FAIL", "FAIL")
    assert "0.91" in between.user_attrs["reason"]  # is not among the choices
    assert wrong.user_attrs["reason"].startswith("gama: was enqueued and is not searched in this trial; did you mean")
    assert [trial.user_attrs.get("point") for trial in others] == ["default", "preset", None]  # the plan's own three
    assert [trial.params for trial in others[:2]] == [dict(point.values) for point in plan.points]


def fake(monkeypatch: pytest.MonkeyPatch, scores: dict[int, Any]) -> list[int]:
    """Replace training by a table of scores by seed, and return the list of seeds that were trained."""
    trained: list[int] = []

    def execute(settings: Settings, _folder: None, _watch: Watch) -> Result:
        trained.append(settings.seed)
        score = scores[settings.seed]
        if isinstance(score, Exception):
            raise score
        return Result(_Score(score), (), 64, 1, 0.0, True, None)  # type: ignore[arg-type]

    monkeypatch.setattr(objectives, "execute", execute)
    return trained


class _Score:
    def __init__(self, mean: float) -> None:
        self.mean = mean


@pytest.mark.parametrize(
    ("score", "reason"),
    [
        (float("nan"), "seed 1: the final score is nan"),
        (float("inf"), "seed 1: the final score is inf"),
        (FloatingPointError("the loss is nan at step 40"), "seed 1: FloatingPointError: the loss is nan at step 40"),
        (InputError("batch_size", "is too large", 7, "6"), "seed 1: batch_size: is too large (got 7, want 6)"),
    ],
)
def test_a_failed_run_is_a_failed_trial_with_its_reason(
    lab: Any, monkeypatch: pytest.MonkeyPatch, score: Any, reason: str
) -> None:
    fake(monkeypatch, {0: 1.0, 1: score})
    study = lab.finish(lab.plan(n_trials=1, score="final"))
    trial = study.trials[0]
    assert (trial.state.name, trial.user_attrs["reason"]) == ("FAIL", reason)
    assert [run["failure"] is None for run in trial.user_attrs["runs"]] == [True, False]
    assert ranked(study) == []


def test_training_that_diverges_is_a_failed_trial(lab: Any) -> None:
    study = lab.finish(lab.plan(n_trials=1, base={"learning_rate": 1e30}))
    assert study.trials[0].state.name == "FAIL"
    assert "seed 0: " in study.trials[0].user_attrs["reason"]


def test_a_trial_goes_on_with_the_seeds_that_are_missing(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = fake(monkeypatch, {seed: float(seed) for seed in range(5)})
    study, tickets, storage = lab.begin(lab.plan(n_trials=1, seeds=(0, 1, 2, 3, 4), score="final"))
    trial = study.ask()
    trial.set_user_attr("runs", [{"seed": seed, "final": float(seed)} for seed in range(3)])
    tickets.put_back(trial)
    work(storage, "study")
    assert trained == [3, 4]
    assert study.trials[0].value == 2.0


def test_wilcoxon_prunes_a_trial_that_loses_on_every_seed(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = lab.plan(n_trials=2, seeds=tuple(range(8)), pruner="wilcoxon", score="final")
    study, _, storage = lab.begin(plan)
    objective, scores = Objective(plan), {seed: 10.0 + seed for seed in range(8)}
    fake(monkeypatch, scores)
    trial = study.ask()
    study.tell(trial, objective(trial))
    scores.update(dict.fromkeys(range(8), 1.0))
    trial = study.ask()
    study.tell(trial, objective(trial))
    worse = study.trials[1]
    # Four losses of four: p = 2^-4 = 0.0625 < 0.1.
    assert (worse.state.name, worse.value, worse.user_attrs["pruned_after"]) == ("COMPLETE", 1.0, 4)
    assert [trial.number for trial in ranked(study)] == [0]
    assert storage.get_n_trials(1) == 2


def test_the_median_pruner_ends_a_run(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = lab.plan(pruner="median", n_trials=7)
    study, _, storage = lab.begin(plan)
    assert isinstance(make_pruner(plan), optuna.pruners.MedianPruner)
    for number in range(6):
        trial = study.ask()
        for step in range(1, 5):
            trial.report(1e6 + number, step)
        study.tell(trial, 1e6 + number)
    work(storage, "study")
    assert study.trials[6].state.name == "PRUNED"
    assert study.trials[6].user_attrs["pruned_after"] == 0.5  # after the first of two evaluations of the first seed


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"algo": "reinforce_baseline"}, "algo"),
        ({"env": "sb3_course/Bandit-v0"}, "env"),
        ({"n_timesteps": 128}, "n_timesteps"),
        ({"n_trials": 1}, "n_trials"),
        ({"seeds": (5, 6)}, "seeds"),
        ({"score": "final"}, "score"),
        ({"space": SPACES["reinforce"][:3]}, "space: policy_kwargs.net_arch"),
        ({"space": (Dimension("learning_rate", 1e-4, 1e-2, log=True), *SPACES["reinforce"][1:])},
         "space: learning_rate"),
        ({"base": {"gamma": 0.5}}, "base"),
    ],
)  # fmt: skip
def test_a_study_with_another_plan_is_refused(lab: Any, change: dict[str, Any], field: str) -> None:
    study, _, storage = lab.begin(lab.plan())
    before = lab.outcome(study)
    with pytest.raises(InputError, match=f"^--study-name: 'study' was begun with another {field} "):
        create_study(lab.plan(**change), storage=storage, name="study")
    assert lab.outcome(study) == before


def test_a_study_takes_more_trials_and_keeps_what_it_has(lab: Any) -> None:
    first = [(trial.number, trial.params, trial.value) for trial in lab.finish(lab.plan(n_trials=2)).trials]
    study = lab.finish(lab.plan(n_trials=3))
    assert [(trial.number, trial.params, trial.value) for trial in study.trials][:2] == first
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 3
    assert study.user_attrs["plan"]["n_trials"] == 3


def test_a_study_made_elsewhere_is_refused(lab: Any) -> None:
    storage = lab.storage()
    storage.may_create = True
    optuna.create_study(storage=storage, study_name="study").ask()
    with pytest.raises(InputError, match="was not made here"):
        create_study(lab.plan(), storage=storage, name="study")
    with pytest.raises(InputError, match="was not made here"):
        load_study(storage, "study")
    with pytest.raises(InputError, match="there is no such study"):
        load_study(storage, "other")


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"n_trials": 0}, "n_trials"),
        ({"n_timesteps": 0}, "n_timesteps"),
        ({"n_timesteps": 1.5}, "n_timesteps"),
        ({"seeds": ()}, "seeds"),
        ({"seeds": (1, 1)}, "seeds"),
        ({"seeds": (0, 1, 2), "pruner": "wilcoxon"}, "pruner"),
        ({"pruner": "hyperband"}, "pruner"),
        ({"score": "best"}, "score"),
        ({"eval_freq": 0}, "eval_freq"),
        ({"eval_freq": 65}, "eval_freq"),
        ({"eval_freq": "a"}, "eval_freq"),
        ({"seeds": (0, 0.5)}, "seeds"),
        ({"seeds": (0, -1)}, "seeds"),
        ({"seeds": (2**31,)}, "seeds"),
        ({"sampler_seed": -1}, "sampler_seed"),
        ({"n_trails": 3}, "n_trails"),
        ({"base": {"policy_kwargs": {"activation_fn": object}}}, "base"),
        ({"space": (Dimension("gama", 0.9, 0.99),)}, "space"),
        ({"space": (Dimension("clip_range", 0.1, 0.2),)}, "space"),
        ({"space": (RANGES["learning_rate_schedule"],)}, "space"),
        ({"algo": "reinfroce"}, "algo"),
        ({"env": "CartPole-v7"}, "env"),
        ({"algo": "dqn", "env": "Pendulum-v1"}, "env"),
        ({"base": {"gamma": 2.0}}, "gamma"),
    ],
)
def test_plans_that_cannot_be_are_refused(lab: Any, arguments: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError, match=f"^{field}: "):
        lab.plan(**arguments)


def test_a_plan_is_read_back_as_it_was_written(lab: Any) -> None:
    plan = lab.plan(base={"env_kwargs": {"tau": 2.0}}, plugins=("json",))
    assert Plan.from_json(plan.to_json()).to_json() == plan.to_json()


def test_a_spread_plan_runs_every_point_once_on_every_seed(lab: Any) -> None:
    points = (Point("slow", {"learning_rate": 1e-4}), Point("fast", {"learning_rate": 1e-2, "algo": "vpg"}))
    seeds = (FRESH_SEEDS, FRESH_SEEDS + 1, FRESH_SEEDS + 2)
    plan = Plan(algo="reinforce", env="sb3_course/OneShot-v0", points=points, spread=True,
                **{**lab.brief, "seeds": seeds, "n_trials": 6})  # fmt: skip
    study = lab.finish(plan)
    found = {(trial.user_attrs["point"], run["seed"]) for trial in study.trials for run in trial.user_attrs["runs"]}
    assert found == {(point.name, seed) for point in points for seed in seeds}


def test_the_best_configuration_is_a_file_that_train_takes(lab: Any, tmp_path: Path) -> None:
    from sb3_course import train

    plan = lab.plan(n_trials=3)
    study = lab.finish(plan)
    best = write_best(study, tmp_path / "best.yml")
    assert best is not None
    assert best.value == max(trial.value for trial in study.trials)
    line = ["--config", str(tmp_path / "best.yml"), "--run-dir", str(tmp_path / "run"), "--eval-freq", "0"]
    assert train.main(line) == 0


def test_a_stop_is_no_failure(lab: Any) -> None:
    study, tickets, storage = lab.begin(lab.plan(n_trials=1))
    trial = study.ask()
    with pytest.raises(objectives.InterruptedTrialError):
        Objective(lab.plan(n_trials=1), stop=lambda: True)(trial)
    tickets.put_back(trial)
    work(storage, "study")
    assert study.trials[0].state.name == "COMPLETE"


def test_a_failure_ends_an_own_study_as_optuna_does(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, {0: float("nan"), 1: 1.0})
    study = create_study("reinforce", "sb3_course/OneShot-v0", **lab.brief)
    study.optimize(Objective.of(study), n_trials=2)  # goes on
    assert [trial.state.name for trial in study.trials] == ["FAIL", "FAIL"]


def test_a_given_point_is_recorded_as_it_was_trained(lab: Any) -> None:
    study = create_study("reinforce", "sb3_course/OneShot-v0", **{**lab.brief, "n_trials": 3})
    study.optimize(Objective.of(study), n_trials=3)
    points = Plan.from_json(study.user_attrs["plan"]).points
    assert [trial.params for trial in study.trials[:2]] == [dict(point.values) for point in points]


def test_trials_side_by_side_have_streams_of_their_own(lab: Any) -> None:
    """The draws of a trial do not depend on which of two asked first."""
    draws = []
    for order in ((0, 1), (1, 0)):
        study = create_study("reinforce", "sb3_course/OneShot-v0", **lab.brief)
        trials = [study.ask() for _ in range(4)][2:]
        found = {index: trials[index].suggest_float("x", 0, 1) for index in order}
        draws.append((found[0], found[1]))
    assert draws[0] == draws[1]


def test_a_stored_failure_is_not_trained_over(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that dies between writing a failed run and ending the trial."""
    trained = fake(monkeypatch, dict.fromkeys(range(3), 1.0))
    study, tickets, storage = lab.begin(lab.plan(n_trials=1, seeds=3, score="final"))
    trial = study.ask()
    trial.set_user_attr("runs", [{"seed": 0, "failure": "nan"}])
    tickets.put_back(trial)
    work(storage, "study")
    assert trained == []
    assert (study.trials[0].state.name, study.trials[0].user_attrs["reason"]) == ("FAIL", "seed 0: nan")


@pytest.mark.parametrize("algo", ["reinforce", "a2c", "ppo", "double_dqn"])
def test_every_algorithm_gets_exactly_its_steps(algo: str) -> None:
    """SB3 would fill the rollout in hand, and evaluate further on."""
    given = {"reinforce": {}, "double_dqn": {"train_freq": 256}}.get(algo, {"n_steps": 256, "n_envs": 4})
    plan = plan_for(
        algo, "CartPole-v1", n_timesteps=600, eval_freq=100, n_trials=1, seeds=1, eval_episodes=1, pruner="none",
        base=given,
    )  # fmt: skip
    study = create_study(plan)
    study.optimize(Objective(plan), n_trials=1)
    assert {tuple(run["timesteps"]) for run in study.trials[0].user_attrs["runs"]} == {(100, 200, 300, 400, 500, 600)}


def test_seconds_are_those_of_training_alone() -> None:
    plan = plan_for("reinforce", "CartPole-v1", n_timesteps=256, eval_freq=128, n_trials=1, seeds=1, pruner="none",
                    eval_episodes=1)  # fmt: skip
    long = plan_for("reinforce", "CartPole-v1", n_timesteps=256, eval_freq=128, n_trials=1, seeds=1, pruner="none",
                    eval_episodes=200)  # fmt: skip
    seconds = []
    for each in (plan, long):
        study = create_study(each)
        started = time.perf_counter()
        study.optimize(Objective(each), n_trials=1)
        seconds.append((study.trials[0].user_attrs["runs"][0]["seconds"][-1], time.perf_counter() - started))
    assert seconds[1][0] < seconds[1][1] / 2  # 400 episodes of evaluation take most of the time, and are not in it
