"""Prioritized draws inside of a compiled update: `replay.proportional`, and a batch out of rows that lie in memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from sb3_course.backends.compiled.jit import Array, inner_exact
from sb3_course.backends.compiled.replay import tree_children, tree_parents, tree_roots, windows
from sb3_course.replay.sum_tree import FAN_OUT

#: Where things lie in a row, in numbers of four bytes, the action in numbers of eight.
OBSERVATION, NEXT_OBSERVATION, ACTION, REWARD, DONE, TIMEOUT, N_COLUMNS = range(7)
#: Numbers of an observation, what actions count from, envs, and the flat index of the newest slot's first row.
INPUTS, FIRST_ACTION, N_ENVS, NEWEST, N_SHARED = range(5)


@inner_exact
def draw_leaves(tree: Array, levels: Array, quantiles: Array, found: Array) -> None:
    """Write to `found` (B,) the leaf at each of `quantiles` of the tree's sum.

    :param tree: all levels, one after the other
    :param levels: where each begins and the last one, the root's children, ends
    """
    n_levels = levels.size - 1
    root = tree[levels[n_levels - 1] : levels[n_levels]]
    prefixes = np.empty(root.size + 1)
    prefixes[0] = 0.0
    for i in range(root.size):
        prefixes[i + 1] = prefixes[i] + root[i]
    targets, before = quantiles * prefixes[-1], np.empty(quantiles.size)
    if prefixes[-1] == 0 or not tree_roots(prefixes, targets, found, before):
        raise ValueError("a draw is outside of the priorities' sum, or there is nothing to draw from")
    for level in range(n_levels - 2, -1, -1):
        tree_children(tree[levels[level] : levels[level + 1]], found, targets, before, FAN_OUT)


@inner_exact
def weights_of_leaves(tree: Array, found: Array, beta: float) -> Array:
    """Return the importance weights of the leaves that were drawn, (B,)."""
    weights, least = np.empty(found.size, np.float32), tree[found[0]]
    for b in range(found.size):
        least = min(least, tree[found[b]])
    for b in range(found.size):
        weights[b] = (least / tree[found[b]]) ** beta
    return weights


@inner_exact
def new_priorities(
    tree: Array, levels: Array, found: Array, priorities: Array, alpha: float, eps: float, bounds: Array
) -> None:
    """Give leaves that were drawn new priorities (B,).

    :param bounds: the least and the largest leaf there may be, and the largest priority seen, which may grow
    """
    leaves, largest = np.empty(found.size), bounds[2]
    for b in range(found.size):
        priority = np.float64(priorities[b])
        leaves[b] = max((priority + eps) ** alpha, bounds[0])
        if not (0 <= priority < np.inf and leaves[b] <= bounds[1]):
            raise ValueError("a priority is not the size of an error")
        largest = max(largest, priority + eps)
    bounds[2] = largest
    for b in range(found.size):
        tree[found[b]] = leaves[b]
    nodes = found.copy()
    for level in range(levels.size - 2):
        above = tree[levels[level + 1] : levels[level + 2]]
        tree_parents(tree[levels[level] : levels[level + 1]], above, nodes, FAN_OUT)


@inner_exact
def gather(
    rows: Array, wide: Array, columns: Array, found: Array, powers: Array, whole: Array
) -> tuple[Array, Array, Array, Array]:
    """Return a batch, windows of n steps from the rows `found` (B,) on.

    :param rows: the transitions as numbers of four bytes, (slots · envs, w)
    :param wide: the same memory as whole numbers of eight, (slots · envs, w / 2)
    :param columns: see `OBSERVATION`
    :param powers: γ^0 … γ^n, (n + 1,)
    :param whole: see `INPUTS`
    :return: observations and below them the next ones (2B, p), actions from 0 (B,), rewards (B,), discounts (B,)
    """
    n_batch, p, one = found.size, whole[INPUTS], np.float32(1)
    for b in range(n_batch):
        if not 0 <= found[b] < rows.shape[0]:  # compiled indices are not checked
            raise IndexError("a transition was drawn that is none of those in replay")
    pay, dones, timeouts = rows[:, columns[REWARD]], rows[:, columns[DONE]], rows[:, columns[TIMEOUT]]
    last, rewards, discounts = windows(found, pay, dones, timeouts, whole[N_ENVS], whole[NEWEST], powers)
    seen, actions = np.empty((2 * n_batch, p), np.float32), np.empty(n_batch, np.int64)
    for b in range(n_batch):
        first, end = rows[found[b]], rows[last[b]]
        for j in range(p):
            seen[b, j] = first[columns[OBSERVATION] + j]
            seen[n_batch + b, j] = end[columns[NEXT_OBSERVATION] + j]
        actions[b] = wide[found[b], columns[ACTION]] - whole[FIRST_ACTION]
        discounts[b] *= one - dones[last[b]] * (one - timeouts[last[b]])
    return seen, actions, rewards, discounts


@inner_exact
def move_target(online: Array, target: Array, tau: Any) -> None:
    """``target ← τ·online + (1 − τ)·target``, rounded as SB3's ``polyak_update`` does."""
    rest, share = np.float32(1 - tau), np.float32(tau)
    for i in range(target.size):
        target[i] = online[i] if tau == 1 else target[i] * rest + share * online[i]
