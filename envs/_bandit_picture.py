"""How a Bandit looks: true means and estimates above, pulls below."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sb3_course.envs._axes import Axes
from sb3_course.envs.rendering import BLUE, GREEN, INK, LIGHT, RED, Canvas

WIDTH, HEIGHT = 640, 460
LEFT, RIGHT_MARGIN = 58, 18


def picture(
    means: Sequence[float],
    stds: Sequence[float],
    estimates: Sequence[float | None],
    pulls: Sequence[int],
    last_arm: int | None,
    regret: float,
) -> NDArray[np.uint8]:
    """Return the picture, uint8 (460, 640, 3)."""
    canvas = Canvas(WIDTH, HEIGHT)
    width = WIDTH - LEFT - RIGHT_MARGIN
    seen = [estimate for estimate in estimates if estimate is not None]
    low, high = min(*means, *seen), max(*means, *seen)
    margin = 0.15 * (high - low) or 0.5
    top = Axes(canvas, LEFT, 94, width, 180, (0.0, len(means)), (low - margin, high + margin))
    bottom = Axes(canvas, LEFT, 330, width, 84, (0.0, len(means)), (0.0, 1.25 * max(4, *pulls)))
    top.y_axis("reward")
    bottom.y_axis("pulls", 3)
    slot = width / len(means)
    for arm in range(len(means)):
        _arm(top, arm, slot, means[arm], stds[arm], estimates[arm], pulls[arm], means[arm] == max(means))
        _pulls(bottom, arm, slot, pulls[arm], arm == last_arm, len(means))
    bottom.canvas.rectangle(LEFT, 414, width, 1, INK)
    canvas.text((WIDTH / 2, 446), "arm", 10)
    canvas.text((20, 20), f"pulls {sum(pulls)}   cumulative regret {regret:.2f}", 11, INK, "left")
    _legend(canvas)
    return canvas.to_array()


def text(means: Sequence[float], estimates: Sequence[float | None], pulls: Sequence[int], regret: float) -> str:
    """Return the same facts as a table."""
    lines = ["  arm   pulls  estimate  true mean"]
    for arm, (mean, estimate, count) in enumerate(zip(means, estimates, pulls, strict=True)):
        shown = "-" if estimate is None else f"{estimate:.3f}"
        lines.append(f"{arm:5d} {count:7d} {shown:>9} {mean:10.3f}{'  best' if mean == max(means) else ''}")
    return "\n".join([*lines, f"pulls {sum(pulls)}, cumulative regret {regret:.3f}", ""])


def _arm(
    axes: Axes, arm: int, slot: float, mean: float, std: float, estimate: float | None, count: int, best: bool
) -> None:
    """Draw the true mean as a bar across the slot and the estimate as a dot with its standard error."""
    half = min(0.34 * slot, 26.0)
    x, y = axes.point(arm + 0.5, mean)
    if best:
        axes.canvas.rectangle(x - slot / 2, axes.top, slot, axes.height, GREEN, 0.14)
    axes.canvas.rectangle(x - half, y - 2, 2 * half, 4, GREEN if best else INK)
    if estimate is None:
        return
    low, high = axes.y_range
    error = std / math.sqrt(count)
    ends = [min(max(estimate + sign * error, low), high) for sign in (-1.0, 1.0)]
    axes.canvas.line(axes.point(arm + 0.5, ends[0]), axes.point(arm + 0.5, ends[1]), 2.0, BLUE, 0.55)
    axes.canvas.disc(axes.point(arm + 0.5, estimate), min(6.0, half), BLUE)


def _pulls(axes: Axes, arm: int, slot: float, count: int, last: bool, arms: int) -> None:
    half = min(0.34 * slot, 26.0)
    x, y = axes.point(arm + 0.5, count)
    base = axes.point(0.0, 0.0)[1]
    axes.canvas.rectangle(x - half, y, 2 * half, base - y, RED if last else BLUE, 0.85)
    every = math.ceil(24.0 / slot)
    if arm % every == 0:
        axes.canvas.text((x, base + 13), str(arm), 9)
    if count and slot >= 30:
        axes.canvas.text((x, y - 9), str(count), 8)


def _legend(canvas: Canvas) -> None:
    spots = ((170, "true mean"), (290, "best arm"), (402, "estimate"), (510, "last pull"))
    for (x, label), colour in zip(spots, (INK, GREEN, BLUE, RED), strict=True):
        if label == "estimate":
            canvas.disc((x + 9, 46), 5, colour)
        elif label == "last pull":
            canvas.rectangle(x + 3, 40, 12, 12, colour, 0.85)
        else:
            canvas.rectangle(x, 44, 18, 4, colour)
        canvas.text((x + 26, 46), label, 9, INK, "left")
    canvas.rectangle(20, 62, WIDTH - 40, 1, LIGHT)
