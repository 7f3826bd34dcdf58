"""The batch: all that the learning rule ever sees of replay."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch as th


class Batch(NamedTuple):
    """B transitions, as NumPy arrays.

    Termination, truncation and the horizon n have been turned into `rewards` and `discounts`, and the way of
    sampling into `weights`: nothing downstream asks about any of them.
    """

    observations: Any  # (B, …), or a dict of such
    actions: np.ndarray  # (B, action_dim)
    next_observations: Any  # (B, …), m steps later
    rewards: np.ndarray  # (B,) Σ_{k<m} γ^k r_k
    discounts: np.ndarray  # (B,) γ^m·(1 − terminated)
    weights: np.ndarray  # (B,) importance weights; 1 under uniform sampling
    indices: np.ndarray | None  # (B,) slot·n_envs + env; None from a buffer that cannot be updated


def as_batch(samples: Any, gamma: float) -> Batch:
    """Read the samples of a buffer that is not ours (SB3's, HER's, a user's) as a `Batch`.

    :param samples: SB3's ``ReplayBufferSamples`` or ``DictReplayBufferSamples``
    :param gamma: the discount of samples that carry none
    """
    rewards, dones = _flat(samples.rewards), _flat(samples.dones)
    discounts = np.float32(gamma) if samples.discounts is None else _flat(samples.discounts)
    return Batch(
        observations=_numpy(samples.observations),
        actions=_numpy(samples.actions),
        next_observations=_numpy(samples.next_observations),
        rewards=rewards,
        discounts=(1 - dones) * discounts,
        weights=np.ones_like(rewards),
        indices=None,
    )


def _numpy(tensors: Any) -> Any:
    if isinstance(tensors, dict):
        return {key: _numpy(value) for key, value in tensors.items()}
    return tensors.cpu().numpy() if isinstance(tensors, th.Tensor) else tensors


def _flat(tensor: th.Tensor) -> np.ndarray:
    array: np.ndarray = _numpy(tensor).reshape(-1)
    return array
