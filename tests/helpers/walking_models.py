"""Models that learn on a walk, with all steps of a ``train`` at once or one by one, and what they hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import Env, spaces

from sb3_course.backends.numpy_backend import NumpyBackend
from sb3_course.registry import constructor_arguments, find


class Walk(Env[np.ndarray, np.int64]):
    """Numbers that say little, rewards that follow from them, ends of both kinds, and actions that count from 3."""

    observation_space = spaces.Box(-2, 2, (2, 3), np.float32)
    action_space = spaces.Discrete(4, start=3)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.t = 0
        return self._seen(), {}

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.t += 1
        seen = self._seen()
        return seen, float(seen[0, 0]) + (action == 4), bool(self.np_random.random() < 0.1), self.t >= 8, {}

    def _seen(self) -> np.ndarray:
        return self.np_random.uniform(-2, 2, (2, 3)).astype(np.float32)


def made(name: str, one_by_one: bool, policy: dict[str, Any] | None = None, **arguments: Any) -> Any:
    """Return a model that has learned for a while, from a few calls of ``train`` with several steps each."""
    known = constructor_arguments(name)
    starts = {key: value for key, value in {"learning_starts": 30, "buffer_size": 50}.items() if key in known}
    steps = {"gradient_steps": 3} if "gradient_steps" in known and name != "numpy_dqn" else {}
    kwargs = {"net_arch": [10, 8], **(policy or {})}
    with pytest.MonkeyPatch.context() as patch:
        if one_by_one:
            patch.setattr(NumpyBackend, "replay_steps", lambda *asked: None)
        cls: Any = find(name).load()
        given = {"seed": 3, **starts, **steps, **arguments}
        model = cls("MlpPolicy", Walk(), policy_kwargs=kwargs, **given)
        model.learn(62)
    return model


def held(model: Any) -> dict[str, Any]:
    """Return all that learning depends on, and what the log was told."""
    told = {f"log {name}": value for name, value in model.logger.name_to_value.items() if "time" not in name}
    return {**flat(model.get_state()), **told, **model.latest_logs()}


def flat(tree: Any, path: str = "") -> dict[str, Any]:
    if isinstance(tree, dict):
        return {key: value for name, part in tree.items() for key, value in flat(part, f"{path}/{name}").items()}
    if isinstance(tree, list | tuple):
        return {key: value for i, part in enumerate(tree) for key, value in flat(part, f"{path}/{i}").items()}
    return {path: tree}


def assert_alike(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        if isinstance(value, np.ndarray) and value.dtype.kind == "f":
            np.testing.assert_allclose(other[name], value, rtol=2e-4, atol=2e-6, err_msg=name)
        elif isinstance(value, np.ndarray):
            np.testing.assert_array_equal(other[name], value, err_msg=name)
        elif isinstance(value, float):
            assert other[name] == pytest.approx(value, rel=2e-4, abs=2e-6, nan_ok=True), name
        else:
            assert other[name] == value, name
