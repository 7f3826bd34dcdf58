"""Windows of n steps, and the ways down a sum tree and up: as in NumPy to the last bit, windows up to 7 steps."""

from __future__ import annotations

import numpy as np

from sb3_course.backends.compiled.jit import Array, exact


@exact
def windows(
    indices: Array,
    rewards: Array,
    dones: Array,
    timeouts: Array,
    n_envs: int,
    newest: int,
    powers: Array,
) -> tuple[Array, Array, Array]:
    """Return each window's last row (B,), its summed reward (B,) and its γ^m (B,).

    Rewards are added up in their order; from 8 numbers on NumPy has another.

    :param indices: flat indices of the first rows, (B,)
    :param rewards: of all rows, as `dones` and `timeouts`
    :param newest: flat index of the first row of the newest slot
    :param powers: γ^0 … γ^n, (n + 1,)
    """  # fmt: skip
    n_batch, n_steps = indices.size, powers.size - 1
    last, sums, factors = np.empty(n_batch, np.int64), np.zeros(n_batch, np.float32), np.empty(n_batch, np.float32)
    for b in range(n_batch):
        row = indices[b]
        for k in range(n_steps):
            sums[b] += rewards[row] * powers[k]
            last[b], factors[b] = row, powers[k + 1]
            if newest <= row < newest + n_envs or dones[row] + timeouts[row] > 0:
                break
            row = (row + n_envs) % rewards.size
    return last, sums, factors


@exact
def write_step(
    words: Array,
    wide: Array,
    columns: Array,
    first: int,
    obs: Array,
    next_obs: Array,
    actions: Array,
    rewards: Array,
    dones: Array,
) -> bool:
    """Write a row of every env if no episode ended and all is finite; see the plain function."""
    n_envs, p = obs.shape
    for e in range(n_envs):
        if dones[e] or not np.isfinite(rewards[e]):
            return False
        for j in range(p):
            if not np.isfinite(next_obs[e, j]):
                return False
    for e in range(n_envs):
        row = words[first + e]
        for j in range(p):
            row[columns[0] + j], row[columns[1] + j] = obs[e, j], next_obs[e, j]
        wide[first + e, columns[2]], row[columns[3]] = actions[e], rewards[e]
        row[columns[4]] = row[columns[5]] = np.float32(0)
    return True


@exact
def tree_children(children: Array, nodes: Array, targets: Array, before: Array, fan_out: int) -> None:
    """Go one level down: from `nodes` to the children in which `targets` lie, in place, (B,) each.

    :param before: what is taken off a target: the sum left of its node; then that left of its child, in its block
    """
    for b in range(nodes.size):
        first = nodes[b] * fan_out
        total = 0.0
        for i in range(first, first + fan_out):
            total += children[i]
        target = min(targets[b] - before[b], np.nextafter(total, 0.0))
        child, left, total = first, 0.0, children[first]
        while not total > target:
            child += 1
            left = total
            total += children[child]
        nodes[b], targets[b], before[b] = child, target, left


@exact
def tree_roots(prefixes: Array, targets: Array, nodes: Array, before: Array) -> bool:
    """Begin `SumTree.find`: the root's child for each target, (B,), and the sum left of it; False for a wrong target.

    :param prefixes: 0 and the prefix sums of the root's children
    :param targets: made less than the total, in place
    """
    total = prefixes[-1]
    below = np.nextafter(total, 0.0)
    for b in range(targets.size):
        if not 0 <= targets[b] <= total:
            return False
        targets[b] = min(targets[b], below)
        low, high = 0, prefixes.size  # prefixes[low] <= target < prefixes[high]
        while high - low > 1:
            middle = (low + high) // 2
            if prefixes[middle] <= targets[b]:
                low = middle
            else:
                high = middle
        nodes[b], before[b] = low, prefixes[low]
    return True


@exact
def tree_parents(children: Array, parents: Array, nodes: Array, fan_out: int) -> None:
    """Recompute the parents of the children at `nodes` (B,), which become the parents' indices.

    Eight sums side by side, which are added up in pairs: NumPy's order, for a fan-out up to 128.
    """
    sums = np.empty(8)
    for b in range(nodes.size):
        nodes[b] //= fan_out
        first = nodes[b] * fan_out
        sums[:] = 0
        for i in range(0, fan_out, 8):
            for j in range(8):
                sums[j] += children[first + i + j]
        left, right = (sums[0] + sums[1]) + (sums[2] + sums[3]), (sums[4] + sums[5]) + (sums[6] + sums[7])
        parents[nodes[b]] = left + right
