"""A storage that keeps every frame once: stacks of frames are put together when a batch is drawn."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any, ClassVar, NamedTuple

import numpy as np
from gymnasium import spaces

from sb3_course.config.errors import InputError
from sb3_course.replay.frame_pool import FramePool
from sb3_course.replay.parts import Transitions
from sb3_course.replay.rows import SCALARS, Rows, row_dtype
from sb3_course.saving.elsewhere import here

_WHOLE = ""  # the name of an observation that is no Dict


class Stacking(NamedTuple):
    """How frames make an observation.

    :param n_frames: k
    :param axis: along which they lie: 0, or -1 for channels that come last
    """

    n_frames: int
    axis: int = 0

    def frame_shape(self, space: spaces.Space[Any]) -> tuple[int, ...]:
        """Return the shape of one frame.

        :raises InputError: when the space is no stack of so many
        """
        shape = list(space.shape or ())
        if self.n_frames < 1 or not shape or shape[self.axis] % self.n_frames:
            want = f"a multiple of {self.n_frames} along axis {self.axis}"
            raise InputError("n_stack", "the observations are no stacks of so many frames", tuple(shape), want)
        shape[self.axis] //= self.n_frames
        return tuple(shape)


class FrameColumn:
    """The stacks of one observation, or of one key of it, as numbers of frames.

    Nothing is taken for granted: a new stack's frames are compared with those of the stack before, and where they are
    not its last ones, the whole stack is stored. So padding and the last observation of an episode come back as they
    were.

    :param slots: transitions of each env
    :param n_envs: envs
    :param space: of the observation
    :param stacking: how frames make it
    """

    def __init__(self, slots: int, n_envs: int, space: spaces.Space[Any], stacking: Stacking) -> None:
        self.stacking, self.shape = stacking, space.shape or ()
        frame = stacking.frame_shape(space)
        # One new frame a transition, and what the newest ones and some ends of episodes need besides.
        self.pool = FramePool(
            slots * n_envs + slots * n_envs // 64 + 2 * n_envs * stacking.n_frames, frame, space.dtype
        )
        self.dtype = np.dtype(space.dtype)
        #: Of each transition the frames of its observation and of its next one; -1: none yet.
        self.references = np.full((slots, n_envs, 2, stacking.n_frames), -1, np.int32)
        self._tails = np.full((n_envs, stacking.n_frames), -1, np.int32)  # the newest stack of each env

    def put(self, slot: int, stacks: np.ndarray, next_stacks: np.ndarray) -> None:
        """Write one transition of every env, (E, …) each."""
        for env, (stack, next_stack) in enumerate(zip(stacks, next_stacks, strict=True)):
            before = self.references[slot, env].reshape(-1).copy()
            first = self._numbers(stack, self._tails[env])
            following = self._numbers(next_stack, first)
            self.references[slot, env] = first, following
            self.pool.refer(np.concatenate([first, following, following]))
            released = before if self._tails[env, 0] < 0 else np.concatenate([before, self._tails[env]])
            self._tails[env] = following
            self.pool.let_go(released[released >= 0])

    def _numbers(self, stack: np.ndarray, before: np.ndarray) -> np.ndarray:
        """Return the numbers of a stack's frames, after those that are new have been stored."""
        pool, frames = self.pool, list(self._split(stack))
        if before[0] >= 0:
            if all(np.array_equal(frame, pool[number]) for frame, number in zip(frames, before, strict=True)):
                return before.copy()
            older = zip(frames[:-1], before[1:], strict=True)
            if all(np.array_equal(frame, pool[number]) for frame, number in older):
                return np.append(before[1:], np.int32(pool.add(frames[-1])))
        numbers: list[int] = []
        for frame in frames:
            same = bool(numbers) and np.array_equal(frame, pool[numbers[-1]])
            numbers.append(numbers[-1] if same else pool.add(frame))
        return np.array(numbers, np.int32)

    def _split(self, stack: np.ndarray) -> Iterator[np.ndarray]:
        n, axis = self.stacking
        width = stack.shape[axis] // n
        for first in range(0, n * width, width):
            yield stack[first : first + width] if axis == 0 else stack[..., first : first + width]

    def take(self, indices: np.ndarray, which: int) -> np.ndarray:
        """Return the stacks of transitions at flat indices, (B, …).

        :param which: 0 for the observation, 1 for the next one
        """
        flat = self.references.reshape(-1, 2, self.stacking.n_frames)
        return self.stacks(flat[indices, which])

    def stacks(self, numbers: np.ndarray) -> np.ndarray:
        """Return stacks by the numbers of their frames, (…, k) -> (…, *shape)."""
        frames = self.pool.take(numbers)  # (…, k, *frame)
        if self.stacking.axis != 0:
            frames = np.moveaxis(frames, numbers.ndim - 1, -2)
        return frames.reshape(*numbers.shape[:-1], *self.shape)

    def get_state(self, slots: int) -> dict[str, Any]:
        """Return the first `slots` slots, not copied."""
        return {"references": self.references[:slots], "tails": self._tails, "frames": self.pool.get_state()}

    def check_state(self, state: dict[str, Any], slots: int) -> None:
        """Refuse the state of another column, or of another number of filled slots."""
        references, tails = (here(state[name]) for name in ("references", "tails"))
        n_frames = self.pool.check_state(state["frames"], 2 * self.references.size)
        shapes = references.shape == (slots, *self.references.shape[1:]) and tails.shape == self._tails.shape
        kinds = references.dtype == self.references.dtype and tails.dtype == self._tails.dtype
        known = not slots or (references.min() >= 0 and references.max() < n_frames)
        if not (shapes and kinds and known and tails.min() >= -1 and tails.max() < max(n_frames, 1)):
            want = f"{(slots, *self.references.shape[1:])} numbers of {n_frames} frames"
            raise InputError("replay buffer", "the state is of another buffer", references.shape, want)

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore a checked state."""
        references, self._tails[:] = here(state["references"]), here(state["tails"])
        self.references[...] = -1
        self.references[: len(references)] = references
        held = np.concatenate([references.reshape(-1), self._tails[self._tails >= 0]])
        self.pool.set_state(state["frames"], held)


class StackView:
    """What SB3 calls ``observations``: reading it puts stacks together, (slots, n_envs, …)."""

    def __init__(self, column: FrameColumn, which: int) -> None:
        self._column, self._which = column, which
        self.shape, self.dtype = (*column.references.shape[:2], *column.shape), column.dtype

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, index: Any) -> np.ndarray:
        return self._column.stacks(np.maximum(self._column.references[:, :, self._which][index], 0))


class Frames:
    """Transitions whose stacked images are kept frame by frame, all else in rows.

    :param slots: transitions of each env
    :param n_envs: envs
    :param stackings: how frames make the observation, or those of its keys that are stacks, by name
    :raises InputError: for spaces that are no such stacks, and for a memory that will not fit
    """

    streamed: ClassVar[tuple[str, ...]] = ("rows", "columns")
    actions: np.ndarray
    rewards: np.ndarray
    dones: np.ndarray
    timeouts: np.ndarray

    def __init__(
        self,
        slots: int,
        n_envs: int,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        stackings: Stacking | dict[str, Stacking],
    ) -> None:
        stacked = stackings if isinstance(stackings, dict) else {_WHOLE: stackings}
        is_dict = isinstance(observation_space, spaces.Dict)
        parts = dict(observation_space.spaces) if is_dict else {_WHOLE: observation_space}  # type: ignore[attr-defined]
        rest = spaces.Dict({name: space for name, space in parts.items() if name not in stacked})
        _require_room(slots * n_envs, parts, rest, action_space, stacked)
        self.rows = Rows(slots, n_envs, rest, action_space)
        self.columns_of = {name: FrameColumn(slots, n_envs, parts[name], each) for name, each in stacked.items()}
        self._order, self._is_dict = tuple(parts), is_dict
        self._look_into()

    def _look_into(self) -> None:
        for name in ("actions", *SCALARS):
            setattr(self, name, getattr(self.rows, name))
        self.columns = self.rows.columns
        views = [{name: StackView(each, which) for name, each in self.columns_of.items()} for which in (0, 1)]
        first, following = ({**self.rows.observations, **views[0]}, {**self.rows.next_observations, **views[1]})
        self.observations: Any = first if self._is_dict else first[_WHOLE]
        self.next_observations: Any = following if self._is_dict else following[_WHOLE]

    def __getstate__(self) -> dict[str, Any]:
        """Leave the views out: they are made again."""
        kept = "rows", "columns_of", "_order", "_is_dict"
        return {name: self.__dict__[name] for name in kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Look into what was kept."""
        self.__dict__.update(state)
        self._look_into()

    def put(
        self,
        slot: int,
        obs: Any,
        next_obs: Any,
        action: np.ndarray,
        reward: np.ndarray,
        done: np.ndarray,
        timeouts: list[bool] | None,
        *,
        infos: list[dict[str, Any]] | None = None,
    ) -> None:
        """Write one transition of every env."""
        both = (obs, next_obs) if self._is_dict else ({_WHOLE: obs}, {_WHOLE: next_obs})
        n_envs = self.rewards.shape[1]
        for name, column in self.columns_of.items():
            column.put(slot, *(np.asarray(each[name]).reshape(n_envs, *column.shape) for each in both))
        self.rows.put(slot, both[0], both[1], action, reward, done, timeouts)

    def take(self, first: np.ndarray, last: np.ndarray) -> Transitions:
        """Return the windows from flat indices `first` (B,) to `last` (B,), the same array for single transitions."""
        read = self.rows.take(first, last)
        ends = ((read.observations, first, 0), (read.next_observations, last, 1))
        seen = [
            {
                name: self.columns_of[name].take(at, which) if name in self.columns_of else rest[name]
                for name in self._order
            }
            for rest, at, which in ends
        ]
        obs, next_obs = seen if self._is_dict else (each[_WHOLE] for each in seen)
        return Transitions(obs, read.actions, read.rewards, next_obs, read.terminated)

    def get_state(self, slots: int) -> dict[str, Any]:
        """Return the first `slots` slots, not copied."""
        columns = {name: column.get_state(slots) for name, column in self.columns_of.items()}
        return {**self.rows.get_state(slots), "columns": columns}

    def check_state(self, state: dict[str, Any], slots: int) -> None:
        """Refuse the state of another storage, or of another number of filled slots."""
        self.rows.check_state(state, slots)
        if list(state.get("columns", ())) != list(self.columns_of):
            raise InputError(
                "replay buffer", "the state is of another buffer", list(state), "that of a buffer of frames"
            )
        for name, column in self.columns_of.items():
            column.check_state(state["columns"][name], slots)

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore a checked state."""
        self.rows.set_state(state)
        for name, column in self.columns_of.items():
            column.set_state(state["columns"][name])


def bytes_needed(
    n: int,
    parts: dict[str, spaces.Space[Any]],
    rest: spaces.Dict,
    action_space: spaces.Space[Any],
    stacked: dict[str, Stacking],
) -> int:
    """Return how many bytes n transitions take."""
    total = n * row_dtype(rest, action_space).itemsize
    for name, stacking in stacked.items():
        frame = prod(stacking.frame_shape(parts[name])) * np.dtype(parts[name].dtype).itemsize
        total += n * (frame + frame // 64 + 8 * stacking.n_frames + 4)
    return total


def _require_room(n: int, *about: Any) -> None:
    """Refuse a memory that will not fit before it is taken."""
    import psutil

    needed, there = bytes_needed(n, *about), psutil.virtual_memory().available
    if needed > there:
        got = f"{n:,} transitions, {needed / 1e9:.1f} GB"
        raise InputError("buffer_size", "the replay memory will not fit", got, f"at most the {there / 1e9:.1f} GB free")
