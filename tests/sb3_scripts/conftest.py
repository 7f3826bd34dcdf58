"""SB3's documented example scripts, in own words, with our classes in place of the imported ones and small budgets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sb3_course import PQN, ActorCritic
from sb3_course.value.value_algorithm import ValueAlgorithm


def quick_model(cls: type[Any], policy: Any, env: Any, **kwargs: Any) -> Any:
    """Return ``cls(policy, env, …)`` as a script makes it, with hyperparameters to learn within a hundred steps."""
    small: dict[str, Any] = {"seed": 0, "device": "cpu"}
    if issubclass(cls, ValueAlgorithm) and cls.__name__ not in ("QTable", "NeuralQ"):
        small |= {"learning_starts": 20, "buffer_size": 500, "batch_size": 8, "target_update_interval": 20}
    if cls is ActorCritic:
        small |= {"n_steps": 5}  # as SB3's A2C: a hundred steps are whole rollouts
    if cls is PQN:
        small |= {"n_steps": 10, "batch_size": 10}
    return cls(policy, env, **{**small, **kwargs})


@pytest.fixture(scope="session")
def quick() -> Callable[..., Any]:
    """Return `quick_model`."""
    return quick_model


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scripts write into the folder they are run in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
