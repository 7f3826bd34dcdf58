"""GridWorld in which some actions are invalid, and the model of that problem."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np


def masks_of_states(seed: int = 3) -> np.ndarray:
    """Return which actions are valid in each of GridWorld's states, (S, A): to the right and upwards always."""
    masks = np.random.default_rng(seed).random((12, 4)) < 0.5
    masks[:, 1:3] = True
    masks[np.arange(12), np.arange(12) % 2 + 1] = np.arange(12) % 3 > 0
    masks[:, 1] |= ~masks.any(axis=1)
    return masks


class Strict(gym.Wrapper[Any, Any, Any, Any]):
    """GridWorld that does not forgive an invalid action."""

    def __init__(self, slip: float = 0.0, masks: np.ndarray | None = None) -> None:
        super().__init__(gym.make("sb3_course/GridWorld-v0", slip=slip, max_episode_steps=20))
        self.masks = masks_of_states() if masks is None else masks

    def reset(self, **kwargs: Any) -> Any:
        self.state, info = self.env.reset(**kwargs)
        return self.state, info

    def action_masks(self) -> np.ndarray:
        return self.masks[self.state]

    def step(self, action: Any) -> Any:
        assert self.masks[self.state][int(action)], f"{action} is invalid in {self.state}"
        self.state, *rest = self.env.step(int(action))
        return self.state, *rest


def masked_model(grid: Any, masks: np.ndarray | None = None) -> Any:
    """Return the model in which an invalid action does what a valid one does: its optimum is the masked problem's."""
    masks = masks_of_states() if masks is None else masks
    return {
        s: {a: outcomes if masks[s, a] else actions[int(masks[s].argmax())] for a, outcomes in actions.items()}
        for s, actions in grid.P.items()
    }
