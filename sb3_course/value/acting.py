"""How a Q network chooses actions: greedily, by whoever computes it faster, with fresh noise where it explores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch as th

from sb3_course.backends import Backend
from sb3_course.functional import greedy
from sb3_course.functional.risk import Risk
from sb3_course.networks import from_start
from sb3_course.sb3.observations import is_batch
from sb3_course.value.estimates import ReturnEstimate
from sb3_course.value.exploration import epsilon_greedy, greedy_at_random
from sb3_course.value.learning import Draw
from sb3_course.value.q_policies import QPolicy


class Actor:
    """The greedy choice ``argmax_a ρ(Z(s, a))``, ρ the mean or another risk measure.

    Where all outputs start equal, as a table's do, exploring breaks ties at random: the first of equal actions would be
    taken until another one has been seen to be better, which may be never.

    :param policy: the truth, which can act by itself
    :param backend: may be quicker than the policy
    :param estimate: says what the outputs mean, in the backend's arrays
    :param noisy: whether noise on the weights explores
    :param draw: ``draw(size)`` gives standard normal numbers for it
    """

    def __init__(self, policy: QPolicy, backend: Backend, estimate: ReturnEstimate, noisy: bool, draw: Draw) -> None:
        self._policy, self._backend, self._estimate = policy, backend, estimate
        self._noisy, self._draw = noisy, draw
        self._all_start_equal = policy.all_start_equal

    def collect(
        self,
        observations: Any,
        epsilon: float | np.ndarray,
        rng: np.random.Generator,
        n_envs: int,
        trusted: bool = False,
    ) -> np.ndarray:
        """Return the ε-greedy actions of collection, with a new sample of the noise, if there is any, (E,).

        :param trusted: as in `Backend.act`
        """

        def greedy_actions() -> np.ndarray:
            quick = self._backend.quick
            if quick:
                return self._quick(observations, rng, trusted=trusted)
            return self._thorough(observations, False, None, rng)

        return epsilon_greedy(rng, epsilon, greedy_actions, self._policy.action_space, n_envs)

    def explore(
        self,
        observation: Any,
        epsilon: Callable[[int], float | np.ndarray],
        rng: np.random.Generator,
        risk: Risk | None = None,
    ) -> np.ndarray:
        """Return the ε-greedy action of one observation, (), or of several, (E,), with a coin for each.

        :param epsilon: ε of so many envs
        """
        several = is_batch(observation, self._policy.observation_space)
        # Of what SB3 has to look at, it says how many they are.
        known = self.greedy(observation, False, risk, rng) if several is None else None
        if known is not None:
            several, observation = known.ndim > 0, known.reshape(-1)
        n_envs = len(observation) if several else 1

        def greedy_actions() -> np.ndarray:
            return (self.greedy(observation, False, risk, rng) if known is None else known).reshape(-1)

        actions = epsilon_greedy(rng, epsilon(n_envs), greedy_actions, self._policy.action_space, n_envs)
        return actions if several else np.array(actions[0])

    def greedy(
        self, observation: Any, deterministic: bool, risk: Risk | None = None, rng: np.random.Generator | None = None
    ) -> np.ndarray:
        """Return the greedy action of one observation, (), or of several, (E,).

        :param deterministic: without noise; its sample stays as it is
        :param risk: another measure than the model's own
        :param rng: breaks ties where all outputs start equal; None: the first of equal actions
        """
        quick = self._backend.quick and risk is None
        several = is_batch(observation, self._policy.observation_space) if quick else None
        if several is None:
            return self._thorough(observation, deterministic, risk, rng)
        rows = observation if several else np.asarray(observation)[None]
        actions = self._quick(rows, rng, noise_free=self._noisy and deterministic)
        return actions if several else actions.squeeze(axis=0)

    def _thorough(
        self, observation: Any, deterministic: bool, risk: Risk | None, rng: np.random.Generator | None
    ) -> np.ndarray:
        """Let the policy act, with all that SB3's ``predict`` checks."""
        if self._noisy and not deterministic:
            self._backend.reset_noise("online", self._draw)
        with self._policy.judged_by(self._estimate.risk if risk is None else risk):
            if rng is None or not self._all_start_equal:
                return self._policy.predict(observation, deterministic=deterministic)[0]
            tensor, several = self._policy.obs_to_tensor(observation)
            with th.no_grad():
                values = self._policy.q_net.compared(tensor).cpu().numpy()
        actions: np.ndarray = from_start(greedy_at_random(values, rng), self._policy.action_space)
        return actions if several else actions.squeeze(axis=0)

    def _quick(
        self, observations: Any, rng: np.random.Generator | None, noise_free: bool = False, trusted: bool = False
    ) -> np.ndarray:
        """Let the backend act, for several observations, (E,)."""
        if self._noisy and not noise_free:
            self._backend.reset_noise("online", self._draw)
        outputs = self._backend.act(observations, trusted, noise_free)
        values = self._backend.to_numpy(self._estimate.values(outputs))  # (E, A)
        at_random = rng is not None and self._all_start_equal
        chosen = greedy_at_random(values, rng) if at_random else greedy(values)  # type: ignore[arg-type]
        actions: np.ndarray = from_start(chosen, self._policy.action_space)
        return actions
