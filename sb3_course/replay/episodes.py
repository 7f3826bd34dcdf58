"""Trajectories as they are collected: one open episode for each env, none dropped and none mixed with another's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

Observation = np.ndarray | dict[str, np.ndarray]


class Trajectories(NamedTuple):
    """Pieces of episodes one after the other, each in the order of time; T rows in all."""

    observations: Observation  # (T, …)
    actions: np.ndarray  # (T, K)
    rewards: np.ndarray  # (T,)
    ends: np.ndarray  # (T,) bool: the last row of a piece
    steps: np.ndarray  # (T,) steps since the start of the episode
    # Pieces that go on although their last row is here: truncated, or cut by the end of a rollout.
    open_rows: np.ndarray  # (M,) rows
    open_observations: Observation | None  # (M, …) what was seen after them; None: M = 0
    n_episodes: int  # finished
    masks: np.ndarray | None = None  # which actions were valid, (T, A); None: all always are
    open_masks: np.ndarray | None = None  # likewise in `open_observations`, (M, A)

    def next_values(self, values: np.ndarray, after: np.ndarray | None) -> np.ndarray:
        """Return V of the next observation, 0 after a termination, (T,).

        :param values: V of each row, (T,)
        :param after: V of `open_observations`, (M,); None: there are none
        """
        following = np.append(values[1:], 0.0)
        following[self.ends] = 0.0
        if after is not None:
            following[self.open_rows] = after
        return following


@dataclass
class _Piece:
    """Consecutive steps of one env, in arrays of several steps each."""

    offset: int = 0  # steps of the episode before this piece
    length: int = 0
    observations: list[Any] = field(default_factory=list)  # (t, …) each, or a dict of such
    actions: list[np.ndarray] = field(default_factory=list)  # (t, K) each
    rewards: list[np.ndarray] = field(default_factory=list)  # (t,) each
    masks: list[np.ndarray] = field(default_factory=list)  # (t, A) each, or nothing
    behind: Any = None  # the observation after the last row, None where the episode terminated; states have the name
    behind_masks: np.ndarray | None = None  # which actions are valid there, (A,)

    def take(self, steps: _Steps, rows: slice, env: int) -> None:
        """Add the share that one env has in some steps of all."""
        if rows.stop == rows.start:
            return
        self.length += rows.stop - rows.start
        self.observations.append(_row(steps.observations, (rows, env)))
        self.actions.append(steps.actions[rows, env])
        self.rewards.append(steps.rewards[rows, env])
        if steps.masks is not None:
            self.masks.append(steps.masks[rows, env])


class _Steps(NamedTuple):
    """Consecutive steps of all envs."""

    observations: Any  # (t, E, …), or a dict of such
    actions: np.ndarray  # (t, E, K)
    rewards: np.ndarray  # (t, E)
    masks: np.ndarray | None  # (t, E, A)


class EpisodeBuffer:
    """Collects steps of E envs and hands them out by whole episodes or by rollouts.

    An episode still open when others are handed out stays, and is handed out whole once it ends.
    """

    def __init__(self, n_envs: int) -> None:
        self.n_envs = n_envs
        self.reset()

    def reset(self) -> None:
        """Forget everything: the envs were reset."""
        self._open = [_Piece() for _ in range(self.n_envs)]
        self._closed: list[_Piece] = []
        # Steps of all envs that no piece has yet, and what ended within them, after so many, in which env, with what
        # behind it: they are shared out together, which takes less time.
        self._pending: list[tuple[Observation, np.ndarray, np.ndarray, np.ndarray | None]] = []
        self._ended: list[tuple[int, int, Any, np.ndarray | None]] = []
        self.n_episodes = 0  # finished and not yet handed out

    @property
    def longest(self) -> int:
        """Steps of the longest episode that is still open."""
        self._share_out()
        return max(piece.offset + piece.length for piece in self._open)

    def add(
        self,
        observations: Observation,
        actions: np.ndarray,
        rewards: np.ndarray,
        dones: np.ndarray,
        infos: list[dict[str, Any]],
        masks: np.ndarray | None = None,
    ) -> None:
        """Add one step of every env: what was seen and done, and what came of it.

        :param observations: (E, …)
        :param actions: (E, K)
        :param rewards: (E,)
        :param dones: (E,), the episode terminated or was truncated
        :param infos: SB3's, with ``terminal_observation`` and ``TimeLimit.truncated``
        :param masks: which actions were valid, and which were in what was seen next, (E, 2, A); None: all always are
        """
        # Copies: an env may write into the same memory.
        here = None if masks is None else masks[:, 0]
        self._pending.append((_copy(observations), np.array(actions), np.array(rewards, dtype=np.float64), here))
        if not any(dones.tolist()):  # a third of the time of NumPy's
            return
        for env in np.flatnonzero(dones).tolist():
            behind, valid = infos[env].get("terminal_observation"), None
            if infos[env].get("TimeLimit.truncated", False) and behind is not None:
                behind, valid = _shaped(behind, _row(observations, env)), None if masks is None else masks[env, 1]
            else:  # without it as SB3: no bootstrap
                behind = None
            self._ended.append((len(self._pending), env, behind, valid))
            self.n_episodes += 1

    def _share_out(self) -> None:
        """Give every env's piece its share of the pending steps; those whose episodes have ended are closed."""
        if not self._pending:
            return
        n_steps, ended = len(self._pending), self._ended
        *columns, here = zip(*self._pending, strict=True)
        seen, done, paid = (_stack(list(parts)) for parts in columns)  # (t, E, …)
        steps = _Steps(seen, done, paid, None if here[0] is None else _stack(list(here)))
        self._pending, self._ended, begun = [], [], [0] * self.n_envs
        for end, env, behind, valid in ended:
            piece, self._open[env] = self._open[env], _Piece()
            piece.take(steps, slice(begun[env], end), env)
            piece.behind, piece.behind_masks, begun[env] = behind, valid, end
            self._closed.append(piece)
        for env, piece in enumerate(self._open):
            piece.take(steps, slice(begun[env], n_steps), env)

    def take_episodes(self) -> Trajectories:
        """Hand out the finished episodes."""
        self._share_out()
        pieces, self._closed, finished, self.n_episodes = self._closed, [], self.n_episodes, 0
        return _join(pieces, finished)

    def take_all(self, observations: Observation, masks: np.ndarray | None = None) -> Trajectories:
        """Hand out everything, open episodes cut.

        :param observations: what is seen now, after the last step of every env, (E, …)
        :param masks: which actions are valid now, (E, A); None: all always are
        """
        self._share_out()
        for env, piece in enumerate(self._open):
            if piece.length:
                piece.behind, piece.behind_masks = _row(observations, env), None if masks is None else masks[env]
                self._closed.append(piece)
                self._open[env] = _Piece(offset=piece.offset + piece.length)
        return self.take_episodes()

    def get_state(self) -> dict[str, Any]:
        """Return what is collected and not handed out, as arrays and numbers."""
        self._share_out()
        return {
            "n_episodes": self.n_episodes,
            "closed": [_snapshot(vars(piece)) for piece in self._closed],
            "open": [_snapshot(vars(piece)) for piece in self._open],
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore what `get_state` returned."""
        self._pending, self._ended, self.n_episodes = [], [], int(state["n_episodes"])
        self._closed, self._open = (
            [_Piece(**_snapshot(piece)) for piece in state[name]] for name in ("closed", "open")
        )


def _snapshot(fields: dict[str, Any]) -> dict[str, Any]:
    """Return a piece's fields with lists of its own, which do not grow with the episode."""
    return {name: list(value) if isinstance(value, list) else value for name, value in fields.items()}


def _copy(observations: Observation) -> Observation:
    if isinstance(observations, dict):
        return {key: np.array(value) for key, value in observations.items()}
    return np.array(observations)


def _shaped(observation: Any, like: Any) -> Any:
    """Return a copy in the shape of `like`, into which SB3 broadcasts what an env returns, but not what ended it."""
    if isinstance(like, dict):
        return {key: _shaped(observation[key], value) for key, value in like.items()}
    return np.array(observation).reshape(np.shape(like))


def _row(observations: Observation, index: Any) -> Any:
    if isinstance(observations, dict):
        return {key: value[index] for key, value in observations.items()}
    return observations[index]


def _stack(rows: list[Any]) -> Any:
    """Return rows as one array, or dict of such, with an axis more than they have."""
    if isinstance(rows[0], dict):
        return {key: _stack([row[key] for row in rows]) for key in rows[0]}
    # A third of the time of NumPy's `stack`.
    return np.concatenate(rows).reshape(len(rows), *rows[0].shape) if np.ndim(rows[0]) else np.array(rows)


def _concatenate(parts: list[Any]) -> Any:
    if len(parts) == 1:  # handed out, so that nobody writes to it any more
        return parts[0]
    if isinstance(parts[0], dict):
        return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    return np.concatenate(parts)


def _join(pieces: list[_Piece], n_episodes: int) -> Trajectories:
    lengths = np.array([piece.length for piece in pieces])
    last = np.cumsum(lengths) - 1
    ends = np.zeros(last[-1] + 1, dtype=bool)
    ends[last] = True
    # Each row's place, less the place of its piece's first row, plus the steps that the episode had before.
    before = np.array([piece.offset for piece in pieces]) + lengths - 1 - last
    going_on = [index for index, piece in enumerate(pieces) if piece.behind is not None]
    masked, masks = bool(pieces[0].masks), [part for piece in pieces for part in piece.masks]
    return Trajectories(
        observations=_concatenate([part for piece in pieces for part in piece.observations]),
        actions=_concatenate([part for piece in pieces for part in piece.actions]),
        rewards=_concatenate([part for piece in pieces for part in piece.rewards]),
        ends=ends,
        steps=np.arange(len(ends)) + np.repeat(before, lengths),
        open_rows=last[going_on],
        open_observations=_stack([pieces[index].behind for index in going_on]) if going_on else None,
        n_episodes=n_episodes,
        masks=np.concatenate(masks) if masked else None,
        open_masks=np.array([pieces[index].behind_masks for index in going_on]) if masked and going_on else None,
    )
