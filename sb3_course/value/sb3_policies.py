"""Dueling and noisy policies for Stable-Baselines3's own ``DQN``: ``DQN("NoisyDuelingMlpPolicy", env)``.

`sb3_course._policy_aliases` registers them. This module, and those it imports, import no algorithm: they are loaded
while SB3's ``DQN`` is.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.type_aliases import Schedule
from torch import nn

from sb3_course.networks import noisy_layers, reset_noise
from sb3_course.value.policies import CnnPolicy, MultiInputPolicy, QPolicy


class StockPolicy(QPolicy):
    """A `QPolicy` that keeps its noise itself, for algorithms that know nothing of noise.

    Semantics (for ``stable_baselines3.DQN``):

    * Every forward pass of ``q_net`` in training mode, hence every gradient step, first draws fresh noise for it, and
      another sample for ``q_net_target``. So no two gradient steps share noise, the two networks never do, and the
      target's sample is fresh in every update: it was drawn at the end of the one before.
    * Collection is in evaluation mode: it acts on the sample of the last gradient step until the next one.
    * ``predict(deterministic=True)`` is free of noise. No prediction draws or changes anything, so that evaluating a
      model leaves its training as it would have been.
    * ``DQN`` still explores with its own ε on top. To explore with noise alone, as the paper does, set
      ``exploration_initial_eps=0`` and ``exploration_final_eps=0``.

    Noise is drawn from `noise_rng`, seeded by torch's generator after the weights are drawn: runs repeat under SB3's
    ``seed``. Like SB3's own generators it starts anew in a loaded model; the samples themselves are part of the
    weights. Arguments as in `QPolicy`, with other defaults.
    """

    options: ClassVar[dict[str, Any]] = {}
    noise_rng: np.random.Generator

    def __init_subclass__(cls, **options: Any) -> None:
        """Make a named policy: ``class NoisyMlpPolicy(StockPolicy, noisy=True)`` changes defaults and nothing else."""
        super().__init_subclass__()
        cls.options = {**cls.options, **options}

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Discrete,
        lr_schedule: Schedule,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(observation_space, action_space, lr_schedule, *args, **(self.options | kwargs))

    def _build(self, lr_schedule: Schedule) -> None:
        super()._build(lr_schedule)
        if noisy_layers(self.q_net):
            self.noise_rng = np.random.default_rng(int(th.randint(2**63 - 1, (1,))))
            self._draw_noise()
            # Stock DQN has no hook for noise, but its networks are torch modules, and these have one.
            self.q_net.register_forward_pre_hook(self._before_forward)

    def _before_forward(self, q_net: nn.Module, args: tuple[Any, ...]) -> None:
        if q_net.training:
            self._draw_noise()

    def _draw_noise(self) -> None:
        for network in (self.q_net, self.q_net_target):
            reset_noise(network, self.noise_rng.standard_normal)


class DuelingMlpPolicy(StockPolicy, head="dueling"):
    """Value and advantage streams (Wang et al. 2016), for vectors."""


class NoisyMlpPolicy(StockPolicy, noisy=True):
    """Noisy layers (Fortunato et al. 2018), for vectors; see `StockPolicy`."""


class NoisyDuelingMlpPolicy(StockPolicy, head="dueling", noisy=True):
    """Value and advantage streams of noisy layers, for vectors; see `StockPolicy`."""


class DuelingCnnPolicy(StockPolicy, CnnPolicy, head="dueling"):
    """Value and advantage streams (Wang et al. 2016), for images."""


class NoisyCnnPolicy(StockPolicy, CnnPolicy, noisy=True):
    """Noisy layers (Fortunato et al. 2018), for images; see `StockPolicy`."""


class NoisyDuelingCnnPolicy(StockPolicy, CnnPolicy, head="dueling", noisy=True):
    """Value and advantage streams of noisy layers, for images; see `StockPolicy`."""


class DuelingMultiInputPolicy(StockPolicy, MultiInputPolicy, head="dueling"):
    """Value and advantage streams (Wang et al. 2016), for Dict observations."""


class NoisyMultiInputPolicy(StockPolicy, MultiInputPolicy, noisy=True):
    """Noisy layers (Fortunato et al. 2018), for Dict observations; see `StockPolicy`."""


class NoisyDuelingMultiInputPolicy(StockPolicy, MultiInputPolicy, head="dueling", noisy=True):
    """Value and advantage streams of noisy layers, for Dict observations; see `StockPolicy`."""
