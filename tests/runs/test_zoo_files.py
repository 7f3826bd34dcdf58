"""The zoo's own files for dqn, qrdqn, a2c and ppo, as rl_zoo3 ships them: each section loads, and trains 500 steps."""

import contextlib
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
import yaml

from sb3_course.runs import execute
from sb3_course.runs.settings import Settings
from sb3_course.train import make_parser, read_settings

FOLDER = Path(find_spec("rl_zoo3").submodule_search_locations[0]) / "hyperparams"  # type: ignore[union-attr,index]
SECTIONS = {
    (algo, env): section
    for algo in ("dqn", "qrdqn", "a2c", "ppo")
    for env, section in yaml.safe_load((FOLDER / f"{algo}.yml").read_text()).items()
}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # outdated environments, budgets that end before much is learnt
        yield


def can_be_made(env: str) -> bool:
    try:
        with quiet():
            gym.make(env).close()
    except (gym.error.Error, ImportError, AttributeError):
        return False
    return True


def read(algo: str, env: str, *words: str) -> Settings:
    argv = ["--algo", algo, "--env", env, "--config", str(FOLDER / f"{algo}.yml"), *words]
    return read_settings(vars(make_parser().parse(argv)))


@pytest.mark.parametrize("algo", ["dqn", "qrdqn", "a2c", "ppo"])
def test_every_section_loads_with_its_figures(algo: str) -> None:
    own = {env: section for (name, env), section in SECTIONS.items() if name == algo}
    assert len(own) == {"dqn": 6, "qrdqn": 6, "a2c": 22, "ppo": 44}[algo]
    for env, section in own.items():
        settings = read(algo, "ALE/Pong-v5" if env == "atari" else env)
        assert settings.n_timesteps == float(section["n_timesteps"])
        assert settings.n_envs == section.get("n_envs", 1)
        if isinstance(section.get("gamma"), float):
            assert settings.hyperparameters["gamma"] == section["gamma"]


# CarRacing draws its pictures by the thousand: its section loads, and its network's kind trains elsewhere.
HERE = [(algo, env) for algo, env in SECTIONS if env != "CarRacing-v3" and env in gym.registry and can_be_made(env)]


@pytest.mark.parametrize(("algo", "env"), HERE, ids=[f"{algo}-{env}" for algo, env in HERE])
def test_every_section_whose_environment_is_installed_trains_500_steps(algo: str, env: str) -> None:
    section: dict[str, Any] = SECTIONS[algo, env]
    starts = ["learning_starts:400"] if float(section.get("learning_starts", 0)) >= 500 else []
    words = ["-n", "500", "--eval-freq", "0", "--final-episodes", "1", "--num-threads", "1"]
    short = [] if "env_kwargs" in section else ["--eval-env-kwargs", "max_episode_steps:20"]
    with quiet():
        result = execute(read(algo, env, *words, *short, "-params", "exact_budget:True", *starts))
    assert result.finished
    assert result.timesteps >= 500
    assert result.final is not None


def test_the_environments_of_gymnasium_are_among_them() -> None:
    here = {env for _, env in HERE}
    assert {"CartPole-v1", "Acrobot-v1", "MountainCar-v0", "Pendulum-v1", "LunarLander-v3", "BipedalWalker-v3"} <= here
