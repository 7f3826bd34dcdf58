"""Hindsight experience replay with priorities and n-step returns: what was reached is what had been wanted."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.vec_env import VecEnv, VecNormalize
from stable_baselines3.her.goal_selection_strategy import KEY_TO_GOAL_STRATEGY, GoalSelectionStrategy
from stable_baselines3.her.her_replay_buffer import HerReplayBuffer

from sb3_course.config.errors import InputError
from sb3_course.config.warn import warn_user
from sb3_course.replay.batch import Batch
from sb3_course.replay.buffers import ReplayBuffer
from sb3_course.replay.goal_episodes import GoalEpisodes
from sb3_course.replay.parts import MakeDraw, SelectiveDraw
from sb3_course.replay.prioritized import PrioritizedReplayBuffer
from sb3_course.replay.proportional import ProportionalDraw
from sb3_course.replay.uniform import SubsetDraw
from sb3_course.replay.window import window_rows, window_sums

GOALS = ("achieved_goal", "desired_goal")


class HindsightReplayBuffer(ReplayBuffer, HerReplayBuffer):  # type: ignore[misc]
    """Hindsight experience replay (Andrychowicz et al. 2017) over our storage, windows and draws.

    Transitions of finished episodes are drawn. In a share ``1 − 1/(n_sampled_goal + 1)`` of a batch the desired goal
    is replaced by one that the episode achieved, over the whole window of n steps, whose rewards are then computed
    anew by ``env.compute_reward``; its discount and its termination stay as they were. It subclasses SB3's
    ``HerReplayBuffer`` for SB3's setup, which hands it the env; nothing is inherited but `set_env`.

    :param env: whose ``compute_reward(achieved_goal, desired_goal, infos)`` is asked, the first one's
    :param n_sampled_goal: replaced goals for each one that is kept
    :param goal_selection_strategy: ``future`` (the transition itself or a later one), ``final`` or ``episode``
    :param copy_info_dict: keep the infos and hand copies of them to ``compute_reward``, which otherwise gets empty ones
    :raises InputError: for arguments outside their ranges, and for those that `ReplayBuffer` refuses
    """

    _draw: SelectiveDraw

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Dict,
        action_space: spaces.Space[Any],
        env: VecEnv | None,
        *args: Any,
        n_sampled_goal: int = 4,
        goal_selection_strategy: GoalSelectionStrategy | str = "future",
        copy_info_dict: bool = False,
        draw: MakeDraw = SubsetDraw,
        **kwargs: Any,
    ) -> None:
        if not isinstance(observation_space, spaces.Dict) or not {*GOALS} <= {*observation_space.spaces}:
            what = "hindsight needs goals"
            raise InputError("observation_space", what, observation_space, f"a Dict with {' and '.join(GOALS)}")
        if n_sampled_goal < 0:
            raise InputError("n_sampled_goal", "not a number of goals", n_sampled_goal, "an integer >= 0")
        super().__init__(buffer_size, observation_space, action_space, *args, draw=draw, **kwargs)
        self.env = env
        self.n_sampled_goal = n_sampled_goal
        self.her_ratio = 1 - 1 / (n_sampled_goal + 1)
        self.goal_selection_strategy = _strategy(goal_selection_strategy)
        self.copy_info_dict = copy_info_dict
        self._forget_episodes()

    def _forget_episodes(self) -> None:
        self._episodes = GoalEpisodes(self.buffer_size, self.n_envs)
        self.infos: Any = None  # (slots, n_envs) of dicts, where they are kept
        if self.copy_info_dict:
            self.infos = np.array([[{} for _ in range(self.n_envs)] for _ in range(self.buffer_size)])

    # -- storing --------------------------------------------------------------------------------------------------

    def _put(self, obs: Any, next_obs: Any, action: np.ndarray, reward: Any, done: Any, infos: Any) -> None:
        slot = self.pos
        lost = self._episodes.overwrite(slot)
        if len(lost) > 0:
            self._draw.exclude(lost)
        if self.infos is not None:
            self.infos[slot] = infos
        super()._put(obs, next_obs, action, reward, done, infos)

    def _stored(self, first: int, done: np.ndarray) -> None:
        """Take notice of new transitions: those of an episode are drawn once it is finished."""
        self._episodes.advance()
        self._finish(np.flatnonzero(done))

    def _finish(self, envs: np.ndarray) -> None:
        if len(envs) > 0:
            self._draw.include(self._episodes.finish(envs, self.pos))

    def cut(self) -> None:
        """End the running episodes as truncated: the next transitions will not follow them."""
        super().cut()
        self._finish(np.flatnonzero(self._episodes.running))

    def truncate_last_trajectory(self) -> None:
        """End the running episodes of a loaded buffer; SB3 calls this."""
        if self._episodes.running.any():
            warn_user(
                "The running episodes of the replay buffer are truncated, because the envs will be reset; "
                "where they go on, load it with truncate_last_traj=False."
            )
            self.cut()

    def reset(self) -> None:
        """Empty the buffer."""
        super().reset()
        self._forget_episodes()

    def adopt_rows(self, pos: int, full: bool) -> None:
        """Take rows for stored; there is nothing to draw before their episodes are known."""
        self.pos, self.full = pos, full

    def adopt(self, other: ReplayBuffer) -> None:
        """Hold what another buffer holds, its episodes and infos included."""
        assert isinstance(other, HindsightReplayBuffer)
        self._episodes, self.infos, self.copy_info_dict = other._episodes, other.infos, other.copy_info_dict
        self._draw.include(np.flatnonzero(self._episodes.lengths))
        super().adopt(other)

    # -- drawing --------------------------------------------------------------------------------------------------

    def draw(self, batch_size: int) -> np.ndarray:
        """Draw the flat indices of a batch from the finished episodes, (B,)."""
        if self._episodes.n_finished == 0:
            want = "learning_starts after the end of the first episode"
            raise InputError("replay buffer", "no episode is finished", f"{self.size()} transitions of each env", want)
        return super().draw(batch_size)

    def update(self, indices: np.ndarray | None, priorities: np.ndarray) -> None:
        """Give drawn transitions new priorities, (B,) each.

        :raises InputError: besides as in `ReplayBuffer`, for an episode that has been overwritten since
        """
        numbers = np.asarray(indices)
        if numbers.dtype.kind in "iu" and len(lost := self._episodes.unfinished(numbers)) > 0:
            raise InputError("indices", "not of a finished episode", int(lost[0]), "the indices of the last batch")
        super().update(indices, priorities)

    def sample_batch(self, batch_size: int, env: VecNormalize | None = None) -> Batch:
        """Draw a batch for our learner, with goals replaced in a part of it."""
        return self._in_hindsight(self.draw(batch_size), env)[0]

    def sample(self, batch_size: int, env: VecNormalize | None = None) -> ReplayBufferSamples:  # type: ignore[override]
        """Draw a batch in SB3's form, with goals replaced in a part of it."""
        return self._samples(*self._in_hindsight(self.draw(batch_size), env))

    def _in_hindsight(self, indices: np.ndarray, env: VecNormalize | None) -> tuple[Batch, np.ndarray, np.ndarray]:
        """Return what `_gather` returns, with goals replaced in a part of it."""
        replaced = self._replaced(len(indices))
        origins = self._episodes.achieved(indices[replaced], self.goal_selection_strategy, self.rng)
        goals = self._achieved(origins)  # (V, …)
        rewards, dones, timeouts = self._storage.columns
        powers = self._powers()
        rows, lengths = window_rows(indices, dones, timeouts, self.n_envs, self._newest(), self.n_steps)
        read = self._storage.take(indices, rows[np.arange(len(rows)), lengths - 1])
        for observations in (read.observations, read.next_observations):
            observations["desired_goal"][replaced] = goals
        paid = rewards[rows]  # (B, n)
        paid[replaced] = self._rewards(rows[replaced], lengths[replaced], goals)
        sums, factors = window_sums(self._normalize_reward(paid, env), lengths, powers), powers[lengths]
        return self._batch(indices, read, sums, factors, env), read.terminated, factors

    def _replaced(self, batch_size: int) -> np.ndarray:
        """Return which entries of a batch get another goal: `her_ratio` of them, rounded up or down by chance, (V,).

        Prioritized draws come in the order of their slots: any entries, not the first ones.
        """
        keys = self.rng.random(batch_size + 1)
        return np.sort(keys[:-1].argsort()[: int(self.her_ratio * batch_size + keys[-1])])

    def _rewards(self, rows: np.ndarray, lengths: np.ndarray, goals: np.ndarray) -> np.ndarray:
        """Return what the m rows of each window (V, n) pay under its goal (V, …), and 0 after them, (V, n)."""
        inside = np.arange(rows.shape[1]) < lengths[:, None]
        rewards = np.zeros(rows.shape, dtype=np.float32)
        if len(rows) == 0:
            return rewards
        rows, windows = rows[inside], np.nonzero(inside)[0]  # (M,) and the window of each
        infos = [{}] * len(rows) if self.infos is None else copy.deepcopy(self.infos.reshape(-1)[rows].tolist())
        if self.env is None:
            raise InputError("env", "nothing computes the rewards of other goals", None, "set_env(env) before sampling")
        asked = self._achieved(rows), goals[windows], infos
        found = np.asarray(self.env.env_method("compute_reward", *asked, indices=[0])[0], dtype=np.float32)
        if found.size != len(rows):
            raise InputError("env", "compute_reward must pay each transition", found.shape, f"({len(rows)},)")
        rewards[inside] = found.reshape(-1)
        return rewards

    def _achieved(self, indices: np.ndarray) -> np.ndarray:
        """Return the goals that the transitions at flat `indices` achieved, (B, …)."""
        goals: np.ndarray = self.next_observations["achieved_goal"][np.divmod(indices, self.n_envs)]
        return goals

    # -- state ----------------------------------------------------------------------------------------------------

    def get_state(self, copy: bool = True) -> dict[str, Any]:
        """Return all but the env and the generator."""
        infos = {} if self.infos is None else {"infos": self.infos[: self.size()].tolist()}
        return {**super().get_state(copy), **self._episodes.get_state(self.size()), **infos}

    def _check_state(self, state: dict[str, Any], slots: int) -> int:
        super()._check_state(state, slots)
        self._episodes.check_state(state, slots)
        if self.infos is not None and len(state.get("infos", ())) != slots:
            raise InputError("replay buffer", "the state is without infos", got="none", want="copy_info_dict=False")
        return int(np.count_nonzero(state["episode_lengths"]))

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore what `get_state` returned, into a buffer of the same spaces, size and draw."""
        super().set_state(state)
        self._episodes.set_state(state)
        if self.infos is not None and state["infos"]:
            self.infos[: self.size()] = state["infos"]

    def __getstate__(self) -> dict[str, Any]:
        """Leave the env out; SB3 calls `set_env` after loading."""
        return {key: value for key, value in super().__getstate__().items() if key != "env"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore all but the env."""
        super().__setstate__(state)
        self.env = None


class PrioritizedHindsightReplayBuffer(PrioritizedReplayBuffer, HindsightReplayBuffer):  # type: ignore[misc]
    """`HindsightReplayBuffer` with the draws of `PrioritizedReplayBuffer`, whose arguments it takes, too."""

    _draw: ProportionalDraw


def _strategy(word: GoalSelectionStrategy | str) -> GoalSelectionStrategy:
    if isinstance(word, GoalSelectionStrategy):
        return word
    if not isinstance(word, str) or word.lower() not in KEY_TO_GOAL_STRATEGY:
        raise InputError("goal_selection_strategy", "not a strategy", word, " or ".join(KEY_TO_GOAL_STRATEGY))
    return KEY_TO_GOAL_STRATEGY[word.lower()]
