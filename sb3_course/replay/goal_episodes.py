"""Where episodes begin and end in a ring of transitions, and which goals they reached."""

from __future__ import annotations

from typing import Any

import numpy as np
from stable_baselines3.her.goal_selection_strategy import GoalSelectionStrategy

from sb3_course.config.errors import InputError


class GoalEpisodes:
    """The finished episodes of a ring: for each transition its episode's first slot and its episode's length.

    An episode is finished when its last transition is stored, and given up as a whole when its first one is
    overwritten. The running episode of env e are its newest ``running[e]`` transitions.

    :param slots: transitions of each env
    :param n_envs: envs
    """

    def __init__(self, slots: int, n_envs: int) -> None:
        self.slots = slots
        self.n_envs = n_envs
        self.starts = np.zeros((slots, n_envs), dtype=np.int64)
        self.lengths = np.zeros((slots, n_envs), dtype=np.int64)  # 0 where no finished episode is
        self.running = np.zeros(n_envs, dtype=np.int64)
        self.n_finished = 0  # transitions of finished episodes

    def overwrite(self, slot: int) -> np.ndarray:
        """Give up the episodes that begin in the slot to be written next; return their flat indices."""
        lengths = self.lengths[slot].tolist()
        lost = [self._mark(slot, length, env, 0) for env, length in enumerate(lengths) if length > 0]
        return np.concatenate(lost) if lost else np.empty(0, dtype=np.int64)

    def advance(self) -> None:
        """Count one more transition of every env; a ring holds no more than its slots."""
        np.minimum(self.running + 1, self.slots, out=self.running)

    def finish(self, envs: np.ndarray, pos: int) -> np.ndarray:
        """Finish the running episodes of `envs`, which end before slot `pos`; return their flat indices."""
        done = []
        for env in envs:
            length = int(self.running[env])
            done.append(self._mark((pos - length) % self.slots, length, int(env), length))
            self.running[env] = 0
        return np.concatenate(done)

    def _mark(self, start: int, length: int, env: int, as_length: int) -> np.ndarray:
        slots = (start + np.arange(length)) % self.slots
        self.starts[slots, env] = start
        self.lengths[slots, env] = as_length
        self.n_finished += length if as_length else -length
        indices: np.ndarray = slots * self.n_envs + env
        return indices

    def unfinished(self, indices: np.ndarray) -> np.ndarray:
        """Return those of the flat `indices` (B,), whichever integers they are, that are not of finished episodes."""
        lost: np.ndarray = indices[self.lengths.reshape(-1).take(indices, mode="wrap") == 0]
        return lost

    def achieved(self, indices: np.ndarray, strategy: GoalSelectionStrategy, rng: np.random.Generator) -> np.ndarray:
        """Choose for each transition one of its episode whose achieved goal it gets, (B,) flat indices.

        ``future`` takes the transition itself or a later one (Andrychowicz et al. 2017, section 4.5, call it that;
        SB3 includes the transition, too), ``final`` the last one, ``episode`` any.
        """
        slots, envs = np.divmod(indices, self.n_envs)
        starts, lengths = self.starts[slots, envs], self.lengths[slots, envs]
        if strategy is GoalSelectionStrategy.FINAL:
            steps = lengths - 1
        else:
            first = (slots - starts) % self.slots if strategy is GoalSelectionStrategy.FUTURE else np.zeros_like(slots)
            steps = first + (rng.random(len(indices)) * (lengths - first)).astype(np.int64)
        chosen: np.ndarray = (starts + steps) % self.slots * self.n_envs + envs
        return chosen

    def get_state(self, slots: int) -> dict[str, Any]:
        """Return what is known of the first `slots` slots."""
        return {
            "episode_starts": self.starts[:slots].copy(),
            "episode_lengths": self.lengths[:slots].copy(),
            "running": self.running.copy(),
        }

    def check_state(self, state: dict[str, Any], slots: int) -> None:
        """Refuse the state of another ring, or of a buffer without episodes."""
        shapes = {"episode_starts": (slots, self.n_envs), "episode_lengths": (slots, self.n_envs)}
        for name, shape in {**shapes, "running": (self.n_envs,)}.items():
            found = np.asarray(state.get(name, ()))
            if found.shape != shape or (found.size and not 0 <= found.min() <= found.max() <= self.slots):
                want = f"{shape} numbers from 0 to {self.slots}"
                raise InputError("replay buffer", f"the state has other {name}", got=found.shape, want=want)

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore a checked state."""
        slots = len(state["episode_lengths"])
        for mine, name in ((self.starts, "episode_starts"), (self.lengths, "episode_lengths")):
            mine[:slots], mine[slots:] = state[name], 0
        self.running[:] = state["running"]
        self.n_finished = int(np.count_nonzero(self.lengths))
