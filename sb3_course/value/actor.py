"""How the value family acts: greedy, ε-greedy or by noise, for one env or many."""

from __future__ import annotations

from typing import Any

import numpy as np
from stable_baselines3.common.noise import ActionNoise

from sb3_course.value.exploration import epsilon_greedy
from sb3_course.value.risk_words import parse
from sb3_course.value.value_algorithm import ValueAlgorithm


class ValueActor(ValueAlgorithm):
    """Choose actions: SB3's ``predict``, and what its collection loop calls."""

    def predict(
        self,
        observation: np.ndarray | dict[str, np.ndarray],
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
        risk: str | None = None,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """Return actions, greedy if `deterministic`, else ε-greedy with a coin of its own for every env.

        :param risk: what "greedy" compares, of a distributional model; by default the model's own ``risk``
        """

        def greedy() -> np.ndarray:
            return choose(observation, deterministic, risk).reshape(-1)

        # In NumPy what noisy layers compute with is put together only where we train.
        quick = self._backend.quick and risk is None and not self.noisy
        choose = self._quick_greedy if quick else self._greedy

        if deterministic:
            return choose(observation, deterministic, risk), state
        vectorized = self.policy.is_vectorized_observation(observation)
        first = next(iter(observation.values())) if isinstance(observation, dict) else observation
        n_envs = len(first) if vectorized else 1
        actions = epsilon_greedy(self.rng, self._epsilon(n_envs), greedy, self.action_space, n_envs)
        return (actions if vectorized else np.array(actions[0])), state

    def _sample_action(
        self, learning_starts: int, action_noise: ActionNoise | None = None, n_envs: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        if self.num_timesteps < learning_starts:
            actions = np.array([self.action_space.sample() for _ in range(n_envs)])
        else:
            choose = self._quick_choice if self._backend.quick else self._greedy
            epsilon = self._epsilon(n_envs)
            actions = epsilon_greedy(self.rng, epsilon, lambda: choose(self._last_obs), self.action_space, n_envs)
        return actions, actions

    def _greedy(self, observation: Any, deterministic: bool = False, risk: str | None = None) -> np.ndarray:
        """Return the best actions; noisy networks choose by a new sample of their noise unless `deterministic`."""
        if self.noisy and not deterministic:
            self._backend.reset_noise("online", self.rng.standard_normal)
        with self.policy.judged_by(parse(self.risk if risk is None else risk)):
            return self.policy.predict(observation, deterministic=deterministic)[0]

    def _quick_greedy(self, observation: Any, deterministic: bool = False, risk: str | None = None) -> np.ndarray:
        """Return the best actions as `_greedy` does, computed by the backend."""
        if self.policy.is_vectorized_observation(observation):
            return self._quick_choice(observation)
        return self._quick_choice(np.asarray(observation)[None]).squeeze(axis=0)

    def _quick_choice(self, observations: Any) -> np.ndarray:
        """Return the best action for each of several observations, computed by the backend, (E,)."""
        if self.noisy:
            self._backend.reset_noise("online", self.rng.standard_normal)
        values = self._law.values(self._backend.act(observations))  # (E, A)
        actions: np.ndarray = self._backend.to_numpy(values).argmax(1)
        return actions

    def _epsilon(self, n_envs: int) -> float | np.ndarray:
        """Return ε, or one an env: ``ε_i = ε^(1 + α·i/(E − 1))`` (Horgan et al. 2018, section 4.1), (E,)."""
        if self.exploration_ladder == 0 or n_envs == 1:
            return self.exploration_rate
        rungs: np.ndarray = self.exploration_rate ** (1 + self.exploration_ladder * np.linspace(0, 1, n_envs))
        return rungs
