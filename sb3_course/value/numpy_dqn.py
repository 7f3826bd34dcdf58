"""The course's "DQN with only NumPy", as an SB3 algorithm: no torch arithmetic acts, learns or remembers here.

What is special about it is only how exploration and learning rate fall; the rest are rows of the family's table:

* forward and backward passes: `sb3_course.backends.numpy_layers`, twenty lines a layer
* the optimizers, plain SGD and Adam: `sb3_course.backends.numpy_optimizers`
* the memory: `sb3_course.replay`
* target and loss: `sb3_course.functional`
* their order, once for the whole family: `sb3_course.value.learning`
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch as th
from stable_baselines3.common.policies import BasePolicy

from sb3_course.config import parameters
from sb3_course.sb3.construction import taking
from sb3_course.value.q_policies import MlpPolicy
from sb3_course.value.value_algorithm import ValueAlgorithm

OWN = "exploration_decay", "learning_rate_decay", "learning_rate_floor", "decay_unit", "learning_rate_decay_unit"


class NumpyDQN(
    ValueAlgorithm,
    learning_rate=1e-3,
    buffer_size=1_000_000,
    learning_starts=20,
    batch_size=1,
    gamma=0.95,
    train_freq=1,
    gradient_steps=20,
    target_update_interval=(1, "update"),
    exploration_final_eps=0.01,
    max_grad_norm=float("inf"),
    loss="mse",
    backend="numpy",
):
    """DQN from scratch: own layers, own backpropagation, own SGD or Adam, on a replay of 20 transitions for each step.

    ``y = r + γ · max_a' Q(s', a')``, loss ``(y − Q(s, a))²``, one gradient step for each of the 20 transitions
    (``batch_size=20, gradient_steps=1``: one step on all of them). ``ε_k = max(ε_0·d^k, ε_min)`` and
    ``lr_k = max(lr·d_lr^k, lr_min)`` with k counted by `decay_unit`. There is no target network: it is synchronised
    after every gradient step. ``target_update_interval=(k, "episode")`` or ``k`` steps make it the snapshot of Mnih et
    al. (2015, Algorithm 1). Plain SGD: ``policy_kwargs={"optimizer_class": th.optim.SGD}``. The terminal reward of −1
    is `sb3_course.TerminalReward`. The article as printed is the preset ``numpy-dqn``: SGD, ``loss="l2"``, the
    learning rate falls by replay, −1 and nothing after it at any end. Arguments as in `ValueAlgorithm`, and

    :param exploration_decay: d, the factor of epsilon
    :param learning_rate_decay: d_lr, the factor of the learning rate; 1 for the schedule alone
    :param learning_rate_floor: lr_min, the least learning rate
    :param decay_unit: what k counts: ``sample``, every transition replayed, or ``replay``, every call of ``train``
    :param learning_rate_decay_unit: the same for the learning rate alone; None: `decay_unit`
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"MlpPolicy": MlpPolicy}
    exploration_decay: float
    learning_rate_decay: float
    learning_rate_floor: float
    decay_unit: str
    learning_rate_decay_unit: str | None

    @taking(ValueAlgorithm.__init__, *parameters.rows(*OWN))
    def __init__(self, given: dict[str, Any], _init_setup_model: bool = True) -> None:
        own = {name: given.pop(name) for name in OWN}
        parameters.check(own)
        self.__dict__.update(own)
        super().__init__(**given, _init_setup_model=_init_setup_model)

    def _decayed(self, start: float, factor: float, least: float, unit: str) -> float:
        """Return ``max(start·factor^k, least)`` for the k of now."""
        updates = self._n_updates
        k = updates * self.batch_size if unit == "sample" else updates // max(self.gradient_steps, 1)
        return max(start * factor**k, least)

    def _epsilon_now(self) -> float:
        least = self.exploration_final_eps
        return self._decayed(self.exploration_initial_eps, self.exploration_decay, least, self.decay_unit)

    def train(self, gradient_steps: int, batch_size: int = 100) -> None:
        """Replay, and let epsilon fall before the next action."""
        super().train(gradient_steps, batch_size)
        self._set_epsilon()

    def _update_learning_rate(self, optimizers: list[th.optim.Optimizer] | th.optim.Optimizer) -> None:
        """Set the learning rate of the coming replay; SB3 asks for it once in each call of ``train``."""
        scheduled = self.lr_schedule(self._current_progress_remaining)
        least, unit = min(self.learning_rate_floor, scheduled), self.learning_rate_decay_unit or self.decay_unit
        rate = self._decayed(scheduled, self.learning_rate_decay, least, unit)
        self.logger.record("train/learning_rate", rate)
        for optimizer in optimizers if isinstance(optimizers, list) else [optimizers]:
            for group in optimizer.param_groups:
                group["lr"] = rate
