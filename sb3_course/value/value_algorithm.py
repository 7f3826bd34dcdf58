"""What makes the value family SB3 algorithms: construction, acting, saving; the learning rule is in `learner`."""

from __future__ import annotations

import io
import pathlib
import warnings
from typing import Any, ClassVar, Self

import numpy as np
import torch as th
from stable_baselines3 import DQN
from stable_baselines3.common.buffers import ReplayBuffer as SB3ReplayBuffer
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, Schedule

from sb3_course.config import parameters
from sb3_course.config.text import InputError
from sb3_course.replay import PrioritizedReplayBuffer, ReplayBuffer
from sb3_course.sb3.algorithm import PluginAlgorithm
from sb3_course.sb3.construction import temporarily
from sb3_course.value.estimates import Categorical, Expected, Law
from sb3_course.value.q_policies import CnnPolicy, MlpPolicy, MultiInputPolicy, QPolicy
from sb3_course.value.risk_words import parse

# The arguments that SB3's DQN does not have; each becomes an attribute of its name.
SWITCHES = (
    "double", "dueling", "noisy", "prioritized", "n_atoms", "v_min", "v_max",
    "alpha", "beta0", "exploration_ladder", "risk", "loss", "backend",
)  # fmt: skip


class ValueAlgorithm(PluginAlgorithm, DQN):
    """Q-learning from replay: ``Q(s, a) ← r + γ^m · Q_target(s', argmax_a' Q_selector(s', a'))``.

    With every switch off it is SB3's ``DQN`` bit for bit. Arguments not listed here are SB3's and mean what
    they mean there.

    :param n_steps: the horizon n of the return (Sutton 1988; Rainbow, Hessel et al. 2018)
    :param target_update_interval: synchronise the target every so many env steps, or with ``(k, "update")`` or
        ``(k, "episode")`` every k gradient steps or finished episodes
    :param double: let the online network choose and the target network evaluate (van Hasselt et al. 2016, Eq. 4)
    :param dueling: a value and an advantage stream (Wang et al. 2016, Eq. 9)
    :param noisy: noisy layers explore, and epsilon is 0 (Fortunato et al. 2018)
    :param prioritized: prioritized replay (Schaul et al. 2016)
    :param n_atoms: 1 for the mean of the return, more for a categorical distribution of it (Bellemare et al. 2017)
    :param v_min: the smallest atom
    :param v_max: the largest atom
    :param alpha: exponent of the priorities, 0 for uniform replay (Schaul et al. 2016, Eq. 1)
    :param beta0: exponent of the importance weights at the start; it rises to 1 over training
    :param exploration_ladder: env i of E explores with ``ε^(1 + this·i/(E − 1))`` (Horgan et al. 2018), 0 for ε each
    :param risk: what the greedy choice compares when ``n_atoms > 1``: ``mean``, ``cvar:0.25``, ``wang:-0.75``,
        ``cpw:0.71``, ``mean_variance:0.1``, ``cvar_seeking:0.25`` (Dabney et al. 2018, section 3.1)
    :param loss: ``huber``, ``l2`` (½δ²) or ``mse`` (δ²); with ``n_atoms > 1`` it is the cross-entropy
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
    double: bool
    dueling: bool
    noisy: bool
    prioritized: bool
    n_atoms: int
    v_min: float
    v_max: float
    alpha: float
    beta0: float
    exploration_ladder: float
    risk: str
    loss: str
    backend: str
    _law: Law
    counters = (*PluginAlgorithm.counters, "exploration_rate", "_n_calls", "_n_finished")

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
        alpha: float = 0.6,
        beta0: float = 0.4,
        exploration_ladder: float = 0.0,
        risk: str = "mean",
        loss: str = "huber",
        backend: str = "auto",
        _init_setup_model: bool = True,
    ) -> None:
        given = {key: value for key, value in locals().items() if key not in {"self", "__class__", "_init_setup_model"}}
        parameters.check(given)
        super().__init__(
            **{key: value for key, value in given.items() if key not in {*SWITCHES, "target_update_interval"}},
            _init_setup_model=False,
        )
        self.target_update_interval = target_update_interval  # type: ignore[assignment]
        self.target_update_unit = "step"
        for name in SWITCHES:
            setattr(self, name, given[name])
        self._n_finished = 0  # episodes, for a target synchronised by episodes
        if _init_setup_model:
            self._setup_model()

    # -- construction ---------------------------------------------------------------------------------------------

    def _setup_model(self) -> None:
        if isinstance(self.target_update_interval, tuple):
            self.target_update_interval, self.target_update_unit = self.target_update_interval
        self._choose_replay()
        with temporarily(self, **self._for_sb3()), warnings.catch_warnings():
            # SB3 warns of a target that is synchronised more often than asked for; every step is as asked.
            if self.target_update_unit != "step" or self.target_update_interval == 1:
                warnings.filterwarnings("ignore", message="The number of environments used is greater")
            super()._setup_model()
        self._make_backend()
        self.set_rng(self.rng)

    def _make_backend(self) -> None:
        super()._make_backend()
        self._law = self._make_law()

    def _make_law(self) -> Law:
        risk = parse(self.risk)
        if self.n_atoms > 1:
            return Categorical(self._backend.array(self.policy.q_net.support), risk, self._backend.best)
        with self.policy.judged_by(risk):  # which refuses a risk that a number cannot have
            return Expected(self.loss, self._backend.best)

    def _choose_replay(self) -> None:
        """Take our buffer unless the user brought one; to save memory SB3 chooses one of its own."""
        if self.replay_buffer_class in (None, ReplayBuffer, PrioritizedReplayBuffer) and not self.optimize_memory_usage:
            self.replay_buffer_class = PrioritizedReplayBuffer if self.prioritized else ReplayBuffer
        chosen = self.replay_buffer_class
        if self.prioritized and not (chosen is not None and issubclass(chosen, PrioritizedReplayBuffer)):
            raise InputError("prioritized", "this replay buffer has no priorities", chosen, "a PrioritizedReplayBuffer")

    def _for_sb3(self) -> dict[str, Any]:
        """Return the attributes that SB3's construction must see instead of the user's."""
        switches = {"n_atoms": self.n_atoms, "v_min": self.v_min, "v_max": self.v_max, "noisy": self.noisy}
        head = {"head": "dueling"} if self.dueling else {}
        seen: dict[str, Any] = {"policy_kwargs": {**self.policy_kwargs, **switches, **head}}
        if self.replay_buffer_class is not None and issubclass(self.replay_buffer_class, ReplayBuffer):
            # Ours takes the horizon; SB3 would warn that a custom buffer ignores it.
            seen |= {"replay_buffer_kwargs": self._replay_arguments(), "n_steps": 1}
        return seen

    def _replay_arguments(self) -> dict[str, Any]:
        priorities = {"alpha": self.alpha, "beta": self.beta0} if self.prioritized else {}
        return {"n_steps": self.n_steps, "gamma": self.gamma, **priorities, **self.replay_buffer_kwargs}

    def _tell_replay(self) -> None:
        """Let the buffer draw with this model's horizon, discount and generator, whatever it was made with."""
        if isinstance(self.replay_buffer, ReplayBuffer):
            window = self._replay_arguments()
            self.replay_buffer.n_steps, self.replay_buffer.gamma = window["n_steps"], window["gamma"]
        self.set_rng(self.rng)

    def set_rng(self, rng: np.random.Generator) -> None:
        """Draw everything of our own from `rng`: the coins of exploration, the noise and the replay's batches."""
        super().set_rng(rng)
        if isinstance(self.replay_buffer, ReplayBuffer):
            self.replay_buffer.rng = rng

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "batch_norm_stats", "batch_norm_stats_target"]

    # -- state ----------------------------------------------------------------------------------------------------

    def get_state(self) -> dict[str, Any]:
        """Return all that learning depends on besides the env, as plain arrays, numbers and strings."""
        state = super().get_state()
        if isinstance(self.replay_buffer, ReplayBuffer):
            state["replay_buffer"] = self.replay_buffer.get_state()
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore what `get_state` returned; the model must have been built alike."""
        if isinstance(self.replay_buffer, ReplayBuffer) and "replay_buffer" in state:
            self.replay_buffer.set_state(state["replay_buffer"])
        super().set_state(state)

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
        if "target_update_interval" in kwargs:
            kwargs["target_update_unit"] = "step"  # the saved interval may have had another unit
        try:
            return super().load(path, env, device, custom_objects, print_system_info, force_reset, **kwargs)
        except RuntimeError as error:  # the weights do not fit
            changed = [name for name in ("dueling", "noisy", "n_atoms") if name in kwargs]
            if not changed:
                raise
            raise InputError(changed[0], "not that of the networks", kwargs[changed[0]], "the saved value") from error

    def load_replay_buffer(self, path: str | pathlib.Path | io.BufferedIOBase, truncate_last_traj: bool = True) -> None:
        """Load a replay buffer, to draw from `rng` with this model's horizon and discount; see SB3."""
        super().load_replay_buffer(path, truncate_last_traj)
        self._tell_replay()
