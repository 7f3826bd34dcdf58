"""Search spaces: one range for each argument, in bounds, for every algorithm; presets translate both ways."""

from __future__ import annotations

from typing import Any

import optuna
import pytest

from sb3_course import registry
from sb3_course.config.errors import InputError
from sb3_course.config.text import read_values
from sb3_course.runs import Settings, presets
from sb3_course.tuning.dimension import Dimension
from sb3_course.tuning.spaces import RANGES, SPACES, dimensions, space_of
from sb3_course.tuning.translate import COMBINED, decides, from_settings, suggest, to_settings

RUN_KEYS = {"policy", "n_envs", "policy_kwargs", "noise_type", "noise_std"}
ACTIONS = {name: row.action_spaces[-1] for name, row in registry.ALGORITHMS.items()}


def sampled(algo: str, actions: str, number: int, seed: int = 0) -> list[dict[str, Any]]:
    """Return random points of a space."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    return [suggest(study.ask(), space_of(algo), actions) for _ in range(number)]


def test_every_algorithm_has_a_space() -> None:
    assert set(SPACES) == set(registry.ALGORITHMS)


@pytest.mark.parametrize("algo", SPACES)
def test_a_space_searches_only_what_the_algorithm_takes(algo: str) -> None:
    taken = set(registry.constructor_arguments(algo)) | RUN_KEYS
    for dimension in SPACES[algo]:
        assert {key.split(".")[0] for key in decides(dimension)} <= taken, dimension.name


@pytest.mark.parametrize("algo", SPACES)
@pytest.mark.parametrize("actions", ["Discrete", "Box"])
def test_every_point_of_a_space_is_a_valid_configuration(algo: str, actions: str) -> None:
    if actions not in registry.find(algo).action_spaces:
        actions = registry.find(algo).action_spaces[0]
    for point in sampled(algo, actions, 20):
        Settings.from_config({"algo": algo, "env": "CartPole-v1", "n_timesteps": 100, **to_settings(point)})


def test_shared_ranges_are_the_same_for_all() -> None:
    wide = {"q_table", "ars"}  # a table's and a random search's steps are no gradient steps
    for algo, space in SPACES.items():
        for dimension in space:
            if not (algo in wide and dimension.name == "learning_rate"):
                assert dimension.to_json() == RANGES[dimension.name].to_json()


def test_a_dueling_network_searches_what_dqn_does() -> None:
    assert SPACES["dueling_dqn"] == SPACES["double_dqn"] == SPACES["dqn"]


@pytest.mark.parametrize("algo", [name for name in SPACES if name not in ("q_table", "ars")])
def test_settings_and_points_translate_both_ways(algo: str) -> None:
    space, actions = space_of(algo), ACTIONS[algo]
    for point in sampled(algo, actions, 10, seed=3):
        back = from_settings(space, to_settings(point), algo, actions)
        point = dict(point)
        if "batch_size" in point and "rollout" in point:  # a batch is no larger than the rollout
            back.pop("batch_size"), point.pop("batch_size")
        assert back == pytest.approx(point)


@pytest.mark.parametrize("algo", SPACES)
def test_presets_lie_where_the_space_can_say_them(algo: str) -> None:
    """What a preset says and the space can say is what the nearest point says."""
    space = space_of(algo)
    for env in presets.environments(algo):
        preset = read_values(presets.load(algo, env))
        actions = "Box" if env in ("Pendulum-v1", "MountainCarContinuous-v0", "sb3_course/OneShot-v0") else "Discrete"
        point = from_settings(space, preset, algo, actions)
        for dimension in space:
            if dimension.name in COMBINED or dimension.name not in preset:
                continue
            value = getattr(preset[dimension.name], "initial", preset[dimension.name])
            inside = value in dimension.choices if dimension.choices else dimension.low <= value <= dimension.high
            if inside:
                assert point[dimension.name] == value


def test_a_linear_schedule_is_written_as_presets_write_it() -> None:
    assert to_settings({"learning_rate": 0.001, "learning_rate_schedule": "linear"}) == {"learning_rate": "lin_0.001"}
    assert to_settings({"learning_rate": 0.001, "learning_rate_schedule": "constant"}) == {"learning_rate": 0.001}


def test_names_with_dots_become_mappings() -> None:
    values = {"policy_kwargs.net_arch": "[64, 64]", "policy_kwargs.noisy_kwargs.sigma0": 0.1}
    assert to_settings(values) == {"policy_kwargs": {"net_arch": "[64, 64]", "noisy_kwargs": {"sigma0": 0.1}}}


def test_updates_follow_the_training_frequency() -> None:
    assert to_settings({"train_freq": 16, "updates_per_step": 0.25})["gradient_steps"] == 4
    assert to_settings({"train_freq": 4, "updates_per_step": 1.0})["gradient_steps"] == 4


def test_a_batch_is_no_larger_than_the_rollout() -> None:
    assert to_settings({"batch_size": 256, "rollout": 16, "n_envs": 4}) == {
        "batch_size": 64,
        "n_steps": 16,
        "n_envs": 4,
    }
    assert to_settings({"batch_size": 256, "rollout": 16}, {"n_envs": "8"})["batch_size"] == 128


def test_the_nearest_network_is_the_one_of_nearest_size() -> None:
    space = RANGES["policy_kwargs.net_arch"]
    assert [space.nearest(word) for word in ("[128]", "[5, 5]", "[400, 300]")] == ["[64, 64]", "[64, 64]", "[256, 256]"]


def test_conditional_dimensions_depend_on_what_came_before() -> None:
    assert all("policy" not in point for point in sampled("reinforce", "Discrete", 5))
    assert all("policy" in point for point in sampled("reinforce", "Box", 5))
    for point in sampled("td3", "Box", 30):
        assert ("noise_std" in point) == (point["noise_type"] is not None)


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"name": "gamma", "low": 0.9, "high": 0.9}, "gamma"),
        ({"name": "gamma", "low": 0.99, "high": 0.9}, "gamma"),
        ({"name": "gamma", "low": 0.5, "high": 1.5}, "gamma"),
        ({"name": "gamma", "choices": (0.9, 1.1)}, "gamma"),
        ({"name": "learning_rate", "low": 0.0, "high": 0.1, "log": True}, "learning_rate"),
        ({"name": "batch_size", "choices": ("many",)}, "batch_size"),
        ({"name": "mine"}, "mine"),
    ],
)
def test_ranges_that_cannot_be_are_refused(arguments: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError, match=f"^{field}: "):
        Dimension(**arguments)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(InputError, match="did you mean 'gamma'"):
        dimensions("learning_rate gama")
    with pytest.raises(InputError, match="unknown algorithm"):
        space_of("dqm")
