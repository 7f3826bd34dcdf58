"""A canvas with smooth shapes and text, drawn with Pillow.

Positions are (x, y) in pixels, x to the right and y down, from the top left corner; colours are (red, green, blue) in
0..255. Pillow's shapes have hard edges: everything is drawn `FINER` times as large, and a pixel is the mean of its
finer ones. Pillow is imported when something is drawn: environments that nobody looks at do without.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Colour = tuple[int, int, int]
Point = tuple[float, float]

FINER = 4

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
        from PIL import Image, ImageDraw

        self.width = width
        self.height = height
        self._image = Image.new("RGB", (width * FINER, height * FINER), background)
        self._draw = ImageDraw.Draw(self._image, "RGBA")  # which mixes a colour with what is there by its opacity

    def to_array(self) -> NDArray[np.uint8]:
        """Return a new uint8 array of shape (height, width, 3)."""
        return np.array(self._image.reduce(FINER))

    def rectangle(self, x: float, y: float, width: float, height: float, colour: Colour, opacity: float = 1.0) -> None:
        """Fill a rectangle whose top left corner is (x, y), edges rounded to whole pixels so that they stay sharp."""
        left, top, right, bottom = round(x), round(y), round(x + width), round(y + height)
        if right > left and bottom > top:
            box = (left * FINER, top * FINER, right * FINER - 1, bottom * FINER - 1)  # Pillow's last pixel is inside
            self._draw.rectangle(box, fill=_paint(colour, opacity))

    def disc(self, centre: Point, radius: float, colour: Colour, opacity: float = 1.0) -> None:
        """Fill a circle."""
        self._draw.ellipse(_box(centre, radius), fill=_paint(colour, opacity))

    def ring(self, centre: Point, radius: float, width: float, colour: Colour) -> None:
        """Draw a circle; ``radius`` is that of the middle of its line."""
        self._draw.ellipse(_box(centre, radius + width / 2), outline=colour, width=max(round(width * FINER), 1))

    def line(self, start: Point, end: Point, width: float, colour: Colour, opacity: float = 1.0) -> None:
        """Draw a segment, with round ends where it is opaque."""
        self.curve([start, end], width, colour, opacity)

    def curve(self, points: Sequence[Point], width: float, colour: Colour, opacity: float = 1.0) -> None:
        """Draw a chain of segments through ``points``."""
        if opacity == 1.0:  # elsewhere the ends would lie over the line, and be seen
            for point in points:
                self.disc(point, width / 2, colour)
        for start, end in pairwise(points):
            length = math.dist(start, end)
            if length > 0.0:
                half = (width - 1 / FINER) / 2 / length  # Pillow draws a polygon's outline too
                x, y = (end[1] - start[1]) * half, (start[0] - end[0]) * half
                sides = [(start[0] + x, start[1] + y), (end[0] + x, end[1] + y)]
                self.polygon([*sides, (end[0] - x, end[1] - y), (start[0] - x, start[1] - y)], colour, opacity)

    def dashed(self, start: Point, end: Point, width: float, colour: Colour, dash: float = 6.0) -> None:
        """Draw a segment as dashes and gaps of ``dash`` pixels each."""
        first, last = np.asarray(start, dtype=np.float64), np.asarray(end, dtype=np.float64)
        length = float(np.hypot(*(last - first)))
        for begin in np.arange(0.0, length, 2 * dash):
            a = first + (last - first) * (begin / length)
            b = first + (last - first) * (min(begin + dash, length) / length)
            self.line((float(a[0]), float(a[1])), (float(b[0]), float(b[1])), width, colour)

    def polygon(self, corners: Sequence[Point], colour: Colour, opacity: float = 1.0) -> None:
        """Fill a polygon; ``corners`` go round it in either direction."""
        # A pixel's middle is half a pixel further than its number.
        fine = [(x * FINER - 0.5, y * FINER - 0.5) for x, y in corners]
        self._draw.polygon(fine, fill=_paint(colour, opacity))

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
        """Write one line; ``position`` is the middle of the capitals' height, ``align`` is left, centre or right.

        :param size: height of a capital letter in pixels
        """
        x, y = position[0] * FINER, (position[1] + size / 2) * FINER
        anchor = {"left": "ls", "centre": "ms", "right": "rs"}[align]  # s: the base line
        self._draw.text((x, y), text, fill=colour, font=_font(size), anchor=anchor)


def _paint(colour: Colour, opacity: float) -> tuple[int, ...]:
    return (*colour, round(255 * opacity))


def _box(centre: Point, radius: float) -> tuple[float, float, float, float]:
    (x, y), fine = centre, radius * FINER
    return x * FINER - fine, y * FINER - fine, x * FINER + fine - 1, y * FINER + fine - 1


@cache
def _font(size: float) -> Any:
    """Return Pillow's own font with capitals of this height on the finer grid."""
    from PIL import ImageFont

    probe: Any = ImageFont.load_default(100)
    _, top, _, bottom = probe.getbbox("H")
    return ImageFont.load_default(100 * size * FINER / (bottom - top))


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
