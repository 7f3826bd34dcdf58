"""A loaded replay buffer in the model that loads it: the rows are the file's, all else is the model's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from stable_baselines3.common.buffers import DictReplayBuffer, NStepReplayBuffer
from stable_baselines3.common.buffers import ReplayBuffer as SB3ReplayBuffer
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from sb3_course.config.errors import InputError
from sb3_course.replay.buffers import VIEWS, ReplayBuffer
from sb3_course.replay.hindsight import HindsightReplayBuffer
from sb3_course.replay.prioritized import PrioritizedReplayBuffer

# SB3's own, whose arrays have the shapes and types of our rows.
ARRAYS = (SB3ReplayBuffer, NStepReplayBuffer, DictReplayBuffer)


def fitted(loaded: SB3ReplayBuffer, model: OffPolicyAlgorithm, arguments: Mapping[str, Any]) -> SB3ReplayBuffer:
    """Return `loaded` if it draws as the model's own buffer does, else a buffer of the model's class with its rows.

    Transitions that come without priorities get the largest one, as new ones do; those with priorities of another α
    keep the priorities.

    :param arguments: what the model makes its own buffers with
    :raises InputError: for the transitions of other spaces or another number of envs, and for rows that the model's
        class cannot take over
    """
    for name in ("observation_space", "action_space", "n_envs"):
        found, wanted = getattr(loaded, name), getattr(model, name)
        if found != wanted:
            raise InputError("replay buffer", f"the transitions have another {name}", found, repr(wanted))
    cls, own = type(loaded), model.replay_buffer_class
    if not (own is not None and issubclass(own, ReplayBuffer)):  # as SB3 does, which made the model's own
        if own is not None and not issubclass(cls, own):
            raise InputError("replay buffer", "not of the model's class", cls.__name__, own.__name__)
        return loaded
    n_steps, slots = arguments["n_steps"], loaded.buffer_size
    if n_steps > slots:
        want = f"at most {slots}, the slots of the file's buffer"
        raise InputError("n_steps", "a window cannot be longer than the replay buffer", n_steps, want)
    if cls is own and (
        not isinstance(loaded, PrioritizedReplayBuffer) or loaded.alpha == arguments.get("alpha", loaded.alpha)
    ):
        return loaded
    hindsight = {"env": model.env} if issubclass(own, HindsightReplayBuffer) else {}
    fresh = own(
        slots * model.n_envs, model.observation_space, model.action_space, device=model.device, n_envs=model.n_envs,
        **{**hindsight, **arguments},
    )  # fmt: skip
    _take_over(fresh, loaded)
    return fresh


def _take_over(fresh: ReplayBuffer, loaded: SB3ReplayBuffer) -> None:
    """Give the transitions of `loaded` to an empty buffer of as many slots."""
    if isinstance(loaded, ReplayBuffer) and _hindsight(fresh) == _hindsight(loaded):
        fresh.adopt(loaded)
    elif type(loaded) in ARRAYS and not _hindsight(fresh) and not loaded.optimize_memory_usage:
        for name in VIEWS:
            _copy(getattr(loaded, name), getattr(fresh, name))
        fresh.adopt_rows(loaded.pos, loaded.full)
    else:
        want = f"{type(fresh).__name__}, or a model with that replay_buffer_class"
        raise InputError("replay buffer", "its rows are not those of the model's class", type(loaded).__name__, want)


def _hindsight(buffer: SB3ReplayBuffer) -> bool:
    """Return whether a buffer knows where episodes begin and end."""
    return isinstance(buffer, HindsightReplayBuffer)


def _copy(values: Any, views: Any) -> None:
    if isinstance(views, dict):
        for key, view in views.items():
            view[:] = values[key]
    else:
        np.copyto(views, values)
