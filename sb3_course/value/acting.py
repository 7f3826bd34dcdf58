"""How a Q network chooses actions: greedily, by whoever computes it faster, with fresh noise where it explores."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch as th

from sb3_course.backends import Backend
from sb3_course.functional import greedy, valid
from sb3_course.functional.risk import Risk
from sb3_course.networks import from_start, noise_free
from sb3_course.sb3.masking import mask_rows
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
        masks: np.ndarray | None = None,
        trusted: bool = False,
    ) -> np.ndarray:
        """Return the ε-greedy actions of collection, with a new sample of the noise, if there is any, (E,).

        :param masks: which actions are valid, (E, A); None: all
        :param trusted: as in `Backend.act`
        """

        def greedy_actions() -> np.ndarray:
            if self._backend.quick:
                return self._quick(observations, rng, trusted=trusted, masks=masks)
            return self._thorough(observations, False, None, rng, masks)

        return epsilon_greedy(rng, epsilon, greedy_actions, self._policy.action_space, n_envs, masks)

    def explore(
        self,
        observation: Any,
        epsilon: Callable[[int], float | np.ndarray],
        rng: np.random.Generator,
        risk: Risk | None = None,
        masks: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return the ε-greedy action of one observation, (), or of several, (E,), with a coin for each.

        :param epsilon: ε of so many envs
        :param masks: which actions are valid, (A,) or (E, A); None: all
        """
        several = is_batch(observation, self._policy.observation_space)
        # Of what SB3 has to look at, it says how many they are.
        known = self.greedy(observation, False, risk, rng, masks) if several is None else None
        if known is not None:
            several, observation = known.ndim > 0, known.reshape(-1)
        n_envs = len(observation) if several else 1

        def greedy_actions() -> np.ndarray:
            return (self.greedy(observation, False, risk, rng, masks) if known is None else known).reshape(-1)

        rows = None if masks is None else mask_rows(masks, n_envs, self._policy.action_space)
        actions = epsilon_greedy(rng, epsilon(n_envs), greedy_actions, self._policy.action_space, n_envs, rows)
        return actions if several else np.array(actions[0])

    def greedy(
        self,
        observation: Any,
        deterministic: bool,
        risk: Risk | None = None,
        rng: np.random.Generator | None = None,
        masks: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return the greedy action of one observation, (), or of several, (E,).

        :param deterministic: without noise; its sample stays as it is
        :param risk: another measure than the model's own
        :param rng: breaks ties where all outputs start equal; None: the first of equal actions
        :param masks: which actions are valid, (A,) or (E, A); None: all
        """
        quick = self._backend.quick and risk is None
        several = is_batch(observation, self._policy.observation_space) if quick else None
        if several is None:
            return self._thorough(observation, deterministic, risk, rng, masks)
        rows = observation if several else np.asarray(observation)[None]
        actions = self._quick(rows, rng, noise_free=self._noisy and deterministic, masks=masks)
        return actions if several else actions.squeeze(axis=0)

    def _thorough(
        self,
        observation: Any,
        deterministic: bool,
        risk: Risk | None,
        rng: np.random.Generator | None,
        masks: np.ndarray | None,
    ) -> np.ndarray:
        """Let the policy act, with all that SB3's ``predict`` checks."""
        if self._noisy and not deterministic:
            self._backend.reset_noise("online", self._draw)
        with self._policy.judged_by(self._estimate.risk if risk is None else risk):
            if masks is None and (rng is None or not self._all_start_equal):
                return self._policy.predict(observation, deterministic=deterministic)[0]
            tensor, several = self._policy.obs_to_tensor(observation)
            quiet = noise_free(self._policy.q_net) if self._noisy and deterministic else nullcontext()
            self._policy.set_training_mode(False)
            with th.no_grad(), quiet:
                values = self._policy.q_net.compared(tensor).cpu().numpy()
        actions: np.ndarray = from_start(self._best(values, masks, rng), self._policy.action_space)
        return actions if several else actions.squeeze(axis=0)

    def _best(self, values: np.ndarray, masks: np.ndarray | None, rng: np.random.Generator | None) -> np.ndarray:
        """Return the best valid action of each row, (E, A) -> (E,)."""
        values = valid(values, None if masks is None else mask_rows(masks, len(values), self._policy.action_space))
        if rng is not None and self._all_start_equal:
            return greedy_at_random(values, rng)
        best: np.ndarray = greedy(values)
        return best

    def _quick(
        self,
        observations: Any,
        rng: np.random.Generator | None,
        noise_free: bool = False,
        trusted: bool = False,
        masks: np.ndarray | None = None,
    ) -> np.ndarray:
        """Let the backend act, for several observations, (E,)."""
        if masks is None and not noise_free and not (rng is not None and self._all_start_equal):
            formula, draw = self._estimate.formula(), self._draw if self._noisy else None
            chosen = None if formula is None else self._backend.greedy(formula, observations, draw, trusted)
            if chosen is not None:
                at_once: np.ndarray = from_start(chosen, self._policy.action_space)
                return at_once
        if self._noisy and not noise_free:
            self._backend.reset_noise("online", self._draw)
        outputs = self._backend.act(self._estimate.to_choose(observations), trusted, noise_free)
        values = self._backend.to_numpy(self._estimate.values(outputs))  # (E, A)
        actions: np.ndarray = from_start(self._best(values, masks, rng), self._policy.action_space)
        return actions
