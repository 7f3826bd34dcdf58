"""The one learning rule of the value family; a named algorithm is a row of defaults in `algorithms`."""

from __future__ import annotations

import warnings
from typing import Any, TypeVar

import numpy as np
from stable_baselines3.common.buffers import ReplayBuffer as SB3ReplayBuffer
from stable_baselines3.common.type_aliases import MaybeCallback

from sb3_course.config import parameters
from sb3_course.functional.array_api import Array
from sb3_course.replay import Batch
from sb3_course.value.actor import ValueActor
from sb3_course.value.estimates import Categorical

SelfValueLearner = TypeVar("SelfValueLearner", bound="ValueLearner")


class ValueLearner(ValueActor):
    """Collect, sample, step: the loop is SB3's, the target and the gradient are `functional`'s."""

    def _store_transition(
        self,
        replay_buffer: SB3ReplayBuffer,
        buffer_action: np.ndarray,
        new_obs: np.ndarray | dict[str, np.ndarray],
        reward: np.ndarray,
        dones: np.ndarray,
        infos: list[dict[str, Any]],
    ) -> None:
        self._require_finite("reward", reward, "correct the environment's reward")
        n_finished = int(np.count_nonzero(dones))
        if n_finished == 0 and self._vec_normalize_env is None and self._replay.copies:
            # What SB3 does, less its copy of the observation, which nothing has to be put into and `add` copies anyway.
            self._replay.add(self._last_obs, new_obs, buffer_action, reward, dones, infos)
            self._last_original_obs, self._last_obs = self._last_obs, new_obs
            return
        super()._store_transition(replay_buffer, buffer_action, new_obs, reward, dones, infos)
        self._n_finished += n_finished
        if self._due("episode", self._n_finished, n_finished):
            self._backend.update_target(self.tau)

    def _on_step(self) -> None:
        self._n_calls += 1
        if self._due("step", self._n_calls, 1):
            self._backend.update_target(self.tau)
        # Noisy networks explore by themselves (Fortunato et al. 2018, section 3.3).
        self.exploration_rate = 0.0 if self.noisy else self._epsilon_now()
        self.logger.record("rollout/exploration_rate", self.exploration_rate)

    def _epsilon_now(self) -> float:
        return float(self.exploration_schedule(self._current_progress_remaining))

    def _due(self, unit: str, count: int, added: int) -> bool:
        """Tell whether the `added` events up to `count` reached another multiple of the target's interval."""
        if unit != self.target_update_unit:
            return False
        interval = self.target_update_interval
        if unit == "step":  # one call of `_on_step` is n_envs env steps
            interval = max(interval // self.n_envs, 1)
        return count // interval > (count - added) // interval

    # -- learning -------------------------------------------------------------------------------------------------

    def learn(
        self: SelfValueLearner,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 4,
        tb_log_name: str | None = None,
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> SelfValueLearner:
        """Collect and learn for `total_timesteps` env steps; see SB3."""
        parameters.check({"total_timesteps": total_timesteps})
        if reset_num_timesteps and total_timesteps <= self.learning_starts:
            warnings.warn(
                f"total_timesteps={total_timesteps} ends before learning_starts={self.learning_starts}: "
                "little or nothing will be learned.",
                stacklevel=2,
            )
        if reset_num_timesteps or self._last_obs is None:
            self._replay.cut()  # SB3 is about to reset the envs
        self._tell_replay()
        self._bind()
        name = tb_log_name or type(self).__name__
        return super().learn(total_timesteps, callback, log_interval, name, reset_num_timesteps, progress_bar)

    def train(self, gradient_steps: int, batch_size: int = 100) -> None:
        """Take `gradient_steps` gradient steps on batches from replay."""
        self._backend.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        self._backend.bind(certain=True)
        self._replay.progress(self._current_progress_remaining)
        losses = []
        with self._backend.computing():
            for _ in range(gradient_steps):
                losses.append(self._update(self._sample_batch(batch_size)))
                self._n_updates += 1
                if self._due("update", self._n_updates, 1):
                    self._backend.update_target(self.tau)
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        self.logger.record("train/loss", sum(losses) / len(losses))
        if isinstance(self._law, Categorical):
            self.logger.record("train/clipped_mass", self._law.clipped)

    def _sample_batch(self, batch_size: int) -> Batch:
        return self._replay.sample_batch(batch_size, env=self._vec_normalize_env)

    def _update(self, batch: Batch) -> float:
        """Take one gradient step on `batch` and return its mean loss."""
        backend, replay, indices = self._backend, self._replay, batch.indices
        actions = batch.actions.reshape(-1).astype(np.int64, copy=False)  # torch takes small integers for a mask
        batch = backend.batch(batch)
        outputs, next_outputs, selector = self._outputs(batch)
        errors = self._law.errors(outputs, backend.array(actions), next_outputs, selector, batch)
        backend.backward(errors.grad_outputs)
        norm = backend.step(self.max_grad_norm)

        loss = float(errors.losses @ batch.weights) / len(errors.losses)
        self._require_finite("loss", loss, "lower learning_rate or scale the rewards")
        self._require_finite("gradient", norm, "lower learning_rate or scale the rewards")
        if replay.wants_priorities:
            priorities = self._law.priorities(errors.losses, errors.predictions, errors.targets)
            replay.update(indices, backend.to_numpy(priorities))
        return loss

    def _outputs(self, batch: Batch) -> tuple[Array, Array, Array]:
        """Return the online network's outputs, the target's for the next observations, and those that choose there.

        All (B, A, N); the first are the last to be computed, and what `backward` goes back through.
        """
        backend = self._backend
        self._fresh_noise("target")
        next_outputs = backend.target_forward(batch.next_observations)
        if self.double and not self.noisy:
            outputs, selector = backend.forward_and_select(batch.observations, batch.next_observations)
            return outputs, next_outputs, selector
        selector = next_outputs
        if self.double:
            self._fresh_noise("online")
            selector = backend.select_forward(batch.next_observations)
        self._fresh_noise("online")
        return backend.forward(batch.observations), next_outputs, selector

    def _fresh_noise(self, which: str) -> None:
        """Draw a new sample of the network's noise: choice, target and loss each have one of their own."""
        if self.noisy:
            self._backend.reset_noise(which, self.rng.standard_normal)
