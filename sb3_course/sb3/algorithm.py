"""What all our algorithms add to SB3's: defaults by class statement, one named generator, safe files, exact state."""

from __future__ import annotations

import io
import pathlib
from collections.abc import Iterable, Mapping
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
from sb3_course.config import parameters
from sb3_course.config.errors import InputError, did_you_mean
from sb3_course.saving.generators import rng_state, set_rng_state
from sb3_course.saving.manifest import save_model
from sb3_course.saving.model_file import load_plain, one_line
from sb3_course.sb3.asked import (
    Asked,
    check_learn,
    environment_named,
    require_environment,
    require_generator,
)
from sb3_course.sb3.checkpoints import MODEL, RestoreCallback, Restorer, write_checkpoint_folder
from sb3_course.sb3.construction import with_defaults
from sb3_course.sb3.devices import warn_if_absent
from sb3_course.sb3.handed_in import build
from sb3_course.sb3.normalized import require_normalized_outermost
from sb3_course.sb3.recorded_env import know_outermost, recorded
from sb3_course.sb3.served_spaces import require_actions_served, require_observations_served
from sb3_course.sb3.soundness import SoundSteps, observed
from sb3_course.sb3.vec_env import make_lean


class PluginAlgorithm(Asked, SoundSteps):
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
        wrapped = BaseAlgorithm._wrap_env(recorded(env), verbose, monitor_wrapper)
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
        self._backend = make_backend(self.backend, self.policy)
        if self.verbose >= 1:
            print(f"Using the {self._backend.name} backend, because {self._backend.why}")

    def _bind(self) -> None:
        """Notice whatever a user may have done to the networks and the optimizer."""
        if not self._backend.bind():
            self._make_backend()

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

    def save_checkpoint(self, path: str | pathlib.Path) -> None:
        """Write all that training depends on into a folder; exact after `learn`, and where a rollout begins."""
        write_checkpoint_folder(self, pathlib.Path(path))

    @classmethod
    def load_checkpoint(cls, path: str | pathlib.Path, env: GymEnv, **kwargs: Any) -> Self:
        """Return a model with which ``learn(..., reset_num_timesteps=False)`` goes on, bit for bit.

        :param path: what `save_checkpoint` wrote
        :param env: made as the one of the checkpoint was
        :param kwargs: as `load` takes them
        :raises InputError: when the checkpoint is damaged
        """
        restorer = Restorer(path)
        model = cls.load(restorer.path / MODEL, env, **kwargs)
        restorer.restore(model)
        if model.exact_resume:
            model._resuming = restorer
        return model

    # -- files ----------------------------------------------------------------------------------------------------

    def set_parameters(self, *args: Any, **kwargs: Any) -> None:
        """Load weights and optimizer state; see SB3."""
        super().set_parameters(*args, **kwargs)
        self._bind()

    def _excluded_save_params(self) -> list[str]:
        # The backend is a view of the policy, the generator belongs to a checkpoint; neither is part of a model file.
        return [*super()._excluded_save_params(), "_backend", "_law", "rng", "_resuming"]

    def save(
        self,
        path: str | pathlib.Path | io.BufferedIOBase,
        exclude: Iterable[str] | None = None,
        include: Iterable[str] | None = None,
    ) -> None:
        """Save the model as SB3 does, atomically and with a manifest that needs no pickle to be read."""
        save_model(self, path, exclude=exclude, include=include)

    @classmethod
    def load(
        cls,
        path: str | pathlib.Path | io.BufferedIOBase,
        env: GymEnv | None = None,
        device: th.device | str = "auto",
        custom_objects: dict[str, Any] | None = None,
        print_system_info: bool = False,
        force_reset: bool = True,
        trust_pickle: bool = False,
        **kwargs: Any,
    ) -> Self:
        """Load a model as SB3 does, but without unpickling anything that a file contains.

        Arguments given here replace the saved ones and are checked as at construction.

        :param custom_objects: attributes in place of the file's, by name, and the classes of your own that it names
        :param trust_pickle: unpickle as SB3 does, which runs whatever code the file contains
        :raises InputError: for a file that is damaged, of another class, or that only pickle can read
        """
        parameters.check(kwargs)
        rest: dict[str, Any] = {"env": env, "device": device, "print_system_info": print_system_info}
        rest |= {"force_reset": force_reset, **kwargs}
        try:
            if not trust_pickle:
                return load_plain(cls, super().load, path, custom_objects, **rest)
            with one_line(path):
                return super().load(path, custom_objects=custom_objects, **rest)
        except InputError as error:
            if error.field != "policy":
                raise
            want = f"a file that {cls.__name__}.save wrote; SB3's own classes load SB3's files"
            raise InputError("path", f"the model in it has another class's policy, {error.got}", path, want) from error
