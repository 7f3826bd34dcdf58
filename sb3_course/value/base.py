"""What makes the value family SB3 algorithms: construction, acting, saving; the learning rule is in `learner`."""

from __future__ import annotations

import io
import pathlib
import warnings
from collections.abc import Iterable
from typing import Any, ClassVar, Self

import numpy as np
import torch as th
from stable_baselines3 import DQN
from stable_baselines3.common.buffers import ReplayBuffer as SB3ReplayBuffer
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, Schedule

from sb3_course import parameters, saving
from sb3_course.backends import Backend, make_backend
from sb3_course.replay import ReplayBuffer
from sb3_course.text import InputError
from sb3_course.value.defaults import with_defaults
from sb3_course.value.exploration import epsilon_greedy
from sb3_course.value.policies import CnnPolicy, MlpPolicy, MultiInputPolicy, QPolicy

# The value each switch has when it is off, which is all that this version serves.
OFF = {"dueling": False, "noisy": False, "prioritized": False, "n_atoms": 1}

# What the schedules and the target's synchronisation count.
COUNTERS = (
    "num_timesteps",
    "exploration_rate",
    "_total_timesteps",
    "_current_progress_remaining",
    "_episode_num",
    "_n_calls",
    "_n_updates",
    "_n_finished",
)


class ValueAlgorithm(DQN):
    """Q-learning from replay: ``Q(s, a) ← r + γ^m · Q_target(s', argmax_a' Q_selector(s', a'))``.

    With every switch off it is SB3's ``DQN`` bit for bit. Arguments not listed here are SB3's and mean what
    they mean there.

    :param n_steps: the horizon n of the return (Sutton 1988; Rainbow, Hessel et al. 2018)
    :param target_update_interval: synchronise the target every so many env steps, or with ``(k, "update")`` or
        ``(k, "episode")`` every k gradient steps or finished episodes
    :param double: let the online network choose and the target network evaluate (van Hasselt et al. 2016, Eq. 4)
    :param dueling: value and advantage streams (Wang et al. 2016)
    :param noisy: noisy layers instead of epsilon (Fortunato et al. 2018)
    :param prioritized: prioritized replay (Schaul et al. 2016)
    :param n_atoms: 1 for a number, more for a categorical return distribution (Bellemare et al. 2017)
    :param v_min: the smallest atom
    :param v_max: the largest atom
    :param loss: ``huber``, ``l2`` (½δ²) or ``mse`` (δ²)
    :param backend: ``torch``, ``numpy`` or ``auto``, the fastest that can serve the policy
    :raises InputError: (a ``ValueError``) naming the argument, its value and what is wanted
    :raises AssertionError: for a space the algorithm cannot serve, as SB3
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": MlpPolicy,
        "CnnPolicy": CnnPolicy,
        "MultiInputPolicy": MultiInputPolicy,
    }
    policy: QPolicy
    _backend: Backend
    rng: np.random.Generator

    def __init__(
        self,
        policy: str | type[QPolicy],
        env: GymEnv | str,
        learning_rate: float | Schedule = 1e-4,
        buffer_size: int = 1_000_000,
        learning_starts: int = 100,
        batch_size: int = 32,
        tau: float = 1.0,
        gamma: float = 0.99,
        train_freq: int | tuple[int, str] = 4,
        gradient_steps: int = 1,
        replay_buffer_class: type[SB3ReplayBuffer] | None = None,
        replay_buffer_kwargs: dict[str, Any] | None = None,
        optimize_memory_usage: bool = False,
        n_steps: int = 1,
        target_update_interval: int | tuple[int, str] = 10000,
        exploration_fraction: float = 0.1,
        exploration_initial_eps: float = 1.0,
        exploration_final_eps: float = 0.05,
        max_grad_norm: float = 10,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: th.device | str = "auto",
        *,
        double: bool = False,
        dueling: bool = False,
        noisy: bool = False,
        prioritized: bool = False,
        n_atoms: int = 1,
        v_min: float = -10.0,
        v_max: float = 10.0,
        loss: str = "huber",
        backend: str = "auto",
        _init_setup_model: bool = True,
    ) -> None:
        given = {key: value for key, value in locals().items() if key not in {"self", "__class__", "_init_setup_model"}}
        parameters.check(given)
        _refuse_unbuilt(given)
        ours = ("double", "dueling", "noisy", "prioritized", "n_atoms", "v_min", "v_max", "loss", "backend")
        super().__init__(
            **{key: value for key, value in given.items() if key not in {*ours, "target_update_interval"}},
            _init_setup_model=False,
        )
        self.target_update_interval = target_update_interval  # type: ignore[assignment]
        self.target_update_unit = "step"
        self.double = double
        self.dueling = dueling
        self.noisy = noisy
        self.prioritized = prioritized
        self.n_atoms = n_atoms
        self.v_min = v_min
        self.v_max = v_max
        self.loss = loss
        self.backend = backend
        self._n_finished = 0  # episodes, for a target synchronised by episodes
        if _init_setup_model:
            self._setup_model()

    def __init_subclass__(cls, **defaults: Any) -> None:
        """Make a named algorithm: ``class DoubleDQN(ValueLearner, double=True)`` changes defaults and nothing else."""
        super().__init_subclass__()
        if defaults:
            cls.__init__ = with_defaults(cls.__init__, defaults)  # type: ignore[method-assign]

    # -- construction ---------------------------------------------------------------------------------------------

    def _setup_model(self) -> None:
        if isinstance(self.target_update_interval, tuple):
            self.target_update_interval, self.target_update_unit = self.target_update_interval
        if self.replay_buffer_class is None and not self.optimize_memory_usage:
            self.replay_buffer_class = ReplayBuffer  # to save memory SB3 chooses one of its own
        kwargs, n_steps = self.replay_buffer_kwargs, self.n_steps
        if self.replay_buffer_class is not None and issubclass(self.replay_buffer_class, ReplayBuffer):
            # Ours takes the horizon; SB3 would warn that a custom buffer ignores it.
            self.replay_buffer_kwargs, self.n_steps = self._replay_arguments(), 1
        try:
            with warnings.catch_warnings():
                # SB3 warns of a target that is synchronised more often than asked for; every step is as asked.
                if self.target_update_unit != "step" or self.target_update_interval == 1:
                    warnings.filterwarnings("ignore", message="The number of environments used is greater")
                super()._setup_model()
        finally:
            self.replay_buffer_kwargs, self.n_steps = kwargs, n_steps
        self._backend = make_backend(self.backend, self.policy)
        self.set_rng(self.rng)

    def _replay_arguments(self) -> dict[str, Any]:
        return {"n_steps": self.n_steps, "gamma": self.gamma, **self.replay_buffer_kwargs}

    def _tell_replay(self) -> None:
        """Let the buffer draw with this model's horizon, discount and generator, whatever it was made with."""
        if isinstance(self.replay_buffer, ReplayBuffer):
            window = self._replay_arguments()
            self.replay_buffer.n_steps, self.replay_buffer.gamma = window["n_steps"], window["gamma"]
        self.set_rng(self.rng)

    def set_random_seed(self, seed: int | None = None) -> None:
        """Seed what SB3 seeds (Python, NumPy, torch, action space, env) and `rng`."""
        super().set_random_seed(seed)
        self.set_rng(np.random.default_rng(seed))

    def set_rng(self, rng: np.random.Generator) -> None:
        """Draw everything of our own from `rng`: the coins of exploration and the replay's batches.

        :param rng: a NumPy generator, or anything with ``random(size)``, ``integers(high, size=…)`` and
            ``standard_normal(size)``
        """
        self.rng = rng
        if isinstance(self.replay_buffer, ReplayBuffer):
            self.replay_buffer.rng = rng

    def set_parameters(self, *args: Any, **kwargs: Any) -> None:
        """Load weights and optimizer state; see SB3."""
        super().set_parameters(*args, **kwargs)
        self._backend.bind()

    # -- acting ---------------------------------------------------------------------------------------------------

    def predict(
        self,
        observation: np.ndarray | dict[str, np.ndarray],
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """Return actions, greedy if `deterministic`, else ε-greedy with a coin of its own for every env."""

        def greedy() -> np.ndarray:
            return self.policy.predict(observation, state, episode_start, deterministic=True)[0].reshape(-1)

        if deterministic:
            return self.policy.predict(observation, state, episode_start, deterministic=True)
        vectorized = self.policy.is_vectorized_observation(observation)
        first = next(iter(observation.values())) if isinstance(observation, dict) else observation
        n_envs = len(first) if vectorized else 1
        actions = epsilon_greedy(self.rng, self.exploration_rate, greedy, self.action_space, n_envs)
        return (actions if vectorized else np.array(actions[0])), state

    def _sample_action(
        self, learning_starts: int, action_noise: ActionNoise | None = None, n_envs: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        if self.num_timesteps < learning_starts:
            actions = np.array([self.action_space.sample() for _ in range(n_envs)])
        else:
            actions = epsilon_greedy(self.rng, self.exploration_rate, self._greedy, self.action_space, n_envs)
        return actions, actions

    def _greedy(self) -> np.ndarray:
        assert self._last_obs is not None
        return self.policy.predict(self._last_obs, deterministic=True)[0]

    def _excluded_save_params(self) -> list[str]:
        # The backend is a view of the policy, the generator belongs to a checkpoint; neither is part of a model file.
        return [*super()._excluded_save_params(), "_backend", "rng", "batch_norm_stats", "batch_norm_stats_target"]

    # -- state ----------------------------------------------------------------------------------------------------

    def get_state(self) -> dict[str, Any]:
        """Return all that learning depends on besides the env, as plain arrays, numbers and strings."""
        state: dict[str, Any] = {name: getattr(self, name) for name in COUNTERS}
        state["networks"] = self._backend.get_state()
        state["rng"] = saving.rng_state(self.rng)
        state["action_space_rng"] = saving.rng_state(self.action_space.np_random)
        state["torch_rng"] = th.get_rng_state().numpy()
        if isinstance(self.replay_buffer, ReplayBuffer):
            state["replay_buffer"] = self.replay_buffer.get_state()
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore what `get_state` returned, generators last; the model must have been built alike."""
        for name in COUNTERS:
            setattr(self, name, state[name])
        self._backend.set_state(state["networks"])
        if isinstance(self.replay_buffer, ReplayBuffer) and "replay_buffer" in state:
            self.replay_buffer.set_state(state["replay_buffer"])
        saving.set_rng_state(self.rng, state["rng"])
        saving.set_rng_state(self.action_space.np_random, state["action_space_rng"])
        th.set_rng_state(th.from_numpy(state["torch_rng"]))

    def save(
        self,
        path: str | pathlib.Path | io.BufferedIOBase,
        exclude: Iterable[str] | None = None,
        include: Iterable[str] | None = None,
    ) -> None:
        """Save the model as SB3 does, atomically and with a manifest that needs no pickle to be read."""
        saving.save_model(self, path, exclude=exclude, include=include)

    @classmethod
    def load(
        cls,
        path: str | pathlib.Path | io.BufferedIOBase,
        env: GymEnv | None = None,
        device: th.device | str = "auto",
        custom_objects: dict[str, Any] | None = None,
        print_system_info: bool = False,
        force_reset: bool = True,
        **kwargs: Any,
    ) -> Self:
        """Load a model as SB3 does; arguments given here replace the saved ones and are checked as at construction."""
        parameters.check(kwargs)
        _refuse_unbuilt(kwargs)
        if "target_update_interval" in kwargs:
            kwargs["target_update_unit"] = "step"  # the saved interval may have had another unit
        return super().load(path, env, device, custom_objects, print_system_info, force_reset, **kwargs)

    def load_replay_buffer(self, path: str | pathlib.Path | io.BufferedIOBase, truncate_last_traj: bool = True) -> None:
        """Load a replay buffer, to draw from `rng` with this model's horizon and discount; see SB3."""
        super().load_replay_buffer(path, truncate_last_traj)
        self._tell_replay()


def _refuse_unbuilt(given: dict[str, Any]) -> None:
    """Refuse a switch whose piece is not part of this version, instead of ignoring it."""
    for name, off in OFF.items():
        if given.get(name, off) != off:
            raise InputError(name, "this switch is not part of this version", got=given[name], want=repr(off))
