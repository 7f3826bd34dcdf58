"""The batch: all that the learning rule ever sees of replay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Self

import numpy as np
import torch as th
from stable_baselines3.common.type_aliases import DictReplayBufferSamples, ReplayBufferSamples


class Batch(NamedTuple):
    """B transitions, as NumPy arrays.

    Termination, truncation and the horizon n have been turned into `rewards` and `discounts`, and the way of
    sampling into `weights`: nothing downstream asks about any of them.

    :param observations: (B, …), or a dict of such
    :param actions: (B, K)
    :param next_observations: (B, …), m steps later
    :param rewards: ``Σ_{k<m} γ^k r_k``, (B,)
    :param discounts: ``γ^m·(1 − terminated)``, (B,)
    :param weights: importance weights, 1 under uniform sampling, (B,)
    :param indices: slot·n_envs + env, (B,); None from a buffer that cannot be updated
    """

    observations: Any
    actions: np.ndarray
    next_observations: Any
    rewards: np.ndarray
    discounts: np.ndarray
    weights: np.ndarray
    indices: np.ndarray | None

    @property
    def masks(self) -> np.ndarray | None:
        """Which actions were valid, (B, A); None where all always are."""
        return None

    @property
    def next_masks(self) -> np.ndarray | None:
        """Which of them were valid m steps later, (B, A); None where all always are."""
        return None


class MaskedBatch(Batch):
    """A batch of transitions some of whose actions were not valid."""

    _both: tuple[np.ndarray | None, np.ndarray | None]

    def __new__(cls, *fields: Any, masks: tuple[np.ndarray | None, np.ndarray | None] = (None, None)) -> Self:
        """Return the fields of a `Batch` with masks of the observations and of the next ones, (B, A) each."""
        batch = super().__new__(cls, *fields)
        batch._both = masks
        return batch

    @property
    def masks(self) -> np.ndarray | None:
        """Which actions were valid, (B, A)."""
        return self._both[0]

    @property
    def next_masks(self) -> np.ndarray | None:
        """Which of them were valid m steps later, (B, A)."""
        return self._both[1]


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


def as_samples(
    batch: Batch, terminated: np.ndarray, discounts: np.ndarray | None, to_torch: Callable[..., th.Tensor]
) -> ReplayBufferSamples:
    """Return a batch in SB3's form, for SB3's own algorithms; numbers are (B, 1) tensors.

    :param terminated: whether each window ended in a termination, (B,)
    :param discounts: its γ^m (B,), or None where SB3's algorithm shall multiply by its own γ
    :param to_torch: of SB3's buffer
    """

    def column(values: np.ndarray) -> th.Tensor:
        return to_torch(values.reshape(-1, 1), copy=False)

    def tensors(values: Any) -> Any:
        if isinstance(values, dict):
            return {key: tensors(value) for key, value in values.items()}
        return to_torch(values, copy=False)

    form: Any = DictReplayBufferSamples if isinstance(batch.observations, dict) else ReplayBufferSamples
    samples: ReplayBufferSamples = form(
        observations=tensors(batch.observations),
        actions=tensors(batch.actions),
        next_observations=tensors(batch.next_observations),
        dones=column(terminated),
        rewards=column(batch.rewards),
        discounts=None if discounts is None else column(discounts),
    )
    return samples


def rows_of(tree: Any, index: Any) -> Any:
    """Return the rows at `index` of a batch, of observations or of any named tuple or dict of arrays; None has none."""
    if isinstance(tree, dict):
        return {key: rows_of(value, index) for key, value in tree.items()}
    if isinstance(tree, tuple):
        return type(tree)(*(rows_of(value, index) for value in tree))
    return None if tree is None else tree[index]


def _numpy(tensors: Any) -> Any:
    if isinstance(tensors, dict):
        return {key: _numpy(value) for key, value in tensors.items()}
    return tensors.cpu().numpy() if isinstance(tensors, th.Tensor) else tensors


def _flat(tensor: th.Tensor) -> np.ndarray:
    array: np.ndarray = _numpy(tensor).reshape(-1)
    return array
