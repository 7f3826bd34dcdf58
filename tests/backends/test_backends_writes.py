"""Whatever is written to weights or noise, and however, counts in the next pass."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.utils import polyak_update
from torch import nn

from sb3_course.backends import make_backend
from sb3_course.backends.numpy_backend import AS_THEY_LIE
from sb3_course.backends.numpy_layers import FEW
from sb3_course.policy_gradient.noisy_policies import NoisyMlpPolicy
from sb3_course.registry import find

ROWS = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)


def make(name: str, backend: str = "numpy", **changes: Any) -> Any:
    settings: dict[str, Any] = {"seed": 0, "device": "cpu", "policy_kwargs": {"net_arch": [24, 16]}}
    if find(name).family == "value":
        settings |= {"learning_starts": 10, "train_freq": 1, "batch_size": 16, "buffer_size": 500}
    return find(name).load()("MlpPolicy", gym.make("CartPole-v1"), backend=backend, **(settings | changes))


def write(module: nn.Module, seed: int) -> None:
    """Write to every parameter in a way that torch does not count."""
    generator = th.Generator().manual_seed(seed)
    for parameter in module.parameters():
        before = parameter._version
        parameter.data.copy_(th.randn(parameter.shape, generator=generator))
        assert parameter._version == before


@pytest.mark.parametrize("compiled", ["1", "0"])
@pytest.mark.parametrize("name", ["double_dqn", "dueling_dqn", "c51", "reinforce_baseline"])
def test_predictions_are_those_of_the_weights_that_are_there(
    name: str, compiled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SB3_COURSE_COMPILED", compiled)
    model = make(name)
    for seed in (1, 2, 2, 1, 3, 1):  # back, too
        write(model.policy, seed)
        for n_rows in (1, 2, 3, 9, 300):
            found = model._backend.act(ROWS[:n_rows])
            expected = make_backend("torch", model.policy).act(th.from_numpy(ROWS[:n_rows]))
            np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
        actions = model.predict(ROWS, deterministic=True)[0]
        assert (actions == model.policy.predict(ROWS, deterministic=True)[0]).all()


class Synchronised(BaseCallback):
    """Moves the target halfway towards the online network at every seventh step, as SB3 itself would."""

    def _on_step(self) -> bool:
        if self.n_calls % 7 == 0:
            model: Any = self.model
            polyak_update(model.q_net.parameters(), model.q_net_target.parameters(), 0.5)
        return True


@pytest.mark.parametrize("name", ["double_dqn", "dueling_dqn", "c51", "noisy_dqn"])
def test_a_target_that_a_callback_moves_is_the_one_that_is_learned_from(name: str) -> None:
    settings = {"target_update_interval": 10_000, "learning_rate": 1e-2, "gamma": 0.9}
    torch, numpy = (make(name, each, **settings).learn(60, callback=Synchronised()) for each in ("torch", "numpy"))
    expected, found = (model.policy.parameters_to_vector() for model in (torch, numpy))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_noise_that_is_written_to_is_the_noise_of_the_next_pass() -> None:
    """Independent noise, which is put together with the weights for a whole rollout."""
    space = gym.spaces.Box(-1, 1, (4,))
    policy = NoisyMlpPolicy(space, gym.spaces.Discrete(3), lambda _: 1e-3, net_arch=[8])
    numpy, torch = make_backend("numpy", policy), make_backend("torch", policy)
    for scale in (1.0, 30.0, 1.0):
        for layer in policy.modules():
            if hasattr(layer, "noise"):
                layer.noise.data.copy_(scale * th.linspace(-1, 1, len(layer.noise)))
        for n_rows in (1, 20, 20):
            expected = torch.act(th.from_numpy(ROWS[:n_rows]))
            np.testing.assert_allclose(numpy.act(ROWS[:n_rows]), expected, rtol=1e-4, atol=1e-5)


def test_a_pass_over_few_rows_makes_nothing_of_the_weights() -> None:
    assert FEW >= AS_THEY_LIE
