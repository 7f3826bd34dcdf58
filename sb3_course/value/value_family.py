"""The value family as a table: a named algorithm is a row of defaults and the idea behind it."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from stable_baselines3.common.policies import BasePolicy

from sb3_course.value.q_policies import BeyondCnnPolicy, TablePolicy
from sb3_course.value.rung_defaults import for_small_tasks
from sb3_course.value.value_algorithm import ValueAlgorithm


@for_small_tasks
class DoubleDQN(ValueAlgorithm, double=True):
    """Double DQN: one network chooses the next action and the other evaluates it.

    ``y = r + γ · Q_target(s', argmax_a' Q_online(s', a'))``: the maximum over noisy estimates is biased
    upwards, and taking choice and value from two networks removes most of that bias
    (van Hasselt, Guez & Silver 2016, Eq. 4). Arguments as in `ValueAlgorithm`.
    """


@for_small_tasks
class DuelingDQN(ValueAlgorithm, dueling=True):
    """Dueling DQN: one stream says how good the state is, the other how much better each action.

    ``Q(s, a) = V(s) + A(s, a) − mean_a' A(s, a')``: what all actions have in common is learned from every one of them
    (Wang et al. 2016, Eq. 9). Arguments as in `ValueAlgorithm`.
    """


@for_small_tasks
class PrioritizedDQN(ValueAlgorithm, prioritized=True):
    """DQN with prioritized replay: transitions with large errors are replayed more often.

    ``P(i) = p_i^α / Σ_j p_j^α`` with ``p = |δ| + ε``, corrected by the weights ``(N·P(i))^−β / max w``, β rising to 1
    (Schaul et al. 2016, Eq. 1 and section 3.4). Arguments as in `ValueAlgorithm`.
    """


@for_small_tasks
class NStepDQN(ValueAlgorithm, n_steps=3):
    """DQN with n-step returns: rewards travel n states back at once.

    ``y = Σ_{k<n} γ^k r_{t+k} + γ^n · max_a' Q_target(s_{t+n}, a')`` (n-step returns: Watkins 1989; n = 3 with
    replay: Hessel et al. 2018, table 1), without a correction for actions that were explored: its fixed point is not
    Q*. Arguments as in `ValueAlgorithm`.
    """


@for_small_tasks
class NoisyDQN(ValueAlgorithm, noisy=True):
    """Noisy DQN: learned noise on the weights explores, and epsilon is 0.

    ``y = (μ_w + σ_w ⊙ ε_w) x + μ_b + σ_b ⊙ ε_b`` with a new sample for every action and every network of an update
    (Fortunato et al. 2018, Eq. 9 and Algorithm 1). Arguments as in `ValueAlgorithm`.
    """


@for_small_tasks
class CategoricalDQN(ValueAlgorithm, n_atoms=51):
    """C51: a distribution of the return over fixed atoms instead of its mean.

    The target m is the distribution of ``y = r + γ·Z(s', argmax_a' E Z(s', a'))`` projected onto the atoms, the loss
    its cross-entropy ``L = −Σ_i m_i log p_i(s, a)`` (Bellemare, Dabney & Munos 2017, Algorithm 1). ``v_min`` and
    ``v_max`` must hold the returns. Arguments as in `ValueAlgorithm`.
    """


@for_small_tasks
class QuantileDQN(ValueAlgorithm, distribution="quantile"):
    """QR-DQN: quantiles of the return, which need no support and fit any scale of rewards.

    ``θ_i(s, a)`` is pulled towards the quantile ``(i + ½)/N`` of ``y = r + γ·Z(s', argmax_a' E Z(s', a'))`` by the
    quantile Huber loss (Dabney, Rowland, Bellemare & Munos 2018b, Algorithm 1). Arguments as in `ValueAlgorithm`.
    """


@for_small_tasks
class IQN(ValueAlgorithm, distribution="implicit"):
    """IQN: the quantiles of the return at any level, which is an input of the network.

    ``Z_τ(s, a) = f(ψ(s) ⊙ φ(τ))_a``, pulled at N drawn levels towards N' quantiles of ``r + γ·Z_τ'(s', a')`` by the
    quantile Huber loss (Dabney, Ostrovski, Silver & Munos 2018a, section 3). Arguments as in `ValueAlgorithm`.
    """


@for_small_tasks
class MunchausenDQN(ValueAlgorithm, munchausen=True):
    """Munchausen DQN: a soft policy in the targets, and its own log probability as a reward.

    ``y = r + α·clip(τ log π(a|s), l0, 0) + γ · Σ_a' π(a'|s') (Q(s', a') − τ log π(a'|s'))``, ``π = softmax(Q/τ)``
    (Vieillard, Pietquin & Geist 2020, section 2). Arguments as in `ValueAlgorithm`.
    """


@for_small_tasks
class Rainbow(
    ValueAlgorithm,
    double=True,
    dueling=True,
    noisy=True,
    prioritized=True,
    n_steps=3,
    n_atoms=51,
    alpha=0.5,
):
    """Rainbow: all six ideas at once, each of them a switch.

    The loss is ``D_KL(Φ_z d' ‖ d)`` with ``d' = (Σ_{k<n} γ^k r_{t+k} + γ^n·z, p_target(s_{t+n}, a*))``, a* the online
    network's choice, d the prediction on the atoms z and Φ_z the projection onto them (Hessel et al. 2018, section
    "The Integrated Agent").

    ``Rainbow(..., noisy=False)`` is an ablation, with epsilon in place of the noise. ω = 0.5, β from 0.4 to 1 and n = 3
    are the paper's (table 1); its Adam has ε = 1.5e-4: ``policy_kwargs={"optimizer_kwargs": {"eps": 1.5e-4}}``.
    Arguments as in `ValueAlgorithm`.
    """


@for_small_tasks
class BTR(
    ValueAlgorithm,
    distribution="implicit",
    munchausen=True,
    dueling=True,
    noisy=True,
    prioritized=True,
    n_steps=3,
    n_levels=8,
    n_target_levels=8,
    n_choice_levels=8,
    alpha=0.2,
    learning_rate=1e-4,
    gamma=0.997,
    batch_size=256,
    buffer_size=1_048_576,
    learning_starts=200_000,
    train_freq=1,
    target_update_interval=(500, "update"),
    exploration_fraction=0.04,
    exploration_final_eps=0.01,
    exploration_end=0.5,
):
    """Beyond the Rainbow: Rainbow with implicit quantiles for C51, Munchausen's targets for Double, and many envs.

    ``y_j = r + α·clip(τ log π(a|s), l0, 0) + γ^n · Σ_a' π(a'|s') (Z_j(s', a') − τ log π(a'|s'))``, r the sum of n
    discounted rewards and Z_j the quantile at a drawn level (Vieillard et al. 2020, section 2, for each quantile).

    With ``CnnPolicy`` all hyperparameters are those of table D6 of Clark, Towers, Evers & Hare (2024, arXiv
    2411.03820v2), for 64 envs (an update a step of all of them) and 200 million frames, 50 million steps: ε falls for 2
    million of them, beside the noise, and is 0 in the second half. It brings the network, too: see `BeyondCnnPolicy`.
    With ``MlpPolicy`` the defaults of small tasks stand in front of learning rate, replay, batch and target.

    The table has one number of levels; it is N, N' and K here, as in the authors' code. It says nothing of β, which
    rises from Rainbow's 0.4 to 1 here; their code has weights with exponent α instead, which stays. The bonus is the
    target network's, as in Vieillard et al. (2020), in their code the online network's. Before ``learning_starts``
    actions are random, those of ε near 1 there. Arguments as in `ValueAlgorithm`.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        **ValueAlgorithm.policy_aliases,
        "CnnPolicy": BeyondCnnPolicy,
    }


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


class NeuralQ(ValueAlgorithm, **ONLINE, learning_rate=1e-3):
    """Neural Q-learning: a network updated on each single transition, without replay or target network.

    ``θ ← θ + α · (r + γ · max_a' Q(s', a') − Q(s, a)) · ∇Q(s, a)`` (Sutton & Barto 2018, section 9.3, the
    semi-gradient step; exactly that with ``policy_kwargs={"optimizer_class": th.optim.SGD}``, otherwise Adam's
    version of it, with the step size of 1e-3 of Kingma & Ba 2015). With several envs a step learns from one of the
    newest transitions, drawn at random.
    Arguments as in `ValueAlgorithm`.
    """

    _online = True


class QTable(ValueAlgorithm, **ONLINE, learning_rate=0.1):
    """Tabular Q-learning: ``Q[s, a] ← Q[s, a] + α · (r + γ · max_a' Q[s', a'] − Q[s, a])``.

    For discrete observations and actions (Watkins 1989; Sutton & Barto 2018, Eq. 6.8). The table is a linear
    layer over one-hot states, so that one gradient step of the loss ½δ² with plain SGD is exactly that update.
    Arguments as in `ValueAlgorithm`.
    """

    _online = True
    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"TablePolicy": TablePolicy, "MlpPolicy": TablePolicy}

    @property
    def q_table(self) -> np.ndarray:
        """A copy of the table Q[s, a], (S, A)."""
        assert isinstance(self.policy, TablePolicy)
        table: np.ndarray = self.policy.q_table.cpu().numpy().copy()
        return table
