"""Policies leave for other runtimes by SB3's own recipe, and compute there at any batch size what they compute here."""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import onnxruntime
import pytest
import stable_baselines3
import torch as th
from gymnasium import spaces

from sb3_course.functional.risk import CVaR
from sb3_course.registry import find

SMALL = {"net_arch": [8]}
OBSERVATIONS: dict[str, spaces.Space[Any]] = {
    "Box": spaces.Box(-1, 1, (3,)),
    "Discrete": spaces.Discrete(5),
    "MultiDiscrete": spaces.MultiDiscrete([3, 4]),
    "image": spaces.Box(0, 255, (36, 36, 3), np.uint8),
}
ACTIONS: dict[str, spaces.Space[Any]] = {
    "Discrete": spaces.Discrete(3),
    "MultiDiscrete": spaces.MultiDiscrete([2, 3]),
    "Box": spaces.Box(-1, 1, (2,)),
}


class Still(gym.Env[Any, Any]):
    """Spaces; nobody takes a step."""

    def __init__(self, observation: str, action: str) -> None:
        self.observation_space, self.action_space = OBSERVATIONS[observation], ACTIONS[action]


def own(
    name: str, policy: str = "MlpPolicy", observation: str = "Box", action: str = "Discrete", **options: Any
) -> Any:
    kwargs = options | ({} if "Cnn" in policy or name == "q_table" else SMALL)
    return find(name).load()(policy, Still(observation, action), seed=0, device="cpu", policy_kwargs=kwargs)


def stock(name: str, policy: str, action: str = "Box") -> Any:
    size = {"buffer_size": 100} if name in ("DQN", "TD3", "SAC") else {}
    cls = getattr(stable_baselines3, name)
    return cls(policy, Still("Box", action), seed=0, device="cpu", policy_kwargs=dict(SMALL), **size)


KINDS: dict[str, Callable[[], Any]] = {
    "plain": lambda: own("double_dqn"),
    "dueling": lambda: own("dueling_dqn", rescale_gradient=True),
    "state and action": lambda: own("double_dqn", head="state_action"),
    "noisy": lambda: own("noisy_dqn"),
    "categorical": lambda: own("c51"),
    "rainbow": lambda: own("rainbow"),
    "risk-averse": lambda: own("c51"),
    "quantile": lambda: own("double_dqn", distribution="quantile", n_quantiles=5),
    "table": lambda: own("q_table", observation="Discrete"),
    "pairs": lambda: own("double_dqn", observation="MultiDiscrete"),
    "image": lambda: own("rainbow", "CnnPolicy", "image"),
    "actor-critic": lambda: own("actor_critic"),
    "shared trunk": lambda: own("actor_critic", shared_layers=[8]),
    "no critic": lambda: own("reinforce"),
    "no critic, two choices": lambda: own("reinforce", action="MultiDiscrete"),
    "Gaussian": lambda: own("actor_critic", "GaussianMlpPolicy", action="Box"),
    "no critic, Gaussian": lambda: own("reinforce", "GaussianMlpPolicy", action="Box"),
    "noisy actor-critic": lambda: own("actor_critic", "NoisyMlpPolicy"),
    "DQN, dueling": lambda: stock("DQN", "DuelingMlpPolicy", "Discrete"),
    "DQN, noisy": lambda: stock("DQN", "NoisyMlpPolicy", "Discrete"),
    "DQN, noisy dueling": lambda: stock("DQN", "NoisyDuelingMlpPolicy", "Discrete"),
    "A2C, Gaussian": lambda: stock("A2C", "GaussianMlpPolicy"),
    "PPO, noisy": lambda: stock("PPO", "NoisyMlpPolicy"),
    "TD3, noisy": lambda: stock("TD3", "NoisyMlpPolicy"),
    "SAC, noisy": lambda: stock("SAC", "NoisyMlpPolicy"),
}


#: One of every head, estimate and family goes through the slower exporter as well.
TO_ONNX = (
    "plain", "state and action", "rainbow", "quantile", "table", "shared trunk", "no critic", "no critic, Gaussian",
    "DQN, noisy dueling",
)  # fmt: skip


class Exportable(th.nn.Module):
    """SB3's recipe: what an export calls is the policy's forward pass, without exploration."""

    def __init__(self, policy: Any) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, observation: th.Tensor) -> Any:
        return self.policy(observation, deterministic=True)


def exportable(kind: str) -> tuple[Exportable, Callable[[int], th.Tensor]]:
    """Return the policy with weights that are no zeros, and what gives it so many observations."""
    model = KINDS[kind]()
    th.manual_seed(1)
    with th.no_grad():
        for parameter in model.policy.parameters():
            parameter.add_(0.3 * th.randn_like(parameter))
    model.policy.set_training_mode(False)
    space: Any = copy.deepcopy(model.observation_space)
    space.seed(2)
    cls = RiskAverse if kind == "risk-averse" else Exportable
    return cls(model.policy), lambda n: th.as_tensor(np.stack([space.sample() for _ in range(n)]))


class RiskAverse(Exportable):
    """What a user writes around a policy that is to judge by a risk measure."""

    def forward(self, observation: th.Tensor) -> Any:
        with self.policy.judged_by(CVaR(0.25)):
            return super().forward(observation)


def listed(outputs: Any) -> list[np.ndarray]:
    return [output.detach().numpy() for output in (outputs if isinstance(outputs, tuple) else (outputs,))]


def assert_same(found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    assert [output.shape for output in found] == [output.shape for output in expected]
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_trace_computes_at_any_batch_size_what_the_policy_does(kind: str) -> None:
    module, observations = exportable(kind)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of comparisons inside torch.distributions and SB3
        traced = th.jit.trace(module, observations(2))
    for n_rows in (1, 6):
        batch = observations(n_rows)
        assert_same(listed(traced(batch)), listed(module(batch)))


def test_onnx_computes_at_any_batch_size_what_the_policy_does() -> None:
    for kind in TO_ONNX:
        module, observations = exportable(kind)
        file, batch = io.BytesIO(), observations(1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            axes = {"input": {0: "batch"}}
            th.onnx.export(module, (batch,), file, input_names=["input"], dynamic_axes=axes, dynamo=False)
        session = onnxruntime.InferenceSession(file.getvalue())
        for n_rows in (1, 6):
            batch = observations(n_rows)
            found = session.run(None, {"input": batch.numpy()})
            assert_same(found, listed(module(batch)))


@pytest.mark.parametrize("n_rows", [1, 2, 6])
def test_the_value_without_a_critic_is_a_column_of_zeros(n_rows: int) -> None:
    module, observations = exportable("no critic")
    _, values, _ = module(observations(n_rows))
    assert th.equal(values, th.zeros(n_rows, 1))
