"""What every algorithm with a Q network shares, however it collects: acting, exploring, the checked step."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, Self

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import Schedule

from sb3_course.config.errors import InputError
from sb3_course.replay import Batch
from sb3_course.sb3.algorithm import PluginAlgorithm
from sb3_course.sb3.masking import MaskedActions
from sb3_course.sb3.observations import require_observation
from sb3_course.value.acting import Actor
from sb3_course.value.estimates import ReturnEstimate
from sb3_course.value.exploration import epsilon_ladder
from sb3_course.value.learning import Learner, Step
from sb3_course.value.q_policies import CnnPolicy, MlpPolicy, MultiInputPolicy, QPolicy
from sb3_course.value.risk_words import parse
from sb3_course.value.value_files import load_fitting


class QModel(MaskedActions, PluginAlgorithm):
    """A mixin in front of one of SB3's algorithms, whose policy is a `QPolicy`."""

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": MlpPolicy,
        "CnnPolicy": CnnPolicy,
        "MultiInputPolicy": MultiInputPolicy,
    }
    policy: QPolicy
    noisy: bool
    exploration_ladder: float
    exploration_end: float | None = None
    risk: str
    exploration_rate: float
    exploration_schedule: Schedule
    max_grad_norm: float
    _actor: Actor
    _learner: Learner
    served_actions = (spaces.Discrete,)
    parts: ClassVar[tuple[str, ...]] = ("_learner",)
    counters = (*PluginAlgorithm.counters, "exploration_rate")

    # -- construction ---------------------------------------------------------------------------------------------

    def _require_own_policy(self) -> None:
        """Refuse a policy of another family."""
        if not issubclass(self.policy_class, QPolicy):
            want = "'MlpPolicy', 'CnnPolicy', 'MultiInputPolicy' or a subclass of sb3_course.value.q_policies.QPolicy"
            raise InputError("policy", "it has no place for our switches", self.policy_class.__name__, want)

    @abstractmethod
    def _estimate(self) -> ReturnEstimate:
        """Return a return estimate of the learner's own, as the arguments ask for it."""

    @abstractmethod
    def _make_learner(self, estimate: ReturnEstimate) -> Learner:
        """Return what takes gradient steps."""

    def _make_backend(self) -> None:
        super()._make_backend()
        estimate = self._estimate()
        self._hold_constants(estimate)
        self._actor = Actor(self.policy, self._backend, estimate, self.noisy, self._draw)
        self._learner = self._make_learner(estimate)

    def _hold_constants(self, estimate: ReturnEstimate) -> None:
        """Let the estimate compute with what the online network holds, and the arguments speak of the same."""
        constants = {name: getattr(self.policy.q_net, name) for name in estimate.constants()}
        held = {name: self._backend.array(constant) for name, constant in constants.items()}
        estimate.use(held, parse(self.risk), self._backend.best)
        for name, value in estimate.adopt(constants).items():
            setattr(self, name, value)

    def _bind(self) -> None:
        super()._bind()
        self._hold_constants(self._learner.estimate)  # weights come with the constants that they were learned with

    def _draw(self, size: int) -> np.ndarray:
        return self.rng.standard_normal(size)  # for the noise on the weights

    def _uniform(self, size: int) -> np.ndarray:
        return self.rng.random(size)  # for the levels of implicit quantiles

    # -- acting ---------------------------------------------------------------------------------------------------

    def predict(
        self,
        observation: np.ndarray | dict[str, np.ndarray],
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
        risk: str | None = None,
        action_masks: np.ndarray | None = None,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """Return actions, greedy if `deterministic`, else ε-greedy with a coin of its own for every env.

        :param risk: what "greedy" compares, of a return distribution; by default the model's own ``risk``
        :param action_masks: which actions are valid, (A,) or (E, A); None: all
        """
        require_observation(observation, self.observation_space)
        measure = None if risk is None else parse(risk)
        if not deterministic:
            return self._actor.explore(observation, self._epsilon, self.rng, measure, action_masks), state
        return self._actor.greedy(observation, True, measure, masks=action_masks), state

    def _epsilon(self, n_envs: int) -> float | np.ndarray:
        return epsilon_ladder(self.exploration_rate, self.exploration_ladder, n_envs)

    def _set_epsilon(self) -> None:
        # Noisy networks explore by themselves (Fortunato et al. 2018, section 3.3), where nobody asks for both.
        done, end = 1 - self._current_progress_remaining, self.exploration_end
        over = self.noisy if end is None else done >= end
        self.exploration_rate = 0.0 if over else self._epsilon_now()

    def _epsilon_now(self) -> float:
        return float(self.exploration_schedule(self._current_progress_remaining))

    # -- learning -------------------------------------------------------------------------------------------------

    def _step(self, batch: Batch) -> Step:
        """Take one gradient step on `batch`."""
        step = self._learner.update(batch, self.max_grad_norm)
        self._require_learned(step.loss, step.gradient_norm, batch.observations, batch.next_observations)
        return step

    def _require_learned(self, loss: float | np.ndarray, norm: float | np.ndarray, *seen: Any) -> None:
        """Stop at the first loss or gradient that is not finite."""
        remedy = "lower learning_rate or scale the rewards"
        self._require_finite("loss", loss, remedy, *seen)
        self._require_finite("gradient", norm, remedy, *seen)

    def latest_logs(self) -> dict[str, float]:
        """Return the mean Q(s, a) of the latest batch."""
        return self._learner.logs()

    # -- state ----------------------------------------------------------------------------------------------------

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore what `get_state` returned; the model must have been built alike."""
        super().set_state(state)
        self._hold_constants(self._learner.estimate)  # which came with the networks

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_actor", "_learner"]

    @classmethod
    def load(cls, *args: Any, **kwargs: Any) -> Self:
        """Load a model as SB3 does; arguments given here replace the saved ones and are checked as at construction.

        ``buffer_size=1`` spares the memory of a model that is to act only: the buffer then holds one window of n steps.
        """
        return load_fitting(super().load, *args, **kwargs)
