"""Replay: what was seen, and which of it to learn from."""

from sb3_course.replay.batch import Batch, as_batch
from sb3_course.replay.buffers import ReplayBuffer

__all__ = ["Batch", "ReplayBuffer", "as_batch"]
