"""The outermost wrapper of an environment for evaluations: plays the episodes that it is told, each with its seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym

from sb3_course.runs.run_wrappers import EpisodeMonitor


class EpisodePlayer(gym.Wrapper[Any, Any, Any, Any]):
    """Resets with the seed of the episode that comes next, and stands still once all are played.

    So a score depends on the policy and the episode's seed, not on which environment played it or what that one had
    played before. Until it is told, it steps as any wrapper. An episode is what the monitor says: a lost life that
    another wrapper ends on begins none.

    :param env: a monitored environment with all its other wrappers
    :param monitor: the one inside it
    """

    def __init__(self, env: gym.Env[Any, Any], monitor: EpisodeMonitor) -> None:
        super().__init__(env)
        self._monitor = monitor
        self._told = False
        self._seeds: dict[int, int] = {}
        self._watch: Callable[[gym.Env[Any, Any]], object] | None = None
        self._first = 0
        self._last: Any = None
        self.episode: int | None = None  # which one is played now
        self.steps = 0  # of that episode
        self.scores: dict[int, tuple[float, int]] = {}

    def play(self, seeds: Mapping[int, int], watch: Callable[[gym.Env[Any, Any]], object] | None = None) -> None:
        """Play these episodes from the next reset on.

        :param seeds: of each episode, by its number
        :param watch: called with this environment in every state of them, the first and the last included
        """
        self._told, self._seeds, self._watch = True, dict(seeds), watch
        self.episode, self.scores = None, {}

    def reset(self, **kwargs: Any) -> Any:
        """Begin the next episode, where there is one and the last has ended for the monitor; else stay where it is.

        A reset after the last one would begin a game for nothing, and a wrapper that ends episodes with a lost life
        would go on with that game when the next evaluation asks for a new one.
        """
        coming = next(iter(self._seeds), None)
        over = self.episode is None or self.episode in self.scores
        if self._told and coming is None and over and self._last is not None:
            self.episode = None
            return self._last, {}
        if coming is not None:
            kwargs["seed"] = self._seeds[coming]
        begun = self._monitor.begun
        observation, info = self.env.reset(**kwargs)
        self._note()  # the monitor counts an episode that a wrapper cut when it is reset
        if self._monitor.begun > begun:
            self.episode, self.steps = coming, 0
            self._first = len(self._monitor.episode_returns)
            self._seeds.pop(coming, None)  # type: ignore[arg-type]  # None is no episode's number
            self._show()
        self._last = observation
        return observation, info

    def step(self, action: Any) -> Any:
        """Step the environment; with nothing to play, stay where it is."""
        if self._told and self.episode is None:
            return self._last, 0.0, False, False, {}
        answer = self.env.step(action)
        self._last = answer[0]
        self.steps += 1
        self._note()
        self._show()
        return answer

    def _note(self) -> None:
        if self.episode is not None and len(self._monitor.episode_returns) > self._first:
            seen = self._monitor.episode_returns[self._first], self._monitor.episode_lengths[self._first]
            self.scores[self.episode] = float(seen[0]), int(seen[1])

    def _show(self) -> None:
        if self._watch is not None and self.episode is not None:
            self._watch(self)
