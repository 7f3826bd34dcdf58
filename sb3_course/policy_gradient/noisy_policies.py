"""Noisy policies (NoisyNet, Fortunato et al. 2018) for SB3's actor-critics: ``A2C("NoisyMlpPolicy", env)``.

Here what they have in common, and those of ``A2C`` and ``PPO``, which serve our own algorithms too; `noisy_td3` and
`noisy_sac` have the others. Three modules, because each is loaded while the SB3 algorithm that it serves is;
`sb3_course.sb3.policy_aliases` registers their policies.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, ClassVar

import numpy as np
import torch as th
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule

from sb3_course.networks import OwnNoise, make_noisy, noise_free
from sb3_course.policy_gradient.actor_policies import CnnPolicy, MultiInputPolicy, PolicyOutputs
from sb3_course.sb3.policy_files import PolicyFiles


class NoisyPolicy(PolicyFiles, OwnNoise):
    """What a policy of SB3 needs to be noisy: every ``nn.Linear`` that acts becomes a `NoisyLinear`, convolutions not.

    ``w = μ + σ ⊙ ε``; μ starts as the plain policy's weights would under the same seed. ``deterministic=True`` computes
    with μ alone. No prediction draws or changes noise, so that evaluating a model leaves its training as it would have
    been. Noise is drawn from the policy's own generator, see `OwnNoise`.

    :param noisy_kwargs: ``noise``, ``kind`` and ``sigma0`` of `NoisyLinear`
    """

    noise_defaults: ClassVar[dict[str, Any]] = {}

    def __init__(self, *args: Any, noisy_kwargs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        # Set before SB3's constructor, which already builds the networks.
        self.noisy_kwargs = self.noise_defaults | (noisy_kwargs or {})
        super().__init__(*args, **kwargs)

    def _predict(self, observation: PyTorchObs, deterministic: bool = False) -> th.Tensor:
        with noise_free(self) if deterministic else nullcontext():
            return super()._predict(observation, deterministic)  # type: ignore[safe-super]

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return super()._get_constructor_parameters() | {"noisy_kwargs": self.noisy_kwargs}


class NoisyMlpPolicy(NoisyPolicy, PolicyOutputs):
    """A noisy actor and critic, as NoisyNet-A3C: one sample a rollout (Fortunato et al. 2018, section 3.2, App. C.2).

    Hidden layers and both heads are noisy. The sample is drawn where a rollout starts, that is where SB3 leaves
    training mode, and held through the gradient steps on that rollout: the policy that is improved is the one that
    acted, and PPO's first ratio is 1. As in the paper the noise is independent, σ = 0.017; the paper also drops the
    entropy bonus (``ent_coef=0``, SB3's default). Arguments as in `NoisyPolicy` and `PolicyOutputs`.
    """

    noise_defaults: ClassVar[dict[str, Any]] = {"kind": "independent"}
    _sample_used = True  # a rollout that starts needs a new one

    def _build(self, lr_schedule: Schedule) -> None:
        super()._build(lr_schedule)
        make_noisy(self, **self.noisy_kwargs)
        self.optimizer = self.optimizer_class(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)  # type: ignore[call-arg]
        self.start_noise()

    def set_training_mode(self, mode: bool) -> None:
        """Switch batch norm and dropout; draw fresh noise where collection starts after training."""
        if self._sample_used and not mode:
            self.draw_noise()
        self._sample_used = mode
        super().set_training_mode(mode)

    def predict(self, *args: Any, **kwargs: Any) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """Return actions and leave the noise alone; see SB3."""
        used, self._sample_used = self._sample_used, False
        try:
            return super().predict(*args, **kwargs)
        finally:
            self._sample_used = used

    def forward(self, obs: th.Tensor, deterministic: bool = False) -> tuple[th.Tensor, th.Tensor, th.Tensor]:
        """Return actions, values and log-probabilities, (B, …), (B, 1), (B,)."""
        with noise_free(self) if deterministic else nullcontext():
            return super().forward(obs, deterministic)


class NoisyCnnPolicy(NoisyMlpPolicy, CnnPolicy):
    """`NoisyMlpPolicy` for images; the layer after the convolutions is noisy too."""


class NoisyMultiInputPolicy(NoisyMlpPolicy, MultiInputPolicy):
    """`NoisyMlpPolicy` for Dict observations."""


class NoisyActorPolicy(NoisyPolicy):
    """A noisy actor and plain critics, for SB3's algorithms with a replay memory: exploration without action noise.

    * Every forward pass of an actor, online or target, in a gradient step first draws fresh noise: no two share it, and
      the target has a sample of its own, as in NoisyNet-DQN (Fortunato et al. 2018, section 3.2).
    * Collection acts on the sample of the last gradient step until the next one: ``train_freq=1`` acts on a new one
      every step, ``train_freq=(1, "episode")`` holds one for an episode (Plappert et al. 2018, section 3).
    * The target's μ and σ follow the actor's; SB3's averaging copies no noise.

    Noise is factorised, σ0 = 0.5. A features extractor that the critics share stays plain.
    """

    share_features_extractor: bool
    actor: Any
    actor_target: Any  # SAC has none

    def make_actor(self, features_extractor: BaseFeaturesExtractor | None = None) -> Any:
        """Return a new actor with noisy layers."""
        actor: Any = super().make_actor(features_extractor)  # type: ignore[misc]
        make_noisy(actor, keep=actor.features_extractor if self.share_features_extractor else None, **self.noisy_kwargs)
        return actor

    def _build(self, lr_schedule: Schedule) -> None:
        super()._build(lr_schedule)  # type: ignore[misc]
        self.start_noise(self.actor, *([self.actor_target] if hasattr(self, "actor_target") else []))
