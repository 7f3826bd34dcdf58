"""Replay: what was seen, and which of it to learn from."""

from sb3_course.replay.batch import Batch, as_batch
from sb3_course.replay.buffers import ReplayBuffer
from sb3_course.replay.classes import choose_class, takes_horizon, takes_stacks
from sb3_course.replay.foreign import as_replay
from sb3_course.replay.frame_buffers import FrameReplayBuffer, PrioritizedFrameReplayBuffer
from sb3_course.replay.hindsight import HindsightReplayBuffer, PrioritizedHindsightReplayBuffer
from sb3_course.replay.parts import Best, Replay
from sb3_course.replay.prioritized import PrioritizedReplayBuffer
from sb3_course.replay.proportional import ProportionalDraw
from sb3_course.replay.sum_tree import SumTree
from sb3_course.replay.uniform import UniformDraw
from sb3_course.replay.window import windows

__all__ = [
    "Batch", "Best", "FrameReplayBuffer", "HindsightReplayBuffer", "PrioritizedFrameReplayBuffer",
    "PrioritizedHindsightReplayBuffer", "PrioritizedReplayBuffer", "ProportionalDraw", "Replay", "ReplayBuffer",
    "SumTree", "UniformDraw", "as_batch", "as_replay", "choose_class", "takes_horizon", "takes_stacks", "windows",
]  # fmt: skip
