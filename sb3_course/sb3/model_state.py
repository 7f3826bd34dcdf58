"""All that an SB3 algorithm's learning depends on, ours or SB3's own: what a checkpoint keeps besides `model.zip`."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch as th
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import ReplayBuffer as SB3ReplayBuffer

from sb3_course.config.errors import InputError
from sb3_course.replay.buffer_files import fill_slots, require_finite_rewards, slot_arrays
from sb3_course.replay.buffers import ReplayBuffer
from sb3_course.saving.attributes import Attributes, plain_attributes, set_plain_attributes
from sb3_course.saving.generators import global_states, rng_state, set_global_states, set_rng_state
from sb3_course.saving.model_file import require_sound

#: Attributes that a checkpoint keeps in another place: weights and optimizers in `model.zip`, the rest by its owner.
ELSEWHERE = {
    "policy", "env", "_vec_normalize_env", "replay_buffer", "rollout_buffer", "_logger", "rng", "action_space",
    "log_ent_coef", "ent_coef_optimizer", "_backend", "_actor", "_learner", "_resuming",
}  # fmt: skip
#: Attributes that are made again from the settings or from those above.
DERIVED = {
    "policy_class", "observation_space", "replay_buffer_class", "rollout_buffer_class", "device", "lr_schedule",
    "actor", "actor_target", "critic", "critic_target", "q_net", "q_net_target", "quantile_net", "quantile_net_target",
    "batch_norm_stats", "batch_norm_stats_target", "actor_batch_norm_stats", "actor_batch_norm_stats_target",
    "critic_batch_norm_stats", "critic_batch_norm_stats_target", "_distribution", "preset", "ent_coef_tensor",
    "exploration_schedule", "clip_range", "clip_range_vf", "_workers",
}  # fmt: skip
#: Attributes that change nothing of what is learned.
IRRELEVANT = {"start_time", "verbose", "tensorboard_log", "_custom_logger", "_last_time"}
_MATRICES = ("exploration_mat", "exploration_matrices")
_LOGGER = ("name_to_value", "name_to_count", "name_to_excluded")


def model_attributes(model: BaseAlgorithm) -> Attributes:
    """Return the attributes that a checkpoint keeps, and the names of those that are in none of the tables.

    What the constructor takes is made again from the settings, where it is not plain.
    """
    kept = plain_attributes(model, ELSEWHERE | DERIVED | IRRELEVANT)
    given = set(inspect.signature(type(model).__init__).parameters)
    return Attributes(kept.state, tuple(name for name in kept.opaque if name not in given))


def model_state(model: Any) -> dict[str, Any]:
    """Return all but the weights, the optimizers and the replay buffer, as `save_state` takes it."""
    state: dict[str, Any] = {"attributes": model_attributes(model).state, "generators": global_states()}
    state["action_space"] = rng_state(model.action_space.np_random)
    logger = getattr(model, "_logger", None)  # which `learn` makes
    state["logger"] = {name: dict(getattr(logger, name, {})) for name in _LOGGER}
    state["matrices"] = [
        {name: owner[name].detach().cpu().numpy().copy() for name in _MATRICES} for owner in _exploring(model)
    ]
    if hasattr(model, "own_state"):
        state["own"] = model.own_state()
    return state


def set_model_state(model: Any, state: Mapping[str, Any], total_timesteps: int | None = None) -> None:
    """Put back what `model_state` returned, generators last.

    :param total_timesteps: a budget in place of the one of the checkpoint
    """
    for name in sorted((ELSEWHERE | DERIVED) & state["attributes"].keys()):
        raise InputError("checkpoint", "has an attribute that is kept elsewhere", name, "what a run wrote")
    before = dict(vars(model))
    set_plain_attributes(model, state["attributes"])
    # What the constructor has given it is sound, whatever the table says: contrib's TRPO has a max_grad_norm of 0.
    plain = {name: value for name, value in vars(model).items() if type(value) in (int, float, bool, str)}
    changed = {
        name for name, value in plain.items() if type(before.get(name)) is not type(value) or before[name] != value
    }
    require_sound({name: plain[name] for name in changed}, "checkpoint")
    if total_timesteps is not None:
        model._total_timesteps = total_timesteps
    if hasattr(model, "own_state"):
        model.set_own_state(state["own"])
    for owner, kept in zip(_exploring(model), state["matrices"], strict=True):
        owner.update({name: th.from_numpy(kept[name].copy()).to(owner[name]) for name in _MATRICES})
    for name in _LOGGER if hasattr(model, "_logger") else ():
        pending = getattr(model.logger, name)
        pending.clear()
        pending.update({key: _tuple(value) for key, value in state["logger"][name].items()})
    set_rng_state(model.action_space.np_random, state["action_space"])
    set_global_states(state["generators"])


def _exploring(model: Any) -> Iterator[dict[str, Any]]:
    """Yield the attributes of distributions that explore with a matrix held for a while (SB3's gSDE)."""
    for module in model.policy.modules():
        held = vars(getattr(module, "action_dist", object))
        if "exploration_mat" in held:
            yield held  # type: ignore[misc]


class Memory(NamedTuple):
    """What a replay buffer holds, arrays perhaps as views: what is small, and what is read block by block."""

    small: dict[str, Any]
    large: dict[str, Any]


def replay_state(model: Any) -> Memory | None:
    """Return what the replay buffer holds, or None where there is none."""
    buffer = getattr(model, "replay_buffer", None)
    if buffer is None:
        return None
    if isinstance(buffer, ReplayBuffer):
        # A class of the user's may have a `get_state` without arguments.
        lends = "copy" in inspect.signature(buffer.get_state).parameters
        small = dict(buffer.get_state(copy=False) if lends else buffer.get_state())
        return Memory(small, {name: small.pop(name) for name in buffer.streamed if name in small})
    if hasattr(buffer, "get_state"):
        return Memory(dict(buffer.get_state()), {})
    slots = {"slots": slot_arrays(buffer)} if isinstance(buffer, SB3ReplayBuffer) else {}
    return Memory({"foreign": plain_attributes(buffer, _OF_A_BUFFER.union(*slots.values())).state}, slots)


def set_replay_state(model: Any, state: Mapping[str, Any]) -> None:
    """Put it back, both parts as one, of what is large `Blocks` or arrays."""
    buffer = model.replay_buffer
    if "foreign" in state:
        set_plain_attributes(buffer, state["foreign"])
        if "slots" in state:
            fill_slots(buffer, state["slots"])
    else:
        buffer.set_state(dict(state))
    require_finite_rewards(buffer)


_OF_A_BUFFER = {"observation_space", "action_space", "obs_shape", "device"}


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
