"""The three environments as true vector environments: one step of the batch is a few array operations.

``gym.make_vec("sb3_course/GridWorld-v0", num_envs=1024, vectorization_mode="vector_entry_point")`` gives one. Apart
from the random numbers, which come from one generator for the whole batch, it returns what Gymnasium's
``SyncVectorEnv`` of the scalar environments does, infos included.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

from sb3_course.envs import _grid_picture
from sb3_course.envs._checks import refusal
from sb3_course.envs._vector_base import Array, CourseVectorEnv, Infos
from sb3_course.envs.bandit import BanditEnv
from sb3_course.envs.grid_world import GridWorldEnv
from sb3_course.envs.one_shot import OneShotEnv


class GridWorldVectorEnv(CourseVectorEnv):
    """`GridWorldEnv` for many mazes at once; arguments as in `CourseVectorEnv`."""

    fields = ("states",)
    scalar = GridWorldEnv
    model: GridWorldEnv

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._starts = np.flatnonzero(self.model.initial_state_distrib)
        self._start_probability = np.full(self.num_envs, 1.0 / len(self._starts))
        self.states = np.zeros(self.num_envs, np.int64)
        # Outcomes of (state, action), flat: entry (4·state + action)·K + k; the sums of probabilities are cumulative.
        lists = [outcomes for actions in self.model._outcomes.values() for outcomes in actions.values()]
        self._n_outcomes = max(map(len, lists))
        padded = [outcomes + [outcomes[-1]] * (self._n_outcomes - len(outcomes)) for outcomes in lists]
        table = np.array(padded, np.float64).reshape(-1, 5)
        sums, self._probability, following, self._reward, terminated = (column.copy() for column in table.T)
        self._next, self._terminated = following.astype(np.int64), terminated.astype(np.bool_)
        # A draw passes none of the last: they are exactly 1.
        self._sums = [column.copy() for column in sums.reshape(-1, self._n_outcomes).T[:-1]]

    def _checked(self, actions: Any) -> Array:
        array = np.asarray(actions)
        if array.shape != (self.num_envs,) or array.dtype.kind not in "iu" or (array >> 2).any():
            raise refusal(
                "actions", "are not moves", array.tolist(), f"{self.num_envs} of 0 left, 1 right, 2 up, 3 down"
            )
        return array

    def _begin(self, which: Array, seeded: bool) -> Infos:
        starts = self._starts
        if len(starts) == 1:
            self.states[which] = starts[0]
        else:
            self.states[which] = starts[self.np_random.integers(len(starts), size=np.count_nonzero(which))]
        return {"prob": self._start_probability}

    def _move(self, actions: Array, active: Array) -> tuple[Array, Array, Infos]:
        index = self.states * 4
        index += actions
        if self._n_outcomes > 1:
            draws = self.np_random.random(self.num_envs)
            outcome = sum((draws >= sums.take(index) for sums in self._sums), np.zeros(self.num_envs, np.int64))
            index *= self._n_outcomes
            index += outcome
        self.states = self._next.take(index)
        return self._reward.take(index), self._terminated.take(index), {"prob": self._probability.take(index)}

    def _observe(self) -> Array:
        model = self.model
        if model._observations is not None:
            rows: Array = model._observations.take(self.states, axis=0)
            return rows
        if model._background is None:
            return self.states.copy()
        return np.stack([_grid_picture.image(model._background, model.map, state) for state in self.states.tolist()])

    def _show(self, index: int) -> None:
        self.model.state = int(self.states[index])


class OneShotVectorEnv(CourseVectorEnv):
    """`OneShotEnv` for many actions at once; arguments as in `CourseVectorEnv`."""

    fields = ("last_actions",)
    scalar = OneShotEnv
    model: OneShotEnv

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.last_actions = np.full(self.num_envs, np.nan)

    def _checked(self, actions: Any) -> Array:
        array = np.asarray(actions, np.float64)
        if array.shape != (self.num_envs, 1) or not np.isfinite(array).all():
            raise refusal("actions", "are not finite numbers", array.tolist(), f"shape ({self.num_envs}, 1)")
        return array[:, 0]

    def _begin(self, which: Array, seeded: bool) -> Infos:
        return {}

    def _move(self, actions: Array, active: Array) -> tuple[Array, Array, Infos]:
        model, self.last_actions = self.model, np.where(active, actions, self.last_actions)
        rewards = model.zeta * model.beta / np.maximum(model.zeta, np.abs(model.tau - actions))
        return rewards, self._all.copy(), {}

    def _observe(self) -> Array:
        return np.ones((self.num_envs, 1), np.float32)

    def _show(self, index: int) -> None:
        action = float(self.last_actions[index])
        self.model.last_actions = deque([] if np.isnan(action) else [action])


class BanditVectorEnv(CourseVectorEnv):
    """`BanditEnv` for many pulls at once, of the same arms; arguments as in `CourseVectorEnv`."""

    fields = ("pulls", "reward_sums", "cumulative_regret", "last_arms")
    scalar = BanditEnv
    model: BanditEnv

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._means, self._stds = np.array(self.model.means), np.array(self.model.stds)
        self._rows = np.arange(self.num_envs)
        self.pulls = np.zeros((self.num_envs, self.model.arms), np.int64)
        self.reward_sums = np.zeros((self.num_envs, self.model.arms))
        self.cumulative_regret = np.zeros(self.num_envs)
        self.last_arms = np.full(self.num_envs, -1)  # none yet

    def _checked(self, actions: Any) -> Array:
        array = np.asarray(actions)
        fits = array.shape == (self.num_envs,) and array.dtype.kind in "iu"
        if not fits or not ((array >= 0) & (array < self.model.arms)).all():
            raise refusal("actions", "are not arms", array.tolist(), f"{self.num_envs} of 0 to {self.model.arms - 1}")
        return array

    def _begin(self, which: Array, seeded: bool) -> Infos:
        if seeded:
            self.pulls[which], self.reward_sums[which], self.cumulative_regret[which] = 0, 0.0, 0.0
            self.last_arms[which] = -1
        return {}

    def _move(self, actions: Array, active: Array) -> tuple[Array, Array, Infos]:
        means = self._means.take(actions)
        if self.model.kind == "gaussian":
            rewards = means + self._stds.take(actions) * self.np_random.standard_normal(self.num_envs)
        else:
            rewards = (self.np_random.random(self.num_envs) < means).astype(np.float64)
        regret = self.model.best_mean - means
        self.pulls[self._rows, actions] += active
        self.reward_sums[self._rows, actions] += np.where(active, rewards, 0.0)
        self.cumulative_regret += np.where(active, regret, 0.0)
        self.last_arms = np.where(active, actions, self.last_arms)
        return rewards, self._all.copy(), {"regret": regret, "cumulative_regret": self.cumulative_regret.copy()}

    def _observe(self) -> Array:
        return np.zeros(self.num_envs, np.int64)

    def _show(self, index: int) -> None:
        arm, model = int(self.last_arms[index]), self.model
        model.pulls, model.reward_sums = self.pulls[index].tolist(), self.reward_sums[index].tolist()
        model.cumulative_regret, model.last_arm = float(self.cumulative_regret[index]), None if arm < 0 else arm
