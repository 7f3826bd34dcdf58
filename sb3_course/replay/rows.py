"""A storage of rows: a transition is one row of a structured array, so that a batch is one ``take``."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer as SB3ReplayBuffer
from stable_baselines3.common.preprocessing import get_action_dim, get_obs_shape

from sb3_course.config.errors import InputError
from sb3_course.config.warn import warn_user
from sb3_course.replay.parts import Transitions
from sb3_course.saving.elsewhere import Elsewhere, fill

# A row's fields that hold one number.
SCALARS = ("rewards", "dones", "timeouts")


class Rows:
    """Transitions as rows; the attributes are views into them.

    :param slots: transitions of each env
    :param n_envs: envs
    """

    streamed: ClassVar[tuple[str, ...]] = ("rows",)
    observations: Any  # (slots, n_envs, …) or a dict of such
    next_observations: Any
    actions: np.ndarray  # (slots, n_envs, action_dim)
    rewards: np.ndarray  # (slots, n_envs)
    dones: np.ndarray
    timeouts: np.ndarray

    def __init__(
        self, slots: int, n_envs: int, observation_space: spaces.Space[Any], action_space: spaces.Space[Any]
    ) -> None:
        row = row_dtype(observation_space, action_space)
        _warn_if_too_large(row.itemsize * slots * n_envs)
        self._look_into(np.zeros((slots, n_envs), dtype=row))

    @classmethod
    def around(cls, table: np.ndarray) -> Self:
        """Return the storage of an array of rows, (slots, n_envs)."""
        storage = cls.__new__(cls)
        storage._look_into(table)
        return storage

    def _look_into(self, table: np.ndarray) -> None:
        self.table = table
        self.flat = table.reshape(-1)
        self.observations = _fields(table["observations"])
        self.next_observations = _fields(table["next_observations"])
        self.actions = table["actions"]
        for name in SCALARS:
            setattr(self, name, table[name])
        self.columns = self.flat["rewards"], self.flat["dones"], self.flat["timeouts"]
        #: For `write_step`: the rows as plain numbers, and where things lie there; None where they are of other types.
        self.plain: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
        if table.size and table["observations"].ndim == 3 and (found := columns_of(self.flat.dtype)) is not None:
            words, wide = (self.flat.view(kind).reshape(len(self.flat), -1) for kind in (np.float32, np.int64))
            self.plain = words, wide, found[0]

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave the views out: pickled one by one they would no longer share the rows' memory."""
        return type(self).around, (self.table,)

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
        """Write one row of every env."""
        _store(self.observations, slot, obs)
        _store(self.next_observations, slot, next_obs)
        _store(self.actions, slot, action)
        self.rewards[slot] = reward
        self.dones[slot] = done
        if timeouts is not None:
            self.timeouts[slot] = timeouts

    def take(self, first: np.ndarray, last: np.ndarray) -> Transitions:
        """Return the windows from flat indices `first` (B,) to `last` (B,), the same array for single transitions."""
        starts = self.flat.take(first)
        ends = starts if last is first else self.flat.take(last)
        return Transitions(
            _copied(starts["observations"]),
            starts["actions"].copy(),
            starts["rewards"].copy(),
            _copied(ends["next_observations"]),
            ends["dones"] * (1 - ends["timeouts"]),
        )

    def get_state(self, slots: int) -> dict[str, Any]:
        """Return the first `slots` slots' rows, not copied."""
        return {"rows": self.table[:slots]}

    def check_state(self, state: dict[str, Any], slots: int) -> None:
        """Refuse rows of another buffer, or of another number of filled slots."""
        rows, shape = state["rows"], (slots, self.table.shape[1])
        if rows.dtype != self.table.dtype or rows.shape != shape or slots > len(self.table):
            got, want = f"{rows.shape} of {rows.dtype}", f"{shape} rows of {self.table.dtype}"
            raise InputError("replay buffer", "the state is of another buffer", got=got, want=want)
        if isinstance(rows, Elsewhere):
            rows.require_whole()

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore checked rows."""
        fill(self.table[: len(state["rows"])], state["rows"])


def row_dtype(observation_space: spaces.Space[Any], action_space: spaces.Space[Any]) -> np.dtype[Any]:
    """Return the fields of a row, with shapes and types as in SB3's buffers."""

    def field(space: spaces.Space[Any], shape: Any) -> Any:
        if isinstance(space, spaces.Dict):
            return np.dtype([(key, *field(sub, shape[key])) for key, sub in space.spaces.items()], align=True), ()
        return space.dtype, shape

    observation = field(observation_space, get_obs_shape(observation_space))
    action = SB3ReplayBuffer._maybe_cast_dtype(action_space.dtype), (get_action_dim(action_space),)
    return np.dtype(
        [
            ("observations", *observation),
            ("next_observations", *observation),
            ("actions", *action),
            *((name, np.float32) for name in SCALARS),
        ],
        align=True,
    )


def columns_of(row: np.dtype[Any]) -> tuple[np.ndarray, int] | None:
    """Return where things lie in a row, and how many numbers an observation has; None where they are of other types."""
    fields = row.fields
    assert fields is not None
    observation, action = fields["observations"][0], fields["actions"][0]
    if observation.base != np.float32 or action.base != np.int64 or row.itemsize % 8:
        return None
    names = "observations", "next_observations", "actions", "rewards", "dones", "timeouts"
    places = [fields[name][1] // (8 if name == "actions" else 4) for name in names]
    return np.array(places, np.int64), observation.itemsize // 4


def write_step(
    words: np.ndarray,
    wide: np.ndarray,
    columns: np.ndarray,
    first: int,
    obs: np.ndarray,
    next_obs: np.ndarray,
    actions: np.ndarray,
    rewards: np.ndarray,
    dones: np.ndarray,
) -> bool:
    """Write a row of every env unless an episode ended, or a reward or next observation is not finite; tell whether.

    :param words: the rows as numbers of four bytes, (slots · envs, w)
    :param wide: the same memory as whole numbers of eight, (slots · envs, w / 2)
    :param columns: as of `columns_of`
    :param first: the flat index of the first env's row
    """
    if dones.any() or not (np.isfinite(rewards).all() and np.isfinite(next_obs).all()):
        return False
    rows, p = words[first : first + len(rewards)], obs.shape[1]
    seen, then, action, reward, done, timeout = columns
    rows[:, seen : seen + p], rows[:, then : then + p], rows[:, reward] = obs, next_obs, rewards
    rows[:, done] = rows[:, timeout] = 0
    wide[first : first + len(rewards), action] = actions
    return True


def _fields(table: np.ndarray) -> Any:
    """Return a Dict observation's table as a dict of views, and any other as it is."""
    return table if table.dtype.names is None else {key: table[key] for key in table.dtype.names}


def _copied(rows: np.ndarray) -> Any:
    """Copy a field out of gathered rows into an array of its own, or a dict of such."""
    if rows.dtype.names is not None:
        return {key: rows[key].copy() for key in rows.dtype.names}
    return rows.copy()


def _store(table: Any, slot: int, values: Any) -> None:
    if isinstance(table, dict):
        for key, view in table.items():
            _store(view, slot, values[key])
    else:
        shape = table.shape[1:]
        table[slot] = values if getattr(values, "shape", None) == shape else np.asarray(values).reshape(shape)


def _warn_if_too_large(n_bytes: int) -> None:
    import psutil

    available = psutil.virtual_memory().available
    if n_bytes > available:
        warn_user(
            "This system does not have apparently enough memory to store the complete "
            f"replay buffer {n_bytes / 1e9:.2f}GB > {available / 1e9:.2f}GB"
        )
