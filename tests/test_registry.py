"""The table of algorithms, and what each of them may be told."""

from typing import Any

import pytest

from sb3_course import registry
from sb3_course.config.errors import InputError
from sb3_course.config.parameters import ARGUMENTS
from sb3_course.config.text import LinearRate, Named
from sb3_course.registry import ALGORITHMS, Algorithm, check_params, constructor_arguments, find, name_of

LADDER = ["q_table", "neural_q", "dqn", "double_dqn"]
BASELINES = ["a2c", "ppo", "ddpg", "td3", "sac", "qrdqn", "trpo", "ars", "tqc", "crossq"]


def test_the_ladder_is_in_order() -> None:
    names = list(ALGORITHMS)
    assert [name for name in names if name in LADDER] == LADDER
    assert [name for name in names if name in BASELINES] == BASELINES


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_row_says_what_its_class_says(name: str) -> None:
    import gymnasium as gym

    row = find(name)
    cls = row.load()
    assert cls.__name__ == row.target.split(":")[1]
    assert name_of(cls) == name
    assert row.source in ("sb3_course", "stable_baselines3", "sb3_contrib")
    assert row.family in ("value", "policy gradient", "actor-critic", "evolution")
    assert row.idea
    env = {"Discrete": "CartPole-v1", "Box": "Pendulum-v1"}
    for kind, env_id in env.items():
        with gym.make(env_id) as made:
            if name == "q_table":  # needs discrete observations as well
                continue
            if kind in row.action_spaces:
                cls("MlpPolicy", made, device="cpu", _init_setup_model=False)
            else:
                with pytest.raises(AssertionError, match="action spaces"):
                    cls("MlpPolicy", made, device="cpu", _init_setup_model=False)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_table_of_arguments_covers_every_constructor_and_accepts_its_defaults(name: str) -> None:
    known = constructor_arguments(name)
    assert set(known) <= set(ARGUMENTS)
    assert not {"self", "policy", "env", "_init_setup_model"} & set(known)
    defaults = {key: parameter.default for key, parameter in known.items()}
    assert check_params(name, defaults) == defaults


@pytest.mark.parametrize("name", ["dqnn", "DQN", "", "no such thing"])
def test_an_unknown_algorithm_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="algo: unknown algorithm") as caught:
        find(name)
    assert ("did you mean 'dqn'?" in str(caught.value)) == (name in ("dqnn", "DQN"))
    assert all(known in str(caught.value) for known in ALGORITHMS)


def test_an_unknown_class_has_no_name() -> None:
    import stable_baselines3

    class DQN(stable_baselines3.DQN):
        pass

    assert name_of(DQN) is None
    assert name_of(dict) is None


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("dqn", {"learning_rat": 1e-3}, "learning_rat: dqn has no such hyperparameter; did you mean 'learning_rate'?"),
        ("a2c", {"clip_range": 0.1}, "clip_range: a2c has no such hyperparameter"),
        ("dqn", {"policy": "MlpPolicy"}, "policy: dqn has no such hyperparameter"),
        ("dqn", {"noise_std": 0.1}, "noise_std: dqn has no such hyperparameter"),
        ("ppo", {"ent_coef": "auto"}, "ent_coef: not accepted by ppo (got 'auto', want a number >= 0)"),
        ("dqn", {"max_grad_norm": None}, "max_grad_norm: not accepted by dqn (got None, want a number > 0)"),
        ("sac", {"gamma": 1.5}, "gamma: not accepted (got 1.5, want a number >= 0 and <= 1)"),
    ],
)
def test_a_bad_hyperparameter_is_refused(name: str, params: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        check_params(name, params)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("name", "params", "result"),
    [
        ("qrdqn", {"max_grad_norm": None}, {"max_grad_norm": None}),
        ("sac", {"ent_coef": "auto_0.1", "noise_type": "normal"}, {"ent_coef": "auto_0.1", "noise_type": "normal"}),
        ("ppo", {"batch_size": 1e2, "clip_range": LinearRate(0.2)}, {"batch_size": 100, "clip_range": LinearRate(0.2)}),
        ("dqn", {"train_freq": [1, "episode"]}, {"train_freq": (1, "episode")}),
        ("dqn", {"replay_buffer_class": Named("HerReplayBuffer")}, {"replay_buffer_class": Named("HerReplayBuffer")}),
    ],
)
def test_good_hyperparameters_come_back_normalised(name: str, params: dict[str, Any], result: dict[str, Any]) -> None:
    assert check_params(name, params) == result


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    row = Algorithm("x", "no_such_library:X", "value", "no_such_library", "", ())
    monkeypatch.setitem(registry.ALGORITHMS, "x", row)
    with pytest.raises(InputError, match="algo: x needs the package no_such_library"):
        constructor_arguments("x")
