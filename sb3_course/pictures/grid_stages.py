"""What a GridWorld's cells are worth, and how often they are visited, from checkpoint to checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from sb3_course.config.errors import InputError
from sb3_course.envs import GridWorldEnv, optimal_actions, value_iteration
from sb3_course.pictures.kinds import Order
from sb3_course.pictures.picture import Picture, View, show_frame
from sb3_course.pictures.stages import LookedAt, looked_at
from sb3_course.runs.evaluation import evaluate
from sb3_course.runs.learned_picture import grid_values

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MARKS = {"S": "start\n", "G": "goal\n", "B": "bomb\n"}
_NEARLY_ONE = 1 - 1e-6  # a discount for which planning ends


@contextmanager
def _grid_run(order: Order) -> Iterator[tuple[LookedAt, GridWorldEnv]]:
    with looked_at(order.paths[0]) as run:
        if not isinstance(run.env, GridWorldEnv) or run.venv.action_space != run.env.action_space:
            raise InputError("RUN", "its environment is no GridWorld", run.settings.env, "sb3_course/GridWorld-v0")
        yield run, run.env


def values(order: Order) -> Picture:
    """Draw the action values of every cell and the greedy arrows at each moment.

    The table tells what the start is worth, and in how many of the cells the greedy action is one of the optimal ones.
    """
    panels: list[View] = []
    rows: list[tuple[object, ...]] = []
    with _grid_run(order) as (run, env):
        standing = [s for s, cell in enumerate("".join(env.map)) if cell not in ("#GB" if env.end_on_bomb else "#G")]
        start = "".join(env.map).index("S")
        for steps, model in run.models(order.most):
            q = grid_values(model, run.venv, env)
            gamma = min(float(getattr(model, "gamma", 0.99)), _NEARLY_ONE)
            best = optimal_actions(value_iteration(env.P, gamma))
            right = sum(bool(best[s][int(q[s].argmax())]) for s in standing)
            rows.append((f"{steps:,}", f"{q[start].max():.3f}", f"{right} of {len(standing)}"))
            env.q_values, env.state = q, None
            panels.append(View(f"{steps:,} steps", show_frame(env.render())))
    table = [("steps", "best of the start", "optimal cells"), *rows]
    return Picture(tuple(panels), table, run.title)


def visits(order: Order) -> Picture:
    """Draw how often each cell is visited in some episodes of the policy of each moment, exploring as it did then."""
    panels: list[View] = []
    rows: list[tuple[object, ...]] = []
    episodes = int(order.flags.get("episodes", 20))
    with _grid_run(order) as (run, env):
        for steps, model in run.models(order.most):
            counts = np.zeros(env.rows * env.columns, dtype=int)

            def count(_: Any, counts: np.ndarray = counts) -> None:
                counts[env.state] += 1

            score = evaluate(model, run.venv, episodes, order.seed, deterministic=False, watch=count)
            lengths = float(np.mean(score.lengths))
            rows.append((f"{steps:,}", f"{np.count_nonzero(counts)}", f"{lengths:.2f}", f"{score.mean:.2f}"))
            panels.append(View(f"{steps:,} steps", _heat(env.map, counts)))
    table = [("steps", "cells visited", "mean length", "mean return"), *rows]
    return Picture(tuple(panels), table, f"{run.title}: visits in {episodes} episodes")


def _heat(rows: list[str], counts: np.ndarray) -> Any:
    def draw(axes: Axes) -> None:
        grid = counts.reshape(len(rows), len(rows[0])).astype(float)
        wall = np.array([[cell == "#" for cell in row] for row in rows])
        axes.set_facecolor("#545c68")
        axes.imshow(np.ma.masked_where(wall, np.log1p(grid)), cmap="Blues", vmin=0)
        dark = np.log1p(grid) > 0.6 * np.log1p(grid.max())
        for (row, column), number in np.ndenumerate(grid):
            if not wall[row, column]:
                mark = _MARKS.get(rows[row][column], "")
                colour = "white" if dark[row, column] else "#1f2933"
                axes.text(column, row, f"{mark}{number:,.0f}", ha="center", va="center", color=colour, fontsize=10)
        axes.grid(visible=False)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)

    return draw
