"""A plot frame with axes, for the pictures of the one-step environments."""

from __future__ import annotations

import math

from sb3_course.envs.rendering import GREY, INK, LIGHT, Canvas, Point


class Axes:
    """The map from data to pixels, and its frame.

    :param canvas: where to draw
    :param left: left edge of the plot area in pixels
    :param top: top edge
    :param width: of the plot area
    :param height: of the plot area
    :param x_range: smallest and largest x
    :param y_range: smallest and largest y
    """

    def __init__(
        self,
        canvas: Canvas,
        left: float,
        top: float,
        width: float,
        height: float,
        x_range: tuple[float, float],
        y_range: tuple[float, float],
    ) -> None:
        self.canvas = canvas
        self.left, self.top, self.width, self.height = left, top, width, height
        self.x_range, self.y_range = x_range, y_range

    def point(self, x: float, y: float) -> Point:
        """Return the pixel of the data point (x, y)."""
        (x0, x1), (y0, y1) = self.x_range, self.y_range
        return self.left + (x - x0) / (x1 - x0) * self.width, self.top + (y1 - y) / (y1 - y0) * self.height

    def y_axis(self, label: str, ticks: int = 5) -> None:
        """Draw horizontal grid lines with their values at the left, and ``label`` above."""
        for value in nice_ticks(*self.y_range, ticks):
            y = round(self.point(self.x_range[0], value)[1])
            self.canvas.rectangle(self.left, y, self.width, 1, LIGHT)
            self.canvas.text((self.left - 8, y), tick_text(value), 9, GREY, "right")
        self.canvas.text((self.left, self.top - 14), label, 10, INK, "left")

    def x_axis(self, label: str, ticks: int = 8) -> None:
        """Draw the bottom line with tick values below, and ``label`` under them."""
        bottom = self.top + self.height
        self.canvas.rectangle(self.left, bottom, self.width, 1, GREY)
        for value in nice_ticks(*self.x_range, ticks):
            x = round(self.point(value, self.y_range[0])[0])
            self.canvas.rectangle(x, bottom, 1, 5, GREY)
            self.canvas.text((x, bottom + 15), tick_text(value), 9, GREY)
        self.canvas.text((self.left + self.width / 2, bottom + 36), label, 10, INK)


def nice_ticks(low: float, high: float, count: int) -> list[float]:
    """Return about ``count`` multiples of 1, 2 or 5 times a power of ten that lie in [low, high]."""
    raw = (high - low) / max(count, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= raw * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def tick_text(value: float) -> str:
    """Return ``value`` as short text without rounding noise: 0.30000000000000004 is "0.3"."""
    return f"{value:.4g}" if abs(value) > 1e-12 else "0"
