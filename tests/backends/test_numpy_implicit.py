"""The implicit head in NumPy: quantiles at any levels, and gradients that are autograd's."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th

from sb3_course.backends import make_backend
from sb3_course.config.errors import InputError
from sb3_course.networks import LevelEmbedding
from sb3_course.value.estimates.estimate import AtLevels
from sb3_course.value.q_policies import MlpPolicy


def policy_of(**arguments: Any) -> MlpPolicy:
    env = gym.make("CartPole-v1")
    th.manual_seed(0)
    sizes = {"distribution": "implicit", "n_levels": 3, "n_choice_levels": 5, "n_cosines": 7}
    return MlpPolicy(
        env.observation_space, env.action_space, lambda _: 1e-3, **{"net_arch": [8, 6], **sizes, **arguments}
    )


def tensors(asked: AtLevels) -> AtLevels:
    return AtLevels(*map(th.from_numpy, asked))


@pytest.mark.parametrize(
    "policy",
    [
        {}, {"net_arch": [6]}, {"net_arch": []}, {"head": "state_action"}, {"head": "dueling"}, {"layer_norm": True},
        {"head": "dueling", "noisy": True, "noisy_streams": ["advantage"]}, {"noisy": True},
        {"head": "dueling", "net_arch": {"value": [6], "advantage": [7]}},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("shared", [False, True])
def test_forward_and_backward_are_autograds(policy: dict[str, Any], shared: bool) -> None:
    rng, own = np.random.default_rng(0), policy_of(**policy)
    torch, numpy = make_backend("torch", own), make_backend("numpy", own)
    numpy.reset_noise("online", rng.standard_normal)
    for n_batch, n_levels in ((1, 4), (16, 1), (32, 8)):
        observations = rng.normal(size=(n_batch, 4)).astype(np.float32)
        levels = rng.random(n_levels if shared else (n_batch, n_levels)).astype(np.float32)
        asked, turned = AtLevels(observations, levels), AtLevels(observations[::-1].copy(), levels[::-1].copy())
        expected, found = torch.forward(tensors(asked)), numpy.forward(asked)
        assert found.shape == (n_batch, 2, n_levels)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
        # A pass between those two, forwards and backwards, does no harm, nor does a later one to what it returned.
        others = numpy.evaluate(turned)
        numpy.evaluate(asked)
        np.testing.assert_allclose(others, torch.evaluate(tensors(turned)), rtol=1e-4, atol=1e-6)
        grad = rng.normal(size=found.shape).astype(np.float32)
        torch.backward(th.from_numpy(grad))
        numpy.backward(grad)
        for tensor, view in zip(numpy._online.flat.tensors, numpy._online.flat.grad_views, strict=True):
            np.testing.assert_allclose(view, tensor.grad, rtol=1e-3, atol=1e-5)


def test_an_embedding_of_a_users_own_is_torchs() -> None:
    class Other(LevelEmbedding):
        def forward(self, levels: th.Tensor) -> th.Tensor:
            return super().forward(1 - levels)

    own = policy_of()
    own.q_net.q_net.embedding.__class__ = Other
    assert make_backend("auto", own).name == "torch"
    with pytest.raises(InputError, match="ImplicitHead"):
        make_backend("numpy", own)
