"""What SB3's construction is shown in place of the user's arguments, and what a model's parts are made with."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from inspect import signature
from typing import Any

from stable_baselines3.common.buffers import ReplayBuffer as SB3ReplayBuffer

from sb3_course.config.errors import InputError
from sb3_course.replay import choose_class, takes_horizon, takes_stacks
from sb3_course.sb3.construction import temporarily
from sb3_course.sb3.masking import has_masks
from sb3_course.sb3.stacking import stacking_in
from sb3_course.value.estimates import ARGUMENTS, ReturnEstimate, estimate_from, kind_of


def estimate_of(model: Any) -> ReturnEstimate:
    """Return a new estimate, as a model's arguments ask for it."""
    return estimate_from(model.distribution, estimate_arguments(model))


def estimate_arguments(model: Any) -> dict[str, Any]:
    """Return the arguments of return estimates that a model has, those of other kinds included."""
    return {name: getattr(model, name) for name in ARGUMENTS}


def asked_of_the_policy(policy_kwargs: dict[str, Any] | None) -> dict[str, Any]:
    """Return the constructor's arguments that are in `policy_kwargs`, where sb3-contrib has them: they are the same."""
    return {
        name: value for name, value in (policy_kwargs or {}).items() if name in ("noisy", "distribution", *ARGUMENTS)
    }


def replay_class(model: Any) -> type[SB3ReplayBuffer] | None:
    """Return the class of a model's replay buffer, after a look at its environment; None: SB3's choice.

    :raises InputError: where single frames are asked for and nothing is stacked
    """
    if model.env is not None:  # a model that is loaded without one has been told by its file
        model._stacking = stacking_in(model.env) if model.frame_replay else None
        model._masked = has_masks(model.env)
    if model.frame_replay is True and model._stacking is None:
        want = "stacked images (VecFrameStack, FrameStackObservation), or frame_replay='auto'"
        raise InputError("frame_replay", "the observations are no stacks of frames", True, want)
    frames = model._stacking is not None and not model.optimize_memory_usage
    asked = {name: getattr(model, name) for name in ("prioritized", "n_steps", "optimize_memory_usage")}
    return choose_class(model.replay_buffer_class, **asked, frames=frames)


def replay_arguments(model: Any) -> dict[str, Any]:
    """Return what a model's replay buffer is made with."""
    priorities = {"alpha": model.alpha, "beta": model.beta0} if model.prioritized else {}
    window = {"n_steps": model.n_steps, "gamma": model.gamma}
    stacking = (model._stacking or {}) if takes_stacks(model.replay_buffer_class) else {}
    masked = {"masked": True} if model._masked else {}
    return {**window, **stacking, **masked, **priorities, **model.replay_buffer_kwargs}


@contextmanager
def shown_to_sb3(model: Any, room_for_a_window: bool) -> Iterator[None]:
    """Let SB3 build `model` as long as the context lasts, which sees other attributes than the user's.

    :param room_for_a_window: whether the replay buffer is to be at least as long as a window of n steps
    """
    with temporarily(model, **_seen(model, room_for_a_window)), warnings.catch_warnings():
        # SB3 warns of a target that is synchronised less often than asked for, in its own unit.
        if model.target_update_unit != "step" or model._online:
            warnings.filterwarnings("ignore", message="The number of environments used is greater")
        yield


def _seen(model: Any, room_for_a_window: bool) -> dict[str, Any]:
    """Return the attributes that SB3's construction must see instead of the user's."""
    shaping = kind_of(model.distribution, estimate_arguments(model)).shaping
    switches = {name: getattr(model, name) for name in ("noisy", "distribution", *shaping)}
    given = {**model.policy_kwargs, "head": "dueling"} if model.dueling else dict(model.policy_kwargs)
    if "noisy_streams" in given and not model.dueling and _dueling_by_default(type(model)):
        del given["noisy_streams"]  # of the dueling head that is switched off; others refuse it
    seen: dict[str, Any] = {"policy_kwargs": {**given, **switches}}
    if takes_horizon(model.replay_buffer_class):
        # Ours takes the horizon; SB3 would warn that a custom buffer ignores it.
        seen |= {"replay_buffer_kwargs": replay_arguments(model), "n_steps": 1}
        if room_for_a_window:
            seen["buffer_size"] = max(model.buffer_size, replay_arguments(model)["n_steps"] * model.n_envs)
    return seen


def _dueling_by_default(kind: type) -> bool:
    """Tell whether a class, or the one that it was made of, has a dueling head unless it is told otherwise."""
    inits = (vars(each).get("__init__") for each in kind.__mro__)
    found = (signature(init).parameters.get("dueling") for init in inits if init is not None)
    return next((parameter.default is True for parameter in found if parameter is not None), False)
