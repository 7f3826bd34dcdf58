"""An adapter for replay buffers that are not ours: SB3's, and users'."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from stable_baselines3.common.buffers import ReplayBuffer as SB3ReplayBuffer
from stable_baselines3.common.vec_env import VecNormalize

from sb3_course.config.errors import InputError
from sb3_course.replay.batch import Batch, as_batch
from sb3_course.replay.buffers import ReplayBuffer
from sb3_course.replay.parts import Best, Replay
from sb3_course.replay.returns_seen import returns_of


def as_replay(buffer: Any, gamma: float) -> Replay:
    """Return `buffer` itself if it has all that a learner may ask for, and else what asks it in SB3's words.

    :param buffer: anything that SB3's off-policy algorithms can hold
    :param gamma: the discount of samples that carry none
    """
    if isinstance(buffer, ReplayBuffer):  # quick to tell: a protocol looks for every method
        return buffer
    return buffer if isinstance(buffer, Replay) else ForeignReplay(buffer, gamma)


class ForeignReplay:
    """A buffer that knows SB3's ``add`` and ``sample`` and no more: one that draws, weighs and cuts as it likes.

    :param buffer: the buffer
    :param gamma: the discount of samples that carry none
    """

    wants_priorities: ClassVar[bool] = False
    copies: ClassVar[bool] = False  # SB3's do; a user's may not

    def __init__(self, buffer: SB3ReplayBuffer, gamma: float) -> None:
        self.buffer = buffer
        self.gamma = gamma

    def connect(
        self,
        *,
        n_steps: int | None = None,
        gamma: float | None = None,
        rng: np.random.Generator | None = None,
        best: Best | None = None,
        beta0: float | None = None,
    ) -> None:
        """Take the discount; the buffer has a horizon and a generator of its own."""
        self.gamma = self.gamma if gamma is None else gamma

    def add(
        self, obs: Any, next_obs: Any, action: np.ndarray, reward: np.ndarray, done: np.ndarray, infos: list[Any]
    ) -> None:
        """Store one transition of every env."""
        self.buffer.add(obs, next_obs, action, reward, done, infos)

    def cut(self) -> None:
        """Do nothing: a buffer of SB3's does not look across transitions, or must be told by its owner."""

    def sample_batch(self, batch_size: int, env: VecNormalize | None = None) -> Batch:
        """Draw a batch in SB3's form and read it as one of ours."""
        return as_batch(self.buffer.sample(batch_size, env=env), self.gamma)

    def returns_seen(self, env: VecNormalize | None = None) -> tuple[float, float] | None:
        """Return the least and the largest return to expect, of a buffer that keeps rewards as SB3's do."""
        return returns_of(self.buffer, self.gamma, env)

    def update(self, indices: np.ndarray | None, priorities: np.ndarray) -> None:
        """Do nothing: there are no priorities."""

    def progress(self, remaining: float) -> None:
        """Do nothing: nothing depends on it."""

    def logs(self) -> dict[str, float]:
        """Return nothing."""
        return {}

    def get_state(self) -> dict[str, Any]:
        """Return nothing: what such a buffer holds cannot be told without pickling it."""
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore nothing.

        :raises InputError: for the state of a buffer that had one
        """
        if state:
            what = "this class cannot restore a state"
            raise InputError("replay buffer", what, type(self.buffer).__name__, "the class that the state is from")
