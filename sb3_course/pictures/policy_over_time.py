"""OneShot's policy over training: its mean μ and its standard deviation σ, and the τ that they should find."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sb3_course.config.errors import InputError
from sb3_course.envs import OneShotEnv
from sb3_course.pictures.kinds import Order
from sb3_course.pictures.picture import Picture, View, show_frame
from sb3_course.pictures.stages import looked_at
from sb3_course.runs.learned_picture import gaussian_of
from sb3_course.tuning.plots import COLOURS, MUTED, thousands

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_EVERY = 1_000  # of a run's checkpoints, all


def policy(order: Order) -> Picture:
    """Draw μ and the band μ ± σ over the steps; moving, the environment's own picture at each moment."""
    found: list[tuple[int, float, float]] = []
    frames: list[View] = []
    with looked_at(order.paths[0]) as run:
        env = run.env
        if not isinstance(env, OneShotEnv) or run.venv.action_space != env.action_space:
            raise InputError("RUN", "its environment is no OneShot", run.settings.env, "sb3_course/OneShot-v0")
        for steps, model in run.models(order.most if order.moving else int(order.flags.get("most", _EVERY))):
            mean, std = gaussian_of(model, run.venv.reset())
            found.append((steps, mean, std))
            if order.moving:
                env.policy = mean, std
                env.last_actions.clear()
                frames.append(View(f"{steps:,} steps", show_frame(env.render())))
        rows = [(f"{steps:,}", f"{mean:.3f}", f"{std:.3f}", f"{env.reward(mean):.3f}") for steps, mean, std in found]
        tau = env.tau
    table = [("steps", "mean", "std", "reward of the mean"), *rows]
    if order.moving:
        return Picture(tuple(frames), table, run.title, (5.4, 3.8))

    def draw(axes: Axes) -> None:
        steps, mean, std = np.array(found).T
        axes.fill_between(steps, mean - std, mean + std, color=COLOURS[0], alpha=0.2, linewidth=0, label="μ ± σ")
        axes.plot(steps, mean, color=COLOURS[0], marker="o", markersize=4, label="μ")
        axes.axhline(tau, color=MUTED, linestyle=(0, (4, 3)), linewidth=1.2, label=f"τ = {tau:g}")
        axes.set_xlabel("environment steps")
        axes.set_ylabel("action")
        axes.xaxis.set_major_formatter(lambda x, _: thousands(x))
        axes.legend(loc="best")

    return Picture((View("", draw),), table, run.title, (7.0, 4.0))
