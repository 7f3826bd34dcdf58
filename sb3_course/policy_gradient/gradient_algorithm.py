"""Construction and state of the policy-gradient family, as algorithms of SB3; `gradient_learner` has the rule."""

from __future__ import annotations

from typing import Any, ClassVar

import torch as th
from gymnasium import spaces
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, Schedule

from sb3_course.config import parameters
from sb3_course.config.errors import InputError
from sb3_course.functional.distributions import ActionDistribution
from sb3_course.policy_gradient.action_distribution import distribution_of
from sb3_course.policy_gradient.actor_policies import (
    CnnPolicy,
    MlpPolicy,
    MultiInputPolicy,
    PolicyOutputs,
)
from sb3_course.policy_gradient.episodes import EpisodeBuffer, Observation
from sb3_course.policy_gradient.gaussian import GaussianCnnPolicy, GaussianMlpPolicy, GaussianMultiInputPolicy
from sb3_course.policy_gradient.noisy_policies import NoisyCnnPolicy, NoisyMlpPolicy, NoisyMultiInputPolicy
from sb3_course.sb3.algorithm import PluginAlgorithm
from sb3_course.sb3.asked import building, require_spaces

# The arguments that SB3's on-policy algorithms do not have; each becomes an attribute of its name.
OWN = ("episodes_per_update", "psi", "baseline", "discount_states", "normalize_advantage", "backend", "backend_kwargs")


class PolicyGradientAlgorithm(PluginAlgorithm, OnPolicyAlgorithm):
    """Policy gradients: ``∇J = E[Σ_t ∇ log π(a_t|s_t) · Ψ_t]`` (Schulman et al. 2016, Eq. 1).

    A named algorithm chooses how much is collected before an update, what Ψ is and whether there is a critic. Of whole
    episodes the gradient is the sum over time and the mean over *episodes*; of rollouts of ``n_steps`` the mean over
    steps. Arguments not listed here are SB3's and mean what they mean there.

    :param n_steps: steps of each env before an update; None: whole episodes
    :param episodes_per_update: finished episodes before an update, when ``n_steps`` is None; with several envs an
        episode that is still open then goes on and belongs to a later update
    :param psi: ``total_return`` G(τ), ``reward_to_go`` G_t, or ``gae``, which needs ``baseline="value"``
    :param gae_lambda: λ of ``gae``: 0 is the one-step residual r + γV(s') − V(s), 1 the bootstrapped return less V(s)
    :param baseline: what is subtracted from a return: ``none``, ``value`` (a learned V), ``mean`` (the running mean of
        the returns seen before this update: G(τ) of the episodes, or G_t of the steps) or a number
    :param discount_states: multiply by γ^t, which makes a reward-to-go estimator the gradient of the discounted return
        (Sutton & Barto 2018, section 13.3); most code leaves it out. G(τ) has the factor in it: nothing to multiply
    :param normalize_advantage: subtract the mean of Ψ and divide by its standard deviation, over each update
    :param ent_coef: weight of the entropy bonus, summed and averaged as Ψ is (Williams & Peng 1991)
    :param vf_coef: weight of the critic's squared error, likewise
    :param max_grad_norm: largest norm of the gradient, None: any
    :param backend: ``torch``, ``numpy`` or ``auto``, the fastest that can serve the policy
    :param backend_kwargs: switches of the torch backend, see `sb3_course.backends.torch_switches`
    :raises InputError: (a ``ValueError``) naming the argument, its value and what is wanted
    :raises AssertionError: for an action space the algorithm cannot serve, as SB3
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": MlpPolicy,
        "CnnPolicy": CnnPolicy,
        "MultiInputPolicy": MultiInputPolicy,
        "GaussianMlpPolicy": GaussianMlpPolicy,
        "GaussianCnnPolicy": GaussianCnnPolicy,
        "GaussianMultiInputPolicy": GaussianMultiInputPolicy,
        "NoisyMlpPolicy": NoisyMlpPolicy,
        "NoisyCnnPolicy": NoisyCnnPolicy,
        "NoisyMultiInputPolicy": NoisyMultiInputPolicy,
    }
    served_actions = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
    parts = ("rollout_buffer",)
    counters = (*PluginAlgorithm.counters, "_return_mean", "_n_returns")
    policy: PolicyOutputs
    _last_obs: Observation
    rollout_buffer: EpisodeBuffer  # type: ignore[assignment]
    _distribution: ActionDistribution
    episodes_per_update: int
    psi: str
    baseline: str | float
    discount_states: bool
    normalize_advantage: bool
    backend: str

    def __init__(
        self,
        policy: str | type[PolicyOutputs],
        env: GymEnv | str,
        learning_rate: float | Schedule = 1e-3,
        n_steps: int | None = None,
        gamma: float = 0.99,
        gae_lambda: float = 1.0,
        ent_coef: float = 0.0,
        vf_coef: float = 0.5,
        max_grad_norm: float | None = None,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: th.device | str = "auto",
        *,
        episodes_per_update: int = 1,
        psi: str = "reward_to_go",
        baseline: str | float = "none",
        discount_states: bool = False,
        normalize_advantage: bool = False,
        backend: str = "auto",
        backend_kwargs: dict[str, Any] | None = None,
        _init_setup_model: bool = True,
    ) -> None:
        given = {key: value for key, value in locals().items() if key not in {"self", "__class__", "_init_setup_model"}}
        parameters.check(given)
        super().__init__(
            **{key: value for key, value in given.items() if key not in OWN},
            use_sde=False,
            sde_sample_freq=-1,
            supported_action_spaces=self.served_actions,
            _init_setup_model=False,
        )
        for name in OWN:
            setattr(self, name, given[name])
        self._check_choices()
        self._return_mean, self._n_returns = 0.0, 0  # of the running-mean baseline
        if _init_setup_model:
            self._setup_model()

    def _check_choices(self) -> None:
        """Refuse choices that contradict each other."""
        if self.psi == "gae" and self.baseline != "value":
            raise InputError("baseline", "psi='gae' rests on a value network", got=self.baseline, want="'value'")
        if self.psi != "gae" and self.n_steps is not None:
            what = f"psi={self.psi!r} needs whole episodes"
            raise InputError("n_steps", what, got=self.n_steps, want="None, or psi='gae'")

    def _setup_model(self) -> None:
        require_spaces(self)
        self._setup_lr_schedule()
        self.set_random_seed(self.seed)
        self.rollout_buffer = EpisodeBuffer(self.n_envs)
        if not issubclass(self.policy_class, PolicyOutputs):
            want = "an alias or a subclass of sb3_course.policy_gradient.actor_policies.PolicyOutputs"
            raise InputError("policy", "its outputs cannot be reached", self.policy_class.__name__, want)
        critic = {"critic": self.baseline == "value"}
        with building(self):
            self.policy = self.policy_class(
                self.observation_space, self.action_space, self.lr_schedule, **{**self.policy_kwargs, **critic}
            ).to(self.device)
        self._make_backend()

    def _make_backend(self) -> None:
        super()._make_backend()
        self._distribution = distribution_of(self.action_space, self._backend.best)

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_distribution"]
