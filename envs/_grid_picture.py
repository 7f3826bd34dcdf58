"""How a GridWorld looks: the picture for people, the small image that is an observation, and text."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sb3_course.envs.grid_map import BOMB, FREE, GOAL, START, WALL
from sb3_course.envs.planning import optimal_actions
from sb3_course.envs.rendering import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    RED,
    WHITE,
    Canvas,
    Colour,
    diverging,
    short_number,
)

DIRECTIONS = ((-1.0, 0.0), (1.0, 0.0), (0.0, -1.0), (0.0, 1.0))
"""(x, y) of left, right, up, down, y downwards."""
ARROWS = "←→↑↓"
LARGEST_CELL, SMALLEST_CELL, LARGEST_PICTURE = 144, 12, 1008
SMALLEST_WITH_NUMBERS = 96
MIN_IMAGE_SIDE = 36
"""Pixels; SB3's NatureCNN has no output for less."""
SMALLEST_IMAGE_CELL = 6
IMAGE_COLOURS: dict[str, Colour] = {FREE: (235, 235, 235), START: (180, 200, 220), WALL: INK, BOMB: RED, GOAL: GREEN}
FLOOR: Colour = (247, 248, 250)
LINE: Colour = (196, 201, 208)
WALL_COLOUR: Colour = (84, 92, 104)


def image_background(rows: list[str]) -> NDArray[np.uint8]:
    """Return the observation image without the agent: one colour a cell, cells large enough for NatureCNN."""
    side = max(SMALLEST_IMAGE_CELL, math.ceil(MIN_IMAGE_SIDE / min(len(rows), len(rows[0]))))
    cells = np.array([[IMAGE_COLOURS[cell] for cell in row] for row in rows], dtype=np.uint8)
    return cells.repeat(side, axis=0).repeat(side, axis=1)


def image(background: NDArray[np.uint8], rows: list[str], state: int) -> NDArray[np.uint8]:
    """Return the observation image, uint8 (height, width, 3): the agent is a blue square within its cell."""
    pixels = background.copy()
    side = len(pixels) // len(rows)
    row, column = divmod(state, len(rows[0]))
    edge = side // 5
    pixels[row * side + edge : (row + 1) * side - edge, column * side + edge : (column + 1) * side - edge] = BLUE
    return pixels


def picture(rows: list[str], state: int | None, q: NDArray[np.float64] | None, end_on_bomb: bool) -> NDArray[np.uint8]:
    """Return the picture for people; with ``q`` (S, 4) each cell shows its four values and its greedy arrows."""
    side = max(SMALLEST_CELL, min(LARGEST_CELL, LARGEST_PICTURE // max(len(rows), len(rows[0]))))
    canvas = Canvas(len(rows[0]) * side, len(rows) * side, FLOOR)
    ends = GOAL + BOMB if end_on_bomb else GOAL
    shown = [s for s, cell in enumerate("".join(rows)) if cell not in ends + WALL]
    limit = 0.0 if q is None else float(np.abs(q[shown]).max(initial=0.0))
    for s, cell in enumerate("".join(rows)):
        x, y = s % len(rows[0]) * side, s // len(rows[0]) * side
        if cell == WALL:
            canvas.rectangle(x, y, side, side, WALL_COLOUR)
        elif cell in ends or q is None:
            _plain_cell(canvas, x, y, side, cell, s == state)
        else:
            _value_cell(canvas, x, y, side, cell, s == state, q[s], limit)
        if cell == START and side >= 32:
            # Off the corner, where the borders of the value triangles run.
            canvas.text((x + 0.2 * side, y + 0.09 * side), "S", 0.085 * side, INK if q is not None else GREY)
    _grid_lines(canvas, rows, side)
    return canvas.to_array()


def text(
    rows: list[str], state: int | None, action: str | None, q: NDArray[np.float64] | None, end_on_bomb: bool
) -> str:
    """Return the map as text, the agent as ``A``; with ``q`` the values max_a q and the greedy arrows beside it."""
    columns = len(rows[0])
    ends = GOAL + BOMB if end_on_bomb else GOAL
    lines = []
    for r, row in enumerate(rows):
        line = " ".join("A" if r * columns + c == state else cell for c, cell in enumerate(row))
        if q is not None:
            line += "    " + "  ".join(_text_cell(cell, q[r * columns + c], ends) for c, cell in enumerate(row))
        lines.append(line)
    return "\n".join(lines) + f"\nlast action: {action or 'none'}\n"


def _text_cell(cell: str, values: NDArray[np.float64], ends: str) -> str:
    if cell in WALL + ends:
        return cell.center(10)
    greedy = "".join(ARROWS[a] for a in np.flatnonzero(optimal_actions(values)))
    return f"{values.max():+.2f}{greedy:<4}".rjust(10)


def _plain_cell(canvas: Canvas, x: float, y: float, side: int, cell: str, agent: bool) -> None:
    """Draw a cell without values: what lies in it, and the agent."""
    centre = (x + side / 2, y + side / 2)
    if cell == GOAL:
        canvas.rectangle(x, y, side, side, GREEN, 0.22)
        _flag(canvas, centre, side)
    elif cell == BOMB:
        canvas.rectangle(x, y, side, side, RED, 0.18)
        _bomb(canvas, centre, 0.2 * side)
    if agent:
        _agent(canvas, centre, 0.24 * side, hollow=cell in (GOAL, BOMB))


def _value_cell(
    canvas: Canvas, x: float, y: float, side: int, cell: str, agent: bool, values: NDArray[np.float64], limit: float
) -> None:
    """Draw the four values of a cell as coloured triangles with numbers, and the greedy arrows in the middle."""
    middle = (x + side / 2, y + side / 2)
    corners = {0: ((0, 0), (0, 1)), 1: ((1, 0), (1, 1)), 2: ((0, 0), (1, 0)), 3: ((0, 1), (1, 1))}
    greedy = optimal_actions(values)
    for action, ends in corners.items():
        points = [(x + side * px, y + side * py) for px, py in ends]
        canvas.polygon([*points, middle], diverging(float(values[action]), limit))
    for px, py in ((0, 0), (1, 0), (0, 1), (1, 1)):
        canvas.line((x + side * px, y + side * py), middle, 1.4, WHITE)
    radius = 0.15 * side
    if cell == BOMB:
        _bomb(canvas, middle, radius)
    else:
        canvas.disc(middle, radius, BLUE if agent else WHITE)
    if agent:
        canvas.disc(middle, radius + 0.04 * side, BLUE, 0.35)
        canvas.disc(middle, radius, INK if cell == BOMB else BLUE)
    ink = WHITE if agent or cell == BOMB else INK
    for action in np.flatnonzero(greedy).tolist():
        dx, dy = DIRECTIONS[action]
        alone = greedy.sum() == 1
        offset = 0.0 if alone else 0.06 * side
        canvas.arrow((middle[0] + dx * offset, middle[1] + dy * offset), (dx, dy), side * (0.2 if alone else 0.12), ink)
    if side >= SMALLEST_WITH_NUMBERS:
        for action, (dx, dy) in enumerate(DIRECTIONS):
            spot = (middle[0] + dx * 0.335 * side, middle[1] + dy * 0.375 * side)
            canvas.text(spot, short_number(float(values[action])), 0.085 * side, INK)


def _agent(canvas: Canvas, centre: tuple[float, float], radius: float, hollow: bool) -> None:
    """Draw the agent: a blue disc, or a ring where the cell has a sign of its own that must stay visible."""
    if hollow:
        canvas.ring(centre, 1.55 * radius, 0.3 * radius, BLUE)
        return
    canvas.disc(centre, radius, BLUE)
    canvas.disc((centre[0] - 0.3 * radius, centre[1] - 0.32 * radius), 0.22 * radius, WHITE, 0.85)


def _flag(canvas: Canvas, centre: tuple[float, float], side: int) -> None:
    x, y = centre[0] - 0.13 * side, centre[1]
    canvas.line((x, y - 0.25 * side), (x, y + 0.25 * side), 0.04 * side, INK)
    canvas.polygon([(x, y - 0.26 * side), (x + 0.34 * side, y - 0.12 * side), (x, y + 0.02 * side)], GREEN)


def _bomb(canvas: Canvas, centre: tuple[float, float], radius: float) -> None:
    x, y = centre
    canvas.line((x + 0.6 * radius, y - 0.6 * radius), (x + 1.15 * radius, y - 1.15 * radius), 0.22 * radius, INK)
    canvas.disc((x + 1.2 * radius, y - 1.2 * radius), 0.22 * radius, ORANGE)
    canvas.disc(centre, radius, INK)


def _grid_lines(canvas: Canvas, rows: list[str], side: int) -> None:
    for column in range(len(rows[0]) + 1):
        canvas.rectangle(column * side - 1, 0, 2, canvas.height, LINE)
    for row in range(len(rows) + 1):
        canvas.rectangle(0, row * side - 1, canvas.width, 2, LINE)
