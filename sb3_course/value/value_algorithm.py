"""The value family as SB3 algorithms: construction, collection, training, files; what is learned lies in `learning`."""

from __future__ import annotations

from math import isfinite, nan
from typing import Any, ClassVar

import numpy as np
from stable_baselines3 import DQN
from stable_baselines3.common.buffers import ReplayBuffer as SB3ReplayBuffer
from stable_baselines3.common.noise import ActionNoise

from sb3_course.config import parameters
from sb3_course.config.overridden import as_written
from sb3_course.config.warn import warn_user
from sb3_course.replay import Batch, Replay, as_replay
from sb3_course.replay.adding import add_sound
from sb3_course.replay.lending import give_back, lend
from sb3_course.replay.masks import IN_INFO
from sb3_course.sb3.asked import building, require_spaces
from sb3_course.sb3.construction import taking
from sb3_course.sb3.whole_steps import WholeSteps
from sb3_course.value.estimates import ARGUMENTS, DISTRIBUTION, ReturnEstimate
from sb3_course.value.exploration import random_actions
from sb3_course.value.learning import Learner
from sb3_course.value.munchausen import munchausen_of
from sb3_course.value.q_model import QModel
from sb3_course.value.settling import settled
from sb3_course.value.shown_to_sb3 import asked_of_the_policy, estimate_of, replay_arguments, replay_class, shown_to_sb3
from sb3_course.value.synchronisation import Synchronisation, is_due
from sb3_course.value.value_files import ReplayFiles

# The arguments that SB3's DQN does not have; each becomes an attribute of its name, as do those of return estimates.
SWITCHES = (
    "double", "dueling", "noisy", "prioritized", "alpha", "beta0", "munchausen", "munchausen_tau", "munchausen_alpha",
    "munchausen_clip", "frame_replay", "exploration_end", "exploration_ladder", "warmup", "risk", "backend",
    "backend_kwargs",
)  # fmt: skip


#: So many updates are one call: as many as that draw their numbers beforehand.
AT_ONCE = 256


class ValueAlgorithm(ReplayFiles, WholeSteps, QModel, DQN):  # type: ignore[misc]  # of one policy
    """Q-learning from replay: ``Q(s, a) ← r + γ^m · Q_target(s', argmax_a' Q_selector(s', a'))``.

    With every switch off it is SB3's ``DQN`` bit for bit. Arguments not listed here are SB3's and mean what
    they mean there.

    :param n_steps: the horizon n of the return (Watkins 1989; with replay: Hessel et al. 2018)
    :param target_update_interval: synchronise the target every so many env steps, or with ``(k, "update")`` or
        ``(k, "episode")`` every k gradient steps or finished episodes; ``(k, "episode", 1)``: after 1, 1 + k, …
    :param double: let the online network choose and the target network evaluate (van Hasselt et al. 2016, Eq. 4)
    :param dueling: a value and an advantage stream (Wang et al. 2016, Eq. 9)
    :param noisy: noisy layers explore, and epsilon is 0 (Fortunato et al. 2018), unless ``exploration_end`` says else
    :param exploration_end: share of training after which epsilon is 0, with or without noise (Clark et al. 2024 have
        both for the first half); None: never, or at once where noise explores
    :param prioritized: prioritized replay (Schaul et al. 2016)
    :param alpha: exponent of the priorities, 0 for uniform replay (Schaul et al. 2016, Eq. 1)
    :param beta0: exponent of the importance weights at the start; it rises to 1 over training
    :param munchausen: soft targets, and the policy's own log probability as a reward (Vieillard et al. 2020), with
        ``munchausen_tau``, ``munchausen_alpha`` and ``munchausen_clip``: see `sb3_course.value.munchausen.Munchausen`
    :param frame_replay: keep each frame of stacked images once (`sb3_course.replay.FrameReplayBuffer`)
    :param exploration_ladder: env i of E explores with ``ε^(1 + this·i/(E − 1))`` (Horgan et al. 2018), 0 for ε each
    :param warmup: actions before ``learning_starts``: ``random``, or ``policy``, those of after it
    :param risk: what the greedy choice compares of a return distribution: ``mean``, ``cvar:0.25``, ``wang:-0.75``,
        ``cpw:0.71``, ``mean_variance:0.1``, ``cvar_seeking:0.25`` (Dabney et al. 2018a, section 4)
    :param backend: ``torch``, ``numpy`` or ``auto``, the fastest that can serve the policy
    :param backend_kwargs: switches of the torch backend, all off: ``amp`` (bfloat16 products), ``compile``
        (`torch.compile`), ``channels_last``
    :param distribution: what an output says of the return: ``mean``, ``categorical``, …; None: ``categorical`` where
        ``n_atoms > 1``, else ``mean``. Each brings arguments of its own (``loss``; ``n_atoms``, ``v_min``, ``v_max``;
        ``n_quantiles``, ``kappa``; ``n_levels``, ``n_target_levels``, ``n_choice_levels``, ``n_cosines``): see
        `sb3_course.value.estimates`
    :raises InputError: (a ``ValueError``) naming the argument, its value and what is wanted
    :raises AssertionError: for a space the algorithm cannot serve, as SB3
    """

    double: bool
    dueling: bool
    prioritized: bool
    alpha: float
    beta0: float
    warmup: str
    distribution: str | None
    #: Whether a target older than the last step would be another algorithm: several envs share the newest one then.
    _online: ClassVar[bool] = False
    #: Whether the replay buffer is at least as long as a window of n steps, whatever `buffer_size` says.
    _room_for_a_window = False
    _stacking: dict[str, Any] | None = None  # how frames make the observations, where they are stacks
    counters = (*QModel.counters, "_n_calls", "_n_finished")

    @taking(DQN.__init__, *parameters.rows(*SWITCHES), DISTRIBUTION, *ARGUMENTS.values())
    def __init__(self, given: dict[str, Any], _init_setup_model: bool = True) -> None:
        parameters.check(given)
        parameters.check(given := {**given, **asked_of_the_policy(given["policy_kwargs"])})
        own = {*SWITCHES, "distribution", *ARGUMENTS, "target_update_interval"}
        super().__init__(**{k: v for k, v in given.items() if k not in own}, _init_setup_model=False)
        self.target_update_unit, self.target_update_first = "step", None
        for name in own:
            setattr(self, name, given[name])
        self._n_finished = 0  # episodes, for a target synchronised by episodes
        if _init_setup_model:
            self._setup_model()

    # -- construction ---------------------------------------------------------------------------------------------

    def _setup_model(self) -> None:
        require_spaces(self)
        self._require_own_policy()
        if isinstance(self.target_update_interval, tuple):
            read = Synchronisation.read(self.target_update_interval)
            self.target_update_interval, self.target_update_unit, self.target_update_first = read
        self.replay_buffer_class = replay_class(self)
        with shown_to_sb3(self, self._room_for_a_window), building(self):
            super()._setup_model()
        if self.warmup == "policy" and self.num_timesteps == 0:
            self._set_epsilon()  # which SB3 does after the first step
        self._make_backend()
        self._connect_replay()

    def _estimate(self) -> ReturnEstimate:
        return estimate_of(self)

    def _make_learner(self, estimate: ReturnEstimate) -> Learner:
        draws, soft = (self._draw, self._uniform), munchausen_of(self)
        return Learner(self._backend, estimate, self.double, self.noisy, *draws, self.action_space, soft)

    @property
    def _replay(self) -> Replay:  # the replay buffer, or its adapter, as a learner asks it
        return as_replay(self.replay_buffer, self.gamma)

    def _connect_replay(self) -> None:
        """Let the buffer draw with this model's horizon, discount and generator, whatever it was made with."""
        given = replay_arguments(self)
        window = {name: given[name] for name in ("n_steps", "gamma")}
        self._replay.connect(**window, rng=self.rng, best=self._backend.best, beta0=given.get("beta"))

    def set_rng(self, rng: np.random.Generator) -> None:
        """Draw everything of our own from `rng`: the coins of exploration, the noise and the replay's batches."""
        super().set_rng(rng)
        self._replay.connect(rng=rng)

    # -- acting ---------------------------------------------------------------------------------------------------

    def _sample_action(
        self, learning_starts: int, action_noise: ActionNoise | None = None, n_envs: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        masks = self._valid_now()
        if self.num_timesteps < learning_starts and self.warmup == "random":
            actions = np.array(random_actions(self.action_space, masks, np.arange(n_envs)))
        else:
            actions = self._actor.collect(self._last_obs, self._epsilon(n_envs), self.rng, n_envs, masks)
        return actions, actions

    # -- collecting -----------------------------------------------------------------------------------------------

    def _store_transition(
        self,
        replay_buffer: SB3ReplayBuffer,
        buffer_action: np.ndarray,
        new_obs: np.ndarray | dict[str, np.ndarray],
        reward: np.ndarray,
        dones: np.ndarray,
        infos: list[dict[str, Any]],
    ) -> None:
        step = self._last_obs, new_obs, buffer_action, reward, dones, infos
        plain = self._vec_normalize_env is None and not self._masked and as_written(self, ValueAlgorithm, LOOKS)
        if plain and add_sound(self.replay_buffer, *step):
            self._last_original_obs, self._last_obs = self._last_obs, new_obs
            return
        self._require_sound(new_obs, reward, dones, infos)
        if self._masked:
            for info, masks in zip(infos, self._masks_of_step(infos, dones), strict=True):
                info[IN_INFO] = masks
        n_finished = int(np.count_nonzero(dones))
        replay = self._replay
        if n_finished == 0 and self._vec_normalize_env is None and replay.copies:
            # What SB3 does, less its copy of the observation, which nothing has to be put into and `add` copies anyway.
            replay.vouched = self._last_obs, new_obs  # type: ignore[attr-defined]  # of our buffers, which would look
            replay.add(self._last_obs, new_obs, buffer_action, reward, dones, infos)
            self._last_original_obs, self._last_obs = self._last_obs, new_obs
            return
        super()._store_transition(replay_buffer, buffer_action, new_obs, reward, dones, infos)
        self._n_finished += n_finished
        if is_due(self, "episode", self._n_finished, n_finished):
            self._backend.update_target(self.tau)

    def _on_step(self) -> None:
        self._n_calls += 1
        if is_due(self, "step", self._n_calls, 1):
            self._backend.update_target(self.tau)
        self._set_epsilon()
        self.logger.record("rollout/exploration_rate", self.exploration_rate)

    # -- learning -------------------------------------------------------------------------------------------------

    def _before_learn(self, total_timesteps: int, reset: bool) -> None:
        if reset and total_timesteps <= self.learning_starts:
            early = f"total_timesteps={total_timesteps} ends before learning_starts={self.learning_starts}"
            warn_user(f"{early}: little or nothing will be learned.")
        self._connect_replay()
        self._masks_now = None  # the envs may have been reset since
        if reset or self._last_obs is None:
            self._replay.cut()  # SB3 is about to reset the envs

    def train(self, gradient_steps: int, batch_size: int = 100) -> None:
        """Take `gradient_steps` gradient steps on batches from replay; of none the loss is NaN, as with SB3."""
        self._refit()
        self._update_learning_rate(self.policy.optimizer)
        self._replay.progress(self._current_progress_remaining)
        if self._learner.estimate.waits_for_returns:
            self._hold_constants(settled(self, self._replay.returns_seen(self._vec_normalize_env)))
        losses: list[float] = []
        whole = steps_as_written(self)
        with self._backend.updating():
            while len(losses) < gradient_steps:
                several = self._at_once(min(gradient_steps - len(losses), AT_ONCE), batch_size) if whole else []
                whole = bool(several)  # what was refused once is not asked for again at each step
                losses += several or self._one(batch_size)
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        loss = sum(losses) / len(losses) if losses else nan
        self._record({"loss": loss, **self._learner.estimate.logs(), **self._replay.logs()})

    def _one(self, batch_size: int) -> list[float]:
        """Take one gradient step."""
        loss = self._update(self._replay.sample_batch(batch_size, self._vec_normalize_env))
        self._n_updates += 1
        if is_due(self, "update", self._n_updates, 1):
            self._backend.update_target(self.tau)
        return [loss]

    def _at_once(self, n_steps: int, batch_size: int) -> list[float]:
        """Take several in one call where all that they consist of can be computed as a whole; return their losses."""
        replay: Any = self._replay
        lent = lend(replay, batch_size, self.rng) if self._vec_normalize_env is None else None
        if lent is None:
            return []
        if n_steps > 1 and not all(isinstance(each, np.random.Generator) for each in lent.generators):
            n_steps = 1  # a generator of a user's own cannot be put back, should fewer steps be taken
        due = [is_due(self, "update", self._n_updates + k, 1) for k in range(1, n_steps + 1)]
        try:
            made = self._learner.steps(lent, due, self.tau, self.max_grad_norm, replay.gather)
        finally:
            give_back(replay, lent)
        if made is None:
            return []
        losses: list[float] = made.losses.tolist()
        sound = not losses or (isfinite(losses[-1]) and isfinite(made.norms[-1]))
        self._n_updates += len(losses) - (not sound)
        if made.error is not None:
            raise made.error
        if not sound:
            batch = replay.gather(made.indices[len(losses) - 1])
            self._require_learned(losses[-1], float(made.norms[-1]), batch.observations, batch.next_observations)
        return losses

    def _update(self, batch: Batch) -> float:
        """Take one gradient step on `batch` and return its mean loss."""
        step = self._step(batch)
        if self._replay.wants_priorities:
            self._replay.update(batch.indices, self._learner.priorities(step.errors))
        return step.loss

    def get_state(self) -> dict[str, Any]:
        """Return all that learning depends on besides the env, as plain arrays, numbers and strings."""
        return {**super().get_state(), "replay_buffer": self._replay.get_state()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore what `get_state` returned; the model must have been built alike."""
        if "replay_buffer" in state:
            self._replay.set_state(state["replay_buffer"])
        super().set_state(state)

    def _excluded_save_params(self) -> list[str]:
        derived = "batch_norm_stats", "batch_norm_stats_target", "_room_for_a_window"
        return [*super()._excluded_save_params(), *derived]


#: What a class, or somebody who has put another function into a model or its learner, may do with a batch.
STEPS = frozenset(("_one", "_update", "_step", "_draw"))
LEARNER_STEPS = frozenset(("update", "priorities", "outputs", "_fresh_noise"))
#: What looks at a step of the environments.
LOOKS = frozenset(("_require_sound",))


def steps_as_written(model: ValueAlgorithm) -> bool:
    """Tell whether nobody has changed what a model, its learner, or the class of either, does with a batch."""
    return as_written(model, ValueAlgorithm, STEPS) and as_written(model._learner, Learner, LEARNER_STEPS)
