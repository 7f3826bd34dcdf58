"""Whether the observations of an environment are stacks of frames, and how."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper, VecFrameStack


def stacking_in(env: VecEnv) -> dict[str, Any] | None:
    """Return `n_stack` and `stack_axis` of a replay of frames, by key for a Dict, or None where nothing is stacked.

    SB3's ``VecFrameStack`` and Gymnasium's ``FrameStackObservation`` are looked for; only images are counted, for which
    it is worth it.
    """
    space, venv = env.observation_space, env
    while isinstance(venv, VecEnvWrapper):
        if isinstance(venv, VecFrameStack):
            stacked = venv.stacked_obs
            parts = getattr(stacked, "sub_stacked_observations", None) or {None: stacked}
            return _described(space, {name: part.n_stack for name, part in parts.items()}, leading=False)
        venv = venv.venv
    if venv.has_attr("stack_size"):  # of FrameStackObservation, which makes a first axis of the frames
        n_stack = venv.get_attr("stack_size")[0]
        keys = list(space.spaces) if isinstance(space, spaces.Dict) else [None]
        return _described(space, dict.fromkeys(keys, n_stack), leading=True)
    return None


def _described(space: spaces.Space[Any], counts: dict[Any, Any], leading: bool) -> dict[str, Any] | None:
    """Return the arguments of a replay of frames for what is an image.

    :param counts: frames of a stack, by key; None for an observation that is no Dict
    :param leading: whether the frames are the first axis, where it does not matter which comes first of the channels
    """
    found = {}
    for name, count in counts.items():
        part = space if name is None else space[name]  # type: ignore[index]
        shape = part.shape or ()
        axis = 0 if leading or shape[:1] < shape[-1:] else -1
        if part.dtype == np.uint8 and len(shape) >= 3 and isinstance(count, int) and shape[axis] % count == 0:
            found[name] = count, axis
    if None in found:
        return {"n_stack": found[None][0], "stack_axis": found[None][1]}
    numbers = {name: count for name, (count, _) in found.items()}, {name: axis for name, (_, axis) in found.items()}
    return dict(zip(("n_stack", "stack_axis"), numbers, strict=True)) if found else None
