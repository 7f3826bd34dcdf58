"""Replay buffers as files of arrays: written and read without pickle, each built anew by its class's name."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.buffers import DictReplayBuffer, NStepReplayBuffer
from stable_baselines3.common.buffers import ReplayBuffer as SB3ReplayBuffer
from stable_baselines3.her.her_replay_buffer import HerReplayBuffer

from sb3_course.config.errors import InputError, OpaqueError
from sb3_course.replay.buffers import VIEWS, ReplayBuffer
from sb3_course.replay.frame_buffers import FrameReplayBuffer, PrioritizedFrameReplayBuffer
from sb3_course.replay.hindsight import HindsightReplayBuffer, PrioritizedHindsightReplayBuffer
from sb3_course.replay.prioritized import PrioritizedReplayBuffer
from sb3_course.saving.archives import DAMAGE, first_words
from sb3_course.saving.arrays import load_state, save_state
from sb3_course.saving.elsewhere import fill, here
from sb3_course.saving.files import atomic_path, require_path
from sb3_course.saving.values import decode, encode

FORMAT = 1
_FIELD = "replay buffer"
_TRUST = "trust_pickle=True, if you trust whoever wrote the file"
_MAX_INFOS = 10_000_000
_ALL = ("buffer_size", "handle_timeout_termination")
_WINDOW, _PRIORITIES = ("n_steps", "gamma"), ("alpha", "beta", "priority_eps")
_STACKS = ("n_stack", "stack_axis")
_GOALS = ("n_sampled_goal", "goal_selection_strategy", "copy_info_dict")
# What each class is made with besides spaces, device and envs. Users' own subclasses are theirs to write.
_ARGUMENTS: dict[type[SB3ReplayBuffer], tuple[str, ...]] = {
    ReplayBuffer: (*_ALL, *_WINDOW),
    PrioritizedReplayBuffer: (*_ALL, *_WINDOW, *_PRIORITIES),
    FrameReplayBuffer: (*_ALL, *_WINDOW, *_STACKS),
    PrioritizedFrameReplayBuffer: (*_ALL, *_WINDOW, *_PRIORITIES, *_STACKS),
    HindsightReplayBuffer: (*_ALL, *_WINDOW, *_GOALS),
    PrioritizedHindsightReplayBuffer: (*_ALL, *_WINDOW, *_PRIORITIES, *_GOALS),
    SB3ReplayBuffer: (*_ALL, "optimize_memory_usage"),
    NStepReplayBuffer: (*_ALL, *_WINDOW),
    DictReplayBuffer: _ALL,
    HerReplayBuffer: (*_ALL, *_GOALS),
}
_NAMES = {f"{cls.__module__}:{cls.__qualname__}": cls for cls in _ARGUMENTS}
_RUNNING = "_current_ep_start"  # of each env
_EPISODES = ("ep_start", "ep_length", _RUNNING)  # of SB3's hindsight


# ------------------------------------------------------------------------------------------------------- writing


def save_buffer(path: str | Path | io.BufferedIOBase, buffer: Any) -> bool:
    """Write a replay buffer as arrays, atomically, and return whether its class can be written so.

    :param path: the file, `.npz` where it has no suffix, or an open one
    :raises OSError: when the file cannot be written
    """
    cls = type(buffer)
    if cls not in _ARGUMENTS:
        return False
    try:
        spaces = [encode(buffer.observation_space), encode(buffer.action_space)]
        arguments = {name: encode(getattr(buffer, name)) for name in _ARGUMENTS[cls]}
    except OpaqueError:  # a space of the user's own
        return False
    arguments["buffer_size"] = buffer.buffer_size * buffer.n_envs
    if getattr(buffer, "masked", False):
        arguments["masked"] = True
    state = buffer.get_state(copy=False) if isinstance(buffer, ReplayBuffer) else _arrays(buffer)
    content = {
        "format": FORMAT, "class": f"{cls.__module__}:{cls.__qualname__}", "n_envs": buffer.n_envs, "spaces": spaces,
        "arguments": arguments, "state": state,
    }  # fmt: skip
    if not isinstance(path, str | Path):
        save_state(path, content)  # type: ignore[arg-type]
        return True
    path = Path(path)
    path = path if path.suffix else path.with_name(f"{path.name}.npz")
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        save_state(file, content)
    return True


def _arrays(buffer: SB3ReplayBuffer) -> dict[str, Any]:
    """Return what SB3's buffers hold: the filled slots of every array."""
    state: dict[str, Any] = {"pos": buffer.pos, "full": buffer.full, **slot_arrays(buffer)}
    if getattr(buffer, "copy_info_dict", False):
        state["infos"] = buffer.infos[: buffer.size()].tolist()  # type: ignore[attr-defined]
    return state


def slot_arrays(buffer: SB3ReplayBuffer) -> dict[str, Any]:
    """Return what a buffer of SB3's keeps for each slot: views of the filled ones, of all in a class of the user's."""
    # Where both observations share an array, the one after the newest is the next one.
    cut = buffer.size() + buffer.optimize_memory_usage if type(buffer) in _ARGUMENTS else buffer.buffer_size
    arrays = _own_arrays(buffer)
    for name, array in arrays.items():
        if isinstance(array, dict):
            arrays[name] = {key: part[:cut] for key, part in array.items()}
        elif name != _RUNNING:
            arrays[name] = array[:cut]
    return arrays


def _own_arrays(buffer: SB3ReplayBuffer) -> dict[str, Any]:
    """Return the arrays that SB3's buffers have, as far as this one has them, too."""
    found = {name: vars(buffer)[name] for name in (*VIEWS, *_EPISODES) if name in vars(buffer)}
    return {name: array for name, array in found.items() if all(type(part) is np.ndarray for part in _parts(array))}


def _parts(array: Any) -> list[Any]:
    return list(array.values()) if isinstance(array, dict) else [array]


# ------------------------------------------------------------------------------------------------------- reading


def load_buffer(path: str | Path | io.BufferedIOBase, model: Any, truncate: bool = True) -> SB3ReplayBuffer:
    """Return the buffer in a file that `save_buffer` wrote, on the model's device and with its env.

    :param path: the file, with or without its suffix, or an open one
    :param model: whose spaces and number of envs the transitions have to have
    :param truncate: end the episode that was open when the file was written; see SB3's hindsight
    :raises InputError: for a pickle, a damaged file, and the transitions of other spaces
    :raises FileNotFoundError: when there is no such file
    """
    require_path(path)
    file: Any = path
    if isinstance(path, str | Path):
        file = open(_found(Path(path)), "rb")  # noqa: SIM115  closed below
    try:
        start = file.tell()
        if (first := file.read(2)) == b"":
            raise InputError(_FIELD, "the file is empty", _shown(path), "what save wrote")
        if first != b"PK":
            raise InputError(_FIELD, "the file is a pickle, which may run any code", _shown(path), _TRUST)
        file.seek(start)
        content = load_state(file, _FIELD, keep=True)
        buffer = _built(content, model)
        if isinstance(buffer, HerReplayBuffer) and truncate:
            buffer.truncate_last_trajectory()
        return buffer
    except InputError:
        raise
    except DAMAGE as error:
        raise InputError(
            _FIELD, f"the file is damaged: {first_words(error)}", _shown(path), "what save wrote"
        ) from error
    finally:
        if isinstance(path, str | Path):
            file.close()


def _found(path: Path) -> Path:
    for each in (path, path.with_name(f"{path.name}.npz"), path.with_name(f"{path.name}.pkl")):
        if each.is_file():
            return each
    raise FileNotFoundError(2, "No such file", str(path))


def _shown(path: Any) -> str:
    return str(path if isinstance(path, str | Path) else getattr(path, "name", "an open file"))


def _built(content: Mapping[str, Any], model: Any) -> SB3ReplayBuffer:
    if content.get("format") != FORMAT:
        raise InputError(_FIELD, "the file has another format", content.get("format"), f"format {FORMAT}")
    if content["class"] not in _NAMES:
        raise InputError(_FIELD, "the file names another class", content["class"], " or ".join(_NAMES))
    cls = _NAMES[content["class"]]
    observations, actions = (decode(space) for space in content["spaces"])
    found = {"observation_space": observations, "action_space": actions, "n_envs": content["n_envs"]}
    for name, value in found.items():
        if value != getattr(model, name):
            raise InputError(
                _FIELD, f"the transitions have another {name}", value, repr(getattr(model, name)),
            )  # fmt: skip
    arguments = {name: decode(content["arguments"][name]) for name in _ARGUMENTS[cls]}
    if content["arguments"].get("masked") is True and issubclass(cls, ReplayBuffer):  # not in older files
        arguments["masked"] = True
    if arguments.get("copy_info_dict") and arguments["buffer_size"] > _MAX_INFOS:
        raise InputError(_FIELD, "too large to keep infos", arguments["buffer_size"], f"at most {_MAX_INFOS}")
    of_goals = {"env": model.env} if issubclass(cls, HerReplayBuffer) else {}
    buffer = cls(
        observation_space=observations, action_space=actions, device=model.device, n_envs=model.n_envs,
        **of_goals, **arguments,
    )  # fmt: skip
    state = content["state"]
    if isinstance(buffer, ReplayBuffer):
        buffer.set_state({name: value if name in buffer.streamed else here(value) for name, value in state.items()})
    else:
        _fill(buffer, state)
    require_finite_rewards(buffer)
    return buffer


def require_finite_rewards(buffer: Any) -> None:
    """Refuse what a buffer was given.

    :param buffer: ours or SB3's
    :raises InputError: when one of its rewards is not finite
    """
    if not np.isfinite(buffer.rewards[: buffer.size()]).all():
        raise InputError(_FIELD, "the file has rewards that are not finite", want="finite numbers")


def _fill(buffer: Any, state: Mapping[str, Any]) -> None:
    """Give SB3's buffer the arrays of another one."""
    buffer.pos, buffer.full = int(state["pos"]), bool(state["full"])
    if not 0 <= buffer.pos < buffer.buffer_size:
        raise InputError(_FIELD, "no such slot", buffer.pos, f"0 to {buffer.buffer_size - 1}")
    fill_slots(buffer, state)
    if getattr(buffer, "copy_info_dict", False):
        buffer.infos[: buffer.size()] = state["infos"]


def fill_slots(buffer: Any, arrays: Mapping[str, Any]) -> None:
    """Give a buffer of SB3's what `slot_arrays` returned, as arrays, wherever they lie; it knows its `pos` already.

    :raises InputError: when they are those of another buffer
    """
    slots, own = buffer.size(), _own_arrays(buffer)
    for name, array in own.items():
        pairs = [(array, arrays[name])]
        if isinstance(array, dict):
            pairs = [(part, arrays[name][key]) for key, part in array.items()]
        for target, source in pairs:
            other = source.dtype != target.dtype or source.shape[1:] != target.shape[1:]
            if other or not min(slots, len(target)) <= len(source) <= len(target):
                raise InputError(_FIELD, f"the file has other {name}", source.dtype, str(target.dtype))
            fill(target[: len(source)], source)
            if name in _EPISODES:
                target[len(source) :] = 0  # no episode lies there
