"""A step of the environments looked at and stored in one call, where it is as most steps are."""

from __future__ import annotations

from typing import Any

import numpy as np

from sb3_course.config.overridden import as_written
from sb3_course.replay.buffers import ReplayBuffer
from sb3_course.replay.rows import Rows

#: What `ReplayBuffer.add` consists of.
ADDS, PUTS = frozenset(("add", "_put", "_stored")), frozenset(("put",))


def add_sound(buffer: Any, obs: Any, next_obs: Any, action: Any, reward: Any, done: Any, infos: list[Any]) -> bool:
    """Store one transition of every env as ``buffer.add`` does, if it is sound; False, and nothing done, elsewhere.

    That is where an episode ended, a reward or a next observation is not finite, or something is of another type or
    shape than the rows; and where the buffer is none of rows, or has an ``add`` of its own.
    """
    if not (isinstance(buffer, ReplayBuffer) and as_written(buffer, ReplayBuffer, ADDS)):
        return False
    storage: Any = buffer._storage
    if not (type(storage) is Rows and as_written(storage, Rows, PUTS) and buffer.handle_timeout_termination):
        return False
    if storage.plain is None or not 0 <= buffer.pos < len(storage.table):
        return False
    if not type(obs) is type(next_obs) is type(reward) is type(done) is type(action) is np.ndarray:
        return False
    if not (obs.dtype == next_obs.dtype == reward.dtype == np.float32 and action.dtype == np.int64):
        return False
    if not (obs.shape == next_obs.shape == storage.observations.shape[1:] and done.dtype == bool):
        return False
    if not reward.shape == done.shape == action.shape == (len(obs),) or len(infos) != len(obs):
        return False
    if any([info.get("TimeLimit.truncated") for info in infos]):  # noqa: C419 - a list takes half the time
        return False
    first = buffer.pos * buffer.n_envs
    if not buffer._write_step(*storage.plain, first, obs, next_obs, action, reward, done):
        return False
    buffer.pos = (buffer.pos + 1) % buffer.buffer_size
    buffer.full = buffer.full or buffer.pos == 0
    buffer._stored(first, done)
    return True
