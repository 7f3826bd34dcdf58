"""A preset in one line of Python: the same model as the command line trains, and what may be changed in it."""

import dataclasses
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.vec_env import VecFrameStack, VecNormalize

import sb3_course
from sb3_course import A3C, REINFORCE, DoubleDQN, NumpyDQN, Rainbow, TerminalReward, from_preset, train
from sb3_course.config.errors import InputError
from sb3_course.policy_gradient.gradient_learner import PolicyGradientLearner
from sb3_course.registry import ALGORITHMS, find
from sb3_course.runs import Settings, environment, presets
from sb3_course.value.q_policies import MlpPolicy

GRID = "sb3_course/GridWorld-v0"
STACKED = {"slip": 0.2, "observation": "onehot"}
WORDS = [
    "--n-envs=2", "--env-kwargs", "slip:0.2", "observation:onehot", "--frame-stack=2", "-params", "learning_starts:100",
]  # fmt: skip


def flat(parameters: Any) -> list[th.Tensor]:
    """Return every tensor of a model's parameters and optimizers, in order."""
    if isinstance(parameters, th.Tensor):
        return [parameters]
    if isinstance(parameters, dict):
        return [tensor for key in sorted(parameters, key=str) for tensor in flat(parameters[key])]
    return []


def equal(one: Any, other: Any) -> bool:
    a, b = flat(one.get_parameters()), flat(other.get_parameters())
    return len(a) == len(b) > 0 and all(map(th.equal, a, b))


@pytest.mark.parametrize(
    ("algo", "env", "steps", "words", "overrides"),
    [
        ("double_dqn", "CartPole-v1", 1050, [], {}),
        ("numpy_dqn", "CartPole-v1", 120, [], {}),  # its preset has a wrapper
        ("pqn", GRID, 300, [], {}),  # 4 environments
        ("reinforce", "CartPole-v1", 300, [], {}),
        ("dqn", "CartPole-v1", 1050, [], {}),
        ("ppo", "MountainCar-v0", 256, [], {}),  # 16 normalised environments
        ("rainbow", GRID, 400, WORDS, {"n_envs": 2, "env_kwargs": STACKED, "frame_stack": 2, "learning_starts": 100}),
    ],
)
def test_what_it_learns_is_what_the_command_line_learns(
    tmp_path: Path, algo: str, env: str, steps: int, words: list[str], overrides: dict[str, Any]
) -> None:
    line = ["--algo", algo, "--env", env, "-n", str(steps), "--seed", "3", "--eval-freq", "0", "--save-freq", "0"]
    run = ["--run-dir", str(tmp_path / "run"), "--final-episodes", "1", "--verbose", "0"]
    assert train.main([*line, *run, *words]) == 0
    model = from_preset(algo, env, n_timesteps=steps, seed=3, **overrides)
    assert type(model) is find(algo).load()
    trained = type(model).load(tmp_path / "run" / "model.zip")
    assert not equal(model, trained)
    model.learn(model.preset.n_timesteps)
    assert equal(model, trained)
    assert model.num_timesteps == trained.num_timesteps
    model.get_env().close()


def test_the_class_method_is_the_function() -> None:
    one, other = Rainbow.from_preset(GRID, seed=1), from_preset("rainbow", GRID, seed=1)
    assert type(one) is type(other) is Rainbow
    assert one.preset == other.preset == Settings.resolve("rainbow", GRID, {"seed": 1})
    assert equal(one, other)
    assert not equal(one, Rainbow.from_preset(GRID, seed=2))


@pytest.mark.parametrize("algo", [name for name, row in ALGORITHMS.items() if row.source == "sb3_course"])
def test_every_algorithm_of_ours_has_it(algo: str) -> None:
    cls: Any = find(algo).load()
    model = cls.from_preset(GRID)
    assert type(model) is cls
    assert model.preset.n_timesteps == presets.load(algo, GRID)["n_timesteps"]


def test_the_environments_are_the_preset_s() -> None:
    wrapped = NumpyDQN.from_preset("CartPole-v1")
    assert wrapped.get_env().env_is_wrapped(TerminalReward) == [True]
    normalised = from_preset("ppo", "MountainCar-v0")
    assert type(normalised) is PPO
    assert normalised.n_envs == normalised.preset.n_envs == 16
    assert isinstance(normalised.get_env(), VecNormalize)
    assert normalised.gamma == normalised.preset.hyperparameters["gamma"] == normalised.get_env().gamma
    stacked = DoubleDQN.from_preset("CartPole-v1", frame_stack=3, env_wrapper=TerminalReward, n_envs=2)
    assert isinstance(stacked.get_env(), VecFrameStack)
    assert stacked.observation_space.shape == (12,)
    assert stacked.get_env().env_is_wrapped(TerminalReward) == [True, True]


def test_what_may_be_given_in_place_of_the_preset_s(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model: Any = DoubleDQN.from_preset(
        "CartPole-v1",
        policy=MlpPolicy,
        policy_kwargs={"net_arch": [8], "activation_fn": th.nn.Tanh},
        learning_rate=lambda left: 0.5 * left,
        gamma=np.float64(0.9),
        device=th.device("cpu"),
        verbose=1,
        tensorboard_log=str(tmp_path),
        n_timesteps=123,
    )
    assert "Using presets/double_dqn.yml, section CartPole-v1\n" in capsys.readouterr().out
    assert model.lr_schedule(0.5) == 0.25
    assert [type(layer) for layer in model.q_net.q_net] == [th.nn.Linear, th.nn.Tanh, th.nn.Linear]
    assert (model.gamma, model.tensorboard_log, model.preset.n_timesteps) == (0.9, str(tmp_path), 123)
    assert model.batch_size == 64  # the preset's
    assert DoubleDQN.from_preset("CartPole-v1", learning_rate="lin_0.5").lr_schedule(0.5) == 0.25


def labelled(label: str) -> gym.Env[Any, Any]:
    assert label == "1e5"
    return gym.make("CartPole-v1").unwrapped


def test_text_for_an_environment_stays_text() -> None:
    gym.register("Labelled-v0", labelled, max_episode_steps=5)
    try:
        with pytest.warns(UserWarning, match="section default"):
            model = REINFORCE.from_preset("Labelled-v0", env_kwargs={"label": "1e5"})
    finally:
        del gym.registry["Labelled-v0"]
    assert model.preset.env_kwargs == {"label": "1e5"}


def test_the_preset_is_frozen_and_not_what_the_model_holds() -> None:
    model = from_preset("a2c", GRID, policy_kwargs={"net_arch": [4]})
    with pytest.raises(dataclasses.FrozenInstanceError):
        model.preset.n_timesteps = 1
    assert "optimizer_class" in model.policy_kwargs  # SB3 writes it there
    assert model.preset.hyperparameters["policy_kwargs"] == {"net_arch": [4]}


@pytest.mark.parametrize("door", [DoubleDQN.from_preset, lambda env: from_preset("double_dqn", env)])
def test_an_environment_without_a_section_takes_the_default_and_says_so(door: Any) -> None:
    said = "double_dqn has no preset for CliffWalking-v1: presets/double_dqn.yml, section default"
    with pytest.warns(UserWarning, match=said) as caught:
        model = door("CliffWalking-v1")
    assert [warning.filename for warning in caught] == [__file__]  # the user's line
    assert model.learning_rate == presets.load("double_dqn", "default")["learning_rate"] == 5e-4


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"lerning_rate": 1}, "lerning_rate: rainbow has no such hyperparameter; did you mean 'learning_rate'?"),
        ({"n_env": 2}, "n_env: unknown key; did you mean 'n_envs'?"),
        ({"learning_rate": -1.0}, "learning_rate: not accepted (got -1.0"),
        ({"policy": "MlpPolic"}, "policy: rainbow has no such policy; did you mean 'MlpPolicy'?"),
        ({"policy": int}, "policy: it has no place for our switches"),
        ({"eval_freq": 10}, "eval_freq: belongs to a run, not to a model (got 10"),
        ({"algo": "dqn"}, "algo: belongs to a run, not to a model (got 'dqn'"),
        ({"env_kwargs": {"slip": 2}}, "env_kwargs: cannot be made"),
        ({"seed": -1}, "seed: is out of bounds"),
    ],
)
def test_a_bad_override_is_refused_and_nothing_stays_open(
    monkeypatch: pytest.MonkeyPatch, overrides: dict[str, Any], message: str
) -> None:
    opened: list[Any] = []
    made = environment.make_one
    monkeypatch.setattr(environment, "make_one", lambda *a, **k: opened.append(made(*a, **k)) or opened[-1])
    closed: list[Any] = []

    def close(env: Any) -> None:
        closed.append(env)

    monkeypatch.setattr(sb3_course.GridWorldEnv, "close", close)
    with pytest.raises(InputError) as caught:
        Rainbow.from_preset(GRID, **overrides)
    assert str(caught.value).startswith(message)
    assert [env.unwrapped for env in opened] == closed


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match="algo: unknown algorithm; did you mean 'rainbow'"):
        from_preset("rainbo", "CartPole-v1")
    with pytest.raises(InputError, match="env: no environment of this name is registered; did you mean 'CartPole-v1'"):
        Rainbow.from_preset("CartPol-v1")
    with pytest.raises(InputError, match="env: is not a name"):
        Rainbow.from_preset(gym.make("CartPole-v1"))  # type: ignore[arg-type]


def test_a_subclass_takes_the_preset_of_the_class_it_extends() -> None:
    class Mine(Rainbow):
        pass

    model = Mine.from_preset(GRID)
    assert type(model) is Mine
    assert model.preset == Rainbow.from_preset(GRID).preset
    with pytest.raises(InputError, match="preset: the class has no name in the registry"):
        PolicyGradientLearner.from_preset(GRID)


@pytest.mark.parametrize("algo", ["double_dqn", "reinforce", "dqn"])
def test_the_preset_stays_with_the_model_in_its_file(tmp_path: Path, algo: str) -> None:
    model = from_preset(algo, GRID, seed=5, gamma=0.5)
    model.save(tmp_path / "with")
    loaded = type(model).load(tmp_path / "with")
    assert loaded.preset == model.preset
    assert loaded.preset.hyperparameters["gamma"] == 0.5
    assert equal(loaded, model)
    model.save(tmp_path / "without", exclude=["preset"])
    assert getattr(type(model).load(tmp_path / "without"), "preset", None) is None


def test_a_model_that_was_built_by_hand_has_none() -> None:
    assert A3C("MlpPolicy", "CartPole-v1", device="cpu").preset is None
    assert not hasattr(DQN, "preset")
