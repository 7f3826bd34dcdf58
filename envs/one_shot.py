"""OneShot: one decision, one reward; the smallest problem with a continuous action."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from sb3_course.envs._axes import Axes
from sb3_course.envs._base import CourseEnv, task_generator
from sb3_course.envs._checks import interval, real, reals, refusal
from sb3_course.envs.rendering import BLUE, GREEN, GREY, INK, RED, Canvas

HISTORY = 60
"""How many of the last actions the picture shows."""


class OneShotEnv(CourseEnv[NDArray[np.float32], NDArray[np.float32]]):
    """One state, one continuous action a, one step: ``R(a) = zeta * beta / max(zeta, |tau - a|)``.

    R is beta where ``|tau - a| <= zeta`` and falls off as ``1 / |tau - a|`` outside. The observation is always [1.0],
    shape (1,); the action has shape (1,); every step terminates. An action outside ``action_range`` is rewarded by the
    same formula: bounds are for the agent to keep.

    The task belongs to the constructor: with ``tau_range``, tau is drawn there from ``seed``, and ``reset(seed=...)``
    never changes it. So the sub-environments of a vector environment, which get different reset seeds, share one task,
    and equal arguments always give an equal task. ``reset(seed=...)`` clears the picture's history.
    Source: the course's article on one-shot problems, whose tau, zeta and beta are the defaults.

    :param tau: the best action
    :param zeta: half width of the plateau, > 0
    :param beta: height of the plateau, the largest reward, > 0
    :param tau_range: [low, high]: draw tau uniformly from it instead of taking ``tau``
    :param seed: of that draw; None: a fresh one each time
    :param action_range: [low, high] of the action, finite because SB3 requires it
    :param render_mode: None, "human", "rgb_array" or "ansi"
    :raises ValueError: an argument of the wrong kind or out of bounds, or a tau that no action reaches
    """

    def __init__(
        self,
        tau: float = 4.0,
        zeta: float = 0.25,
        beta: float = 1.0,
        tau_range: Sequence[float] | None = None,
        seed: int | None = 0,
        action_range: Sequence[float] = (-10.0, 10.0),
        render_mode: str | None = None,
    ) -> None:
        super().__init__(render_mode)
        self.zeta = real("zeta", zeta, low=0.0, open_low=True)
        self.beta = real("beta", beta, low=0.0, open_low=True)
        low, high = self.action_range = interval("action_range", action_range)
        drawn_from = None if tau_range is None else interval("tau_range", tau_range)
        for name, ends in (("tau", [real("tau", tau)] if drawn_from is None else []), ("tau_range", drawn_from or [])):
            if any(not low <= end <= high for end in ends):
                raise refusal(
                    name,
                    "lies outside action_range",
                    tau if name == "tau" else tau_range,
                    f"within [{low:g}, {high:g}]",
                )
        task = task_generator(seed)
        self.tau = float(tau) if drawn_from is None else float(task.uniform(*drawn_from))
        self.last_actions: deque[float] = deque(maxlen=HISTORY)
        self._policy: tuple[float, float] | None = None
        self.observation_space = spaces.Box(0.0, 1.0, (1,), np.float32)
        self.action_space = spaces.Box(low, high, (1,), np.float32)

    def reward(self, action: float) -> float:
        """Return ``R(a) = zeta * beta / max(zeta, |tau - a|)``."""
        return self.zeta * self.beta / max(self.zeta, abs(self.tau - action))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start an episode; with a seed, forget the actions drawn so far."""
        super().reset(seed=seed)
        if seed is not None:
            self.last_actions.clear()
        if self.render_mode == "human":
            self.render()
        return np.ones(1, dtype=np.float32), {}

    def step(self, action: NDArray[np.float32]) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Take the action, shape (1,), and end the episode.

        :raises ValueError: an action that is not one finite number
        """
        value = np.asarray(action, dtype=np.float64)
        # max() would take a NaN for the best action.
        if value.size != 1 or not math.isfinite(value.item()):
            raise refusal("action", "is not one finite number", value.tolist(), "an array of shape (1,)")
        number = value.item()
        self.last_actions.append(number)
        if self.render_mode == "human":
            self.render()
        return np.ones(1, dtype=np.float32), self.reward(number), True, False, {}

    def _frame(self) -> NDArray[np.uint8]:
        canvas = Canvas(640, 400)
        low, high = self.action_range
        axes = Axes(canvas, 62, 66, 552, 270, (low, high), (0.0, 1.08 * self.beta))
        axes.y_axis("reward R(a)")
        axes.x_axis("action a")
        canvas.dashed(axes.point(self.tau, 0.0), axes.point(self.tau, 1.08 * self.beta), 1.6, GREY)
        canvas.text((axes.point(self.tau, 0.0)[0], 56), f"tau = {self.tau:.2f}", 10, GREY)
        # The corners of the plateau lie between samples: add them, so that a narrow peak is drawn whole.
        corners = [self.tau - self.zeta, self.tau, self.tau + self.zeta]
        xs = sorted({*np.linspace(low, high, 277).tolist(), *(x for x in corners if low <= x <= high)})
        if self._policy is not None:
            self._draw_policy(axes, *self._policy)
        canvas.curve([axes.point(x, self.reward(x)) for x in xs], 2.4, INK)
        shown = [min(max(action, low), high) for action in self.last_actions]
        for age, action in enumerate(reversed(shown)):
            if age:
                canvas.disc(axes.point(action, self.reward(action)), 4.5, BLUE, max(0.12, 0.7 * 0.93**age))
        if shown:
            canvas.line(axes.point(shown[-1], 0.0), axes.point(shown[-1], self.reward(shown[-1])), 1.8, RED)
            canvas.disc(axes.point(shown[-1], self.reward(shown[-1])), 7, RED)
        if shown or self._policy is None:
            canvas.text((20, 20), self._summary(), 11, INK, "left")
        return canvas.to_array()

    def _draw_policy(self, axes: Axes, mean: float, std: float) -> None:
        """Draw a Gaussian as high as the largest reward, or a line where it has no width."""
        (low, high), top = axes.x_range, self.beta
        axes.canvas.text((620, 20), f"policy: mean {mean:.2f}, std {std:.2f}", 11, GREEN, "right")
        if std > 0.0:
            near = np.clip(mean + std * np.linspace(-4.0, 4.0, 161), low, high)  # a narrow one is drawn whole
            xs = np.unique([low, *near, high])
            heights = top * np.exp(-0.5 * ((xs - mean) / std) ** 2)
            outline = [axes.point(float(x), float(y)) for x, y in zip(xs, heights, strict=True)]
            axes.canvas.polygon([axes.point(low, 0.0), *outline, axes.point(high, 0.0)], GREEN, 0.2)
            axes.canvas.curve(outline, 2.0, GREEN)
        elif low <= mean <= high:
            axes.canvas.line(axes.point(mean, 0.0), axes.point(mean, top), 2.0, GREEN)

    @property
    def policy(self) -> tuple[float, float] | None:
        """Mean and standard deviation of the Gaussian that :meth:`render` shows, or None.

        :raises ValueError: numbers that are not finite, or a negative deviation
        """
        return self._policy

    @policy.setter
    def policy(self, gaussian: tuple[float, float] | None) -> None:
        if gaussian is None:
            self._policy = None
            return
        mean, std = gaussian
        self._policy = real("mean", mean), real("std", std, low=0.0)

    def _text(self) -> str:
        return f"OneShot: tau = {self.tau:.4g}, zeta = {self.zeta:.4g}, beta = {self.beta:.4g}\n{self._summary()}\n"

    def _summary(self) -> str:
        if not self.last_actions:
            return "no action yet"
        action = self.last_actions[-1]
        return f"last action a = {action:.3f}   R(a) = {self.reward(action):.3f}"

    def _get_fields(self) -> dict[str, Any]:
        return {"tau": self.tau, "last_actions": list(self.last_actions)}

    def _set_fields(self, fields: dict[str, Any]) -> None:
        tau, actions = real("tau", fields["tau"]), reals("last_actions", fields["last_actions"])
        self.tau = tau
        self.last_actions = deque(actions, maxlen=HISTORY)
