"""The return that a model expects of each action, as a distribution, along one episode."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sb3_course.config.errors import InputError
from sb3_course.envs import GridWorldEnv
from sb3_course.envs.grid_map import ACTION_NAMES
from sb3_course.pictures.kinds import Order
from sb3_course.pictures.picture import Picture, View, moments
from sb3_course.pictures.stages import LookedAt, looked_at
from sb3_course.runs.choosers import takes_masks
from sb3_course.runs.known_envs import longest_episode
from sb3_course.runs.learned_picture import return_distribution
from sb3_course.sb3.masking import current_masks, has_masks
from sb3_course.tuning.plots import COLOURS, MUTED

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BINS, _WHOLE = 48, 0.995
_ACTIONS_SHOWN = 6


def along_an_episode(order: Order) -> Picture:
    """Draw the distribution of every action's return at moments of one greedy episode of the latest model.

    The table tells of the action that is taken: mean, standard deviation, and the 5 % and 95 % quantiles.
    """
    with looked_at(order.paths[0]) as run:
        ((_, model),) = run.models(1)
        seen, taken = _episode(run, model, order.seed)
        shown = moments(len(seen), order.most)
        found = [tuple(each[0] for each in return_distribution(model, seen[step])) for step in shown]
        first = int(getattr(run.venv.action_space, "start", 0))
        names = (
            ACTION_NAMES
            if isinstance(run.env, GridWorldEnv)
            else [f"action {first + k}" for k in range(len(found[0][0]))]
        )
    ends = _ends(found)
    rows: list[tuple[object, ...]] = [("step", "takes", "mean", "std", "5 %", "95 %")]
    panels: list[View] = []
    for step, (returns, shares) in zip(shown, found, strict=True):
        action = taken[step] - first
        rows.append(
            (
                f"{step}",
                f"{taken[step]}",
                *(f"{round(x, 6) + 0.0:.3g}" for x in summary(returns[action], shares[action])),
            )
        )
        title = f"step {step}, takes {names[action]}"
        panels.append(View(title, distributions(returns, shares, ends, names, action, legend=not panels)))
    return Picture(tuple(panels), rows, f"{run.title}: return of each action", (4.2, 3.0))


def _episode(run: LookedAt, model: Any, seed: int) -> tuple[list[Any], list[int]]:
    """Return the observations and the actions of one episode."""
    venv = run.venv
    if type(venv.action_space).__name__ != "Discrete":
        raise InputError("RUN", "has no actions to compare", run.settings.env, "an environment with Discrete actions")
    venv.seed(seed)
    observation, seen, taken = venv.reset(), [], []
    masked = takes_masks(model) and has_masks(venv)
    for _ in range(longest_episode(run.settings, scoring=True)):
        known = {"action_masks": current_masks(venv)} if masked else {}
        action = model.predict(observation, deterministic=True, **known)[0]
        seen.append(observation)
        taken.append(int(action[0]))
        observation, _, done, _ = venv.step(action)
        if done[0]:
            break
    return seen, taken


def summary(returns: np.ndarray, shares: np.ndarray) -> tuple[float, float, float, float]:
    """Return mean, standard deviation, 5 % and 95 % quantile of one distribution.

    :param returns: in any order, (N,)
    :param shares: their probabilities, (N,)
    """
    order = np.argsort(returns)
    values, mass = returns[order].astype(np.float64), shares[order].astype(np.float64)
    mass = mass / mass.sum()
    mean = float(values @ mass)
    low, high = map(float, values[np.searchsorted(mass.cumsum(), [0.05, 0.95]).clip(0, len(values) - 1)])
    return mean, float(np.sqrt(((values - mean) ** 2) @ mass)), low, high


def _ends(found: list[Any]) -> tuple[float, float]:
    """Return the range in which nearly all the mass of all distributions lies."""
    returns = np.concatenate([pair[0].ravel() for pair in found]).astype(np.float64)
    shares = np.concatenate([pair[1].ravel() for pair in found]).astype(np.float64)
    order = np.argsort(returns)
    mass = shares[order].cumsum() / shares.sum()
    ranks = np.searchsorted(mass, [1 - _WHOLE, _WHOLE]).clip(0, len(mass) - 1)
    low, high = map(float, returns[order][ranks])
    margin = 0.08 * (high - low) or 0.5
    return low - margin, high + margin


def _edges(returns: np.ndarray, ends: tuple[float, float]) -> np.ndarray:
    """Return the borders of the bins: of a support that all actions share, halfway between its atoms."""
    atoms = np.unique(returns)
    if len(atoms) > returns.shape[1]:
        return np.linspace(*ends, _BINS + 1)
    halfway = (atoms[1:] + atoms[:-1]) / 2
    return np.concatenate([[ends[0]], halfway[(ends[0] < halfway) & (halfway < ends[1])], [ends[1]]])


def distributions(
    returns: np.ndarray, shares: np.ndarray, ends: tuple[float, float], names: Sequence[str], chosen: int, legend: bool
) -> Callable[[Axes], None]:
    """Return what draws the probability of the returns of each action, in bins, and a line at each mean.

    :param returns: (A, N)
    :param shares: their probabilities, (A, N)
    :param ends: of the axis
    :param names: of the actions
    :param chosen: index of the action that is taken, drawn stronger; of many actions the first ones and this one are
    """

    def draw(axes: Axes) -> None:
        edges = _edges(returns, ends)
        few = range(min(len(returns), _ACTIONS_SHOWN))
        for index in few if chosen in few else (*few, chosen):
            strong, colour = index == chosen, COLOURS[index] if index in few else MUTED
            mass, _ = np.histogram(returns[index].clip(*ends), edges, weights=shares[index])
            axes.stairs(mass, edges, fill=True, color=colour, alpha=0.45 if strong else 0.15)
            axes.stairs(mass, edges, color=colour, linewidth=1.8 if strong else 1.0, label=names[index])
            axes.axvline(summary(returns[index], shares[index])[0], color=colour, linewidth=1.2, linestyle=(0, (3, 2)))
        axes.set_xlim(*ends)
        axes.set_xlabel("return")
        axes.set_ylabel("probability")
        if legend:
            axes.legend(loc="best", fontsize=9)

    return draw
