"""A canvas with smooth shapes and text, drawn with NumPy only.

Positions are (x, y) in pixels, x to the right and y down, from the top left corner; colours are (red, green, blue) in
0..255. A shape is painted by its signed distance d: coverage = clip(1/2 - d, 0, 1), which gives smooth edges at the
price of the shape's own bounding box.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from sb3_course.envs._font import segment_distance, text_mask, text_width

Colour = tuple[int, int, int]
Point = tuple[float, float]
Distance = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float32]]

WHITE: Colour = (255, 255, 255)
INK: Colour = (38, 43, 51)
GREY: Colour = (138, 144, 153)
LIGHT: Colour = (226, 229, 233)
# The Okabe-Ito colours, told apart by colour-blind readers too.
BLUE: Colour = (0, 114, 178)
GREEN: Colour = (0, 158, 115)
ORANGE: Colour = (230, 159, 0)
RED: Colour = (213, 94, 0)


class Canvas:
    """A picture under construction; every method paints over what is there.

    :param width: pixels
    :param height: pixels
    :param background: colour of the empty picture
    """

    def __init__(self, width: int, height: int, background: Colour = WHITE) -> None:
        self.width = width
        self.height = height
        self._pixels = np.empty((height, width, 3), dtype=np.float32)
        self._pixels[:] = background

    def to_array(self) -> NDArray[np.uint8]:
        """Return a new uint8 array of shape (height, width, 3)."""
        return (self._pixels + 0.5).astype(np.uint8)

    def rectangle(self, x: float, y: float, width: float, height: float, colour: Colour, opacity: float = 1.0) -> None:
        """Fill a rectangle whose top left corner is (x, y), edges rounded to whole pixels so that they stay sharp."""
        left, top = max(round(x), 0), max(round(y), 0)
        right, bottom = max(round(x + width), left), max(round(y + height), top)
        part = self._pixels[top:bottom, left:right]
        part += opacity * (np.asarray(colour, dtype=np.float32) - part)

    def disc(self, centre: Point, radius: float, colour: Colour, opacity: float = 1.0) -> None:
        """Fill a circle."""

        def distance(xs: NDArray[np.float64], ys: NDArray[np.float64]) -> NDArray[np.float32]:
            return np.asarray(np.hypot(xs - centre[0], ys - centre[1]) - radius, dtype=np.float32)

        self._paint(distance, [centre], radius, colour, opacity)

    def ring(self, centre: Point, radius: float, width: float, colour: Colour) -> None:
        """Draw a circle; ``radius`` is that of the middle of its line."""

        def distance(xs: NDArray[np.float64], ys: NDArray[np.float64]) -> NDArray[np.float32]:
            return np.asarray(np.abs(np.hypot(xs - centre[0], ys - centre[1]) - radius) - width / 2, dtype=np.float32)

        self._paint(distance, [centre], radius + width / 2, colour, 1.0)

    def line(self, start: Point, end: Point, width: float, colour: Colour, opacity: float = 1.0) -> None:
        """Draw a segment with round ends."""
        first, last = np.asarray(start, dtype=np.float64), np.asarray(end, dtype=np.float64)

        def distance(xs: NDArray[np.float64], ys: NDArray[np.float64]) -> NDArray[np.float32]:
            return np.asarray(segment_distance(xs, ys, first, last) - width / 2, dtype=np.float32)

        self._paint(distance, [start, end], width / 2, colour, opacity)

    def curve(self, points: Sequence[Point], width: float, colour: Colour) -> None:
        """Draw a chain of segments through ``points``."""
        for start, end in pairwise(points):
            self.line(start, end, width, colour)

    def dashed(self, start: Point, end: Point, width: float, colour: Colour, dash: float = 6.0) -> None:
        """Draw a segment as dashes and gaps of ``dash`` pixels each."""
        first, last = np.asarray(start, dtype=np.float64), np.asarray(end, dtype=np.float64)
        length = float(np.hypot(*(last - first)))
        for begin in np.arange(0.0, length, 2 * dash):
            a = first + (last - first) * (begin / length)
            b = first + (last - first) * (min(begin + dash, length) / length)
            self.line((float(a[0]), float(a[1])), (float(b[0]), float(b[1])), width, colour)

    def polygon(self, corners: Sequence[Point], colour: Colour, opacity: float = 1.0) -> None:
        """Fill a convex polygon; ``corners`` go round it in either direction."""
        points = np.asarray(corners, dtype=np.float64)
        edges = np.roll(points, -1, axis=0) - points
        turn = float(edges[0, 0] * edges[1, 1] - edges[0, 1] * edges[1, 0])
        outward = np.stack([edges[:, 1], -edges[:, 0]], axis=1) * (1.0 if turn > 0 else -1.0)
        outward /= np.hypot(outward[:, 0], outward[:, 1])[:, None]

        def distance(xs: NDArray[np.float64], ys: NDArray[np.float64]) -> NDArray[np.float32]:
            sides = [(xs - p[0]) * n[0] + (ys - p[1]) * n[1] for p, n in zip(points, outward, strict=True)]
            return np.asarray(np.max(sides, axis=0), dtype=np.float32)

        self._paint(distance, corners, 0.0, colour, opacity)

    def arrow(self, centre: Point, direction: Point, length: float, colour: Colour) -> None:
        """Draw an arrow of ``length`` pixels through ``centre`` along the unit vector ``direction``."""
        (x, y), (dx, dy) = centre, direction
        half, head = length / 2, 0.5 * length
        tip = (x + dx * half, y + dy * half)
        neck = (tip[0] - dx * head, tip[1] - dy * head)
        wing = 0.32 * length
        self.line((x - dx * half, y - dy * half), neck, 0.2 * length, colour)
        self.polygon(
            [tip, (neck[0] - dy * wing, neck[1] + dx * wing), (neck[0] + dy * wing, neck[1] - dx * wing)], colour
        )

    def text(self, position: Point, text: str, size: float, colour: Colour = INK, align: str = "centre") -> None:
        """Write one line; ``position`` is the middle of the capitals' height, ``align`` is left, centre or right."""
        mask = text_mask(text, size)
        width = text_width(text, size)
        pad = (mask.shape[1] - width) / 2
        left = position[0] - pad - {"left": 0.0, "centre": width / 2, "right": width}[align]
        top = position[1] - size / 2 - pad
        self._blend(mask, round(left), round(top), colour)

    def _paint(
        self, distance: Distance, points: Sequence[Point], margin: float, colour: Colour, opacity: float
    ) -> None:
        (left, right), (top, bottom) = (
            (max(math.floor(min(ends) - margin - 1), 0), min(math.ceil(max(ends) + margin + 1), size))
            for ends, size in zip(zip(*points, strict=True), (self.width, self.height), strict=True)
        )
        if left >= right or top >= bottom:
            return
        xs = np.arange(left, right, dtype=np.float64)[None, :] + 0.5
        ys = np.arange(top, bottom, dtype=np.float64)[:, None] + 0.5
        coverage = np.clip(0.5 - distance(xs, ys), 0.0, 1.0) * np.float32(opacity)
        self._blend(coverage, left, top, colour)

    def _blend(self, coverage: NDArray[np.float32], left: int, top: int, colour: Colour) -> None:
        """Mix ``colour`` into the picture; what lies outside the picture is cut off."""
        coverage = coverage[max(-top, 0) :, max(-left, 0) :]
        part = self._pixels[max(top, 0) :, max(left, 0) :][: coverage.shape[0], : coverage.shape[1]]
        weight = coverage[: part.shape[0], : part.shape[1], None]
        part += weight * (np.asarray(colour, dtype=np.float32) - part)


def diverging(value: float, limit: float) -> Colour:
    """Return the colour of ``value`` on a scale from -limit (vermilion) over 0 (white) to +limit (green)."""
    share = 0.0 if limit <= 0 else float(np.clip(value / limit, -1.0, 1.0))
    end = np.asarray(GREEN if share >= 0 else RED, dtype=np.float64)
    mixed = 250 + (end - 250) * 0.85 * abs(share)
    return int(mixed[0]), int(mixed[1]), int(mixed[2])


def short_number(value: float) -> str:
    """Return ``value`` in at most about five characters: 0.81 is ".81", -1 is "-1.0", 1234 is "1234"."""
    text = f"{value:.0f}" if abs(value) >= 99.5 else f"{value:.1f}" if abs(value) >= 0.995 else f"{value:.2f}"
    if float(text) == 0.0:
        return "0"
    return text.replace("0.", ".", 1) if abs(value) < 0.995 else text
