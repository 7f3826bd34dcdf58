"""SB3's collection for replay, mended where a callback ends it."""

from __future__ import annotations

from typing import Any

from stable_baselines3.common.buffers import ReplayBuffer as SB3ReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.type_aliases import RolloutReturn, TrainFreq
from stable_baselines3.common.vec_env import VecEnv


class WholeSteps(OffPolicyAlgorithm):
    """A mixin in front of SB3's off-policy algorithms: the step at which a callback ends training is finished.

    SB3 returns as soon as the callback has spoken, after the env's step and before the transition is stored. Whoever
    learns on with ``reset_num_timesteps=False`` would then act on what was seen a step before, store a transition from
    there into the step after, across episodes where one ended, and never learn of its end.
    """

    def collect_rollouts(
        self,
        env: VecEnv,
        callback: BaseCallback,
        train_freq: TrainFreq,
        replay_buffer: SB3ReplayBuffer,
        action_noise: ActionNoise | None = None,
        learning_starts: int = 0,
        log_interval: int | None = None,
    ) -> RolloutReturn:
        """Collect as SB3 does, and finish the step at which `callback` ended it."""
        rest = (train_freq, replay_buffer, action_noise, learning_starts, log_interval)
        rollout = super().collect_rollouts(env, callback, *rest)
        if not rollout.continue_training:
            self._finish_step(replay_buffer, callback.locals, log_interval)
        return rollout

    def _finish_step(self, replay_buffer: SB3ReplayBuffer, seen: dict[str, Any], log_interval: int | None) -> None:
        """Do what SB3's collection does after the callback, in its order.

        :param seen: the locals of SB3's collection, as the callback saw them
        """
        dones, infos = seen["dones"], seen["infos"]
        self._update_info_buffer(infos, dones)
        self._store_transition(replay_buffer, seen["buffer_actions"], seen["new_obs"], seen["rewards"], dones, infos)
        self._update_current_progress_remaining(self.num_timesteps, self._total_timesteps)
        self._on_step()
        for _ in range(int(sum(dones))):
            self._episode_num += 1
            if log_interval is not None and self._episode_num % log_interval == 0:
                self.dump_logs()
