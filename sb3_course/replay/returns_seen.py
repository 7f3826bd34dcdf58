"""How large the discounted returns are that a replay buffer has seen, and may come to see."""

from __future__ import annotations

from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecNormalize


def returns_seen(
    rewards: np.ndarray, dones: np.ndarray, timeouts: np.ndarray, gamma: float
) -> tuple[float, float] | None:
    """Return the least and the largest return to expect of the transitions seen; None if there are none.

    They hold ``G_t = Σ_k γ^k r_{t+k}`` of every transition up to where its episode was left, and, where an episode may
    become longer than it was (it was cut off, or others had another length), what its average reward would add up to
    for ever, ``G_0 / (1 − γ^T)``: a policy that has learned nothing drops CartPole's pole after 20 steps, each of which
    pays 1, and one that has learned everything never does. The reward of a termination is paid once and left out of
    that average.

    :param rewards: by slot, oldest first, and env, (T, E); likewise the other two
    :param dones: whether an episode ended
    :param timeouts: whether it was cut off there
    """
    if len(rewards) == 0:
        return None
    ended, terminated = dones > 0, dones > timeouts
    total, rate, weight, length = np.zeros((4, rewards.shape[1]))  # G; of what may be paid again, its sum and its Σ γ^k
    cut_off = np.ones(rewards.shape[1], dtype=bool)
    seen: list[float] = []
    rates: list[tuple[float, float, bool]] = []  # of each episode: average reward, length, whether it was cut off
    for slot in range(len(rewards) - 1, -1, -1):
        cut_off = np.where(ended[slot], ~terminated[slot], cut_off)
        total, rate, weight, length = (np.where(ended[slot], 0, sums) for sums in (total, rate, weight, length))
        again = ~terminated[slot]
        total, length = rewards[slot] + gamma * total, 1 + length
        rate, weight = again * rewards[slot] + gamma * rate, again + gamma * weight
        seen += [total.min(), total.max()]
        first = (weight > 0) & (ended[slot - 1] if slot > 0 else True)
        rates += zip(rate[first] / weight[first], length[first], cut_off[first], strict=True)
    lengths = {length for _, length, cut in rates if not cut}
    if gamma < 1:
        seen += [average / (1 - gamma) for average, _, cut in rates if cut or len(lengths) > 1]
    return float(min(seen)), float(max(seen))


def returns_of(buffer: Any, gamma: float, env: VecNormalize | None) -> tuple[float, float] | None:
    """Return `returns_seen` of a buffer with SB3's attributes, or None if it has none or is empty.

    :param env: normalises the rewards, if it is given
    """
    rewards, dones = getattr(buffer, "rewards", None), getattr(buffer, "dones", None)
    if not (isinstance(rewards, np.ndarray) and isinstance(dones, np.ndarray)):
        return None
    timeouts = getattr(buffer, "timeouts", np.zeros_like(dones))
    by_age = np.arange(buffer.pos - buffer.size(), buffer.pos) % len(rewards)
    paid = rewards[by_age] if env is None else env.normalize_reward(rewards[by_age])
    return returns_seen(paid.astype(float), dones[by_age], timeouts[by_age], gamma)
