"""Algorithms that collect and then learn from it: rollouts of so many steps, or whole episodes."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from sb3_course.config.errors import InputError
from sb3_course.replay.episodes import EpisodeBuffer, Observation
from sb3_course.sb3.algorithm import PluginAlgorithm
from sb3_course.sb3.asked import building
from sb3_course.sb3.masking import MaskedActions, choices_of, has_masks

#: A whole episode of this length, or as long as the whole training if that is longer, is taken for one without an end.
ENDLESS = 10_000


class RolloutAlgorithm(MaskedActions, PluginAlgorithm, OnPolicyAlgorithm):
    """SB3's on-policy algorithm with our buffer, in which an episode that goes on stays whole.

    A subclass says how actions are chosen, in `_choose`, and what is learned, in ``train``.
    """

    parts: ClassVar[tuple[str, ...]] = ("rollout_buffer",)
    _last_obs: Observation
    rollout_buffer: EpisodeBuffer  # type: ignore[assignment]
    #: Finished episodes before an update, where ``n_steps`` is None.
    episodes_per_update: int = 1

    def _build(self, **policy: Any) -> None:
        """Do what SB3's ``_setup_model`` does, with our buffer.

        :param policy: arguments of the policy, in place of the user's
        """
        self._setup_lr_schedule()
        self.set_random_seed(self.seed)
        self.rollout_buffer = EpisodeBuffer(self.n_envs)
        self._look_for_masks()
        arguments = {**self.policy_kwargs, **policy}
        with building(self):
            made = self.policy_class(self.observation_space, self.action_space, self.lr_schedule, **arguments)
        self.policy = made.to(self.device)  # type: ignore[assignment]
        self._make_backend()

    def _before_learn(self, total_timesteps: int, reset: bool) -> None:
        if self._look_for_masks() or reset or self._last_obs is None:
            self.rollout_buffer.reset()  # SB3 is about to reset the envs, or they are others
        self._endless = max(ENDLESS, total_timesteps)

    def _look_for_masks(self) -> bool:
        """Ask the envs once whether some actions are invalid at times; True if the answer is another than before.

        :raises InputError: where they are, and are no discrete ones
        """
        before, self._masks_now = self._masked, None  # the envs may have been reset since
        if self.env is not None:  # a model that is loaded without one has been told by its file
            self._masked = has_masks(self.env)
        if self._masked:
            choices_of(self.action_space)
        return self._masked != before

    @abstractmethod
    def _choose(self, first: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return an action for every env, as the buffer keeps it, (E, K), and as the envs take it, (E, …).

        :param first: whether it is the first step of a rollout
        """

    def collect_rollouts(  # type: ignore[override]
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: EpisodeBuffer, n_rollout_steps: int | None
    ) -> bool:
        """Fill `rollout_buffer` with what one update needs; False if the callback ended training."""
        self.policy.set_training_mode(False)
        callback.on_rollout_start()  # before anything is drawn: a checkpoint is taken there
        # Of noisy layers, if there are any; one sample a rollout (Fortunato et al. 2018, section 3.2).
        self._backend.reset_noise("online", self.rng.standard_normal)
        n_steps, longest = 0, rollout_buffer.longest
        while n_steps < n_rollout_steps if n_rollout_steps else rollout_buffer.n_episodes < self.episodes_per_update:
            actions, clipped_actions = self._choose(first=n_steps == 0)
            new_obs, rewards, dones, infos = env.step(clipped_actions)
            self.num_timesteps += env.num_envs
            callback.update_locals(locals())
            goes_on = callback.on_step()
            self._update_info_buffer(infos, dones)
            self._require_sound(new_obs, rewards, dones, infos)
            masks = self._masks_of_step(infos, dones) if self._masked else None
            rollout_buffer.add(self._last_obs, actions, rewards, dones, infos, masks)
            self._last_obs = new_obs  # type: ignore[assignment]
            self._last_episode_starts = dones
            n_steps += 1
            if not goes_on:  # only now: without this step its episode would have a hole, or run into the next one
                return False
            # No open episode is longer than the longest at the start and these steps.
            if n_rollout_steps is None and longest + n_steps >= self._endless <= rollout_buffer.longest:
                self._refuse_endless(rollout_buffer.longest)
        callback.update_locals(locals())
        callback.on_rollout_end()
        return True

    def _refuse_endless(self, length: int) -> None:
        want = "gymnasium.make(..., max_episode_steps=...), or an algorithm with n_steps"
        raise InputError("max_episode_steps", "an episode does not end", f"{length} steps", want)
