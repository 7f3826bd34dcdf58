"""Bandit: k arms with unknown means; exploration and nothing else."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from sb3_course.envs import _bandit_picture
from sb3_course.envs._base import CourseEnv, task_generator
from sb3_course.envs._checks import choice, real, reals, refusal, whole

KINDS = ("gaussian", "bernoulli")
DEFAULT_ARMS = 10
"""The 10-armed testbed of Sutton and Barto, *Reinforcement Learning*, 2nd edition, section 2.3."""


class BanditEnv(CourseEnv[int, int]):
    """k arms, one pull an episode: R ~ N(mean_a, std_a^2), or R ~ Bernoulli(mean_a), and every step terminates.

    The observation is always 0 (``Discrete(1)``), so that tables work too; the action is the arm. ``info`` has
    ``regret`` = max_b mean_b - mean_a of this pull (expected, without the reward's noise) and ``cumulative_regret``,
    its sum since the last seeded reset. A reset without a seed, as between episodes, keeps counts and sums.

    The task belongs to the constructor: missing means are drawn there from ``seed`` and ``reset(seed=...)`` never
    changes them, so all sub-environments of a vector environment share one task, whatever their reset seeds.
    Source: Sutton & Barto 2018, section 2.3, the 10-armed testbed.

    :param arms: number of arms k >= 2; None: as many as ``means``, or else 10
    :param kind: "gaussian" or "bernoulli"
    :param means: one a arm, for "bernoulli" in [0, 1]; None: drawn from N(0, 1), or U(0, 1) for "bernoulli"
    :param stds: standard deviations >= 0 of "gaussian", one for all or one a arm; None: 1
    :param seed: of the drawn means; None: fresh ones each time
    :param render_mode: None, "human", "rgb_array" or "ansi"
    :raises ValueError: an argument of the wrong kind or out of bounds, or lengths that do not agree
    """

    def __init__(
        self,
        arms: int | None = None,
        kind: str = "gaussian",
        means: Sequence[float] | None = None,
        stds: Sequence[float] | float | None = None,
        seed: int | None = 0,
        render_mode: str | None = None,
    ) -> None:
        super().__init__(render_mode)
        self.kind = choice("kind", kind, KINDS)
        given = None if means is None else self._given_means(means)
        count = DEFAULT_ARMS if given is None else len(given)
        self.arms = count if arms is None else whole("arms", arms, low=2)
        if given is not None and len(given) != self.arms:
            raise refusal("means", "has the wrong length", len(given), f"one a arm, {self.arms}")
        task = task_generator(seed)
        self.means = self._drawn_means(task) if given is None else given
        self.stds = self._given_stds(stds)
        self.best_mean = max(self.means)
        self.observation_space = spaces.Discrete(1)  # type: ignore[assignment]  # its samples are NumPy integers
        self.action_space = spaces.Discrete(self.arms)  # type: ignore[assignment]
        self.last_arm: int | None = None
        self._forget()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        """Start an episode; with a seed, also forget all pulls."""
        super().reset(seed=seed)
        if seed is not None:
            self._forget()
        if self.render_mode == "human":
            self.render()
        return 0, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        """Pull an arm and end the episode.

        :raises ValueError: an arm that does not exist
        """
        try:
            arm = operator.index(action)
        except TypeError:
            arm = -1
        if not 0 <= arm < self.arms:
            raise refusal("action", "is not an arm", action, f"0 to {self.arms - 1}")
        mean = self.means[arm]
        if self.kind == "gaussian":
            reward = mean + self.stds[arm] * float(self.np_random.standard_normal())
        else:
            reward = 1.0 if self.np_random.random() < mean else 0.0
        regret = self.best_mean - mean
        self.pulls[arm] += 1
        self.reward_sums[arm] += reward
        self.cumulative_regret += regret
        self.last_arm = arm
        if self.render_mode == "human":
            self.render()
        return 0, reward, True, False, {"regret": regret, "cumulative_regret": self.cumulative_regret}

    @property
    def estimates(self) -> list[float | None]:
        """The mean reward seen of each arm, None for an arm never pulled."""
        return [total / n if n else None for total, n in zip(self.reward_sums, self.pulls, strict=True)]

    def _forget(self) -> None:
        self.pulls = [0] * self.arms
        self.reward_sums = [0.0] * self.arms
        self.cumulative_regret = 0.0
        self.last_arm = None

    def _drawn_means(self, task: np.random.Generator) -> list[float]:
        draw = task.standard_normal if self.kind == "gaussian" else task.random
        return [float(mean) for mean in draw(self.arms)]

    def _given_means(self, means: Sequence[float]) -> list[float]:
        low, high = (0.0, 1.0) if self.kind == "bernoulli" else (-np.inf, np.inf)
        checked = reals("means", means, low=low, high=high)
        if len(checked) < 2:
            raise refusal("means", "has the wrong length", len(checked), "one number a arm, at least two arms")
        return checked

    def _given_stds(self, stds: Sequence[float] | float | None) -> list[float]:
        if self.kind == "bernoulli":
            if stds is not None:
                raise refusal("stds", 'has no meaning for kind="bernoulli"', stds, "None")
            return [(mean * (1.0 - mean)) ** 0.5 for mean in self.means]
        if stds is None or isinstance(stds, (int, float)):
            return [real("stds", 1.0 if stds is None else stds, low=0.0)] * self.arms
        checked = reals("stds", stds, low=0.0)
        if len(checked) != self.arms:
            raise refusal("stds", "has the wrong length", len(checked), f"one number, or one a arm, {self.arms}")
        return checked

    def _frame(self) -> NDArray[np.uint8]:
        return _bandit_picture.picture(
            self.means, self.stds, self.estimates, self.pulls, self.last_arm, self.cumulative_regret
        )

    def _text(self) -> str:
        return _bandit_picture.text(self.means, self.estimates, self.pulls, self.cumulative_regret)

    def _get_fields(self) -> dict[str, Any]:
        return {
            "means": list(self.means),
            "stds": list(self.stds),
            "pulls": list(self.pulls),
            "reward_sums": list(self.reward_sums),
            "cumulative_regret": self.cumulative_regret,
            "last_arm": self.last_arm,
        }

    def _set_fields(self, fields: dict[str, Any]) -> None:
        lists = {name: reals(name, fields[name]) for name in ("means", "stds", "pulls", "reward_sums")}
        for name, values in lists.items():
            if len(values) != self.arms:
                raise refusal(name, "has the wrong length", len(values), f"one a arm, {self.arms}")
        if fields["last_arm"] is not None and fields["last_arm"] not in range(self.arms):
            raise refusal("last_arm", "is not an arm", fields["last_arm"], f"None or 0 to {self.arms - 1}")
        self.cumulative_regret = real("cumulative_regret", fields["cumulative_regret"])
        self.means, self.stds, self.reward_sums = lists["means"], lists["stds"], lists["reward_sums"]
        self.pulls = [int(count) for count in lists["pulls"]]
        self.best_mean = max(self.means)
        self.last_arm = fields["last_arm"]
