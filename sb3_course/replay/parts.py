"""What replay is put together from, and what a learner may ask of the whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecNormalize

from sb3_course.replay.batch import Batch

F = TypeVar("F", bound=Callable[..., Any])


class Best(Protocol):
    """Who knows the fastest twin of a plain function."""

    def __call__(self, function: F, /) -> F:
        """Return what computes the same as `function`, or `function` itself."""


def as_written(function: F, /) -> F:
    """Return the plain function: what is used until someone hands over another `Best`."""
    return function


@runtime_checkable
class Replay(Protocol):
    """What a learner may ask of any replay buffer; `as_replay` makes one of any that SB3 can hold."""

    @property
    def wants_priorities(self) -> bool:
        """Whether a learner should work out priorities and hand them to `update`."""

    @property
    def copies(self) -> bool:
        """Whether `add` copies all that it is given, so that the caller need not."""

    def connect(
        self,
        *,
        n_steps: int | None = None,
        gamma: float | None = None,
        rng: np.random.Generator | None = None,
        best: Best | None = None,
        beta0: float | None = None,
    ) -> None:
        """Draw from this generator, with this horizon and discount, computed by this; None leaves a thing as it is."""

    def add(
        self, obs: Any, next_obs: Any, action: np.ndarray, reward: np.ndarray, done: np.ndarray, infos: list[Any]
    ) -> None:
        """Store one transition of every env: obs and next_obs (E, …), action (E, K), reward and done (E,)."""

    def cut(self) -> None:
        """Mark the newest transitions as truncated: SB3 is about to reset the envs."""

    def sample_batch(self, batch_size: int, env: VecNormalize | None = None) -> Batch:
        """Draw a batch, normalised by `env`'s statistics if it is given."""

    def returns_seen(self, env: VecNormalize | None = None) -> tuple[float, float] | None:
        """Return the least and the largest return to expect, normalised as a batch is; None if it cannot tell."""

    def update(self, indices: np.ndarray | None, priorities: np.ndarray) -> None:
        """Take notice of the new priorities of a drawn batch, (B,) each."""

    def progress(self, remaining: float) -> None:
        """Take notice of the training's progress: what remains of it, from 1 to 0."""

    def logs(self) -> dict[str, float]:
        """Return what is worth logging of the draws by now, by name."""

    def get_state(self) -> dict[str, Any]:
        """Return what `set_state` restores; nothing where this cannot be done."""

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore what `get_state` returned."""


class LentPriorities(NamedTuple):
    """Priorities as they lie in memory, for who draws from them and changes them there; see `ProportionalDraw`."""

    tree: np.ndarray  # all levels of the sum tree, one after the other
    levels: np.ndarray  # where each begins, and the last one ends
    alpha: float
    beta: float
    eps: float
    bounds: np.ndarray  # the least and the largest leaf, and the largest priority seen, which may grow


class Transitions(NamedTuple):
    """Windows of stored transitions: of each what its first and its last one say, in arrays of the caller's own."""

    observations: Any  # of the first, (B, …), or a dict of such
    actions: np.ndarray  # of the first, (B, action_dim)
    rewards: np.ndarray  # of the first, (B,)
    next_observations: Any  # of the last, (B, …), or a dict of such
    terminated: np.ndarray  # of the last, (B,), 1 or 0
    masks: np.ndarray | None = None  # of the first: which actions were valid, (B, A); None where all always are
    next_masks: np.ndarray | None = None  # of the last one's next observation, (B, A)


class Storage(Protocol):
    """Where transitions are kept, by slot and env; the flat index of one is ``slot · n_envs + env``."""

    #: What SB3 calls them, (slots, n_envs, …): read by users, and written by some.
    observations: Any
    next_observations: Any
    actions: np.ndarray
    rewards: np.ndarray
    dones: np.ndarray
    timeouts: np.ndarray
    #: Rewards, dones and timeouts by flat index, (slots · n_envs,) each.
    columns: tuple[np.ndarray, np.ndarray, np.ndarray]

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
        infos: list[dict[str, Any]],
    ) -> None:
        """Write one transition of every env; `timeouts` is None where they are not told apart from terminations."""

    def take(self, first: np.ndarray, last: np.ndarray) -> Transitions:
        """Return the windows from flat indices `first` (B,) to `last` (B,), the same array for single transitions."""

    def get_state(self, slots: int) -> dict[str, Any]:
        """Return the first `slots` slots; views will do.

        A class attribute `streamed` may name those of its arrays that `check_state` and `set_state` also take as
        `saving.elsewhere.Elsewhere`; a checkpoint then writes what is new in them, and no reader needs a second memory.
        """

    def check_state(self, state: dict[str, Any], slots: int) -> None:
        """Refuse the state of another storage, or of another number of filled slots."""

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore a checked state."""


class Draw(Protocol):
    """Which transitions are drawn, and what they weigh."""

    @property
    def wants_priorities(self) -> bool:
        """Whether `update` has a use for priorities."""

    def stored(self, first: int, count: int) -> None:
        """Take notice of `count` new transitions, from flat index `first` on."""

    def draw(self, batch_size: int, rng: np.random.Generator, stored: int) -> np.ndarray:
        """Return the flat indices of a batch (B,), of the first `stored` ones."""

    def weights(self, indices: np.ndarray) -> np.ndarray:
        """Return the importance weights of a drawn batch, (B,)."""

    def update(self, indices: np.ndarray | None, priorities: np.ndarray, stored: int) -> None:
        """Give drawn transitions new priorities."""

    def progress(self, remaining: float) -> None:
        """Take notice of the training's progress: what remains of it, from 1 to 0."""

    def logs(self) -> dict[str, float]:
        """Return what is worth logging of the draws by now, by name."""

    def connect(self, best: Best | None = None, beta0: float | None = None) -> None:
        """Compute with these functions, and weigh with this exponent at the start of training."""

    def reset(self) -> None:
        """Forget all transitions."""

    def inherit(self, other: Draw) -> None:
        """Take over what `other` knew of the same transitions, which were stored here a moment ago."""

    def get_state(self) -> dict[str, Any]:
        """Return what the draws depend on besides the generator."""

    def set_state(self, state: dict[str, Any], drawable: int) -> None:
        """Restore what `get_state` returned, of `drawable` transitions; a wrong state changes nothing."""


class SelectiveDraw(Draw, Protocol):
    """A draw from some of the stored transitions only."""

    def include(self, indices: np.ndarray) -> None:
        """Draw from the transitions at flat `indices`, too: they are as good as new."""

    def exclude(self, indices: np.ndarray) -> None:
        """Draw from the transitions at flat `indices` no longer."""


#: Slots, envs, observation space, action space.
MakeStorage = Callable[[int, int, spaces.Space[Any], spaces.Space[Any]], Storage]
#: The largest number of transitions.
MakeDraw = Callable[[int], Draw]
