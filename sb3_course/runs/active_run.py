"""A run while it goes on: its environments, model and callbacks, and what it writes."""

from __future__ import annotations

import contextlib
import functools
import inspect
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch as th
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from sb3_course import registry
from sb3_course.config.errors import InputError
from sb3_course.config.warn import warn_user
from sb3_course.runs.checkpoint import EvaluationEnvs, Stateful, differences, last_good, save_weights, write_checkpoint
from sb3_course.runs.environment import (
    FINAL_SEED_OFFSET,
    close_env,
    evaluation_env,
    normalization_state,
    set_normalization_state,
    training_env,
)
from sb3_course.runs.evaluation import Evaluation, evaluate, evaluation_from, evaluation_row, save_evaluations
from sb3_course.runs.folder import RunFolder
from sb3_course.runs.known_envs import longest_episode
from sb3_course.runs.model import first_line
from sb3_course.runs.monitor_files import MonitorFiles
from sb3_course.runs.progress import ProgressCallback
from sb3_course.runs.result import Result, Watch
from sb3_course.runs.run_callbacks import (
    BudgetCallback,
    Callbacks,
    CheckpointCallback,
    EvaluationCallback,
    TrainingStoppedError,
    user_callbacks,
)  # fmt: skip
from sb3_course.runs.run_logger import RunLogger
from sb3_course.runs.run_versions import run_versions
from sb3_course.runs.settings import Settings
from sb3_course.runs.tables import Table, read_table
from sb3_course.runs.threads import torch_threads
from sb3_course.sb3.algorithm import PluginAlgorithm
from sb3_course.sb3.callback_state import Counters
from sb3_course.sb3.checkpoints import RestoreCallback, Restorer
from sb3_course.sb3.late_interval import LateInterval
from sb3_course.sb3.soundness import ObservationError


class ActiveRun:
    """The moving parts of one run, so that none of them is global.

    :param settings: of the run
    :param folder: where its files go; None writes nothing
    :param watch: who is told about it
    :param stack: closes its environments
    """

    model: Any

    def __init__(self, settings: Settings, folder: RunFolder | None, watch: Watch, stack: contextlib.ExitStack) -> None:
        self.settings, self.folder, self.watch = settings, folder, watch
        subproc = settings.vec_env == "subproc"
        self.failures = Path(stack.enter_context(tempfile.TemporaryDirectory())) if subproc else None
        self.training = training_env(settings, self.failures)
        stack.callback(close_env, self.training)
        episodes = max(settings.final_episodes, settings.eval_episodes if settings.eval_freq else 1)
        self.evaluation = evaluation_env(settings, n_envs=min(settings.n_eval_envs, episodes))
        stack.callback(close_env, self.evaluation)
        self._evaluation_envs = EvaluationEnvs(self.evaluation)
        self.scores: list[Evaluation] = []
        self.lost: tuple[str, ...] = ()
        self.restorer: Restorer | None = None
        self.pruned = False
        self.table: Table | None = None
        self.started = time.perf_counter()
        self.earlier_seconds = 0.0
        self.scorer = EvaluationCallback(settings, self.evaluation, self._scored)
        self.checkpoints = CheckpointCallback(settings.save_freq or 0, self._checkpoint, watch.stop)
        self.budget = BudgetCallback(settings.n_episodes, settings.n_timesteps if settings.exact_budget else None)
        self.users = user_callbacks(settings)
        self.logger = RunLogger(settings)
        stack.enter_context(torch_threads(settings.num_threads))

    @property
    def seconds(self) -> float:
        """Wall time of the run so far, before an interruption too."""
        return self.earlier_seconds + time.perf_counter() - self.started

    @functools.cached_property
    def monitors(self) -> MonitorFiles | None:
        """The files of the training episodes; to be asked for once the folder is claimed, which settles its name."""
        if self.folder is None:
            return None
        words = self.settings.monitor_kwargs.get("info_keywords", ())
        return MonitorFiles(self.folder.path, self.training, self.settings.env, words)

    @property
    def stateful(self) -> dict[str, Stateful]:
        """Whose states a checkpoint keeps, by name."""
        own: dict[str, Any] = {
            "evaluation": self.scorer, "checkpoints": self.checkpoints, "budget": self.budget, "logger": self.logger,
            "evaluation_envs": self._evaluation_envs,
        }  # fmt: skip
        if self.folder is not None:
            own |= {"progress": Table(self.folder.progress), "evaluations": Table(self.folder.evaluations)}
        if self.monitors is not None:
            own["monitors"] = self.monitors
        return own | self._users

    @functools.cached_property
    def _users(self) -> dict[str, Stateful]:
        """The users' callbacks, by name, in order."""
        stateful = (each if isinstance(each, Stateful) else Counters(each) for each in self.users)
        return {f"callback.{index}": each for index, each in enumerate(stateful)}

    def resume(self, restorer: Restorer, total: int | None = None) -> None:
        """Put everything where it was when a checkpoint was taken.

        :param restorer: has read it
        :param total: a budget in place of the run's
        """
        assert self.folder is not None
        restorer.total_timesteps = total
        parts = restorer.extra["parts"]
        for name, item in (stateful := self.stateful).items():
            if name in parts:  # not in a checkpoint from before there was such a thing
                item.set_state(parts[name])
        lost = [] if self._exact else [f"{self.settings.algo} does not resume exactly"]
        lost += [each.lost for each in stateful.values() if isinstance(each, Counters | EvaluationEnvs) and each.lost]
        if (before := restorer.extra["conditions"]) and (changed := list(differences(before, self.conditions))):
            warn_user(f"resume need not be exact: {'; '.join(changed)}")
            lost += changed
        self.lost = tuple(each for each in (restorer.restore(self.model), *lost) if each)
        rows = read_table(self.folder.evaluations)
        self.scores = [evaluation_from(row) for row in rows]
        save_evaluations(self.folder.scores, self.scores)
        self.earlier_seconds = float(rows[-1]["seconds"]) if rows else 0.0
        self.restorer = restorer

    @property
    def _exact(self) -> bool:
        """Whether the algorithm can go on as if nothing had happened."""
        return getattr(self.model, "exact_resume", registry.find(self.settings.algo).family != "evolution")

    @property
    def conditions(self) -> dict[str, Any]:
        """What a run has to have again so that it goes on bit for bit."""
        return {**run_versions(), "threads": th.get_num_threads(), "device": str(self.model.device)}

    def train(self, total: int | None = None) -> Result:
        """Learn to the end of the budget, score the final model and write what there is to write.

        :param total: the budget in steps; by default the settings'
        """
        total = self._budget() if total is None else total
        earlier = self.checkpoints.rollouts
        self.model.set_logger(self.logger.make(type(self.model).__name__, self.folder, self.watch.verbose, earlier))
        if self.monitors is not None:
            self.monitors.begin()
        with self._status():
            self._learn(total)
            self._log_rest()
            finished = not (self.checkpoints.stopped or self.pruned)
            self._save_final()
            seconds = self.seconds
            final = self._final_score() if finished else None
            self._report("finished" if finished else "interrupted", seconds, final)
        path = None if self.folder is None else self.folder.path
        return Result(
            final, tuple(self.scores), self.model.num_timesteps, self.budget.episodes, seconds, finished, path
        )

    def _learn(self, total: int) -> None:
        callbacks: list[BaseCallback] = [self.budget, *self.users, self.scorer, self.checkpoints]
        if self.watch.progress is not None:
            callbacks.append(teller := ProgressCallback(self.watch.progress, self.budget, self.scorer))
            self.scorer.told = teller.scoring
        done = 0
        if self.restorer is not None:
            done = self.model.num_timesteps
            if total <= done:  # it was killed after its last step
                self.restorer.again(self.model)
                return
            if self._exact:
                callbacks.append(RestoreCallback(self.restorer, self._restore_users))
        with contextlib.suppress(TrainingStoppedError):
            arguments = {"callback": Callbacks(callbacks), "reset_num_timesteps": self.restorer is None}
            self.model.learn(total - done, **arguments, **self._log_interval())

    def _restore_users(self) -> None:
        """Put the users' callbacks back once more: they have just been told that training starts."""
        assert self.restorer is not None
        for name, item in self._users.items():
            if name in self.restorer.extra["parts"]:
                item.set_state(self.restorer.extra["parts"][name])

    def _budget(self) -> int:
        if self.settings.n_timesteps is not None:
            return self.settings.n_timesteps
        return (self.settings.n_episodes or 0) * longest_episode(self.settings)

    def _log_interval(self) -> dict[str, int | None]:
        """What `learn` is told where it is not to log as often as it would by itself."""
        wanted, earlier = self.settings.log_interval, self.checkpoints.rollouts
        if wanted is not None and wanted <= 0:
            return {"log_interval": None}
        if earlier and isinstance(self.model, OnPolicyAlgorithm):  # which counts in each `learn` from 0
            wanted = wanted or inspect.signature(self.model.learn).parameters["log_interval"].default
            return {"log_interval": LateInterval(wanted, earlier)}
        return {} if wanted is None else {"log_interval": wanted}

    def _log_rest(self) -> None:
        """Write what SB3 has recorded since its last row, so that a short run has one too."""
        recent = [episode["r"] for episode in self.model.ep_info_buffer or ()]
        if recent:
            self.model.logger.record("rollout/ep_rew_mean", sum(recent) / len(recent))
        if isinstance(self.model, PluginAlgorithm):
            self.model.log_latest()
        self.model.logger.dump(self.model.num_timesteps)

    def _scored(self, score: Evaluation, improved: bool) -> bool:
        self.scores.append(score)
        if self.folder is not None:
            self.table = self.table or Table(self.folder.evaluations)
            self.table.append(evaluation_row(score, self.seconds))
            save_evaluations(self.folder.scores, self.scores)
            if improved:
                save_weights(self.model, self.folder.best_model)
        self.pruned = self.watch.evaluation is not None and self.watch.evaluation(score) is False
        return not self.pruned

    def _checkpoint(self) -> None:
        if self.folder is not None:
            write_checkpoint(self.folder, self.model, self.stateful, self.conditions)

    def _save_final(self) -> None:
        if self.folder is not None:
            save_weights(self.model, self.folder.model)
            if not self.folder.best_model.exists():  # no evaluation took place
                save_weights(self.model, self.folder.best_model)

    def _final_score(self) -> Evaluation:
        statistics = normalization_state(self.training)
        if statistics is not None:
            set_normalization_state(self.evaluation, statistics)
        seed = self.settings.seed + FINAL_SEED_OFFSET
        episodes, timesteps = self.settings.final_episodes, self.model.num_timesteps
        return evaluate(self.model, self.evaluation, episodes, seed, timesteps, told=self.scorer.told)

    def _report(self, state: str, seconds: float, final: Evaluation | None) -> None:
        if self.folder is None:
            return
        from sb3_course.runs.curve import draw_curve
        from sb3_course.runs.learned_picture import draw_learned

        draw_curve(self.folder)
        draw_learned(self.folder, self.settings, self.model, normalization_state(self.training))
        score = {} if final is None else {"mean": final.mean, "std": final.std, "returns": list(final.returns)}
        self.folder.write_status(
            state, timesteps=self.model.num_timesteps, episodes=self.budget.episodes, seconds=round(seconds, 3), **score
        )

    @contextlib.contextmanager
    def _status(self) -> Iterator[None]:
        """Say in `status.json` that the run goes on, or why it ended."""
        if self.folder is not None:
            self.folder.write_status("running")
        try:
            yield
        except BaseException as error:
            told = self._told(error)
            if self.folder is not None:
                if isinstance(error, FloatingPointError | ObservationError):
                    last_good(self.folder, self.model, self.stateful, self.conditions)
                with contextlib.suppress(Exception):  # the numbers before the end explain it; the error matters more
                    self._log_rest()
                state = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
                reason = f"{type(told).__name__}: {first_line(told)}"
                with contextlib.suppress(OSError):  # the disk that is full, or the folder that has gone
                    self.folder.write_status(state, timesteps=self.model.num_timesteps, reason=reason)
            if told is error:
                raise
            raise told from error

    def _told(self, error: BaseException) -> BaseException:
        """Return what to report for an error that does not say by itself what happened."""
        if isinstance(error, EOFError | ConnectionError) and self.failures is not None:
            reasons = [path.read_text() for path in self.failures.glob("[0-9]*")] or ["its process has ended"]
            return RuntimeError(f"an environment failed: {reasons[0]}")
        if isinstance(error, InputError):  # it would promise that nothing was written
            return RuntimeError(str(error))
        return error
