"""A3C: the n-step actor-critic learned by several processes at once, without locks."""

from __future__ import annotations

import inspect
from typing import Any, Self

import numpy as np
import torch as th
from stable_baselines3.common.policies import ActorCriticCnnPolicy, MultiInputActorCriticPolicy
from stable_baselines3.common.type_aliases import MaybeCallback
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor, VecTransposeImage

from sb3_course.config import parameters
from sb3_course.config.errors import InputError
from sb3_course.config.policy_arguments import unlisted
from sb3_course.policy_gradient.a3c_workers import Adopter, Rollout, WorkerPool, adopt_statistics, share
from sb3_course.policy_gradient.gradient_learner import PolicyGradientLearner
from sb3_course.sb3.construction import extending
from sb3_course.sb3.reread import leave_if_reread

#: The optimizer unless `policy_kwargs` names another (shared as in Mnih et al. 2016, section 4; SB3's A2C's eps).
RMSPROP: dict[str, Any] = {"optimizer_class": th.optim.RMSprop, "optimizer_kwargs": {"alpha": 0.99, "eps": 1e-5}}
#: The trunk unless `policy_kwargs` says otherwise; images and Dict observations share their extractor already.
SHARED_LAYERS = [64, 64]
SHARE_ALREADY = ActorCriticCnnPolicy, MultiInputActorCriticPolicy


class A3C(PolicyGradientLearner, learning_rate=7e-4, n_steps=5, psi="gae", baseline="value", max_grad_norm=0.5):
    """Asynchronous advantage actor-critic: workers with an env each learn on one shared network.

    ``∇J ≈ E[∇ log π(a_t|s_t) · (R_t − V(s_t))]``, ``R_t = Σ_{k<n} γ^k r_{t+k} + γ^n V(s_{t+n})`` (Mnih et al. 2016,
    Algorithm S3), with a trunk shared by actor and critic, shared RMSprop and no lock. The trunk is ``[64, 64]``, or
    the widths in ``policy_kwargs=dict(net_arch=[…])``; ``net_arch=dict(pi=[…], vf=[…])`` are streams behind it, and
    ``shared_layers=[…]`` names it by itself, ``None`` leaves it out. One worker is deterministic and
    equals ``ActorCritic`` with the same arguments; several are not, by their nature. Workers are processes, started for
    each ``learn`` with their envs reset: call it below ``if __name__ == "__main__"``. Callbacks run in the calling
    process, on the newest network, up to 16 rollouts of each worker later.

    Each rollout begins with the newest shared weights, and a schedule falls with the steps of all workers together, as
    in the paper. The paper's hyperparameters (section 8) are ``n_steps=5``, ``gamma=0.99`` and RMSprop's
    ``alpha=0.99``; SB3's A2C has ``learning_rate=7e-4``, ``eps=1e-5`` outside of the root, ``vf_coef=0.5``,
    ``max_grad_norm=0.5``, ``ent_coef=0.0`` (the paper: 0.01), the mean over a rollout in place of the sum, and rollouts
    that go on where an episode ends. Arguments as in `PolicyGradientAlgorithm`, and

    :param n_workers: processes; None: one for each env of `env`. Worker i has a copy of env i modulo their number
    :raises RuntimeError: from ``learn``, when a worker dies; no process is left behind
    :raises InputError: from ``learn``, where the workers meet the call of it again
    """

    n_workers: int | None
    exact_resume = False  # the workers' environments and generators are gone with them

    @extending(PolicyGradientLearner.__init__)
    def __init__(self, *args: Any, n_workers: int | None = None, _init_setup_model: bool = True, **kwargs: Any) -> None:
        parameters.check({"n_workers": n_workers})
        super().__init__(*args, **kwargs, _init_setup_model=False)
        if self.n_steps is None:
            raise InputError("n_steps", "workers take rollouts of a given length", got=None, want="an integer >= 1")
        self.n_workers = n_workers
        self._n_learns = 0  # each has its own seeds
        if "optimizer_class" not in self.policy_kwargs:
            self.policy_kwargs = {**RMSPROP, **self.policy_kwargs}
        if "shared_layers" not in self.policy_kwargs and not issubclass(self.policy_class, SHARE_ALREADY):
            arch = unlisted(self.policy_kwargs.get("net_arch"))
            own: dict[str, Any] = {"shared_layers": SHARED_LAYERS}  # in front of a dict's streams
            if isinstance(arch, list):  # one list is for both, and they share it
                own = {"shared_layers": arch, "net_arch": []}
            self.policy_kwargs = {**self.policy_kwargs, **own}
        if _init_setup_model:
            self._setup_model()

    def _setup_model(self) -> None:
        super()._setup_model()
        if self.device.type != "cpu":
            raise InputError("device", "the workers share main memory", got=str(self.device), want="cpu")

    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 100,
        tb_log_name: str | None = None,
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Let the workers learn for `total_timesteps` env steps between them; see SB3."""
        leave_if_reread()
        parameters.check({"total_timesteps": total_timesteps})
        name = tb_log_name or type(self).__name__
        total, callback = self._setup_learn(total_timesteps, callback, reset_num_timesteps, name, progress_bar)
        callback.on_training_start(locals(), globals())
        shared = share(self.policy)
        adopt = Adopter(self.policy, shared)
        try:
            if self.num_timesteps < total:
                with WorkerPool(self._jobs(), shared, self.num_timesteps, total) as pool:
                    for iteration, rollout in enumerate(pool.rollouts(), start=1):
                        adopt()
                        if not self._hear(rollout, callback):
                            break
                        if log_interval is not None and iteration % log_interval == 0:
                            self.dump_logs(iteration)
        finally:
            self._n_learns += 1
            adopt()
            adopt_statistics(self.policy, shared)
        callback.on_training_end()
        return self

    def _hear(self, rollout: Rollout, callback: Any) -> bool:
        """Tell the callbacks of one worker's rollout; False if one of them ends training."""
        callback.on_rollout_start()
        for step in rollout.steps:
            self.num_timesteps += 1
            callback.update_locals({"self": self, "worker": rollout.worker, **step})
            if not callback.on_step():
                return False
            self._update_info_buffer(step["infos"], step["dones"])
        callback.on_rollout_end()
        self._update_current_progress_remaining(self.num_timesteps, self._total_timesteps)
        self._n_updates += 1
        for name, value in rollout.logs.items():
            self.logger.record(name, value)
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        return True

    def set_own_state(self, state: dict[str, Any]) -> None:
        """Restore it; the workers that come are others than those of the checkpoint, with seeds of their own."""
        super().set_own_state(state)
        self._n_learns += 1

    def _jobs(self) -> list[tuple[type, dict[str, Any], Any]]:
        """Return for each worker the synchronous learner that it is: class, arguments and env."""
        names = inspect.signature(PolicyGradientLearner.__init__).parameters
        given = {name: getattr(self, name) for name in names if hasattr(self, name) and name not in ("env", "policy")}
        given |= {"policy": self.policy_class, "tensorboard_log": None, "verbose": 0, "device": "cpu"}
        envs = self._envs()
        first = self.seed if self.seed is not None else int(self.rng.integers(2**31))
        if self._n_learns:
            first = int(np.random.SeedSequence([first, self._n_learns]).generate_state(1)[0])
        n_workers = self.n_workers or len(envs)
        return [
            (PolicyGradientLearner, {**given, "seed": (first + index) % 2**32}, envs[index % len(envs)])
            for index in range(n_workers)
        ]

    def _envs(self) -> list[Any]:
        """Return the envs that the workers get copies of.

        :raises InputError: for a vectorised env whose envs cannot be taken out
        """
        venv = self.env
        while isinstance(venv, VecTransposeImage | VecMonitor):  # a worker puts these on again, or needs them not
            venv = venv.venv
        if not isinstance(venv, DummyVecEnv):
            want = "a gymnasium env, its id, or a DummyVecEnv"
            raise InputError("env", "every worker needs an env of its own", type(venv).__name__, want)
        return venv.envs
