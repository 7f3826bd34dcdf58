"""Targets of value learning: who picks the next action, and what is then learned from."""

from __future__ import annotations

from sb3_course.functional.array_api import Array, namespace, rows


def greedy(values: Array) -> Array:
    """Return ``argmax_a v_a``, the first of the largest `values` v, (B, A) -> (B,): the home of the greedy choice."""
    return values.argmax(1)


def valid(values: Array, masks: Array | None, instead: float = -float("inf")) -> Array:
    """Return ``v_a`` for valid actions and ``−∞``, or a finite number, for the others.

    :param values: v, (B, A)
    :param masks: true for valid actions, (B, A); None: all are
    :param instead: of the values of invalid actions
    :return: (B, A)
    """
    return values if masks is None else namespace(values).where(masks, values, instead)


def select(outputs: Array, values: Array) -> Array:
    """Pick, in every row, the entry of the action with the largest value.

    ``select(q_target, q_target)`` is the maximum of DQN (Mnih et al. 2015, Algorithm 1);
    ``select(q_target, q_online)`` is Double DQN, where one network chooses and the other
    evaluates (van Hasselt et al. 2016, Eq. 4).

    :param outputs: what is picked from, (B, A, …)
    :param values: who picks: one number an action, (B, A)
    :return: ``outputs[b, argmax_a values[b, a]]``, (B, …)
    """
    return outputs[rows(values), greedy(values)]


def td_target(rewards: Array, discounts: Array, next_values: Array) -> Array:
    """Return the temporal-difference target ``r + discount · v'``.

    ``discount`` is γ^m·(1 − terminated), so that termination, truncation and the horizon m are
    no concern of the formula (Sutton & Barto 2018, Eq. 6.3 and 7.1).

    :param rewards: the (discounted, m-step) reward, (B,)
    :param discounts: γ^m·(1 − terminated), (B,)
    :param next_values: the value of the observation m steps later, (B,)
    :return: the target, (B,)
    """
    return rewards + discounts * next_values
