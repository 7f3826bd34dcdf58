"""Gaussian policies whose spread depends on the state, for SB3's ``A2C`` and ``PPO`` and for our own algorithms.

`sb3_course.sb3.policy_aliases` registers them with SB3's. This module, and those it imports, import no algorithm: they
are loaded while SB3's are.
"""

from __future__ import annotations

from copy import copy
from math import e, log
from typing import Any

import torch as th
from gymnasium import spaces
from stable_baselines3.common.distributions import DiagGaussianDistribution, Distribution
from stable_baselines3.common.preprocessing import get_action_dim
from stable_baselines3.common.type_aliases import Schedule
from torch import nn
from torch.distributions import Normal
from torch.nn import functional as F

from sb3_course.config.errors import InputError
from sb3_course.policy_gradient.actor_policies import CnnPolicy, MultiInputPolicy, PolicyOutputs

#: softplus(START) = 1, exactly in float32 too.
START = log(e - 1)


class GaussianMlpPolicy(PolicyOutputs):
    """``a ~ N(μ(s), σ(s)²)`` for each action dimension, ``σ(s) = max(softplus(w·h(s) + b), sigma_min)``.

    Both heads are linear in the policy's last hidden layer h(s), (B, F) -> (B, D), and start with zero weights: μ = 0
    and σ = 1 exactly, in every state. (Williams 1992, section 6, learns both moments.) Below `sigma_min` a σ has no
    gradient of its own; only other states can raise it again. ``get_distribution(obs).distribution`` has ``mean`` and
    ``stddev``, both (B, D); `outputs` has (μ, log σ). Other arguments as in `PolicyOutputs`; ``log_std_init`` has no
    effect.

    :param sigma_min: the smallest σ, in (0, 1]
    :raises InputError: for an action space that is no ``Box``
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Box,
        lr_schedule: Schedule,
        *args: Any,
        sigma_min: float = 1e-3,
        **kwargs: Any,
    ) -> None:
        if not isinstance(action_space, spaces.Box):
            raise InputError("action_space", "a Gaussian needs continuous actions", action_space, "Box")
        if not 0 < sigma_min <= 1:
            raise InputError("sigma_min", "σ starts at 1", sigma_min, "a number in (0, 1]")
        self.sigma_min = sigma_min  # before SB3's constructor, which already builds the networks
        super().__init__(observation_space, action_space, lr_schedule, *args, **kwargs)

    def _build_mlp_extractor(self) -> None:
        super()._build_mlp_extractor()
        self.sigma_net = nn.Linear(self.mlp_extractor.latent_dim_pi, get_action_dim(self.action_space))

    def _build(self, lr_schedule: Schedule) -> None:
        self.action_dist = _TwoHeads(get_action_dim(self.action_space))
        super()._build(lr_schedule)
        del self.log_std  # None
        for head, start in ((self.action_net, 0.0), (self.sigma_net, START)):
            nn.init.zeros_(head.weight)  # type: ignore[arg-type]
            nn.init.constant_(head.bias, start)  # type: ignore[arg-type]

    def _get_action_dist_from_latent(self, latent_pi: th.Tensor) -> Distribution:
        sigma = F.softplus(self.sigma_net(latent_pi)).clamp(min=self.sigma_min)
        distribution = copy(self.action_dist)  # of its own: the policy holds on to no graph, and can be copied
        distribution.distribution = Normal(self.action_net(latent_pi), sigma)
        return distribution

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return super()._get_constructor_parameters() | {"sigma_min": self.sigma_min}


class GaussianCnnPolicy(GaussianMlpPolicy, CnnPolicy):
    """`GaussianMlpPolicy` for images, after the convolutions of Mnih et al. (2015)."""


class GaussianMultiInputPolicy(GaussianMlpPolicy, MultiInputPolicy):
    """`GaussianMlpPolicy` for Dict observations: one extractor a key, concatenated."""


class _TwoHeads(DiagGaussianDistribution):
    """SB3's Gaussian without its parameter log σ: the policy has a head in its place."""

    def proba_distribution_net(self, latent_dim: int, log_std_init: float = 0.0) -> tuple[nn.Module, Any]:
        """Return the head of μ, and nothing for σ."""
        return nn.Linear(latent_dim, self.action_dim), None
