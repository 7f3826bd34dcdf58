"""Dueling and noisy policies for Stable-Baselines3's own ``DQN``: ``DQN("NoisyDuelingMlpPolicy", env)``.

`sb3_course.sb3.policy_aliases` registers them. This module, and those it imports, import no algorithm: they are loaded
while SB3's ``DQN`` is.
"""

from __future__ import annotations

from typing import Any, ClassVar

from gymnasium import spaces
from stable_baselines3.common.type_aliases import Schedule

from sb3_course.networks import OwnNoise, noisy_layers, start_of
from sb3_course.sb3.served_spaces import UnsupportedSpaceError
from sb3_course.value.q_policies import CnnPolicy, MultiInputPolicy, QPolicy


class StockPolicy(OwnNoise, QPolicy):
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

    Noise is drawn from the policy's own generator, see `OwnNoise`. Arguments as in `QPolicy`, with other defaults.
    """

    options: ClassVar[dict[str, Any]] = {}

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
        if start_of(action_space) is not None:
            what = "SB3's DQN learns the values of actions 0, 1, …"
            raise UnsupportedSpaceError("action_space", what, action_space, "start=0, or an algorithm of sb3_course")
        super().__init__(observation_space, action_space, lr_schedule, *args, **(self.options | kwargs))

    def _build(self, lr_schedule: Schedule) -> None:
        super()._build(lr_schedule)
        if noisy_layers(self.q_net):
            self.start_noise(self.q_net)  # stock DQN has no hook for noise, but its networks are torch modules


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
