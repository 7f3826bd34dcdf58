"""How the value family acts in its environments: greedily or ε-greedily, among the actions that are valid."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.vec_env import VecEnv

from sb3_course.replay.masks import IN_INFO
from sb3_course.sb3.masking import current_masks, terminal_masks
from sb3_course.sb3.observations import require_observation
from sb3_course.value.acting import Actor
from sb3_course.value.exploration import epsilon_ladder, random_action
from sb3_course.value.risk_words import parse


class Collecting:
    """A mixin of algorithms; environments that have ``action_masks()`` are asked for them, once a step."""

    env: VecEnv | None
    observation_space: spaces.Space[Any]
    action_space: spaces.Space[Any]
    num_timesteps: int
    rng: np.random.Generator
    exploration_rate: float
    exploration_ladder: float
    warmup: str
    _actor: Actor
    _last_obs: Any
    #: Whether the environments say which actions are valid.
    _masked = False
    #: Their masks now, (E, A); None until they are asked.
    _masks_now: np.ndarray | None = None

    def predict(
        self,
        observation: np.ndarray | dict[str, np.ndarray],
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
        risk: str | None = None,
        action_masks: np.ndarray | None = None,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """Return actions, greedy if `deterministic`, else ε-greedy with a coin of its own for every env.

        :param risk: what "greedy" compares, of a return distribution; by default the model's own ``risk``
        :param action_masks: which actions are valid, (A,) or (E, A); None: all
        """
        require_observation(observation, self.observation_space)
        measure = None if risk is None else parse(risk)
        if not deterministic:
            return self._actor.explore(observation, self._epsilon, self.rng, measure, action_masks), state
        return self._actor.greedy(observation, True, measure, masks=action_masks), state

    def _sample_action(
        self, learning_starts: int, action_noise: ActionNoise | None = None, n_envs: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        masks = self._valid_now()
        if self.num_timesteps < learning_starts and self.warmup == "random":
            actions = np.array([random_action(self.action_space, masks, env) for env in range(n_envs)])
        else:
            actions = self._actor.collect(self._last_obs, self._epsilon(n_envs), self.rng, n_envs, masks)
        return actions, actions

    def _epsilon(self, n_envs: int) -> float | np.ndarray:
        return epsilon_ladder(self.exploration_rate, self.exploration_ladder, n_envs)

    def _valid_now(self) -> np.ndarray | None:
        """Return which actions are valid now, (E, A), or None where all always are."""
        if self._masked and self._masks_now is None:
            assert self.env is not None
            self._masks_now = current_masks(self.env, int(self.action_space.n))  # type: ignore[attr-defined]
        return self._masks_now

    def _note_masks(self, infos: list[dict[str, Any]], dones: np.ndarray) -> None:
        """Put the masks before and after a step into the infos, where the replay buffer finds them."""
        before = self._valid_now()
        assert before is not None
        self._masks_now = None
        after = self._valid_now()
        assert after is not None
        following = terminal_masks(infos, dones, before, after)
        for env, info in enumerate(infos):
            info[IN_INFO] = np.stack([before[env], following[env]])
