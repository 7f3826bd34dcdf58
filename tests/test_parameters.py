"""The table of arguments: what it accepts, what it refuses, and in which words."""

import inspect
from enum import Enum
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sb3_course.config.errors import InputError
from sb3_course.config.parameters import ARGUMENTS, PER_ALGORITHM, check, describe, flag_help, normalise
from sb3_course.config.text import LinearRate, Named

nan, inf = float("nan"), float("inf")

ACCEPTED: list[tuple[str, Any]] = [
    ("learning_rate", 1e-3),
    ("learning_rate", 1),
    ("learning_rate", LinearRate(1e-3)),
    ("learning_rate", np.float32(0.1)),
    ("learning_rate", np.array(0.1)),
    ("clip_range", lambda progress: progress),
    ("clip_range_vf", None),
    ("gamma", 0),
    ("gamma", 1.0),
    ("tau", 0),
    ("batch_size", np.int64(3)),
    ("buffer_size", 10**12),
    ("double", np.bool_(True)),
    ("learning_starts", 0),
    ("gradient_steps", -1),
    ("gradient_steps", 0),
    ("train_freq", 4),
    ("train_freq", (1, "episode")),
    ("train_freq", (np.int64(2), "step")),
    ("target_update_interval", (20, "episode", 1)),
    ("target_update_interval", (100, "update")),
    ("max_grad_norm", inf),
    ("max_grad_norm", None),
    ("ent_coef", 0),
    ("ent_coef", "auto"),
    ("ent_coef", "auto_0.1"),
    ("target_entropy", -1.5),
    ("target_entropy", "auto"),
    ("device", "cuda:1"),
    ("seed", None),
    ("seed", 2**32 - 1),
    ("replay_buffer_class", dict),
    ("replay_buffer_class", Named("HerReplayBuffer")),
    ("policy_kwargs", {"net_arch": []}),
    ("policy", "MlpPolicy"),
    ("policy", dict),
    ("total_timesteps", 1e5),
    ("env_wrapper", ["a.b:C", {"a.b:D": {"k": 1}}]),
    ("normalize", {"norm_reward": False}),
]

AN_INTERVAL = "an integer >= 1 or (k, 'step' | 'update' | 'episode') or (k, 'step' | 'update' | 'episode', integer)"
REFUSED: list[tuple[str, Any, str]] = [
    ("learning_rate", 0, "a number > 0 or a schedule"),
    ("learning_rate", -1e-3, "a number > 0 or a schedule"),
    ("learning_rate", nan, "a number > 0 or a schedule"),
    ("learning_rate", inf, "a number > 0 or a schedule"),
    ("learning_rate", "1e-3", "a number > 0 or a schedule"),
    ("learning_rate", True, "a number > 0 or a schedule"),
    ("learning_rate", None, "a number > 0 or a schedule"),
    ("gamma", 1.1, "a number >= 0 and <= 1"),
    ("gamma", np.float64(nan), "a number >= 0 and <= 1"),
    ("gamma", 10**400, "a number >= 0 and <= 1"),
    ("batch_size", True, "an integer >= 1"),
    ("batch_size", 32.0, "an integer >= 1"),
    ("batch_size", np.float64(32), "an integer >= 1"),
    ("batch_size", np.array([32]), "an integer >= 1"),
    ("batch_size", 0, "an integer >= 1"),
    ("gradient_steps", -2, "an integer >= -1"),
    ("train_freq", (1, "update"), "an integer >= 1 or (k, 'step' | 'episode')"),
    ("train_freq", (0, "step"), "an integer >= 1 or (k, 'step' | 'episode')"),
    ("target_update_interval", ("update", 1), AN_INTERVAL),
    ("target_update_interval", (20, "episode", 0), AN_INTERVAL),
    ("max_grad_norm", nan, "a number > 0 or None"),
    ("max_grad_norm", 0, "a number > 0 or None"),
    ("v_min", inf, "a number or 'auto'"),
    ("double", 1, "True or False"),
    ("loss", "hubr", "'huber' | 'l2' | 'mse'"),
    ("backend", None, "'auto' | 'torch' | 'numpy'"),
    ("ent_coef", "autox", "a number >= 0, 'auto' or 'auto_<number>'"),
    ("ent_coef", "auto_-1", "a number >= 0, 'auto' or 'auto_<number>'"),
    ("device", "gpu", "auto, cpu, cuda, cuda:0, mps, ..."),
    ("device", "cuda:x", "auto, cpu, cuda, cuda:0, mps, ..."),
    ("device", 3, "auto, cpu, cuda, cuda:0, mps, ..."),
    ("seed", -1, "an integer >= 0 and < 4294967296 or None"),
    ("replay_buffer_class", 3, "a class or None"),
    ("policy_kwargs", [1], "dict(...) or None"),
    ("n_top", 0, "an integer >= 1 or None"),
]


@pytest.mark.parametrize(("name", "value"), ACCEPTED)
def test_accepted(name: str, value: Any) -> None:
    check({name: value})


@pytest.mark.parametrize(("name", "value", "want"), REFUSED)
def test_refused_with_the_field_the_value_and_what_is_wanted(name: str, value: Any, want: str) -> None:
    with pytest.raises(InputError) as caught:
        check({name: value})
    assert (caught.value.field, caught.value.want) == (name, want)
    assert str(caught.value).startswith(f"{name}: ")
    assert str(caught.value).endswith(f", want {want})")
    assert str(caught.value).isprintable()


def test_objects_of_torch_and_sb3_are_accepted_where_their_words_are() -> None:
    import torch
    from stable_baselines3.common.type_aliases import TrainFreq, TrainFrequencyUnit
    from stable_baselines3.common.utils import LinearSchedule

    check({"device": torch.device("cpu"), "learning_rate": LinearSchedule(1, 0, 1)})
    check({"train_freq": TrainFreq(4, TrainFrequencyUnit.STEP)})
    other = Enum("other", {"STEP": "day"})
    with pytest.raises(InputError, match="train_freq"):
        check({"train_freq": (4, other["STEP"])})


@given(st.sampled_from(sorted(ARGUMENTS)), st.none() | st.booleans() | st.integers() | st.floats() | st.text())
def test_any_value_is_accepted_or_refused_in_one_line(name: str, value: Any) -> None:
    row = ARGUMENTS[name]
    if row.accepts(value):
        check({name: value})
        assert value == value or name == "action_noise"  # NaN never passes where a number is meant
    else:
        with pytest.raises(InputError) as caught:
            check({name: value})
        assert str(caught.value).isprintable()


def test_names_outside_the_table_are_left_to_others() -> None:
    check({"env": object(), "self": None})


def test_the_support_must_not_be_empty() -> None:
    check({"v_min": -1.0, "v_max": 1.0})
    with pytest.raises(InputError, match="v_min: must be below v_max = 1"):
        check({"v_min": 1.0, "v_max": 1.0})


def test_normalise_puts_right_what_text_and_yaml_cannot_say() -> None:
    given = {
        "buffer_size": 1e5,
        "train_freq": [1, "episode"],
        "n_timesteps": 5e4,
        "gamma": 1,
        "batch_size": np.int64(2),
    }
    result = normalise(given)
    assert result == {
        "buffer_size": 100_000,
        "train_freq": (1, "episode"),
        "n_timesteps": 50_000,
        "gamma": 1,
        "batch_size": 2,
    }
    assert type(result["buffer_size"]) is int
    for name, value in {"batch_size": 1.5, "seed": inf, "train_freq": [1, "day"]}.items():
        with pytest.raises(InputError, match=name):
            normalise({name: value})


def test_every_row_is_complete_and_its_default_is_accepted() -> None:
    for name, row in ARGUMENTS.items():
        assert row.name == name
        assert row.help
        assert row.source
        assert "\n" not in row.help
        assert row.default is PER_ALGORITHM or row.accepts(row.default) or row.group == "run"


def test_the_defaults_of_the_value_family_are_those_of_sb3s_dqn() -> None:
    from stable_baselines3 import DQN

    for name, parameter in inspect.signature(DQN).parameters.items():
        if name not in ("policy", "env", "_init_setup_model"):
            assert ARGUMENTS[name].default == parameter.default, name


def test_describe_prints_the_table_in_words() -> None:
    rows = {row.name: row for row in describe()}
    assert tuple(rows["gamma"])[1:4] == ("number", ">= 0, <= 1", 0.99)
    assert rows["train_freq"].kind == "integer or (k, 'step' | 'episode')"
    assert rows["loss"].kind == "'huber' | 'l2' | 'mse'"
    assert list(rows) == list(ARGUMENTS)


def test_a_row_knows_its_smallest_integer_and_its_flag() -> None:
    assert [ARGUMENTS[name].least for name in ("seed", "n_envs", "frame_stack", "eval_freq")] == [0, 1, 1, -1]
    assert flag_help("final_episodes") == "episodes of the final score (default: 20)"
