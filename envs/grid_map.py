"""Maps of GridWorld as text, and the transition model P that follows from one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sb3_course.envs._checks import refusal

START, FREE, WALL, BOMB, GOAL = "S.#BG"
ALPHABET = {START: "start", FREE: "free", WALL: "wall", BOMB: "bomb", GOAL: "goal"}
DEFAULT_MAP = (
    "...G",
    ".#.B",
    "S...",
)
LEFT, RIGHT, UP, DOWN = range(4)
ACTION_NAMES = ("left", "right", "up", "down")
MOVES = ((0, -1), (0, 1), (-1, 0), (1, 0))
"""(row, column) change of each action."""
SIDES = ((UP, DOWN), (UP, DOWN), (LEFT, RIGHT), (LEFT, RIGHT))
"""The two perpendicular actions of each action."""

Outcome = tuple[float, int, float, bool]
"""(probability, next state, reward, terminated)"""
TransitionModel = dict[int, dict[int, list[Outcome]]]
"""P[state][action] -> the possible outcomes, as in Gymnasium's FrozenLake."""


@dataclass(frozen=True)
class CellRewards:
    """The reward of entering each kind of cell; ``step`` is that of free and start cells."""

    goal: float
    bomb: float
    step: float

    def of(self, cell: str) -> float:
        """Return the reward of entering ``cell``."""
        return self.goal if cell == GOAL else self.bomb if cell == BOMB else self.step


def parse_map(rows: Any) -> list[str]:
    """Return a checked copy of a map.

    :param rows: list of strings of equal length over the alphabet S start, . free, # wall, B bomb, G goal
    :raises ValueError: not such a list, or without a start or a goal
    """
    want = "a list of equally long strings such as " + repr(list(DEFAULT_MAP))
    if isinstance(rows, str) or not isinstance(rows, (list, tuple)) or not rows:
        raise refusal("map", "is not a list of strings", rows, want)
    if not all(isinstance(row, str) and row for row in rows):
        raise refusal("map", "has a row that is not a string or is empty", list(rows), want)
    if len({len(row) for row in rows}) > 1:
        raise refusal("map", "has rows of unequal length", list(rows), want)
    cells = "".join(rows)
    for cell in cells:
        if cell not in ALPHABET:
            raise refusal(
                "map", "has an unknown cell", cell, f"only {' '.join(f'{c}={n}' for c, n in ALPHABET.items())}"
            )
    for needed in (START, GOAL):
        if needed not in cells:
            raise refusal("map", f"has no {ALPHABET[needed]}", list(rows), f"at least one {needed!r}")
    return list(rows)


def initial_distribution(rows: list[str]) -> NDArray[np.float64]:
    """Return the probability of each state at the start, shape (S,): uniform over the start cells."""
    starts = np.array([cell == START for cell in "".join(rows)], dtype=np.float64)
    return np.asarray(starts / starts.sum())


def transition_model(rows: list[str], slip: float, rewards: CellRewards, end_on_bomb: bool) -> TransitionModel:
    """Return P of a map: P[s][a] = [(probability, next, reward, terminated)], outcomes with the same next state merged.

    With probability 1 - slip the move is the chosen one, with slip/2 each it is one of the two perpendicular ones.
    A state that ends the episode, and a wall, which nobody enters, is absorbing: (1, itself, 0, terminated).
    """
    cells = "".join(rows)
    ends = {GOAL, BOMB} if end_on_bomb else {GOAL}
    model: TransitionModel = {}
    for state, cell in enumerate(cells):
        if cell in ends or cell == WALL:
            model[state] = {action: [(1.0, state, 0.0, True)] for action in range(4)}
            continue
        model[state] = {}
        for action in range(4):
            chances = {action: 1.0 - slip, SIDES[action][0]: slip / 2, SIDES[action][1]: slip / 2}
            merged: dict[int, float] = {}
            for move, chance in chances.items():
                if chance > 0.0:
                    entered = enter(rows, state, move)
                    merged[entered] = merged.get(entered, 0.0) + chance
            model[state][action] = [(p, s, rewards.of(cells[s]), cells[s] in ends) for s, p in merged.items()]
    return model


def enter(rows: list[str], state: int, move: int) -> int:
    """Return the state after ``move``: the neighbour, or ``state`` itself before a wall or the border."""
    columns = len(rows[0])
    row, column = state // columns + MOVES[move][0], state % columns + MOVES[move][1]
    inside = 0 <= row < len(rows) and 0 <= column < columns
    return row * columns + column if inside and rows[row][column] != WALL else state
