"""How the value family explores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium import spaces


def epsilon_greedy(
    rng: np.random.Generator,
    epsilon: float | np.ndarray,
    greedy: Callable[[], np.ndarray],
    action_space: spaces.Space[Any],
    n_envs: int,
    masks: np.ndarray | None = None,
) -> np.ndarray:
    """Return an action an env: random with probability ε, else greedy; every env tosses its own coin.

    :param rng: tosses the coins; random actions come from `action_space`, as in SB3
    :param epsilon: one number, or one an env, (E,)
    :param greedy: called only if some env needs it, returns (E,)
    :param masks: which actions are valid, (E, A); None: all
    """
    coins = rng.random(n_envs)
    if n_envs == 1 and isinstance(epsilon, float) and not coins.item() < epsilon:  # the most frequent case, sooner told
        return greedy()
    explore = coins < epsilon
    n_exploring = np.count_nonzero(explore)  # a third of the time of `any`
    if not n_exploring:
        return greedy()
    actions = np.empty(n_envs, dtype=np.int64) if n_exploring == n_envs else greedy().copy()
    actions[explore] = random_actions(action_space, masks, np.flatnonzero(explore))
    return actions


def random_actions(space: spaces.Space[Any], masks: np.ndarray | None, envs: np.ndarray) -> Any:
    """Return an action drawn from the space for each of some envs, of those that are valid there, (M,)."""
    if masks is not None:
        return [space.sample(masks[env].astype(np.int8)) for env in envs]
    if type(space) is spaces.Discrete:  # the numbers that `sample` draws one by one, to the bit
        return space.start + space.np_random.integers(space.n, size=len(envs), dtype=space.dtype.type)
    return [space.sample() for _ in envs]


def greedy_at_random(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the best action of each row, one of the equally good ones at random, (B, A) -> (B,)."""
    best = values == values.max(axis=1, keepdims=True)
    chosen = rng.random(len(values)) * np.count_nonzero(best, axis=1)  # the how-manieth of them, from 0
    actions: np.ndarray = (best.cumsum(axis=1) > chosen[:, None]).argmax(axis=1)
    return actions


def epsilon_ladder(epsilon: float, exponent: float, n_envs: int) -> float | np.ndarray:
    """Return ε, or one an env: ``ε_i = ε^(1 + α·i/(E − 1))`` (Horgan et al. 2018, section 4.1), (E,).

    :param exponent: α; 0: the same ε for all
    """
    if exponent == 0 or n_envs == 1:
        return epsilon
    rungs: np.ndarray = epsilon ** (1 + exponent * np.linspace(0, 1, n_envs))
    return rungs
