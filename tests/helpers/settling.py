"""Training that ends when it has shown what it was for: not the first time that it is so, but where it stays so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback


class Settling(BaseCallback):
    """Stops `learn` once `judge` has said yes so many times in a row."""

    def __init__(self, judge: Callable[[Any], bool], every: int, times: int) -> None:
        super().__init__()
        self.judge, self.every, self.times = judge, every, times
        self.in_a_row = self.asked = 0

    def _on_step(self) -> bool:
        if self.num_timesteps <= getattr(self.model, "learning_starts", 0):  # right by chance
            return True
        if self.num_timesteps >= (self.asked + 1) * self.every:
            self.asked = self.num_timesteps // self.every
            self.in_a_row = self.in_a_row + 1 if self.judge(self.model) else 0
        return self.in_a_row < self.times


def settles(model: Any, budget: int, judge: Callable[[Any], bool], every: int, times: int) -> bool:
    """Return whether what a model has learned after so many steps is right.

    It stops sooner where it has been right `times` times in a row, `every` steps apart: what was found by chance, or is
    forgotten again, does not last so long.
    """
    model.learn(budget, callback=Settling(judge, every, times))
    return judge(model)
