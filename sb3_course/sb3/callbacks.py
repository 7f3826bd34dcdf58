"""Callbacks for any SB3 algorithm."""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from stable_baselines3.common.callbacks import BaseCallback

from sb3_course.config.errors import InputError
from sb3_course.saving.files import require_path
from sb3_course.sb3.checkpoints import save_checkpoint


class StopTrainingOnSolved(BaseCallback):
    """End training once the mean return of so many consecutive episodes reaches a threshold.

    CartPole-v0 counts as solved at 195 over 100 episodes (Gymnasium's table of environments). The returns are those of
    ``Monitor``, which SB3 puts around an environment inside of every wrapper of ours: the unwrapped reward.

    :param threshold: the least mean return
    :param n_episodes: how many consecutive episodes it is taken over, those of all envs in the order they end in
    :param stop: whether to end training, or only to note when it was solved
    :param verbose: 1 to print the moment
    :raises InputError: for fewer than one episode

    Attributes: ``solved_at``, the env steps taken when it was solved, and ``solved_after``, the episodes; None before.
    """

    def __init__(self, threshold: float = 195.0, n_episodes: int = 100, stop: bool = True, verbose: int = 0) -> None:
        super().__init__(verbose)
        _require_count("n_episodes", n_episodes)
        if isinstance(threshold, bool) or not isinstance(threshold, int | float) or threshold != threshold:
            raise InputError("threshold", "is no number", threshold, "the mean return to reach")
        self.threshold, self.stop = threshold, stop
        self.returns: deque[float] = deque(maxlen=n_episodes)
        self.episodes = 0
        self.solved_at: int | None = None
        self.solved_after: int | None = None

    def _on_step(self) -> bool:
        for info in self.locals["infos"]:
            if "episode" in info:
                self.returns.append(float(info["episode"]["r"]))
                self.episodes += 1
                self._look()
        return not (self.stop and self.solved_at is not None)

    def _look(self) -> None:
        whole = len(self.returns) == self.returns.maxlen
        if self.solved_at is None and whole and sum(self.returns) / len(self.returns) >= self.threshold:
            self.solved_at, self.solved_after = self.num_timesteps, self.episodes
            if self.verbose:
                print(f"Solved after {self.episodes} episodes, {self.num_timesteps} steps.")


def _require_count(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(name, "must be at least one", value, "an integer >= 1")


class SaveCheckpoints(BaseCallback):
    """Write a checkpoint every so many env steps into ``<path>/<steps>/``, the newest ones kept.

    They are for ``load_checkpoint`` of our algorithms, and for `restore_checkpoint`, which serves SB3's own too.

    It is taken where the next rollout begins, from where training goes on bit for bit.

    :param every: env steps between two
    :param path: their folder
    :param keep: how many are kept
    :param verbose: 1 to print each
    :param callbacks: whose counters are kept, and the environments that they evaluate on
    :raises InputError: for no steps, and where none is kept
    """

    def __init__(
        self, every: int, path: str | Path, keep: int = 2, verbose: int = 0, callbacks: Sequence[BaseCallback] = ()
    ) -> None:
        super().__init__(verbose)
        for name, value in (("every", every), ("keep", keep)):
            _require_count(name, value)
        require_path(path)
        self.every, self.path, self.keep = every, Path(path), keep
        self.next: int | None = None
        self._callbacks = tuple(callbacks)

    def _on_rollout_start(self) -> None:
        steps = self.model.num_timesteps
        due, self.next = self.next, (steps // self.every + 1) * self.every
        if due is None or steps < due:
            self.next = self.next if due is None else due
            return
        save_checkpoint(self.model, self.path / str(steps), self._callbacks)
        if self.verbose:
            print(f"Checkpoint after {steps} steps.")
        found = sorted((each for each in self.path.iterdir() if each.name.isdecimal()), key=lambda each: int(each.name))
        for older in found[: -self.keep]:
            shutil.rmtree(older)

    def _on_step(self) -> bool:
        return True
