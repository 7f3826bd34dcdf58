"""Windows of n steps: where each ends, what it pays and how far its bootstrap lies ahead."""

from __future__ import annotations

from functools import lru_cache

import numpy as np


@lru_cache
def powers_of(gamma: float, n: int) -> np.ndarray:
    """Return γ^0 … γ^n, (n + 1,); nobody may write to them."""
    powers: np.ndarray = gamma ** np.arange(n + 1, dtype=np.float32)
    return powers


def windows(
    indices: np.ndarray,
    rewards: np.ndarray,
    dones: np.ndarray,
    timeouts: np.ndarray,
    n_envs: int,
    newest: int,
    powers: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return each window's last row (B,), its reward ``Σ_{k<m} γ^k r_{t+k}`` (B,) and its ``γ^m`` (B,).

    m ≤ n (Sutton & Barto 2018, Eq. 7.1): a window ends at a termination, at a truncation and at the newest slot,
    beyond which the oldest lies, of another episode.

    :param indices: flat indices ``slot · n_envs + env`` of the first rows, (B,)
    :param rewards: r of all ``slots · n_envs`` rows, (L,)
    :param dones: 1 where an episode has ended, (L,)
    :param timeouts: 1 where it was truncated, (L,)
    :param n_envs: E, the rows of a slot
    :param newest: flat index of the first row of the newest slot
    :param powers: γ^0 … γ^n, n + 1 numbers, (L',)
    """
    rows, lengths = window_rows(indices, dones, timeouts, n_envs, newest, len(powers) - 1)
    last = rows[np.arange(len(rows)), lengths - 1]
    return last, window_sums(rewards[rows], lengths, powers), powers[lengths]


def window_rows(
    indices: np.ndarray, dones: np.ndarray, timeouts: np.ndarray, n_envs: int, newest: int, n_steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the n rows from each index on (B, n), of which the window holds the first m, and m (B,)."""
    rows = (indices[:, None] + np.arange(n_steps) * n_envs) % len(dones)  # of the same env, slot by slot
    ends = (rows >= newest) & (rows < newest + n_envs)
    ends |= dones[rows] + timeouts[rows] > 0
    ends[:, -1] = True
    return rows, ends.argmax(axis=1) + 1


def window_sums(rewards: np.ndarray, lengths: np.ndarray, powers: np.ndarray) -> np.ndarray:
    """Return the discounted sums of the first m rewards (B, n) of each window, (B,)."""
    inside = np.arange(rewards.shape[1]) < lengths[:, None]
    # Not times 0: a reward that is no number, after the window's end, is not the window's.
    sums: np.ndarray = np.add.reduce(np.where(inside, rewards * powers[:-1], np.float32(0)), axis=1)
    return sums
