"""MinAtar's games (Young & Tian 2019) as Gymnasium environments; the games themselves are the package `minatar`'s."""

from __future__ import annotations

from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.error import DependencyNotInstalled
from numpy.typing import NDArray

from sb3_course.envs._base import CourseEnv
from sb3_course.envs._checks import choice, flag, real, refusal

GAMES = ("asterix", "breakout", "freeway", "seaquest", "space_invaders")
INSTALL = 'pip install "sb3_course[minatar]"'
SIDE, CELL = 10, 16
#: One colour a channel, in the games' order of channels; where several are set the last one is drawn.
COLOURS = np.array(
    [
        (24, 26, 32), (86, 180, 233), (230, 159, 0), (0, 158, 115), (213, 94, 0), (204, 121, 167),
        (240, 228, 66), (0, 114, 178), (148, 103, 189), (160, 160, 160), (235, 235, 235),
    ],
    dtype=np.uint8,
)  # fmt: skip


class MinAtarEnv(CourseEnv[NDArray[np.uint8], np.int64]):
    """A game on 10 x 10 cells, one channel a kind of object: an image with values 0 and 255, the channels first.

    Observations are (C, 10, 10), or (10, 10, C) with the channels last. SB3 takes such a space for images, so that a
    ``CnnPolicy`` sees 0 and 1 (the package's own 10 x 10 x C booleans it would take for numbers, and of Seaquest's
    10 x 10 x 10 nobody could tell where the channels are). One step is one frame. All randomness, the games' included,
    is from ``np_random``.

    :param game: asterix, breakout, freeway, seaquest or space_invaders
    :param sticky_action_prob: probability of repeating the action before (0.1: Young & Tian 2019)
    :param difficulty_ramping: let the game become harder while it lasts
    :param minimal_actions: offer only actions that do something in this game (ids ``-v1``), or all six (``-v0``)
    :param channels: ``first`` or ``last``
    :raises DependencyNotInstalled: without the package `minatar`
    """

    metadata: dict[str, Any] = {**CourseEnv.metadata, "render_fps": 15}

    def __init__(
        self,
        game: str = "breakout",
        sticky_action_prob: float = 0.1,
        difficulty_ramping: bool = True,
        minimal_actions: bool = True,
        channels: str = "first",
        render_mode: str | None = None,
    ) -> None:
        super().__init__(render_mode)
        self.game_name = choice("game", game, GAMES)
        self.sticky_action_prob = real("sticky_action_prob", sticky_action_prob, low=0, high=1)
        self._last = choice("channels", channels, ("first", "last")) == "last"
        self.game = load_game(self.game_name)(ramping=flag("difficulty_ramping", difficulty_ramping))
        self.game.random = _Draws(self)
        minimal = flag("minimal_actions", minimal_actions)
        self._actions: list[int] = list(self.game.minimal_action_set()) if minimal else list(range(6))
        self.action_space = spaces.Discrete(len(self._actions))
        count = int(self.game.state_shape()[2])
        shape = (SIDE, SIDE, count) if self._last else (count, SIDE, SIDE)
        self.observation_space = spaces.Box(0, 255, shape, np.uint8)
        self.last_action = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        """Begin a game."""
        super().reset(seed=seed)
        self.game.reset()
        self.last_action = 0
        if self.render_mode == "human":
            self.render()
        return self._observation(), {}

    def step(self, action: np.int64) -> tuple[NDArray[np.uint8], float, bool, bool, dict[str, Any]]:
        """Play one frame."""
        if not self.action_space.contains(action):
            raise refusal("action", "is none", action, f"0 to {len(self._actions) - 1}")
        if self.np_random.random() >= self.sticky_action_prob:
            self.last_action = self._actions[action]
        reward, terminated = self.game.act(self.last_action)
        if self.render_mode == "human":
            self.render()
        return self._observation(), float(reward), bool(terminated), False, {}

    def _observation(self) -> NDArray[np.uint8]:
        cells = self.game.state()  # (10, 10, C) booleans
        ordered = cells if self._last else np.moveaxis(cells, 2, 0)
        image: NDArray[np.uint8] = np.multiply(ordered, 255, dtype=np.uint8, order="C")
        return image

    def _top(self) -> NDArray[np.int64]:
        """Return the number of the last channel that is set in each cell, counted from 1; 0 for none."""
        cells = self.game.state()
        top: NDArray[np.int64] = (cells * np.arange(1, cells.shape[2] + 1)).max(axis=2)
        return top

    def _frame(self) -> NDArray[np.uint8]:
        return COLOURS[self._top()].repeat(CELL, axis=0).repeat(CELL, axis=1)

    def _text(self) -> str:
        signs = np.array(list(".0123456789"))[self._top()]
        return "\n".join("".join(row) for row in signs)

    def _get_fields(self) -> dict[str, Any]:
        own = {name: value for name, value in vars(self.game).items() if name != "random"}
        return {"last_action": int(self.last_action), "game": {name: _plain(value) for name, value in own.items()}}

    def _set_fields(self, fields: dict[str, Any]) -> None:
        mine = vars(self.game)
        given = fields["game"]
        if not isinstance(given, dict) or set(given) != set(mine) - {"random"}:
            raise refusal("state", "is of another game", sorted(given), f"that of {self.game_name}")
        arrays = {name: np.array(given[name], mine[name].dtype) for name in given if isinstance(mine[name], np.ndarray)}
        copied = {name: _plain(value) for name, value in given.items()}
        mine.update(copied | arrays)
        self.last_action = int(fields["last_action"])


class _Draws:
    """What the games ask NumPy's old generator for, drawn from the environment's own."""

    def __init__(self, env: MinAtarEnv) -> None:
        self._env = env

    def rand(self, *size: int) -> Any:
        return self._env.np_random.random(size or None)

    def randint(self, low: int, high: int | None = None, size: int | None = None) -> Any:
        return self._env.np_random.integers(low, high, size)


def load_game(game: str) -> Any:
    """Return the class of one of the package's games.

    :raises DependencyNotInstalled: when it is not there
    """
    package = find_spec("minatar")
    if package is None or package.origin is None:
        raise DependencyNotInstalled(f"MinAtar's games are not installed: {INSTALL}")
    # The package itself would import seaborn, and pandas with it: three seconds, for pictures that are ours here.
    spec = spec_from_file_location(f"_minatar_{game}", Path(package.origin).parent / "environments" / f"{game}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Env


def _plain(value: Any) -> Any:
    """Return a copy made of plain numbers, words and lists."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
