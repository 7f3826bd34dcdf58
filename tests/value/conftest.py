"""The grid world as a source of exact answers: a buffer filled from its model P, and updates on nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from stable_baselines3.common.logger import configure

from sb3_course.envs.planning import reachable_states

SYNC = 50  # updates between two copies of the online network into the target


def fill_from_model(model: Any, grid: Any, copies: int) -> None:
    """Store every outcome of every reachable (s, a), as often as `copies` times its probability says."""
    reachable = np.flatnonzero(reachable_states(grid.P, grid.initial_state_distrib))
    for state in reachable:
        for action, outcomes in grid.P[state].items():
            for probability, following, reward, terminated in outcomes:
                times = probability * copies
                assert times == pytest.approx(round(times)), "the copies must express the probabilities exactly"
                for _ in range(round(times)):
                    model.replay_buffer.add(
                        np.array([state]), np.array([following]), np.array([action]),
                        np.array([reward]), np.array([terminated]), [{}],
                    )  # fmt: skip


def update_on_buffer(model: Any, updates: int, batch_size: int = 128) -> None:
    """Take `updates` gradient steps on what the buffer holds, as `learn` would over a whole training."""
    model.set_logger(configure(None, []))
    for update in range(0, updates, SYNC):
        model._current_progress_remaining = 1 - update / updates
        model.train(SYNC, batch_size=batch_size)
        model._backend.update_target(1.0)


@pytest.fixture(scope="session")
def train_from_model() -> Callable[..., None]:
    """Return a function that fills a model's buffer with the outcomes of P and trains on them."""

    def train(model: Any, grid: Any, copies: int, updates: int, batch_size: int = 128) -> None:
        fill_from_model(model, grid, copies)
        update_on_buffer(model, updates, batch_size)

    return train


@pytest.fixture(scope="session")
def train_from_buffer() -> Callable[..., None]:
    """Return a function that trains a model on what its buffer holds already."""
    return update_on_buffer
