"""The one learning rule of the policy-gradient family; a named algorithm is a row of defaults in `gradient_family`."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.type_aliases import MaybeCallback

from sb3_course.functional.array_api import zeros_like
from sb3_course.functional.distributions import Scores
from sb3_course.functional.losses import mse, policy_gradient
from sb3_course.functional.returns import discount_factors, explained_variance, gae, reward_to_go, total_return
from sb3_course.networks import from_start, noisy_layers
from sb3_course.policy_gradient.gradient_algorithm import PolicyGradientAlgorithm
from sb3_course.replay.episodes import Observation, Trajectories
from sb3_course.sb3.masking import mask_rows
from sb3_course.sb3.observations import is_batch, require_observation


class Weighed(NamedTuple):
    """What a gradient step takes for given: nothing is differentiated through it."""

    psi: np.ndarray  # (T,)
    targets: np.ndarray  # what a critic is pulled towards, (T,)
    log_prob: Any  # log π(a|s) before the step, in the backend's arrays, (T,)


class Passes(NamedTuple):
    """What the network says of a batch, in the backend's arrays."""

    outputs: Any  # for all rows, (T, D + 1): what `backward` goes back through
    after: Any  # for what was seen after those that go on, (M, D + 1), or None
    settled: Any  # `outputs` without batch norm's and dropout's training mode, (T, D + 1)


class PolicyGradientLearner(PolicyGradientAlgorithm):
    """Collect, weigh, step."""

    #: The loss, a `functional.losses.PolicyLoss`, and how many gradient steps are taken on what was collected once.
    policy_loss = staticmethod(policy_gradient)
    n_passes: ClassVar[int] = 1

    # -- collecting -----------------------------------------------------------------------------------------------

    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 100,
        tb_log_name: str | None = None,
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Collect and learn for `total_timesteps` env steps; see SB3."""
        return super().learn(total_timesteps, callback, log_interval, tb_log_name, reset_num_timesteps, progress_bar)

    def _choose(self, first: bool) -> tuple[np.ndarray, np.ndarray]:
        actions = self._sample(self._last_obs, trusted=not first)  # (E, K)
        return actions, self._for_env(actions)

    def _sample(self, observations: Observation, trusted: bool = False) -> np.ndarray:
        """Return actions drawn with `rng` from the current policy, (E, K); `trusted` as in `Backend.act`."""
        backend, distribution = self._backend, self._distribution
        try:
            outputs = backend.to_numpy(backend.act(backend.array(observations), trusted))
        except ValueError as error:
            if "invalid values" in str(error):  # torch's distributions look at their parameters
                remedy = "lower learning_rate or scale the rewards"
                self._require_finite("action distribution", float("nan"), remedy, observations)
            raise
        outputs = distribution.among(outputs, self._valid_now())
        draw = self.rng.standard_normal if distribution.normal else self.rng.random
        actions: np.ndarray = distribution.sample(outputs, draw((len(outputs), distribution.n_random)))
        return actions

    def predict(
        self,
        observation: np.ndarray | dict[str, np.ndarray],
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
        action_masks: np.ndarray | None = None,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """Return actions: the likeliest if `deterministic`, else drawn with torch's generator; see SB3.

        :param action_masks: which actions are valid, (A,) or (E, A); None: all
        """
        require_observation(observation, self.observation_space)
        distribution, free = self._distribution, deterministic and bool(noisy_layers(self.policy))
        quick = deterministic and self._backend.quick and not free
        several = is_batch(observation, self.observation_space) if quick else None
        if several is not None:
            batch: Any = observation if several else np.asarray(observation)[None]
        elif action_masks is not None:
            tensors, several = self.policy.obs_to_tensor(observation)
            batch = self._backend.array(tensors)
        else:
            return super().predict(observation, state, episode_start, deterministic)
        outputs = self._backend.to_numpy(self._backend.act(batch, noise_free=free))
        if action_masks is not None:
            outputs = distribution.among(outputs, mask_rows(action_masks, len(outputs), self.action_space))
        random = None if deterministic else th.rand((len(outputs), distribution.n_random), dtype=th.float64).numpy()
        chosen = distribution.mode(outputs) if random is None else distribution.sample(outputs, random)
        actions = self._for_env(chosen)
        return (actions if several else actions.squeeze(axis=0)), state

    def _for_env(self, actions: np.ndarray) -> np.ndarray:
        """Return actions (E, K) in the shape, type and bounds of the action space, counted from its start."""
        space = self.action_space
        shaped: np.ndarray = from_start(actions.reshape(len(actions), *(space.shape or ())), space)
        shaped = shaped.astype(space.dtype, copy=False)
        if isinstance(space, spaces.Box):  # a Gaussian has no bounds
            shaped = np.clip(shaped, space.low, space.high)
        return shaped

    # -- learning -------------------------------------------------------------------------------------------------

    def train(self) -> None:
        """Take one gradient step on what was collected."""
        self._refit()
        self._update_learning_rate(self.policy.optimizer)
        buffer = self.rollout_buffer
        whole = self.n_steps is None
        batch = buffer.take_episodes() if whole else buffer.take_all(self._last_obs, self._masks_now)
        with self._backend.updating():
            logs = self._update(batch)
        for name, value in logs.items():
            self.logger.record(f"train/{name}", value)
        self._n_updates += 1
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")

    def _update(self, batch: Trajectories) -> dict[str, float]:
        """Take one gradient step on `batch`, or one for each pass, and return what is worth logging."""
        backend, weighed = self._backend, None
        if self.n_passes > 1:  # all passes weigh by what was true before the first
            passes = self._outputs(batch, learning=False)
            weighed = self._weighed(batch, passes, self._scores(passes.outputs, batch)[0])
        for _ in range(self.n_passes):
            outputs, grad_outputs, logs = self._gradient(batch, weighed)
            del outputs
            backend.backward(grad_outputs)
            norm = backend.step(self.max_grad_norm)
            self._require_finite("gradient", norm, "lower learning_rate or scale the rewards", batch.observations)
        return logs

    def _gradient(self, batch: Trajectories, weighed: Weighed | None = None) -> tuple[Any, Any, dict[str, float]]:
        """Return the outputs, the loss's gradient with respect to them, (T, D + 1), and what is worth logging."""
        distribution = self._distribution
        passes = self._outputs(batch)
        outputs = passes.outputs
        actor = outputs[:, : distribution.n_outputs]
        scores, entropy = self._scores(outputs, batch)
        psi, targets, before = self._weighed(batch, passes, scores) if weighed is None else weighed
        # Sum over time and mean over episodes; of steps that are no whole episodes the mean.
        scale = 1.0 / (len(psi) if self.n_steps is not None else batch.n_episodes)

        losses, gradients = self.policy_loss(scores, entropy, self._like(actor, psi), self.ent_coef, before)
        grad_outputs = zeros_like(outputs)
        grad_outputs[:, : distribution.n_outputs] = gradients * scale
        logs = {"policy_loss": float(losses.sum()) * scale, "entropy_loss": -float(entropy.values.sum()) / len(psi)}
        if self.policy.critic:
            losses, gradients = mse(outputs[:, -1], self._like(actor, targets))
            grad_outputs[:, -1] = gradients * (self.vf_coef * scale)
            logs["value_loss"] = float(losses.sum()) * scale
            logs["explained_variance"] = explained_variance(self._values(outputs), targets)
        if distribution.normal:
            spread = np.exp(self._backend.to_numpy(actor)[:, distribution.n_random :])
            logs["std"] = float(np.add.reduce(spread, axis=None)) / spread.size  # half the time of `mean`
        for name in ("policy_loss", "value_loss"):
            remedy, seen = "lower learning_rate or scale the rewards", (batch.observations, batch.open_observations)
            self._require_finite(name, logs.get(name, 0.0), remedy, *seen)
        return outputs, grad_outputs, logs

    def _scores(self, outputs: Any, batch: Trajectories) -> tuple[Scores, Scores]:
        """Return log π(a|s) and the entropy among valid actions, and their gradients with respect to the outputs."""
        actor = outputs[:, : self._distribution.n_outputs]
        actor = self._distribution.among(actor, self._backend.array(batch.masks))
        return self._distribution.scores(actor, self._backend.array(batch.actions))

    def _values(self, outputs: Any) -> np.ndarray:
        """Return V of each row, in float64, (T,)."""
        values: np.ndarray = self._backend.to_numpy(outputs[:, -1]).astype(np.float64)
        return values

    def _outputs(self, batch: Trajectories, learning: bool = True) -> Passes:
        """Return what the network says of all rows and of what follows them.

        :param learning: whether a gradient step on these outputs follows
        """
        backend, observations = self._backend, self._backend.array(batch.observations)
        others = None if self.psi != "gae" else backend.array(batch.open_observations)
        # Ψ and what a critic is pulled towards have no gradient. First, because `forward` moves running statistics.
        settled = backend.evaluate(observations) if backend.two_modes else None
        if settled is not None and not learning:
            return Passes(settled, None if others is None else backend.evaluate(others), settled)
        if others is None:
            outputs, after = backend.forward(observations), None
        else:
            outputs, after = backend.forward_and_select(observations, others)
        return Passes(outputs, after, outputs if settled is None else settled)

    def _like(self, outputs: Any, numbers: np.ndarray) -> Any:
        """Bring float64 numbers over to the backend, in the precision of its outputs."""
        return self._backend.array(numbers.astype(self._backend.to_numpy(outputs[:0]).dtype))

    def _weighed(self, batch: Trajectories, passes: Passes, scores: Scores) -> Weighed:
        values = self._values(passes.settled) if self.policy.critic else None
        return Weighed(*self._weigh(batch, values, passes.after), scores.values)

    def _weigh(
        self, batch: Trajectories, values: np.ndarray | None, after: Any = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return Ψ and what a critic is pulled towards, both (T,)."""
        rewards, ends = batch.rewards, batch.ends
        if self.psi == "gae":
            assert values is not None
            following = batch.next_values(values, None if after is None else self._backend.to_numpy(after[:, -1]))
            psi = gae(rewards, values, following, ends, self.gamma, self.gae_lambda)
            targets = psi + values
        else:
            targets = reward_to_go(rewards, ends, self.gamma)
            returns = total_return(rewards, ends, self.gamma) if self.psi == "total_return" else targets
            psi = returns - self._baseline(returns[ends] if self.psi == "total_return" else returns, values)
        if self.normalize_advantage and len(psi) > 1:
            psi = (psi - psi.mean()) / (psi.std() + 1e-8)
        if self.discount_states and self.psi != "total_return":  # G(τ) discounts from the start of the episode already
            psi = psi * discount_factors(batch.steps, self.gamma)
        return psi, targets

    def _baseline(self, returns: np.ndarray, values: np.ndarray | None) -> np.ndarray | float:
        """Return what is subtracted from the returns: it must not depend on the actions they followed."""
        if values is not None:
            return values
        if self.baseline != "mean":
            return 0.0 if isinstance(self.baseline, str) else self.baseline
        before = self._return_mean  # of earlier updates only: over episodes where each has one return, else over steps
        self._n_returns += len(returns)
        self._return_mean += float((returns - before).sum()) / self._n_returns
        return before
