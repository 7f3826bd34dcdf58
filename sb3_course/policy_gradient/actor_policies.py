"""Policies of the policy-gradient family: SB3's actor-critic policies, whose raw outputs a learner can reach."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch as th
from gymnasium import spaces
from stable_baselines3.common.distributions import DiagGaussianDistribution
from stable_baselines3.common.policies import (
    ActorCriticCnnPolicy,
    ActorCriticPolicy,
    MultiInputActorCriticPolicy,
)
from stable_baselines3.common.torch_layers import MlpExtractor
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from torch import nn

from sb3_course.config import parameters
from sb3_course.config.errors import InputError, did_you_mean
from sb3_course.config.policy_arguments import unlisted
from sb3_course.networks import CountsFromZero, from_start, from_zero, mlp
from sb3_course.sb3.policy_files import PolicyFiles

#: Names in a mapping ``net_arch``: the actor's hidden widths, and the critic's.
ARCH_STREAMS = "pi", "vf"
#: What SB3's policies take by its place, after the spaces and the learning rate.
_POSITIONAL = tuple(inspect.signature(ActorCriticPolicy).parameters)[3:]


def _require_streams(net_arch: Any) -> None:
    """Refuse names that SB3 would pass over; one that is missing is a stream without hidden layers, as there."""
    named = unlisted(net_arch)
    for name in named if isinstance(named, Mapping) else ():
        if name not in ARCH_STREAMS:
            what = f"unknown stream{did_you_mean(name, ARCH_STREAMS)}"
            raise InputError("net_arch", what, name, " and ".join(ARCH_STREAMS))


class NoCritic(nn.Module):
    """Stands where SB3's policies have the layer of V: the value 0, without a parameter."""

    def forward(self, latent: th.Tensor) -> th.Tensor:
        """Return zeros, (B, F) -> (B, 1)."""
        return latent.new_zeros(latent.shape[0], 1)


class TrunkExtractor(MlpExtractor):
    """SB3's two streams after layers that they share (Mnih et al. 2016, section 5.1.2).

    :param shared_layers: hidden widths of the trunk, at least one; the streams' own follow in ``net_arch``
    """

    def __init__(
        self, feature_dim: int, shared_layers: list[int], net_arch: Any, activation_fn: type[nn.Module], device: Any
    ) -> None:
        super().__init__(shared_layers[-1], net_arch, activation_fn, device)
        self.trunk = nn.Sequential(*mlp([feature_dim, *shared_layers], activation_fn), activation_fn())

    def forward(self, features: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
        """Return both latents, (B, F) -> (B, F_pi), (B, F_vf); the trunk computes once."""
        shared = self.trunk(features)
        return self.policy_net(shared), self.value_net(shared)

    def forward_actor(self, features: th.Tensor) -> th.Tensor:
        """Return the actor's latent, (B, F_pi)."""
        latent: th.Tensor = self.policy_net(self.trunk(features))
        return latent

    def forward_critic(self, features: th.Tensor) -> th.Tensor:
        """Return the critic's latent, (B, F_vf)."""
        latent: th.Tensor = self.value_net(self.trunk(features))
        return latent


class PolicyOutputs(PolicyFiles, ActorCriticPolicy, CountsFromZero):
    """SB3's ``ActorCriticPolicy`` whose outputs a learner can reach; other arguments as there.

    Actions are the env's, counted from their space's start, in SB3's algorithms too; `outputs` count from 0.

    :param critic: whether there is a value network; without one it has no parameters either
    :param shared_layers: hidden widths of a trunk shared by actor and critic, in front of ``net_arch``
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Schedule,
        *args: Any,
        critic: bool = True,
        shared_layers: list[int] | None = None,
        **kwargs: Any,
    ) -> None:
        given = {**dict(zip(_POSITIONAL, args, strict=False)), **kwargs}
        parameters.check({**given, "shared_layers": shared_layers})
        # Set before SB3's constructor, which already builds the networks.
        self.critic, self.shared_layers = critic, shared_layers
        _require_streams(given.get("net_arch"))
        if kwargs.get("use_sde"):
            what = f"{type(self).__name__} has its own distribution of actions"
            raise InputError("use_sde", what, True, "use_sde=False; -params use_sde:False where a preset asks for it")
        if shared_layers and "net_arch" not in kwargs and not args:
            kwargs["net_arch"] = []  # the trunk is the network
        if not critic:
            kwargs["share_features_extractor"] = True  # one of its own would be the critic's
        super().__init__(observation_space, action_space, lr_schedule, *args, **kwargs)

    @property
    def networks(self) -> tuple[PolicyOutputs, None]:
        """What a backend works on: the policy itself; there is no target network."""
        return self, None

    def _build_mlp_extractor(self) -> None:
        if not self.critic:
            actor = self.net_arch.get("pi", []) if isinstance(self.net_arch, dict) else self.net_arch
            self.net_arch = {"pi": actor, "vf": []}
        if self.shared_layers:
            self.mlp_extractor = TrunkExtractor(
                self.features_dim, self.shared_layers, self.net_arch, self.activation_fn, self.device
            )
        else:
            super()._build_mlp_extractor()

    def _build(self, lr_schedule: Schedule) -> None:
        super()._build(lr_schedule)
        if not self.critic:
            self.value_net = NoCritic()  # type: ignore[assignment]
            self.optimizer = self.optimizer_class(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)  # type: ignore[call-arg]

    def set_training_mode(self, mode: bool) -> None:
        """Switch batch norm and dropout; walks the modules only when something changes."""
        if self.training != mode:
            super().set_training_mode(mode)

    def outputs(self, obs: PyTorchObs) -> th.Tensor:
        """Return what the action distribution is made of, and V in the last column if there is a critic, (B, D + 1)."""
        features = self.extract_features(obs)
        if self.share_features_extractor:
            latent_pi, latent_vf = self.mlp_extractor(features)
        else:
            latent_pi = self.mlp_extractor.forward_actor(features[0])
            latent_vf = self.mlp_extractor.forward_critic(features[1])
        actor = self._actor_outputs(latent_pi)
        return th.cat([actor, self.value_net(latent_vf)], dim=1) if self.critic else actor

    def actor_outputs(self, obs: PyTorchObs) -> th.Tensor:
        """Return what the action distribution is made of, (B, D)."""
        features: Any = self.extract_features(obs)
        actor_features = features if self.share_features_extractor else features[0]
        return self._actor_outputs(self.mlp_extractor.forward_actor(actor_features))

    def _actor_outputs(self, latent_pi: th.Tensor) -> th.Tensor:
        """Return logits, or (μ, log σ), (B, D)."""
        if isinstance(self.action_dist, DiagGaussianDistribution):
            normal: Any = self._get_action_dist_from_latent(latent_pi).distribution
            return th.cat([normal.mean, normal.stddev.log()], dim=1)
        logits: th.Tensor = self.action_net(latent_pi)
        return logits

    def _get_constructor_parameters(self) -> dict[str, Any]:
        # SB3 leaves out the last one, and then loads the critic's extractor in place of the actor's.
        own = {name: getattr(self, name) for name in ("critic", "shared_layers", "share_features_extractor")}
        return super()._get_constructor_parameters() | own

    def forward(self, obs: th.Tensor, deterministic: bool = False) -> tuple[th.Tensor, th.Tensor, th.Tensor]:
        """Return actions, values and log-probabilities, (B, …), (B, 1), (B,)."""
        actions, values, log_prob = super().forward(obs, deterministic)
        return from_start(actions, self.action_space), values, log_prob

    def evaluate_actions(self, obs: PyTorchObs, actions: th.Tensor) -> tuple[th.Tensor, th.Tensor, th.Tensor | None]:
        """Return values, log-probabilities and entropies, (B, 1), (B,), (B,)."""
        return super().evaluate_actions(obs, from_zero(actions, self.action_space))

    def _predict(self, observation: PyTorchObs, deterministic: bool = False) -> th.Tensor:
        actions: th.Tensor = from_start(super()._predict(observation, deterministic), self.action_space)
        return actions


class MlpPolicy(PolicyOutputs):
    """For vectors."""


class CnnPolicy(PolicyOutputs, ActorCriticCnnPolicy):
    """For images, after the convolutions of Mnih et al. (2015)."""


class MultiInputPolicy(PolicyOutputs, MultiInputActorCriticPolicy):
    """For Dict observations: one extractor a key, concatenated."""
