"""Exact answers for known models: value iteration, policy iteration and linear evaluation on P.

S states, A actions. ``P[s][a] = [(probability, next, reward, terminated), ...]`` as in GridWorld and in Gymnasium's
FrozenLake, Taxi and CliffWalking. A terminated transition never bootstraps: its next state counts as worth 0.
Sources: Bellman, *Dynamic Programming*, 1957 (value iteration); Howard, *Dynamic Programming and Markov Processes*,
1960 (policy iteration); Puterman, *Markov Decision Processes*, 1994, sections 6.3 and 6.4.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sb3_course.envs._checks import real, refusal

Model = Mapping[int, Mapping[int, Sequence[tuple[float, int, float, bool]]]]
FloatArray = NDArray[np.float64]


class TransitionArrays(NamedTuple):
    """A model as arrays.

    :param transitions: ``T[s, a, s'] = Pr(s' | s, a)``, shape (S, A, S); every T[s, a] sums to 1
    :param rewards: ``R[s, a] = E[r | s, a]``, shape (S, A)
    :param continuing: ``C[s, a, s'] = Pr(s' and not terminated | s, a)``, shape (S, A, S): what bootstraps of T
    """

    transitions: FloatArray
    rewards: FloatArray
    continuing: FloatArray


def to_arrays(P: Model) -> TransitionArrays:
    """Return (T, R, C) of a model; several outcomes with the same next state add up.

    :param P: the model
    :raises ValueError: probabilities of some (s, a) that do not sum to 1, or a state or action that does not exist
    """
    n_states, n_actions = len(P), len(P[0])
    if any(s not in P or len(P[s]) != n_actions for s in range(n_states)):
        raise refusal("P", "has missing states or actions", f"states {list(P)[:8]}...", "P[0..S-1][0..A-1]")
    index, values = _flatten(P)
    s, a, following = index.T
    if not (following.min() >= 0 and following.max() < n_states):
        raise refusal(
            "P", "has an unknown next state", [int(following.min()), int(following.max())], f"0 to {n_states - 1}"
        )
    probability, reward, terminated = values.T
    T, C = np.zeros((n_states, n_actions, n_states)), np.zeros((n_states, n_actions, n_states))
    R = np.zeros((n_states, n_actions))
    np.add.at(T, (s, a, following), probability)
    np.add.at(C, (s, a, following), probability * (1.0 - terminated))
    np.add.at(R, (s, a), probability * reward)
    totals = T.sum(axis=2)
    if not np.allclose(totals, 1.0, rtol=0.0, atol=1e-9):
        worst = np.unravel_index(int(np.abs(totals - 1.0).argmax()), totals.shape)
        where = tuple(int(i) for i in worst)
        raise refusal("P", f"has probabilities at (s, a) = {where} that do not sum to 1", float(totals[where]), "1")
    return TransitionArrays(T, R, C)


def value_iteration(P: Model, gamma: float, tolerance: float = 1e-12) -> FloatArray:
    """Return Q*, the fixed point of ``Q(s, a) = E[r + gamma * (1 - terminated) * max_a' Q(s', a')]``.

    :param P: the model
    :param gamma: discount, 0 <= gamma < 1
    :param tolerance: bound on ``max |Q - Q*|``, besides rounding
    :return: shape (S, A)
    :raises ValueError: gamma or tolerance out of bounds, or a model that is none
    """
    return _fixed_point(P, gamma, tolerance, lambda q: q.max(axis=1), 0.0)


def soft_value_iteration(P: Model, gamma: float, temperature: float, tolerance: float = 1e-12) -> FloatArray:
    """Return the fixed point of Q(s, a) = E[r + gamma * (1 - terminated) * tau * log sum_a' exp(Q(s', a') / tau)].

    It is the optimum of the return plus tau times the entropy of the policy, softmax(Q / tau) (Ziebart 2010; Haarnoja
    et al. 2017, Eq. 5 and 6).

    :param P: the model
    :param gamma: discount, 0 <= gamma < 1
    :param temperature: tau > 0
    :param tolerance: bound on ``max |Q - Q*|``, besides rounding
    :return: shape (S, A)
    :raises ValueError: gamma, temperature or tolerance out of bounds, or a model that is none
    """
    tau = real("temperature", temperature, low=0.0, open_low=True)

    def soft_maximum(q: FloatArray) -> FloatArray:
        largest = q.max(axis=1)
        return np.asarray(largest + tau * np.log(np.exp((q - largest[:, None]) / tau).sum(axis=1)))

    return _fixed_point(P, gamma, tolerance, soft_maximum, tau * math.log(len(P[0])))


def _fixed_point(
    P: Model, gamma: float, tolerance: float, state_values: Callable[[FloatArray], FloatArray], bonus: float
) -> FloatArray:
    """Return the fixed point of Q = R + gamma * C V(Q).

    :param state_values: V from Q, (S, A) -> (S,), which moves no further than Q does
    :param bonus: the most that V(Q) lies above the largest Q
    """
    gamma = _discount(gamma)
    tolerance = real("tolerance", tolerance, low=0.0, open_low=True)
    _, R, C = to_arrays(P)
    q = R.copy()
    if gamma == 0.0:
        return q
    # |Q_k - Q*| <= gamma^k |Q_0 - Q*| <= gamma^k gamma / (1 - gamma) (max |R| + bonus): so many sweeps always suffice.
    first_error = max(gamma / (1.0 - gamma) * (float(np.abs(R).max()) + bonus), tolerance)
    for _ in range(math.ceil(math.log(tolerance / first_error) / math.log(gamma)) + 1):
        previous = q
        q = R + gamma * (C @ state_values(previous))
        if float(np.abs(q - previous).max()) * gamma <= tolerance * (1.0 - gamma):
            break
    return q


def policy_evaluation(P: Model, policy: ArrayLike, gamma: float) -> FloatArray:
    """Return V of a policy from the linear system V = (I - gamma C_pi)^-1 r_pi.

    :param P: the model
    :param policy: an action for each state, shape (S,), or probabilities pi(a | s), shape (S, A)
    :param gamma: discount, 0 <= gamma < 1
    :return: shape (S,)
    :raises ValueError: gamma out of bounds, or a policy that is none
    """
    gamma = _discount(gamma)
    _, R, C = to_arrays(P)
    return _evaluate(R, C, _probabilities(policy, *R.shape), gamma)


def action_values(P: Model, values: ArrayLike, gamma: float) -> FloatArray:
    """Return Q(s, a) = E[r + gamma * (1 - terminated) * V(s')] for given V, shape (S,) -> (S, A).

    :param P: the model
    :param values: V, shape (S,)
    :param gamma: discount, 0 <= gamma < 1
    :raises ValueError: values of another shape, or gamma out of bounds
    """
    _, R, C = to_arrays(P)
    values = np.asarray(values, dtype=np.float64)
    if values.shape != R.shape[:1]:
        raise refusal("values", "has the wrong shape", values.shape, f"({len(R)},): one value a state")
    return np.asarray(R + _discount(gamma) * (C @ values))


def policy_iteration(P: Model, gamma: float) -> tuple[NDArray[np.int64], FloatArray]:
    """Return an optimal policy and Q*: evaluate exactly, act greedily, until no action is better.

    :param P: the model
    :param gamma: discount, 0 <= gamma < 1
    :return: actions, shape (S,), and Q*, shape (S, A)
    :raises ValueError: gamma out of bounds, or a model that is none
    """
    gamma = _discount(gamma)
    _, R, C = to_arrays(P)
    states = np.arange(len(R))
    policy = R.argmax(axis=1)
    while True:
        q = R + gamma * (C @ _evaluate(R, C, _probabilities(policy, *R.shape), gamma))
        # Equal actions that differ by rounding must not be swapped for ever.
        margin = 1e-13 * max(1.0, float(np.abs(q).max())) / (1.0 - gamma)
        better = q.max(axis=1) > q[states, policy] + margin
        if not better.any():
            return policy.astype(np.int64), q
        policy = np.where(better, q.argmax(axis=1), policy)


def optimal_actions(q: ArrayLike, tolerance: float = 1e-9) -> NDArray[np.bool_]:
    """Return which actions are greedy: q(s, a) >= max_a' q(s, a') - tolerance, shape (…, A) -> bool (…, A).

    :param q: action values, shape (…, A)
    :param tolerance: how far below the best an action may lie
    """
    q = np.asarray(q, dtype=np.float64)
    return np.asarray(q >= q.max(axis=-1, keepdims=True) - tolerance)


def reachable_states(P: Model, initial_distribution: ArrayLike, policy: ArrayLike | None = None) -> NDArray[np.bool_]:
    """Return the states in which an action can have to be chosen when starting from ``initial_distribution``.

    A state entered only by transitions that terminate is not among them: no action is ever chosen there.

    :param P: the model
    :param initial_distribution: probability of each first state, shape (S,)
    :param policy: only these actions are taken: actions (S,) or probabilities (S, A); None: any action
    :return: mask, shape (S,)
    :raises ValueError: an argument of the wrong shape
    """
    _, R, C = to_arrays(P)
    chosen = np.ones(R.shape) if policy is None else _probabilities(policy, *R.shape)
    edges = np.einsum("sa,sat->st", chosen, C) > 0.0
    reached = np.asarray(initial_distribution, dtype=np.float64) > 0.0
    if reached.shape != R.shape[:1]:
        raise refusal("initial_distribution", "has the wrong shape", reached.shape, f"({len(R)},)")
    while True:
        grown = reached | edges[reached].any(axis=0)
        if np.array_equal(grown, reached):
            return reached
        reached = grown


def _flatten(P: Model) -> tuple[NDArray[np.int64], FloatArray]:
    """Return (s, a, s') of every outcome, shape (n, 3), and (probability, reward, terminated), shape (n, 3)."""
    index: list[tuple[int, int, int]] = []
    values: list[tuple[float, float, float]] = []
    for s, actions in P.items():
        for a, outcomes in actions.items():
            for probability, following, reward, terminated in outcomes:
                index.append((s, a, following))
                values.append((probability, reward, float(terminated)))
    return np.array(index, dtype=np.int64), np.array(values, dtype=np.float64)


def _evaluate(R: FloatArray, C: FloatArray, probabilities: FloatArray, gamma: float) -> FloatArray:
    rewards = (probabilities * R).sum(axis=1)
    continuing = np.einsum("sa,sat->st", probabilities, C)
    return np.linalg.solve(np.eye(len(R)) - gamma * continuing, rewards)


def _probabilities(policy: Any, n_states: int, n_actions: int) -> FloatArray:
    """Return a policy of either form as pi(a | s), shape (S, A)."""
    policy = np.asarray(policy)
    if policy.shape == (n_states,) and np.issubdtype(policy.dtype, np.integer):
        if policy.size and not (policy.min() >= 0 and policy.max() < n_actions):
            raise refusal(
                "policy", "has an unknown action", [int(policy.min()), int(policy.max())], f"0 to {n_actions - 1}"
            )
        return np.asarray(np.eye(n_actions)[policy])
    if policy.shape != (n_states, n_actions):
        want = f"whole numbers ({n_states},) or probabilities ({n_states}, {n_actions})"
        raise refusal("policy", "has the wrong form", f"{policy.dtype} {policy.shape}", want)
    policy = policy.astype(np.float64)
    if (policy < 0.0).any() or not np.allclose(policy.sum(axis=1), 1.0, rtol=0.0, atol=1e-9):
        raise refusal(
            "policy", "has rows that are no probabilities", "a row sum other than 1 or a negative", "rows of sum 1"
        )
    return np.asarray(policy)


def _discount(gamma: float) -> float:
    gamma = real("gamma", gamma, low=0.0, high=1.0)
    if gamma == 1.0:
        raise refusal("gamma", "leaves the values without a bound", gamma, "0 <= gamma < 1, say 0.999999")
    return gamma
