"""Arguments that are refused: one line that names the field, the value and the remedy."""

from typing import Any

import pytest

import sb3_course.envs

GRID, ONE_SHOT, BANDIT = "GridWorldEnv", "OneShotEnv", "BanditEnv"
BAD = [
    (GRID, {"map": "S.G"}, "map"),
    (GRID, {"map": []}, "map"),
    (GRID, {"map": 3}, "map"),
    (GRID, {"map": ["S.", 4]}, "map"),
    (GRID, {"map": ["S.", "G"]}, "map"),
    (GRID, {"map": ["S.", "", "G."]}, "map"),
    (GRID, {"map": ["SxG"]}, "map"),
    (GRID, {"map": ["..G"]}, "map"),
    (GRID, {"map": ["S.."]}, "map"),
    (GRID, {"slip": 1.5}, "slip"),
    (GRID, {"slip": -0.1}, "slip"),
    (GRID, {"slip": "0.1"}, "slip"),
    (GRID, {"slip": float("nan")}, "slip"),
    (GRID, {"slip": True}, "slip"),
    (GRID, {"observation": "pixels"}, "observation"),
    (GRID, {"observation": 1}, "observation"),
    (GRID, {"goal_reward": float("inf")}, "goal_reward"),
    (GRID, {"bomb_reward": None}, "bomb_reward"),
    (GRID, {"step_reward": [0]}, "step_reward"),
    (GRID, {"end_on_bomb": "false"}, "end_on_bomb"),
    (ONE_SHOT, {"tau": 11}, "tau"),
    (ONE_SHOT, {"tau": None}, "tau"),
    (ONE_SHOT, {"zeta": 0}, "zeta"),
    (ONE_SHOT, {"zeta": -1}, "zeta"),
    (ONE_SHOT, {"beta": 0.0}, "beta"),
    (ONE_SHOT, {"tau_range": [3, 3]}, "tau_range"),
    (ONE_SHOT, {"tau_range": [0, 30]}, "tau_range"),
    (ONE_SHOT, {"tau_range": 2}, "tau_range"),
    (ONE_SHOT, {"action_range": [1, float("inf")]}, r"action_range\[1\]"),
    (ONE_SHOT, {"action_range": [1]}, "action_range"),
    (ONE_SHOT, {"seed": -1}, "seed"),
    (ONE_SHOT, {"seed": 0.5}, "seed"),
    (BANDIT, {"arms": 1}, "arms"),
    (BANDIT, {"arms": 2.5}, "arms"),
    (BANDIT, {"kind": "poisson"}, "kind"),
    (BANDIT, {"means": 3}, "means"),
    (BANDIT, {"means": [1]}, "means"),
    (BANDIT, {"means": [1, None]}, r"means\[1\]"),
    (BANDIT, {"means": [0.1, 0.2], "arms": 3}, "means"),
    (BANDIT, {"means": [0.1, 1.2], "kind": "bernoulli"}, r"means\[1\]"),
    (BANDIT, {"stds": -1.0}, "stds"),
    (BANDIT, {"stds": [1, 1]}, "stds"),
    (BANDIT, {"stds": 1.0, "kind": "bernoulli"}, "stds"),
    (BANDIT, {"seed": "0"}, "seed"),
]


@pytest.mark.parametrize(("name", "options", "field"), BAD)
def test_bad_argument_is_one_line(name: str, options: dict[str, Any], field: str) -> None:
    with pytest.raises(ValueError, match=rf"^{field}: [^\n]+ \(got [^\n]+, want [^\n]+\)$"):
        getattr(sb3_course.envs, name)(**options)


@pytest.mark.parametrize("name", [GRID, ONE_SHOT, BANDIT])
def test_unknown_render_mode_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"^render_mode: is not a known choice \(got 'rgb', want one of human, "):
        getattr(sb3_course.envs, name)(render_mode="rgb")
