"""GridWorld: a small maze with an exact model, the first exercise of every method in the course."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from numpy.typing import ArrayLike, NDArray

from sb3_course.envs import _grid_picture
from sb3_course.envs._base import CourseEnv
from sb3_course.envs._checks import choice, flag, real, refusal
from sb3_course.envs.grid_map import (
    ACTION_NAMES,
    DEFAULT_MAP,
    WALL,
    CellRewards,
    TransitionModel,
    initial_distribution,
    parse_map,
    transition_model,
)

OBSERVATIONS = ("discrete", "onehot", "coordinates", "image")
Observation = int | NDArray[np.float32] | NDArray[np.uint8]


class GridWorldEnv(CourseEnv[Observation, int]):
    """A maze of cells: P(next | s, a) = 1 - slip for the chosen move, slip / 2 for each perpendicular one.

    States: s = row * columns + column over *all* cells, walls included, row 0 at the top; S = rows * columns.
    Actions: 0 left, 1 right, 2 up, 3 down. A move into a wall or the border stays where it is.
    Reward: belongs to the cell entered; a blocked move enters its own cell again (so bumping on a bomb costs again).
    End: the goal terminates; bombs only with ``end_on_bomb``; ``gym.make`` truncates after 100 steps.
    The default map is the 3 x 4 world::

        ...G        S start   . free   # wall
        .#.B        B bomb    G goal
        S...

    Source: the 3 x 4 world follows Russell and Norvig, *Artificial Intelligence*, section on sequential decisions.

    :param map: list of equally long strings of ``S . # B G``; several starts are drawn with equal probability
    :param slip: probability in [0, 1] of moving to one of the two perpendicular sides instead, half each
    :param observation: "discrete": int s; "onehot": float32 (S,); "coordinates": float32 (2,), row and column;
        "image": uint8 (height, width, 3), both sides at least 36 px, which is what SB3's ``CnnPolicy`` needs
    :param goal_reward: reward of entering the goal
    :param bomb_reward: reward of entering a bomb
    :param step_reward: reward of entering any other cell
    :param end_on_bomb: whether a bomb terminates the episode too
    :param render_mode: None, "human", "rgb_array" or "ansi"
    :raises ValueError: an argument of the wrong kind or out of bounds

    Attributes: ``P[s][a] = [(probability, next, reward, terminated)]`` and ``initial_state_distrib`` (S,) as in
    Gymnasium's FrozenLake; ``state``, the current s; ``q_values``, drawn by :meth:`render` when set.
    """

    def __init__(
        self,
        map: Sequence[str] | None = None,
        slip: float = 0.0,
        observation: str = "discrete",
        goal_reward: float = 1.0,
        bomb_reward: float = -1.0,
        step_reward: float = 0.0,
        end_on_bomb: bool = False,
        render_mode: str | None = None,
    ) -> None:
        super().__init__(render_mode)
        self.map = parse_map(list(DEFAULT_MAP) if map is None else map)
        self.rows, self.columns = len(self.map), len(self.map[0])
        self.slip = real("slip", slip, low=0.0, high=1.0)
        self.observation = choice("observation", observation, OBSERVATIONS)
        self.end_on_bomb = flag("end_on_bomb", end_on_bomb)
        rewards = CellRewards(
            real("goal_reward", goal_reward), real("bomb_reward", bomb_reward), real("step_reward", step_reward)
        )
        self.P: TransitionModel = transition_model(self.map, self.slip, rewards, self.end_on_bomb)
        self.initial_state_distrib = initial_distribution(self.map)
        self.state: int | None = None
        self.last_action: int | None = None
        self._q_values: NDArray[np.float64] | None = None
        self._outcomes = _cumulative(self.P)
        self.begin_in(None)
        self._background: NDArray[np.uint8] | None = None
        self._observations, self.observation_space = self._build_observations()
        self.action_space = spaces.Discrete(4)  # type: ignore[assignment]  # its samples are NumPy integers

    def begin_in(self, state: int | None) -> None:
        """Begin every episode in one cell, from the next reset on; None: where the map says.

        :raises ValueError: a number that is no cell, or a wall's
        """
        if state is None:
            self._starts: list[int] = np.flatnonzero(self.initial_state_distrib).tolist()
            return
        if state not in self.P or "".join(self.map)[state] == WALL:
            raise refusal("state", "is no cell to stand in", state, f"0 to {len(self.P) - 1}, walls excepted")
        self._starts = [state]

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Go to a start cell; ``info["prob"]`` is the probability of that cell."""
        super().reset(seed=seed)
        starts = self._starts
        self.state = starts[0] if len(starts) == 1 else starts[int(self.np_random.integers(len(starts)))]
        self.last_action = None
        if self.render_mode == "human":
            self.render()
        return self._observe(self.state), {"prob": 1.0 / len(starts)}

    def step(self, action: int) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Move; ``info["prob"]`` is the probability of what happened.

        :raises ValueError: an action other than 0, 1, 2, 3
        :raises ResetNeeded: before the first ``reset``
        """
        try:
            outcomes = self._outcomes[self.state][action]  # type: ignore[index]  # no state yet: a KeyError, see below
        except (KeyError, TypeError):
            action = self._unusual_action(action)
            outcomes = self._outcomes[self.state][action]  # type: ignore[index]
        outcome = outcomes[0]
        if len(outcomes) > 1:
            draw = self.np_random.random()
            for outcome in outcomes:
                if draw < outcome[0]:
                    break
        _, probability, state, reward, terminated = outcome
        self.state, self.last_action = state, action
        if self.render_mode == "human":
            self.render()
        return self._observe(state), reward, terminated, False, {"prob": probability}

    def _unusual_action(self, action: Any) -> int:
        """Return an action that is no plain index, such as the array of no dimension from SB3's ``predict``."""
        if self.state is None:
            raise ResetNeeded("Call reset() before step().")
        try:
            index = operator.index(action)
        except TypeError:
            index = -1
        if index not in range(4):
            raise refusal("action", "is not a move", action, "0 left, 1 right, 2 up or 3 down")
        return index

    @property
    def q_values(self) -> NDArray[np.float64] | None:
        """The action values that :meth:`render` shows, shape (S, 4), or None; setting them copies them.

        :raises ValueError: another shape, or a value that is not finite
        """
        return self._q_values

    @q_values.setter
    def q_values(self, values: ArrayLike | None) -> None:
        if values is None:
            self._q_values = None
            return
        array = np.array(values, dtype=np.float64)
        want = (self.rows * self.columns, 4)
        if array.shape != want:
            raise refusal(
                "q_values", "has the wrong shape", array.shape, f"{want}: one row a state, one column an action"
            )
        if not np.isfinite(array).all():
            raise refusal("q_values", "has a value that is not finite", "NaN or infinity", "finite numbers")
        self._q_values = array

    def _build_observations(self) -> tuple[NDArray[np.float32] | None, spaces.Space[Any]]:
        """Return the table of observations, one row a state, where there is one, and the space."""
        states = self.rows * self.columns
        if self.observation == "onehot":
            return np.eye(states, dtype=np.float32), spaces.Box(0.0, 1.0, (states,), np.float32)
        if self.observation == "coordinates":
            table = np.stack(np.divmod(np.arange(states), self.columns), axis=1).astype(np.float32)
            # One row or column would make an empty range, which Gymnasium's checker objects to.
            return table, spaces.Box(np.zeros(2, np.float32), np.maximum(table[-1], 1.0), dtype=np.float32)
        if self.observation == "image":
            self._background = _grid_picture.image_background(self.map)
            return None, spaces.Box(0, 255, self._background.shape, np.uint8)
        return None, spaces.Discrete(states)

    def _observe(self, state: int) -> Observation:
        if self._observations is not None:
            row: NDArray[np.float32] = self._observations[state].copy()
            return row
        if self._background is not None:
            return _grid_picture.image(self._background, self.map, state)
        return state

    def _frame(self) -> NDArray[np.uint8]:
        return _grid_picture.picture(self.map, self.state, self._q_values, self.end_on_bomb)

    def _text(self) -> str:
        name = None if self.last_action is None else ACTION_NAMES[self.last_action]
        return _grid_picture.text(self.map, self.state, name, self._q_values, self.end_on_bomb)

    def _get_fields(self) -> dict[str, Any]:
        return {"state": self.state, "last_action": None if self.last_action is None else int(self.last_action)}

    def _set_fields(self, fields: dict[str, Any]) -> None:
        if fields["state"] is not None and fields["state"] not in self.P:
            raise refusal("state", "is not a cell of this map", fields["state"], f"0 to {len(self.P) - 1}")
        if fields["last_action"] not in (None, 0, 1, 2, 3):
            raise refusal("last_action", "is not a move", fields["last_action"], "None, 0, 1, 2 or 3")
        self.state, self.last_action = fields["state"], fields["last_action"]


_Cumulative = tuple[float, float, int, float, bool]


def _cumulative(model: TransitionModel) -> dict[int, dict[int, list[_Cumulative]]]:
    """Return the model with running sums of the probabilities in front, which is all that ``step`` has to look up.

    Dictionaries, not lists, so that an action of -1 is refused instead of read from the end.
    """
    table: dict[int, dict[int, list[_Cumulative]]] = {}
    for state, actions in model.items():
        table[state] = {}
        for action, outcomes in actions.items():
            sums = np.cumsum([outcome[0] for outcome in outcomes]).tolist()
            sums[-1] = 1.0  # rounding must leave no draw of random() < 1 without an outcome
            table[state][action] = [(total, *outcome) for total, outcome in zip(sums, outcomes, strict=True)]
    return table
