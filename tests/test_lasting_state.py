"""What an environment keeps from one episode to the next is in a checkpoint, in training and in evaluations."""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers import NormalizeObservation

from sb3_course.runs import Settings, Watch, execute, resume
from sb3_course.saving.arrays import load_state, save_state
from sb3_course.sb3 import lasting
from sb3_course.sb3.recorded_env import EpisodeRecorder


class Levels(gym.Env[Any, Any]):
    """Every episode is one level higher, which no seed brings back; ``shown`` says whether one can see it."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, shown: bool = True, deck: bool = False) -> None:
        self.shown, self.level, self.time = shown, 0, 0
        self.recent: list[int] = []
        self.board = np.zeros(4)
        self.corner = self.board[:1]  # the same memory
        self.deck = itertools.cycle([0.1, 0.2, 0.3]) if deck else None  # which is no plain value
        self.dice, self.older = random.Random(0), np.random.RandomState(0)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.level, self.time = self.level + 1, 0
        self.recent = [*self.recent[-2:], self.level]
        self.board[:] = 0
        return self._see(), {}

    def step(self, action: Any) -> Any:
        self.time += 1
        self.board[0] += action
        drawn = (
            self.np_random.random() + self.dice.random() + self.older.rand() + (next(self.deck) if self.deck else 0.0)
        )
        return self._see(), self.level + sum(self.recent) + self.corner[0] + drawn, self.time >= 5, False, {}

    def _see(self) -> Any:
        return np.array([self.time, self.level if self.shown else 0], float)


gym.register("tests/Levels-v0", Levels)


def run_on(env: gym.Env[Any, Any], steps: int) -> list[Any]:
    """Return what an environment shows and pays, over the ends of episodes."""
    seen: list[Any] = []
    for number in range(steps):
        observation, reward, terminated, truncated, _ = env.step(number % 2)
        seen += [*observation.tolist(), float(reward)]
        if terminated or truncated:
            seen += env.reset()[0].tolist()
    return seen


@pytest.mark.parametrize("shown", [True, False])
@pytest.mark.parametrize("around", [lambda env: env, NormalizeObservation], ids=["bare", "statistics"])
def test_a_counter_that_outlives_episodes_goes_on(tmp_path: Path, shown: bool, around: Any) -> None:
    one, two = (EpisodeRecorder(around(Levels(shown))) for _ in range(2))
    one.reset(seed=3)
    run_on(one, 13)
    save_state(tmp_path / "state.npz", one.recorded_state())
    assert two.restore_recorded(load_state(tmp_path / "state.npz")) == ""
    assert run_on(two, 12) == run_on(one, 12)


def test_what_is_too_large_to_keep_is_said_if_it_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lasting, "LARGEST", 10)
    envs = [EpisodeRecorder(Levels()) for _ in range(3)]
    for env in envs:
        env.unwrapped.table = np.zeros(50)  # type: ignore[attr-defined]
        env.reset(seed=0)
    assert envs[1].restore_recorded(envs[0].recorded_state()) == ""
    envs[0].unwrapped.table[3] = 1.0  # type: ignore[attr-defined]
    assert envs[2].restore_recorded(envs[0].recorded_state()) == "Levels.table cannot be kept"


def interrupted(folder: Path, **env: Any) -> tuple[list[tuple[float, ...]], list[tuple[float, ...]], tuple[str, ...]]:
    """Return all returns of a run and of one that was stopped and resumed, and what the second says of itself."""
    settings = Settings(
        algo="a2c", env="tests/Levels-v0", env_kwargs=env, n_timesteps=120, n_envs=2, eval_freq=20, eval_episodes=3,
        final_episodes=2, n_eval_envs=2, save_freq=30, hyperparameters={"policy_kwargs": {"net_arch": [4]}},
    )  # fmt: skip
    whole = execute(settings, folder / "whole")
    stops = iter([False] * 7 + [True] * 100)
    execute(settings, folder / "stopped", Watch(stop=lambda: next(stops)))
    again, lost = resume(folder / "stopped")
    assert whole.final is not None
    assert again.final is not None
    scores = [[each.returns for each in (*run.evaluations, run.final)] for run in (whole, again)]  # type: ignore[union-attr]
    return scores[0], scores[1], lost


def test_evaluations_after_a_resume_are_those_of_the_uninterrupted_run(tmp_path: Path) -> None:
    whole, again, lost = interrupted(tmp_path)
    assert len(set(whole)) == len(whole) == 7  # each evaluation plays other levels
    assert again == whole
    assert lost == ()


def test_an_evaluation_that_cannot_go_on_exactly_says_so(tmp_path: Path) -> None:
    line = "in the evaluation environment Levels.deck cannot be kept"
    with pytest.warns(UserWarning, match=f"resume is not exact for this environment: {line}"):
        _, _, lost = interrupted(tmp_path, deck=True)
    assert line in lost
