"""Replay: what was seen, and which of it to learn from."""

from sb3_course.replay.batch import Batch, as_batch
from sb3_course.replay.buffers import ReplayBuffer
from sb3_course.replay.prioritized import PrioritizedReplayBuffer
from sb3_course.replay.sum_tree import SumTree

__all__ = ["Batch", "PrioritizedReplayBuffer", "ReplayBuffer", "SumTree", "as_batch"]
