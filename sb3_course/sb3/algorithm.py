"""What all our algorithms add to SB3's: defaults by class statement, one named generator, safe files, exact state."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback
from stable_baselines3.common.vec_env import VecEnv

from sb3_course.backends import Backend, make_backend
from sb3_course.backends.late_compiler import let_the_compiler_wait
from sb3_course.config.errors import InputError, did_you_mean
from sb3_course.saving.generators import rng_state, set_rng_state
from sb3_course.sb3.asked import (
    Asked,
    check_learn,
    environment_named,
    require_environment,
    require_generator,
)
from sb3_course.sb3.checkpoints import MODEL, RestoreCallback, Restorer, save_checkpoint
from sb3_course.sb3.construction import with_defaults
from sb3_course.sb3.devices import warn_if_absent
from sb3_course.sb3.handed_in import build
from sb3_course.sb3.masking import keeping_terminal_masks
from sb3_course.sb3.model_files import ModelFiles
from sb3_course.sb3.normalized import require_normalized_outermost
from sb3_course.sb3.recorded_env import know_outermost, recorded
from sb3_course.sb3.served_spaces import require_actions_served, require_observations_served
from sb3_course.sb3.soundness import SoundSteps, observed
from sb3_course.sb3.vec_env import make_lean

let_the_compiler_wait()


class PluginAlgorithm(Asked, SoundSteps, ModelFiles):
    """A mixin in front of one of SB3's algorithms."""

    #: Model attributes that `get_state` keeps, besides networks and generators.
    counters: ClassVar[tuple[str, ...]] = (
        "num_timesteps", "_total_timesteps", "_current_progress_remaining", "_episode_num", "_n_updates",
    )  # fmt: skip
    #: Attributes with a state of their own.
    parts: ClassVar[tuple[str, ...]] = ()
    #: Kinds of spaces that actions can be chosen from.
    served_actions: ClassVar[tuple[type[spaces.Space[Any]], ...]]
    #: The `sb3_course.runs.Settings` that `from_preset` built the model from; kept in files.
    preset: Any = None
    #: Whether a resumed training equals one that was never interrupted.
    exact_resume: ClassVar[bool] = True
    _resuming: Restorer | None = None
    _backend: Backend
    backend: str
    backend_kwargs: dict[str, Any] | None = None
    rng: np.random.Generator

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        warn_if_absent(kwargs.get("device", "auto"))
        with environment_named(kwargs.get("env", args[1] if len(args) > 1 else None)):
            super().__init__(*args, **kwargs)

    def __init_subclass__(cls, **defaults: Any) -> None:
        """Make a named algorithm: ``class DoubleDQN(ValueAlgorithm, double=True)`` changes defaults only."""
        super().__init_subclass__()
        if defaults:
            cls.__init__ = with_defaults(cls.__init__, defaults)  # type: ignore[method-assign]

    @classmethod
    def from_preset(cls, env: str, **overrides: Any) -> Self:
        """Return a model built from this algorithm's preset for an environment, environments included.

        ``model.learn(model.preset.n_timesteps)`` then learns what the command line does. `sb3_course.from_preset` is
        the same for every algorithm by its name, SB3's too, and says the rest.

        :param env: an environment id; without a section of its own in the presets it takes ``default``, with a warning
        :param overrides: any argument of the constructor, `n_timesteps`, `seed`, `device`, `n_envs`, `env_kwargs`,
            `env_wrapper`, `normalize`, `frame_stack`, ..., in place of the preset's
        :raises InputError: (a ``ValueError``) naming the argument, its value and what is wanted
        """
        model: Self = build(cls, env, overrides)
        return model

    def set_random_seed(self, seed: int | None = None) -> None:
        """Seed what SB3 seeds (Python, NumPy, torch, action space, env) and `rng`."""
        super().set_random_seed(seed)
        self.set_rng(np.random.default_rng(seed))

    def set_rng(self, rng: np.random.Generator) -> None:
        """Draw everything of our own from `rng`.

        :param rng: a NumPy generator, or anything with ``random(size)``, ``integers(high, size=…)`` and
            ``standard_normal(size)``
        """
        require_generator(rng)
        self.rng = rng

    @classmethod
    def _wrap_env(cls, env: GymEnv, verbose: int = 0, monitor_wrapper: bool = True) -> VecEnv:
        require_environment(env)
        if (space := getattr(env, "observation_space", None)) is not None:
            require_observations_served(space)
        if (space := getattr(env, "action_space", None)) is not None:
            require_actions_served(cls.__name__, space, cls.served_actions)
        wrapped = BaseAlgorithm._wrap_env(keeping_terminal_masks(recorded(env)), verbose, monitor_wrapper)
        make_lean(env, wrapped)
        know_outermost(wrapped)
        if issubclass(cls, OffPolicyAlgorithm):
            require_normalized_outermost(wrapped)
        return wrapped

    def _get_policy_from_name(self, policy_name: str) -> type[BasePolicy]:
        if policy_name not in self.policy_aliases:
            known = ", ".join(self.policy_aliases)
            raise InputError("policy", f"unknown{did_you_mean(policy_name, self.policy_aliases)}", policy_name, known)
        return super()._get_policy_from_name(policy_name)

    def _make_backend(self) -> None:
        """Choose who does the arithmetic, once there is a policy."""
        self._backend = make_backend(self.backend, self.policy, self.backend_kwargs)
        if self.verbose >= 1:
            print(f"Using the {self._backend.name} backend, because {self._backend.why}")

    def _bind(self) -> None:
        """Notice whatever a user may have done to the networks and the optimizer."""
        if not self._backend.bind():
            self._make_backend()

    def _refit(self) -> None:
        """Notice other modules and parameters, at the start of each ``train``."""
        if not self._backend.fits():
            self._bind()

    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 4,
        tb_log_name: str | None = None,
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Collect and learn for `total_timesteps` env steps; see SB3."""
        flags = {"reset_num_timesteps": reset_num_timesteps, "progress_bar": progress_bar}
        check_learn(total_timesteps, callback, log_interval, **flags)
        self._bind()
        self._before_learn(total_timesteps, reset_num_timesteps)
        name = tb_log_name or type(self).__name__
        with observed(self, ahead=self.n_envs):
            return super().learn(total_timesteps, callback, log_interval, name, reset_num_timesteps, progress_bar)  # type: ignore[safe-super]

    def _update_current_progress_remaining(self, num_timesteps: int, total_timesteps: int) -> None:
        """Say what remains of training: nothing, after a rollout that ends beyond the budget.

        Less than nothing would make learning rates negative and β larger than 1.
        """
        super()._update_current_progress_remaining(num_timesteps, total_timesteps)
        self._current_progress_remaining = max(self._current_progress_remaining, 0.0)

    def _before_learn(self, total_timesteps: int, reset: bool) -> None:
        """Get ready to collect; `reset` as ``reset_num_timesteps``."""

    def latest_logs(self) -> dict[str, float]:
        """Return what is worth its time only where a row of the log is written, by name; nothing by default."""
        return {}

    def log_latest(self) -> None:
        """Record it."""
        self._record(self.latest_logs())

    def _record(self, numbers: Mapping[str, float]) -> None:
        for name, value in numbers.items():
            self.logger.record(f"train/{name}", value)

    def dump_logs(self, *args: Any) -> None:
        """Write a row of the log; see SB3."""
        self.log_latest()
        super().dump_logs(*args)

    # -- state ----------------------------------------------------------------------------------------------------

    def get_state(self) -> dict[str, Any]:
        """Return all that learning depends on besides the env, as plain arrays, numbers and strings."""
        state: dict[str, Any] = {name: getattr(self, name) for name in self.counters}
        state["networks"] = self._backend.get_state()
        state |= self.own_state()
        state["action_space_rng"] = rng_state(self.action_space.np_random)
        state["torch_rng"] = th.get_rng_state().numpy()
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore what `get_state` returned, generators last; the model must have been built alike."""
        for name in self.counters:
            setattr(self, name, state[name])
        self._backend.set_state(state["networks"])
        self.set_own_state(state)
        set_rng_state(self.action_space.np_random, state["action_space_rng"])
        th.set_rng_state(th.from_numpy(state["torch_rng"]))

    def own_state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps of this algorithm alone, besides its plain attributes, networks and replay."""
        return {"rng": rng_state(self.rng), **{name: getattr(self, name).get_state() for name in self.parts}}

    def set_own_state(self, state: dict[str, Any]) -> None:
        """Restore it."""
        for name in self.parts:
            if name in state:  # not in a state of version 0.1
                getattr(self, name).set_state(state[name])
        set_rng_state(self.rng, state["rng"])
        self._bind()

    def _init_callback(self, callback: MaybeCallback, progress_bar: bool = False) -> BaseCallback:
        """Return SB3's callback and, after `load_checkpoint`, one that undoes what SB3's `learn` has prepared."""
        made = super()._init_callback(callback, progress_bar)
        if self._resuming is None:
            return made
        self._resuming.total_timesteps = self._total_timesteps
        both = CallbackList([made, RestoreCallback(self._resuming)])
        self._resuming = None
        both.init_callback(self)
        return both

    def save_checkpoint(self, path: str | pathlib.Path, callbacks: Sequence[BaseCallback] = ()) -> None:
        """Write all that training depends on into a folder; see `sb3_course.save_checkpoint`."""
        save_checkpoint(self, path, callbacks)

    @classmethod
    def load_checkpoint(
        cls, path: str | pathlib.Path, env: GymEnv, callbacks: Sequence[BaseCallback] = (), **kwargs: Any
    ) -> Self:
        """Return the model of a checkpoint, with which ``learn(..., reset_num_timesteps=False)`` goes on bit for bit.

        :param env: made as that of the checkpoint was, and `callbacks` as those were
        :param kwargs: as `load` takes them
        :raises InputError: when the checkpoint is damaged
        """
        restorer = Restorer(path)
        model = cls.load(restorer.path / MODEL, env, **kwargs)
        restorer.restore(model, callbacks)
        if model.exact_resume:
            model._resuming = restorer
        return model

    def _excluded_save_params(self) -> list[str]:
        # The backend is a view of the policy, masks are the environments', the generator belongs to a checkpoint.
        return [*super()._excluded_save_params(), "_backend", "_law", "rng", "_resuming", "_masks_now"]
