"""Which class of replay buffer serves what was asked for."""

from __future__ import annotations

from stable_baselines3.common.buffers import ReplayBuffer as SB3ReplayBuffer
from stable_baselines3.her.her_replay_buffer import HerReplayBuffer

from sb3_course.config.errors import InputError
from sb3_course.replay.buffers import ReplayBuffer
from sb3_course.replay.frame_buffers import FrameReplayBuffer, PrioritizedFrameReplayBuffer
from sb3_course.replay.hindsight import HindsightReplayBuffer, PrioritizedHindsightReplayBuffer
from sb3_course.replay.prioritized import PrioritizedReplayBuffer

# Ours, (uniform, prioritized): one stands for the other when `prioritized` says so.
PLAIN = (ReplayBuffer, PrioritizedReplayBuffer)
FRAMES = (FrameReplayBuffer, PrioritizedFrameReplayBuffer)
HINDSIGHT = (HindsightReplayBuffer, PrioritizedHindsightReplayBuffer)


def choose_class(
    given: type[SB3ReplayBuffer] | None,
    *,
    prioritized: bool,
    n_steps: int = 1,
    optimize_memory_usage: bool = False,
    frames: bool = False,
) -> type[SB3ReplayBuffer] | None:
    """Return ours unless the user brought another one; None where SB3 chooses one of its own, to save memory.

    SB3's ``HerReplayBuffer`` knows neither priorities nor n steps: where they are asked for, ours takes its place.

    :param given: ``replay_buffer_class``
    :param prioritized: whether priorities are asked for
    :param n_steps: the horizon of the return
    :param optimize_memory_usage: SB3's, which keeps each observation once
    :param frames: whether each frame of stacked images is to be kept once
    :raises InputError: where priorities are asked of a class that has none
    """
    chosen = given
    if given in FRAMES or (frames and given in (None, *PLAIN)):
        chosen = FRAMES[prioritized]
    elif given in (None, *PLAIN) and not optimize_memory_usage:
        chosen = PLAIN[prioritized]
    elif given in HINDSIGHT or (given is HerReplayBuffer and (prioritized or n_steps > 1)):
        chosen = HINDSIGHT[prioritized]
    if optimize_memory_usage and chosen is None and (prioritized or n_steps > 1):
        what, off = ("prioritized replay", "prioritized=False") if prioritized else ("n-step replay", "n_steps=1")
        raise InputError("optimize_memory_usage", f"{what} keeps both observations", True, f"False, or {off}")
    if prioritized and not (chosen is not None and issubclass(chosen, PrioritizedReplayBuffer)):
        raise InputError("prioritized", "this replay buffer has no priorities", chosen, "a PrioritizedReplayBuffer")
    return chosen


def takes_horizon(cls: type[SB3ReplayBuffer] | None) -> bool:
    """Return whether the class is made with ``n_steps`` and ``gamma``, and with priorities ``alpha`` and ``beta``.

    :param cls: of a replay buffer; None: one that SB3 chooses
    """
    return cls is not None and issubclass(cls, ReplayBuffer)


def takes_stacks(cls: type[SB3ReplayBuffer] | None) -> bool:
    """Return whether the class keeps single frames, and is made with ``n_stack`` and ``stack_axis``.

    :param cls: of a replay buffer; None: one that SB3 chooses
    """
    return cls is not None and issubclass(cls, FrameReplayBuffer)
