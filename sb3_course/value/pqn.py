"""PQN: Q-learning on rollouts of several envs, without replay and without a target network."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch as th
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, Schedule
from stable_baselines3.common.utils import LinearSchedule

from sb3_course.backends.protocol import Regression
from sb3_course.config import parameters
from sb3_course.config.errors import InputError
from sb3_course.config.text import LinearRate
from sb3_course.functional.array_api import Array
from sb3_course.functional.returns import q_lambda
from sb3_course.functional.targets import valid
from sb3_course.networks import from_zero
from sb3_course.replay import Batch
from sb3_course.replay.batch import rows_of
from sb3_course.replay.episodes import Trajectories
from sb3_course.sb3.rollouts import RolloutAlgorithm
from sb3_course.value.estimates import ReturnEstimate, estimate_from, kind_of
from sb3_course.value.learning import Learner
from sb3_course.value.q_model import QModel
from sb3_course.value.q_policies import QPolicy

# The arguments that SB3's on-policy algorithms do not have; each becomes an attribute of its name.
OWN = (
    "batch_size", "n_epochs", "q_lambda", "exploration_fraction", "exploration_initial_eps", "exploration_final_eps",
    "exploration_ladder", "dueling", "loss", "backend",
)  # fmt: skip
#: What an actor-critic of SB3 takes besides, and nobody here reads.
UNUSED: dict[str, Any] = {"gae_lambda": 1.0, "ent_coef": 0.0, "vf_coef": 0.0, "use_sde": False, "sde_sample_freq": -1}
#: The learning rate falls linearly to 0.
FALLING = LinearRate(1e-3)
#: The policy, where `policy_kwargs` says nothing else (Gallici et al. 2024).
POLICY: dict[str, Any] = {"layer_norm": True, "optimizer_class": th.optim.RAdam}


class TargetsGiven(Learner):
    """The rule where all of a target is known before the step: there is nothing to bootstrap from, and no second pass.

    A batch's ``rewards`` are the targets, its ``discounts`` are 0.
    """

    def outputs(self, batch: Batch) -> tuple[Array, Array, Array]:
        """Return the online network's outputs, three times."""
        outputs = self._backend.forward(batch.observations)
        return outputs, outputs, outputs

    def fit(
        self, batch: Batch, minibatches: list[np.ndarray], loss: str, max_grad_norm: float | None
    ) -> Regression | None:
        """Do what `update` does with each minibatch, rows of `batch`; None: nothing, the backend cannot."""
        actions = np.ascontiguousarray(from_zero(batch.actions, self._action_space).reshape(-1), np.int64)
        asked = batch.observations, actions, batch.rewards, minibatches, loss, max_grad_norm
        made = self._backend.regress(*asked)
        if made is not None:
            self._predictions = made.predictions
        return made


class PQN(QModel, RolloutAlgorithm):
    """Parallelised Q-network: Q(λ) on what several envs have just done, with layer norm in place of a target network.

    ``G_t = r_t + γ·(λ·G_{t+1} + (1 − λ)·max_a Q(s_{t+1}, a))``, with the network of before the update; then
    ``n_epochs`` passes over the rollout in shuffled minibatches move Q(s, a) towards G (Gallici et al. 2024,
    "Simplifying Deep Temporal Difference Learning"). An episode that was truncated bootstraps, one that terminated does
    not. The defaults are those of CleanRL's ``pqn.py`` (Huang et al. 2022; commit fe8d8a0), which has 4 envs: layer
    norm, RAdam, a learning rate that falls linearly, but from 1e-3, four times theirs, and SB3's hidden layers. The
    rate of an update is that of where its rollout begins. Arguments not listed here are SB3's.

    :param n_steps: steps of each env before an update
    :param batch_size: transitions of a minibatch
    :param n_epochs: passes over each rollout
    :param q_lambda: λ: 0 is the one-step target, 1 the rewards up to the end of the rollout and what is expected there
    :param exploration_fraction: share of training over which ε falls; ``exploration_initial_eps`` and
        ``exploration_final_eps`` are its ends
    :param exploration_ladder: env i of E explores with ``ε^(1 + this·i/(E − 1))`` (Horgan et al. 2018), 0 for ε each
    :param dueling: a value and an advantage stream (Wang et al. 2016, Eq. 9)
    :param loss: ``mse`` (δ²), ``l2`` (½δ²) or ``huber``
    :param policy_kwargs: as of the value family; ``layer_norm=False`` leaves the norm out
    :param backend: ``torch``, ``numpy`` or ``auto``, the fastest that can serve the policy
    :raises InputError: (a ``ValueError``) naming the argument, its value and what is wanted
    :raises AssertionError: for a space the algorithm cannot serve, as SB3
    """

    parts = ("rollout_buffer", "_learner")
    policy: QPolicy  # type: ignore[assignment]
    _learner: TargetsGiven
    n_steps: int
    batch_size: int
    n_epochs: int
    q_lambda: float
    exploration_fraction: float
    exploration_initial_eps: float
    exploration_final_eps: float
    dueling: bool
    loss: str
    noisy = False
    risk = "mean"

    def __init__(
        self,
        policy: str | type[QPolicy],
        env: GymEnv | str,
        learning_rate: float | Schedule = FALLING,
        n_steps: int = 128,
        batch_size: int = 128,
        n_epochs: int = 4,
        gamma: float = 0.99,
        q_lambda: float = 0.65,
        exploration_fraction: float = 0.5,
        exploration_initial_eps: float = 1.0,
        exploration_final_eps: float = 0.05,
        max_grad_norm: float = 10.0,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: th.device | str = "auto",
        *,
        exploration_ladder: float = 0.0,
        dueling: bool = False,
        loss: str = "mse",
        backend: str = "auto",
        _init_setup_model: bool = True,
    ) -> None:
        given = {key: value for key, value in locals().items() if key not in {"self", "__class__", "_init_setup_model"}}
        parameters.check(given)
        self._check_policy(policy_kwargs or {}, n_steps)
        passed = {key: value for key, value in given.items() if key not in OWN}
        super().__init__(**passed, **UNUSED, supported_action_spaces=self.served_actions, _init_setup_model=False)
        for name in OWN:
            setattr(self, name, given[name])
        self.exploration_rate = exploration_initial_eps
        if _init_setup_model:
            self._setup_model()

    def _check_policy(self, asked: dict[str, Any], n_steps: int | None) -> None:
        """Refuse what the whole value family has and this algorithm has not."""
        if n_steps is None:
            raise InputError("n_steps", "rollouts have a given length", got=None, want="an integer >= 1")
        kind = kind_of(asked.get("distribution"), asked).name
        if kind != "mean":
            raise InputError("distribution", "Q(λ) returns are of means", got=kind, want="'mean'")
        if asked.get("noisy"):
            raise InputError("noisy", "epsilon explores here", got=True, want="False, or another algorithm")

    def _setup_model(self) -> None:
        self._require_own_policy()
        ends = self.exploration_initial_eps, self.exploration_final_eps
        self.exploration_schedule = LinearSchedule(*ends, self.exploration_fraction)
        own = {name: value for name, value in POLICY.items() if name not in self.policy_kwargs}
        self._build(**own, **({"head": "dueling"} if self.dueling else {}), target=False)

    def _estimate(self) -> ReturnEstimate:
        return estimate_from("mean", {"loss": self.loss})

    def _make_learner(self, estimate: ReturnEstimate) -> TargetsGiven:
        return TargetsGiven(self._backend, estimate, False, self.noisy, self._draw, self._uniform, self.action_space)

    # -- collecting -----------------------------------------------------------------------------------------------

    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 10,
        tb_log_name: str | None = None,
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Collect and learn for `total_timesteps` env steps; see SB3."""
        return super().learn(total_timesteps, callback, log_interval, tb_log_name, reset_num_timesteps, progress_bar)

    def _choose(self, first: bool) -> tuple[np.ndarray, np.ndarray]:
        # SB3 says what remains of training once a rollout.
        self._update_current_progress_remaining(self.num_timesteps, self._total_timesteps)
        self._set_epsilon()
        if first:  # after the last rollout nothing of a falling rate is left
            self._update_learning_rate(self.policy.optimizer)
        epsilon = self._epsilon(self.n_envs)
        seen, masks = self._last_obs, self._valid_now()
        actions = self._actor.collect(seen, epsilon, self.rng, self.n_envs, masks, trusted=not first)
        return actions[:, None], actions

    # -- learning -------------------------------------------------------------------------------------------------

    def train(self) -> None:
        """Take the gradient steps of one rollout: ``n_epochs`` passes in minibatches, each in an order of its own."""
        self._refit()
        rollout = self.rollout_buffer.take_all(self._last_obs, self._masks_now)
        with self._backend.updating():
            losses = self._steps(self._with_targets(rollout))
        self._n_updates += len(losses)
        self.logger.record("rollout/exploration_rate", self.exploration_rate)
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        self._record({"loss": sum(losses) / len(losses), **self._learner.estimate.logs()})

    def _steps(self, batch: Batch) -> list[float]:
        """Take a step on each minibatch, all at once where the backend can; return their losses."""
        n_rows, size = len(batch.rewards), self.batch_size
        orders = [self.rng.random(n_rows).argsort() for _ in range(self.n_epochs)]
        minibatches = [order[start : start + size] for order in orders for start in range(0, n_rows, size)]
        # Who has a step of his own, in a subclass or in the model, is handed each minibatch.
        plain = "_step" not in vars(self) and type(self)._step is QModel._step
        made = self._learner.fit(batch, minibatches, self.loss, self.max_grad_norm) if plain else None
        if made is None:
            return [self._step(rows_of(batch, rows)).loss for rows in minibatches]
        self._require_learned(made.losses, made.norms, batch.observations)
        return made.losses.tolist()  # type: ignore[no-any-return]

    def _with_targets(self, rollout: Trajectories) -> Batch:
        """Return the transitions of a rollout with G in place of the rewards, and nothing left to discount."""
        values = self._best_values(rollout.observations, rollout.masks)
        behind = rollout.open_observations
        after = None if behind is None else self._best_values(behind, rollout.open_masks)
        following = rollout.next_values(values, after)
        targets = q_lambda(rollout.rewards, following, rollout.ends, self.gamma, self.q_lambda).astype(np.float32)
        nothing, equal = np.zeros_like(targets), np.ones_like(targets)
        return Batch(rollout.observations, rollout.actions, None, targets, nothing, equal, None)

    def _best_values(self, observations: Any, masks: np.ndarray | None) -> np.ndarray:
        """Return max_a Q over each row's valid actions, as many rows at a time as an update has, in float64, (T,)."""
        first = next(iter(observations.values())) if isinstance(observations, dict) else observations
        backend, estimate, best = self._backend, self._learner.estimate, []
        for start in range(0, len(first), self.batch_size):
            part = rows_of(observations, slice(start, start + self.batch_size))
            outputs = backend.evaluate(backend.array(part))
            known = None if masks is None else masks[start : start + self.batch_size]
            best.append(valid(backend.to_numpy(estimate.values(outputs)), known).max(axis=1))
        values: np.ndarray = np.concatenate(best).astype(np.float64)
        return values
