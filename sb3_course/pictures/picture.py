"""A picture of one panel or several: beside each other as PNG or SVG, one after the other as GIF."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sb3_course.config.errors import InputError
from sb3_course.saving.files import atomic_path
from sb3_course.tuning.plots import house_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DPI, _COLUMNS = 110, 3
_MOMENT, _END = 250, 2_000  # milliseconds that a moment is shown, and the last one


@dataclass(frozen=True)
class View:
    """One pair of axes: its title, and what draws on it."""

    title: str
    draw: Callable[[Axes], None]


@dataclass(frozen=True)
class Picture:
    """Panels, and what they show as a small table.

    :param panels: at least one
    :param table: rows of words, the titles first
    :param title: above all panels
    :param size: of a panel, in inches
    """

    panels: tuple[View, ...]
    table: Sequence[Sequence[object]]
    title: str = ""
    size: tuple[float, float] = (4.0, 3.4)


def write(picture: Picture, path: Path) -> None:
    """Write a picture in the format that the file's name says, whole or not at all.

    :param path: ends in `.png`, `.svg` or `.gif`
    :raises InputError: for a GIF of one moment
    """
    if path.suffix.lower() == ".gif":
        if len(picture.panels) < 2:
            raise InputError("--out", "there is one moment to show, and nothing moves", str(path), ".png or .svg")
        frames = [_pixels(_figure(picture, [panel])) for panel in picture.panels]
        write_gif(frames, path)
        return
    with atomic_path(path) as temporary, house_style():
        _figure(picture, picture.panels).savefig(temporary, dpi=_DPI, facecolor="white", metadata=_without_date(path))


def write_gif(frames: Sequence[np.ndarray], path: Path, moment: int = _MOMENT, end: int = _END) -> None:
    """Write frames (H, W, 3) as a GIF that begins again after its last one, on one palette of 255 colours.

    :param moment: milliseconds that a frame is shown
    :param end: and the last one
    """
    from PIL import Image

    # Of the first, the middle and the last one; thin lines keep their colours, however few their pixels are.
    some = np.concatenate([frames[0], frames[len(frames) // 2], frames[-1]])
    palette = Image.fromarray(some).quantize(255, method=Image.Quantize.MAXCOVERAGE)
    first, *rest = (Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames)
    durations = [moment] * len(rest) + [end]
    with atomic_path(path) as temporary:
        first.save(temporary, "GIF", save_all=True, append_images=rest, duration=durations, loop=0, optimize=True)


def moments(n: int, most: int) -> list[int]:
    """Return at most `most` of the numbers 0 … n − 1, evenly, the first and the last among them."""
    return sorted({round(x) for x in np.linspace(0, n - 1, min(n, max(most, 1)))})


def show_frame(frame: Any) -> Callable[[Axes], None]:
    """Return what draws an environment's own picture (H, W, 3)."""

    def draw(axes: Axes) -> None:
        axes.imshow(frame, interpolation="antialiased")
        axes.set_axis_off()

    return draw


def _figure(picture: Picture, panels: Sequence[View]) -> Figure:
    from matplotlib.figure import Figure

    columns = min(len(panels), _COLUMNS)
    rows = math.ceil(len(panels) / columns)
    width, height = picture.size
    with house_style():
        figure = Figure(figsize=(width * columns, height * rows + (0.4 if picture.title else 0)))
        for index, panel in enumerate(panels):
            axes = figure.add_subplot(rows, columns, index + 1)
            panel.draw(axes)
            axes.set_title(panel.title)
        if picture.title:
            figure.suptitle(picture.title, x=0.02, ha="left", fontsize=14)
    return figure


def _pixels(figure: Figure) -> np.ndarray:
    from PIL import Image

    data = io.BytesIO()
    with house_style():
        figure.savefig(data, format="png", dpi=_DPI * 0.75, facecolor="white")
    return np.asarray(Image.open(data).convert("RGB"))


def _without_date(path: Path) -> dict[str, Any] | None:
    return {"Date": None} if path.suffix.lower() == ".svg" else None
