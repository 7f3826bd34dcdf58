"""Wrappers that a run puts around its environments, besides the user's."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
from stable_baselines3.common.monitor import Monitor

from sb3_course.runs.monitor_files import EpisodeLog
from sb3_course.saving.files import atomic_write


class EpisodeMonitor(Monitor[Any, Any]):
    """SB3's monitor that also counts an episode which a wrapper around it cuts short, and those that began."""

    begun = 0

    def log_to(self, log: EpisodeLog, started: float) -> None:
        """Write every episode from now on.

        :param log: takes them
        :param started: the time that theirs are counted from
        """
        self.results_writer: Any = log
        self.t_start = started

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """Reset, recording the unfinished episode first."""
        if self.rewards and not self.needs_reset and self.allow_early_resets:
            total, length = sum(self.rewards), len(self.rewards)
            self.episode_returns.append(total)
            self.episode_lengths.append(length)
            if self.results_writer:
                spent = round(time.time() - self.t_start, 6)
                self.results_writer.write_row({"r": round(total, 6), "l": length, "t": spent})
        self.begun += 1
        return super().reset(**kwargs)


class CutNotice:
    """Says once, for all environments that share it, that an episode was cut."""

    def __init__(self) -> None:
        self._said = False

    def __call__(self, longest: int) -> None:
        """Say it, unless it was said before."""
        if not self._said:
            self._said = True
            warnings.warn(
                f"an evaluation's episode was cut after {longest:,} steps and counts with the reward it had; "
                "another length: --env-kwargs max_episode_steps:N",
                stacklevel=3,
            )


class EpisodeCut(gym.Wrapper[Any, Any, Any, Any]):
    """Truncates an episode that has not ended by itself.

    :param env: the environment
    :param longest: steps of an episode
    :param notice: told of every cut
    """

    def __init__(self, env: gym.Env[Any, Any], longest: int, notice: Callable[[int], object]) -> None:
        super().__init__(env)
        self.longest, self.notice = longest, notice
        self._steps = 0

    def reset(self, **kwargs: Any) -> Any:
        """Reset the environment."""
        self._steps = 0
        return self.env.reset(**kwargs)

    def step(self, action: Any) -> Any:
        """Step the environment."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._steps += 1
        if self._steps < self.longest or terminated or truncated:
            return observation, reward, terminated, truncated, info
        self.notice(self.longest)
        return observation, reward, False, True, info


class Courier(gym.Wrapper[Any, Any, Any, Any]):
    """In a process of its own: leave the reason of a failure to the parent and end the process quietly.

    :param env: the environment
    :param failures: a folder where the parent looks for the reason
    """

    def __init__(self, env: gym.Env[Any, Any], failures: Path) -> None:
        super().__init__(env)
        self.failures = failures

    def step(self, action: Any) -> Any:
        """Step the environment."""
        return self._try(lambda: self.env.step(action))

    def reset(self, **kwargs: Any) -> Any:
        """Reset the environment."""
        return self._try(lambda: self.env.reset(**kwargs))

    def _try(self, work: Callable[[], Any]) -> Any:
        try:
            return work()
        except Exception as error:
            atomic_write(self.failures / str(os.getpid()), f"{type(error).__name__}: {error}")
            # SB3's worker ends without a word on this one; any other prints its traceback on the user's terminal.
            raise EOFError from error
