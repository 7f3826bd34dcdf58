"""The course's articles, run by their presets, must learn what they say they learn."""

from __future__ import annotations

import pytest

from sb3_course.runs import Settings, execute, presets

#: Article -> (steps of a short run, the final score it must pass: a policy that has learnt nothing is far below, seed).
LEARNS = {
    "pytorch-dqn-tutorial": (6_000, 150, 0),
    "notes-neural-q": (None, 0.99, 0),  # whole: the greedy path from the start earns the goal's reward, past the bomb
    "notes-dqn": (9_000, 60, 0),
    "notes-policy-gradient": (12_000, 60, 1),
    "notes-reinforce": (8_000, 50, 0),
    "notes-actor-critic": (8_000, 40, 0),
    "one-shot": (1_500, 0.6, 0),
    "numpy-dqn": (2_500, 32, 0),
    "deep-q-learning": (3_000, 60, 0),
}


def test_every_article_is_trained() -> None:
    assert set(LEARNS) == set(presets.names())


@pytest.mark.parametrize("name", LEARNS)
def test_an_article_learns(name: str) -> None:
    """Well before its last episode, where random actions hold CartPole's pole for 22 steps and OneShot pays 0.1."""
    n_timesteps, floor, seed = LEARNS[name]
    short = {} if n_timesteps is None else {"n_timesteps": n_timesteps}
    settings = Settings.from_config({**presets.article(name), "seed": seed, "eval_freq": 0, "save_freq": 0, **short})
    assert execute(settings).mean > floor
