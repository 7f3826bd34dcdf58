"""The replay buffer: a storage, windows of n steps and a draw, put together for SB3's algorithms and ours."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, ClassVar

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.buffers import BaseBuffer, NStepReplayBuffer
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.vec_env import VecNormalize

from sb3_course.config.errors import InputError
from sb3_course.replay.asked_of_buffers import check_buffer_arguments, check_draw, check_numbers, not_a_transition
from sb3_course.replay.batch import Batch, MaskedBatch, as_samples
from sb3_course.replay.masks import masked as with_masks
from sb3_course.replay.old_pickles import is_old, upgraded
from sb3_course.replay.parts import Best, Draw, MakeDraw, MakeStorage, Storage, Transitions
from sb3_course.replay.returns_seen import returns_of
from sb3_course.replay.rows import Rows, write_step
from sb3_course.replay.uniform import UniformDraw
from sb3_course.replay.window import powers_of, window_rows, window_sums, windows
from sb3_course.saving.generators import child_generator

# What the storage shows under SB3's names.
VIEWS = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")


class ReplayBuffer(NStepReplayBuffer):
    """A ring of transitions, drawn from one named generator: uniformly, unless another draw is given.

    SB3's attributes (``observations``, ``actions``, ``dones``, …) are views into the storage. The flat index of a
    transition is ``slot · n_envs + env``. ``sample`` serves SB3's own algorithms, ``sample_batch`` ours.

    With ``n_steps = n`` the reward of a sample is ``Σ_{k<m} γ^k r_{t+k}`` and its discount ``γ^m·(1 − terminated)``
    (Sutton & Barto 2018, Eq. 7.1), m ≤ n: a window ends at a termination, at a truncation (which still
    bootstraps) and at the newest slot.

    :param buffer_size: capacity in transitions, shared out among the envs
    :param n_steps: the horizon n
    :param gamma: the discount factor γ of the window; a user of SB3's algorithms passes the algorithm's own
    :param rng: the generator of the draws; by default a child of the action space's, which SB3 seeds
    :param masked: keep which actions were valid: see `sb3_course.replay.masks`
    :param storage: makes what keeps the transitions
    :param draw: makes what chooses among them
    :raises InputError: for ``optimize_memory_usage``, which one row per transition cannot offer
    """

    copies: ClassVar[bool] = True  # whatever is handed to `add` may be changed afterwards
    vouched: Any = None  # the observation and the next one that the caller of `add` has just looked at by itself
    observations: Any  # (slots, n_envs, …) or a dict of such
    next_observations: Any
    _storage: Storage
    _draw: Draw

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
        masked: bool = False,
        *,
        storage: MakeStorage = Rows,
        draw: MakeDraw = UniformDraw,
    ) -> None:
        check_buffer_arguments({name: value for name, value in locals().items() if name not in ("self", "__class__")})
        # SB3's own constructors allocate one array a field and refuse Dict observations with n > 1.
        BaseBuffer.__init__(self, buffer_size, observation_space, action_space, device, n_envs=n_envs)
        self.buffer_size = max(buffer_size // n_envs, 1)
        if n_steps > self.buffer_size:
            want = f"at most {self.buffer_size}, the slots of the buffer"
            raise InputError("n_steps", "a window cannot be longer than the replay buffer", got=n_steps, want=want)
        self.optimize_memory_usage = False
        self.handle_timeout_termination = handle_timeout_termination
        self.n_steps = n_steps
        self.gamma = gamma
        self.rng = child_generator(action_space) if rng is None else rng
        self._draw = draw(self.buffer_size * n_envs)
        self.masked, storage = masked, with_masks(storage) if masked else storage
        self._storage = storage(self.buffer_size, n_envs, observation_space, action_space)
        self._look_into_storage()

    def _look_into_storage(self) -> None:
        for name in VIEWS:
            setattr(self, name, getattr(self._storage, name))
        self.streamed: tuple[str, ...] = getattr(self._storage, "streamed", ())
        self._windows, self._write_step = windows, write_step

    @property
    def wants_priorities(self) -> bool:
        """Whether a learner should work out priorities and hand them to `update`."""
        return self._draw.wants_priorities

    def connect(
        self,
        *,
        n_steps: int | None = None,
        gamma: float | None = None,
        rng: np.random.Generator | None = None,
        best: Best | None = None,
        beta0: float | None = None,
    ) -> None:
        """Draw from `rng`, with this horizon and discount, computed by `best`; None leaves a thing as it is.

        :param beta0: the β of prioritized draws at the start of training
        """
        self.n_steps = self.n_steps if n_steps is None else n_steps
        self.gamma = self.gamma if gamma is None else gamma
        self.rng = self.rng if rng is None else rng
        if best is not None:
            self._windows, self._write_step = best(windows), best(write_step)
        self._draw.connect(best, beta0)

    # -- storing --------------------------------------------------------------------------------------------------

    def add(
        self, obs: Any, next_obs: Any, action: np.ndarray, reward: np.ndarray, done: np.ndarray, infos: list[Any]
    ) -> None:
        """Store one sound transition of every env: obs (E, …), action (E, K), reward and done (E,)."""
        first = self.pos * self.n_envs
        try:
            check_numbers(self, obs, next_obs, action, reward, done)
            self._put(obs, next_obs, action, reward, done, infos)
        except InputError:
            raise
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise not_a_transition(error, self) from error
        self._stored(first, done)

    def _stored(self, first: int, done: np.ndarray) -> None:
        """Take notice of new transitions, one of each env from flat index `first` on."""
        self._draw.stored(first, self.n_envs)

    def _put(self, obs: Any, next_obs: Any, action: np.ndarray, reward: Any, done: Any, infos: Any) -> None:
        """Write the next slot."""
        timeouts = None
        if self.handle_timeout_termination:
            timeouts = [bool(info.get("TimeLimit.truncated", False)) for info in infos]
        self._storage.put(self.pos, obs, next_obs, action, reward, done, timeouts, infos=infos)
        self.pos = (self.pos + 1) % self.buffer_size
        self.full = self.full or self.pos == 0

    def cut(self) -> None:
        """Mark the newest transitions as truncated, unless their episodes ended: the next ones will not follow them."""
        newest = (self.pos - 1) % self.buffer_size
        if self.size() > 0:
            self.timeouts[newest] = np.maximum(self.timeouts[newest], 1 - self.dones[newest])

    def reset(self) -> None:
        """Empty the buffer."""
        super().reset()
        self._draw.reset()

    def adopt(self, other: ReplayBuffer) -> None:
        """Hold what another buffer of the same slots, envs and spaces holds, whose draw is of another kind."""
        self._storage = other._storage
        self._look_into_storage()
        self.adopt_rows(other.pos, other.full)
        self._draw.inherit(other._draw)

    def adopt_rows(self, pos: int, full: bool) -> None:
        """Take the rows up to slot `pos`, or all, which were written into the storage, for stored by `add`."""
        self.pos, self.full = pos, full
        self._draw.stored(0, self.size() * self.n_envs)

    def draw(self, batch_size: int) -> np.ndarray:
        """Draw the flat indices of a batch, (B,)."""
        return self._draw.draw(batch_size, self.rng, self.size() * self.n_envs)

    def weights(self, indices: np.ndarray) -> np.ndarray:
        """Return the importance weights of drawn transitions from their flat `indices`, (B,) -> (B,)."""
        return self._draw.weights(indices)

    def update(self, indices: np.ndarray | None, priorities: np.ndarray) -> None:
        """Give drawn transitions new priorities; uniform replay has no use for them.

        :param indices: the `indices` of the batch, (B,)
        :param priorities: the size of each error, without importance weights, (B,)
        :raises InputError: for NaN, negative or infinite priorities and for transitions that are not stored
        """
        self._draw.update(indices, priorities, self.size() * self.n_envs)

    def progress(self, remaining: float) -> None:
        """Tell the draw what remains of the training, from 1 to 0."""
        self._draw.progress(remaining)

    def logs(self) -> dict[str, float]:
        """Return what the draw has to say for the log: β, for one."""
        return self._draw.logs()

    def sample_batch(self, batch_size: int, env: VecNormalize | None = None) -> Batch:
        """Draw a batch for our learner, normalised by `env`'s statistics if it is given; refused from nothing."""
        check_draw(batch_size, self.size())
        return self.gather(self.draw(batch_size), env)

    def returns_seen(self, env: VecNormalize | None = None) -> tuple[float, float] | None:
        """Return the least and the largest return to expect: see `sb3_course.replay.returns_seen`."""
        return returns_of(self, self.gamma, env)

    def gather(self, indices: np.ndarray, env: VecNormalize | None = None) -> Batch:
        """Return the transitions at flat `indices` (B,) as a batch."""
        return self._gather(indices, env)[0]

    def _gather(self, indices: np.ndarray, env: VecNormalize | None) -> tuple[Batch, np.ndarray, np.ndarray]:
        """Return the batch and, for SB3's form of it, whether each window ended in a termination (B,) and its γ^m."""
        if self.n_steps == 1:
            read = self._storage.take(indices, indices)
            rewards, powers = self._normalize_reward(read.rewards, env), np.asarray(self.gamma, dtype=np.float32)
        else:
            last, rewards, powers = self._window(indices, env)
            read = self._storage.take(indices, last)
        return self._batch(indices, read, rewards, powers, env), read.terminated, powers

    def _window(self, indices: np.ndarray, env: VecNormalize | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return each n-step window's last row (B,), its summed reward (B,) and its γ^m (B,)."""
        rewards, dones, timeouts = self._storage.columns
        newest, powers = self._newest(), self._powers()
        if env is None:
            return self._windows(indices, rewards, dones, timeouts, self.n_envs, newest, powers)
        rows, lengths = window_rows(indices, dones, timeouts, self.n_envs, newest, self.n_steps)
        sums = window_sums(self._normalize_reward(rewards[rows], env), lengths, powers)
        return rows[np.arange(len(rows)), lengths - 1], sums, powers[lengths]

    def _newest(self) -> int:
        """Return the flat index of the newest slot's first row."""
        return (self.pos - 1) % self.buffer_size * self.n_envs

    def _powers(self) -> np.ndarray:
        """Return γ^0 … γ^n, (n + 1,)."""
        return powers_of(float(self.gamma), self.n_steps)

    def _batch(
        self, indices: np.ndarray, read: Transitions, rewards: np.ndarray, powers: np.ndarray, env: VecNormalize | None
    ) -> Batch:
        obs, next_obs = self._normalize_obs(read.observations, env), self._normalize_obs(read.next_observations, env)
        terms = rewards, powers * (1 - read.terminated), self.weights(indices), indices
        fields = obs, read.actions, next_obs, *terms
        return Batch(*fields) if read.masks is None else MaskedBatch(*fields, masks=read[5:])

    # -- SB3's form -----------------------------------------------------------------------------------------------

    def sample(self, batch_size: int, env: VecNormalize | None = None) -> ReplayBufferSamples:
        """Draw a batch in SB3's form, for SB3's own algorithms; numbers are (B, 1) tensors."""
        check_draw(batch_size, self.size())
        return self._samples(*self._gather(self.draw(batch_size), env))

    def _get_samples(self, batch_inds: np.ndarray, env: VecNormalize | None = None) -> ReplayBufferSamples:
        """Return the slots `batch_inds` in SB3's form, each from an env drawn at random (SB3's contract)."""
        envs = self.rng.integers(self.n_envs, size=len(batch_inds))
        return self._samples(*self._gather(np.asarray(batch_inds) * self.n_envs + envs, env))

    def _samples(self, batch: Batch, terminated: np.ndarray, powers: np.ndarray) -> ReplayBufferSamples:
        # One step: SB3's algorithm multiplies by its own γ, which this buffer may not have been told.
        return as_samples(batch, terminated, powers if self.n_steps > 1 else None, self.to_torch)

    # -- state ----------------------------------------------------------------------------------------------------

    def get_state(self, copy: bool = True) -> dict[str, Any]:
        """Return all but the generator, which belongs to whoever handed it in.

        :param copy: False for what is written at once: transitions may then be views
        """
        stored = self._storage.get_state(self.size())
        stored = {**(deepcopy(stored) if copy else stored), "pos": self.pos, "full": self.full}
        return {**stored, **self._draw.get_state()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore what `get_state` returned, into a buffer of the same spaces, size and draw."""
        pos, full = int(state["pos"]), bool(state["full"])
        drawable = self._check_state(state, self.buffer_size if full else pos)
        if not 0 <= pos < self.buffer_size:
            raise InputError("replay buffer", "no such slot", got=pos, want=f"0 to {self.buffer_size - 1}")
        self._draw.set_state(state, drawable)  # or refuse it, before anything has changed
        self._storage.set_state(state)
        self.pos, self.full = pos, full

    def _check_state(self, state: dict[str, Any], slots: int) -> int:
        """Refuse the state of another buffer, and return how many of its transitions can be drawn."""
        self._storage.check_state(state, slots)
        return slots * self.n_envs

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the views and the function that was handed over for this machine."""
        return {key: value for key, value in self.__dict__.items() if key not in {*VIEWS, "_windows", "_write_step"}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the storage and look into it again."""
        self.__dict__.update(upgraded(state) if is_old(state) else state)
        self._look_into_storage()
