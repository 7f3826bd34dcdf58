"""The value family as a table: a named algorithm is a row of defaults and the idea behind it."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from stable_baselines3.common.policies import BasePolicy

from sb3_course.value.learner import ValueLearner
from sb3_course.value.policies import TablePolicy


class DoubleDQN(ValueLearner, double=True):
    """Double DQN: one network chooses the next action and the other evaluates it.

    ``y = r + γ · Q_target(s', argmax_a' Q_online(s', a'))``: the maximum over noisy estimates is biased
    upwards, and taking choice and value from two networks removes most of that bias
    (van Hasselt, Guez & Silver 2016, Eq. 4). Arguments as in `ValueLearner`.
    """


# Every transition is learned from once, when it happens: a replay of one transition, a batch of one, a target that
# is the online network itself, and the textbook's step: the error δ as it is, neither clipped nor doubled.
ONLINE: dict[str, Any] = {
    "buffer_size": 1,
    "batch_size": 1,
    "learning_starts": 0,
    "train_freq": 1,
    "target_update_interval": 1,
    "exploration_initial_eps": 0.1,
    "exploration_final_eps": 0.1,
    "max_grad_norm": float("inf"),
    "loss": "l2",
}


class NeuralQ(ValueLearner, **ONLINE, learning_rate=0.01):
    """Neural Q-learning: a network updated on each single transition, without replay or target network.

    ``θ ← θ + α · (r + γ · max_a' Q(s', a') − Q(s, a)) · ∇Q(s, a)`` (Sutton & Barto 2018, section 9.3, the
    semi-gradient step; exactly that with ``policy_kwargs={"optimizer_class": th.optim.SGD}``, otherwise Adam's
    version of it). With several envs a step learns from one of the newest transitions, drawn at random.
    Arguments as in `ValueLearner`.
    """


class QTable(ValueLearner, **ONLINE, learning_rate=0.1):
    """Tabular Q-learning: ``Q[s, a] ← Q[s, a] + α · (r + γ · max_a' Q[s', a'] − Q[s, a])``.

    For discrete observations and actions (Watkins 1989; Sutton & Barto 2018, Eq. 6.8). The table is a linear
    layer over one-hot states, so that one gradient step of the loss ½δ² with plain SGD is exactly that update.
    Arguments as in `ValueLearner`.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"TablePolicy": TablePolicy, "MlpPolicy": TablePolicy}

    @property
    def q_table(self) -> np.ndarray:
        """A copy of the table Q[s, a], (S, A)."""
        assert isinstance(self.policy, TablePolicy)
        table: np.ndarray = self.policy.q_table.cpu().numpy().copy()
        return table
