"""Uniform replay over rows, with n-step returns, for array and Dict observations and several envs."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.buffers import BaseBuffer, NStepReplayBuffer
from stable_baselines3.common.type_aliases import DictReplayBufferSamples, ReplayBufferSamples
from stable_baselines3.common.vec_env import VecNormalize

from sb3_course.backends import compiled
from sb3_course.config.text import InputError
from sb3_course.replay.batch import Batch

# A row's fields that hold one number.
SCALARS = ("rewards", "dones", "timeouts")


class ReplayBuffer(NStepReplayBuffer):
    """A ring of transitions, drawn uniformly from one named generator.

    A transition is one row of a structured array, so that a batch is one ``take``; SB3's attributes
    (``observations``, ``actions``, ``dones``, …) are views into the rows. The flat index of a transition is
    ``slot · n_envs + env``. ``sample`` serves SB3's own algorithms, ``sample_batch`` ours.

    With ``n_steps = n`` the reward of a sample is ``Σ_{k<m} γ^k r_{t+k}`` and its discount ``γ^m·(1 − terminated)``
    (Sutton & Barto 2018, Eq. 7.1), m ≤ n: a window ends at a termination, at a truncation (which still
    bootstraps) and at the newest slot.

    :param buffer_size: capacity in transitions, shared out among the envs
    :param n_steps: the horizon n
    :param gamma: the discount factor γ of the window; a user of SB3's algorithms passes the algorithm's own
    :param rng: the generator of the draws; by default a child of the action space's, which SB3 seeds
    :raises InputError: for ``optimize_memory_usage``, which one row per transition cannot offer
    """

    #: Whether a learner should work out priorities and hand them to `update`.
    wants_priorities: ClassVar[bool] = False
    observations: Any  # (slots, n_envs, …) or a dict of such
    next_observations: Any

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        device: th.device | str = "auto",
        n_envs: int = 1,
        optimize_memory_usage: bool = False,
        handle_timeout_termination: bool = True,
        n_steps: int = 1,
        gamma: float = 0.99,
        rng: np.random.Generator | None = None,
    ) -> None:
        # SB3's own constructors allocate one array a field and refuse Dict observations with n > 1.
        BaseBuffer.__init__(self, buffer_size, observation_space, action_space, device, n_envs=n_envs)
        if optimize_memory_usage:
            raise InputError("optimize_memory_usage", "this buffer keeps both observations", got=True, want="False")
        if n_steps is None or n_steps < 1:
            raise InputError("n_steps", "a window has at least one step", got=n_steps, want="an integer >= 1")
        self.buffer_size = max(buffer_size // n_envs, 1)
        if n_steps > self.buffer_size:
            want = f"at most {self.buffer_size}, the slots of the buffer"
            raise InputError("n_steps", "a window cannot be longer than the replay buffer", got=n_steps, want=want)
        self.optimize_memory_usage = False
        self.handle_timeout_termination = handle_timeout_termination
        self.n_steps = n_steps
        self.gamma = gamma
        self.rng = _child_generator(action_space) if rng is None else rng
        row = self._row_dtype()
        _warn_if_too_large(row.itemsize * self.buffer_size * n_envs)
        self._rows = np.zeros(self.buffer_size * n_envs, dtype=row)
        self._make_views()

    def _row_dtype(self) -> np.dtype[Any]:
        def field(space: spaces.Space[Any], shape: Any) -> Any:
            if isinstance(space, spaces.Dict):
                return np.dtype([(key, *field(sub, shape[key])) for key, sub in space.spaces.items()], align=True), ()
            return space.dtype, shape

        observation = field(self.observation_space, self.obs_shape)
        action = self._maybe_cast_dtype(self.action_space.dtype), (self.action_dim,)
        return np.dtype(
            [
                ("observations", *observation),
                ("next_observations", *observation),
                ("actions", *action),
                *((name, np.float32) for name in SCALARS),
            ],
            align=True,
        )

    def _make_views(self) -> None:
        table = self._rows.reshape(self.buffer_size, self.n_envs)
        self.observations = _fields(table["observations"])
        self.next_observations = _fields(table["next_observations"])
        self.actions = table["actions"]
        for name in SCALARS:
            setattr(self, name, table[name])
        self._compiled = compiled.available()  # here, and not where the buffer was pickled

    def __getstate__(self) -> dict[str, Any]:
        """Leave the views out: pickled one by one they would no longer share the rows' memory."""
        views = {"observations", "next_observations", "actions", *SCALARS, "_compiled"}
        return {key: value for key, value in self.__dict__.items() if key not in views}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the rows and look into them again."""
        self.__dict__.update(state)
        self._make_views()

    def get_state(self) -> dict[str, Any]:
        """Return the filled rows and the position in the ring; the generator belongs to whoever handed it in."""
        table = self._rows.reshape(self.buffer_size, self.n_envs)
        return {"rows": table[: self.size()].copy(), "pos": self.pos, "full": self.full}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore what `get_state` returned, into a buffer of the same spaces and size."""
        rows, pos, full = state["rows"], int(state["pos"]), bool(state["full"])
        shape = (self.buffer_size if full else pos, self.n_envs)
        if rows.dtype != self._rows.dtype or rows.shape != shape or pos >= self.buffer_size:
            want = f"{shape} rows of {self._rows.dtype}"
            raise InputError("replay buffer", "the state is of another buffer", f"{rows.shape} of {rows.dtype}", want)
        self._rows[: rows.size] = rows.reshape(-1)
        self.pos, self.full = pos, full

    def add(
        self,
        obs: Any,
        next_obs: Any,
        action: np.ndarray,
        reward: np.ndarray,
        done: np.ndarray,
        infos: list[dict[str, Any]],
    ) -> None:
        """Store one transition of every env in the next slot."""
        slot = self.pos
        _store(self.observations, slot, obs)
        _store(self.next_observations, slot, next_obs)
        self.actions[slot] = action.reshape(self.n_envs, self.action_dim)
        self.rewards[slot] = reward
        self.dones[slot] = done
        if self.handle_timeout_termination:
            self.timeouts[slot] = np.array([info.get("TimeLimit.truncated", False) for info in infos])
        self.pos = (slot + 1) % self.buffer_size
        self.full = self.full or self.pos == 0

    def cut(self) -> None:
        """Mark the newest transitions as truncated, unless their episodes ended: the next ones will not follow them."""
        newest = (self.pos - 1) % self.buffer_size
        if self.size() > 0:
            self.timeouts[newest] = np.maximum(self.timeouts[newest], 1 - self.dones[newest])

    def draw(self, batch_size: int) -> np.ndarray:
        """Draw the flat indices of a batch, each stored transition equally likely, (B,)."""
        return self.rng.integers(self.size() * self.n_envs, size=batch_size)

    def weights(self, indices: np.ndarray) -> np.ndarray:
        """Return the importance weights of drawn transitions: 1 each, because the draw was uniform, (B,)."""
        return np.ones(len(indices), dtype=np.float32)

    def update(self, indices: np.ndarray | None, priorities: np.ndarray) -> None:
        """Take notice of new priorities: uniform replay has no use for them."""

    def sample_batch(self, batch_size: int, env: VecNormalize | None = None) -> Batch:
        """Draw a batch for our learner, normalised by `env`'s statistics if it is given.

        :raises InputError: when nothing has been stored yet
        """
        if self.size() == 0:
            raise InputError("replay buffer", "there is nothing to sample from", got="0 transitions", want="at least 1")
        return self.gather(self.draw(batch_size), env)

    def gather(self, indices: np.ndarray, env: VecNormalize | None = None) -> Batch:
        """Return the transitions at flat `indices` (B,) as a batch."""
        return self._gather(indices, env)[0]

    def _gather(self, indices: np.ndarray, env: VecNormalize | None) -> tuple[Batch, np.ndarray, np.ndarray]:
        """Return the batch and, for SB3's form of it, whether each window ended in a termination (B,) and its γ^m."""
        first = self._rows.take(indices)
        if self.n_steps == 1:
            last, rewards = first, self._normalize_reward(_contiguous(first["rewards"]), env)
            powers = np.asarray(self.gamma, dtype=np.float32)
        else:
            last, rewards, powers = self._window(indices, env)
        terminated = last["dones"] * (1 - last["timeouts"])
        batch = Batch(
            observations=self._normalize_obs(_contiguous(first["observations"]), env),
            actions=_contiguous(first["actions"]),
            next_observations=self._normalize_obs(_contiguous(last["next_observations"]), env),
            rewards=rewards,
            discounts=powers * (1 - terminated),
            weights=self.weights(indices),
            indices=indices,
        )
        return batch, terminated, powers

    def _window(self, indices: np.ndarray, env: VecNormalize | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return each n-step window's last row (B,), its summed reward (B,) and its γ^m (B,)."""
        newest = (self.pos - 1) % self.buffer_size * self.n_envs  # beyond it lie the oldest, of another episode
        powers = float(self.gamma) ** np.arange(self.n_steps + 1, dtype=np.float32)
        if self._compiled and env is None:
            columns = (self._rows[name] for name in SCALARS)
            rows, rewards, factors = compiled.windows(indices, *columns, self.n_envs, newest, powers)
            return self._rows.take(rows), rewards, factors
        steps = np.arange(self.n_steps)
        flat = (indices[:, None] + steps * self.n_envs) % len(self._rows)  # (B, n) of the same env, slot by slot
        ends = (flat >= newest) & (flat < newest + self.n_envs)
        ends |= self._rows["dones"][flat] + self._rows["timeouts"][flat] > 0
        ends[:, -1] = True
        length = ends.argmax(axis=1)  # (B,) m − 1
        rewards = self._normalize_reward(self._rows["rewards"][flat], env)
        rewards = np.add.reduce(rewards * powers[:-1] * (steps <= length[:, None]), axis=1)
        last = self._rows.take(flat[np.arange(len(flat)), length])
        return last, rewards, powers[length + 1]

    def sample(self, batch_size: int, env: VecNormalize | None = None) -> ReplayBufferSamples:
        """Draw a batch in SB3's form, for SB3's own algorithms; numbers are (B, 1) tensors."""
        return self._samples(self.draw(batch_size), env)

    def _get_samples(self, batch_inds: np.ndarray, env: VecNormalize | None = None) -> ReplayBufferSamples:
        """Return the slots `batch_inds` in SB3's form, each from an env drawn at random (SB3's contract)."""
        envs = self.rng.integers(self.n_envs, size=len(batch_inds))
        return self._samples(np.asarray(batch_inds) * self.n_envs + envs, env)

    def _samples(self, indices: np.ndarray, env: VecNormalize | None) -> ReplayBufferSamples:
        batch, terminated, powers = self._gather(indices, env)

        def column(values: np.ndarray) -> th.Tensor:
            return self.to_torch(values.reshape(-1, 1), copy=False)

        def tensors(values: Any) -> Any:
            if isinstance(values, dict):
                return {key: tensors(value) for key, value in values.items()}
            return self.to_torch(values, copy=False)

        form: Any = DictReplayBufferSamples if isinstance(batch.observations, dict) else ReplayBufferSamples
        samples: ReplayBufferSamples = form(
            observations=tensors(batch.observations),
            actions=tensors(batch.actions),
            next_observations=tensors(batch.next_observations),
            dones=column(terminated),
            rewards=column(batch.rewards),
            # One step: SB3's algorithm multiplies by its own γ, which this buffer may not have been told.
            discounts=column(powers) if self.n_steps > 1 else None,
        )
        return samples


def _fields(table: np.ndarray) -> Any:
    """Return a Dict observation's table as a dict of views, and any other as it is."""
    return table if table.dtype.names is None else {key: table[key] for key in table.dtype.names}


def _contiguous(rows: np.ndarray) -> Any:
    """Copy a field out of gathered rows into an array of its own, or a dict of such."""
    if rows.dtype.names is not None:
        return {key: np.ascontiguousarray(rows[key]) for key in rows.dtype.names}
    return np.ascontiguousarray(rows)


def _store(table: Any, slot: int, values: Any) -> None:
    if isinstance(table, dict):
        for key, view in table.items():
            _store(view, slot, values[key])
    else:
        table[slot] = np.asarray(values).reshape(table.shape[1:])


def _child_generator(action_space: spaces.Space[Any]) -> np.random.Generator:
    """Spawn a generator from the action space's: seeded with it by SB3, without disturbing its stream."""
    sequence = action_space.np_random.bit_generator.seed_seq
    return np.random.default_rng(sequence.spawn(1)[0])  # type: ignore[attr-defined]


def _warn_if_too_large(n_bytes: int) -> None:
    try:
        import psutil
    except ImportError:  # an optional dependency of SB3
        return
    available = psutil.virtual_memory().available
    if n_bytes > available:
        warnings.warn(
            "This system does not have apparently enough memory to store the complete "
            f"replay buffer {n_bytes / 1e9:.2f}GB > {available / 1e9:.2f}GB",
            stacklevel=3,
        )
