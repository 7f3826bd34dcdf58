"""A run on an environment with action masks: its evaluations, too, take valid actions only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gymnasium as gym
import pytest

from sb3_course.runs import Settings, execute
from sb3_course.runs.environment import evaluation_env
from sb3_course.runs.evaluation import evaluate
from sb3_course.runs.model import build_model


@pytest.fixture
def masked_grid() -> Iterator[str]:
    """Register an environment that fails at an invalid action."""
    gym.register("masked/Grid-v0", entry_point="masked_grid:Strict")
    yield "masked/Grid-v0"
    del gym.registry["masked/Grid-v0"]


@pytest.mark.parametrize("algo", ["actor_critic", "double_dqn"])
def test_a_run_and_its_scores_take_valid_actions_only(masked_grid: str, algo: str, tmp_path: Path) -> None:
    settings = Settings(algo=algo, env=masked_grid, n_timesteps=300, eval_freq=100, eval_episodes=9, final_episodes=9)
    assert execute(settings, tmp_path / "run").finished
    model = build_model(settings, evaluation_env(settings, n_envs=3))
    for deterministic in (True, False):
        scores = [
            evaluate(model, evaluation_env(settings, n_envs=n_envs), 6, 1, deterministic=deterministic)
            for n_envs in (1, 3)
        ]
        assert scores[0].returns == scores[1].returns
