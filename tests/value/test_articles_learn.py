"""The course's articles, run by their presets, must learn what they say they learn."""

from __future__ import annotations

import pytest

from sb3_course.runs import Settings, execute, presets


def run(name: str, seed: int = 0, **changes: object) -> float:
    """Train an article's preset without evaluations on the way and return its final score over 20 episodes."""
    settings = Settings.from_config({**presets.article(name), "seed": seed, "eval_freq": 0, "save_freq": 0, **changes})
    return execute(settings).mean


def test_notes_neural_q_reaches_the_goal_on_the_shortest_way() -> None:
    """1,000 episodes: the greedy path from the start earns the goal's reward and avoids the bomb."""
    assert run("notes-neural-q") == 1.0


@pytest.mark.parametrize("name", ["pytorch-dqn-tutorial", "notes-dqn"])
def test_the_dqn_articles_balance_the_pole(name: str) -> None:
    """Well before their last episode they hold the pole far longer than the 22 steps of random actions."""
    assert run(name, n_timesteps=15_000) > 100
