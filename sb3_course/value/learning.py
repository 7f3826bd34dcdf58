"""The one learning rule of the value family: a batch in, one gradient step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
from gymnasium import spaces

from sb3_course.backends.protocol import Backend, Rule, StepsTaken
from sb3_course.functional import Errors, select, valid
from sb3_course.functional.array_api import Array
from sb3_course.functional.risk import Mean
from sb3_course.networks import from_zero
from sb3_course.networks.starts import start_of
from sb3_course.replay import Batch
from sb3_course.replay.lending import LentBuffer
from sb3_course.value.estimates import ReturnEstimate
from sb3_course.value.estimates.estimate import Targets
from sb3_course.value.munchausen import Munchausen

#: ``draw(size)``: that many independent standard normal numbers.
Draw = Callable[[int], np.ndarray]


class Step(NamedTuple):
    """What one gradient step says of itself."""

    loss: float  # the weighted mean
    gradient_norm: float  # before clipping; where it is not finite, no step was taken
    errors: Errors


class Learner:
    """Targets, losses, gradient, step: ``θ ← θ − α · ∇ mean_i w_i · loss(Z_θ(s_i, a_i), target_i)``.

    :param backend: does the arithmetic
    :param estimate: says what the outputs mean, in the backend's arrays
    :param double: let the online network choose and the target network evaluate (van Hasselt et al. 2016, Eq. 4)
    :param noisy: draw a new sample of the noise for choice, target and loss each (Fortunato et al. 2018)
    :param draw: ``draw(size)`` gives standard normal numbers for it
    :param uniform: ``uniform(size)`` gives numbers from U(0, 1) for an estimate that draws its levels
    :param action_space: says where the actions of a batch start
    :param munchausen: soft targets in place of the greedy next action
    """

    def __init__(
        self,
        backend: Backend,
        estimate: ReturnEstimate,
        double: bool,
        noisy: bool,
        draw: Draw,
        uniform: Draw,
        action_space: spaces.Space[Any],
        munchausen: Munchausen | None = None,
    ) -> None:
        self._backend, self.estimate, self._double, self._noisy = backend, estimate, double, noisy
        self._draw, self._uniform, self._action_space, self._munchausen = draw, uniform, action_space, munchausen
        self._first_action = int(start_of(action_space) or 0)
        self._predictions: Array | None = None  # of the actions in the latest batch, (B, N)

    def update(self, batch: Batch, max_grad_norm: float | None) -> Step:
        """Take one gradient step on `batch`."""
        backend = self._backend
        actions = from_zero(batch.actions, self._action_space).reshape(-1)
        actions = actions.astype(np.int64, copy=False)  # torch takes small integers for a mask
        masks, next_masks = backend.array(batch.masks), backend.array(batch.next_masks)
        batch = backend.array(batch)
        taken, seen = backend.array(actions), cast(Targets, batch)
        outputs, next_outputs, selector = self.outputs(batch)
        if self._munchausen is not None:
            here = self.estimate.values(backend.evaluate(self.estimate.to_choose(batch.observations), "target"))
            asked = batch, taken, here, next_outputs, self.estimate.values(selector), self.estimate
            seen, next_outputs = self._munchausen.targets(*asked, masks, next_masks)
            selector = next_outputs  # of one action: nothing is left to choose
        elif next_masks is not None:
            chooser = valid(self.estimate.values(selector), next_masks)
            next_outputs = selector = select(next_outputs, chooser)[:, None]
        errors = self.estimate.errors(outputs, taken, next_outputs, selector, seen)
        self._predictions = errors.predictions
        backend.backward(errors.grad_outputs)
        norm = backend.step(max_grad_norm)
        return Step(float(errors.losses @ batch.weights) / len(errors.losses), norm, errors)

    def steps(
        self,
        lent: LentBuffer,
        due: Sequence[bool],
        tau: float,
        max_grad_norm: float | None,
        batch: Callable[[int], Batch],
    ) -> StepsTaken | None:
        """Do what `update` does on batches from a buffer, all at once; None: nothing, the backend cannot.

        :param due: after which steps the target is moved, by `tau`; there are as many steps
        :param batch: ``batch(indices)`` gives the batch at these places in the buffer
        """
        formula = self.estimate.formula() if self._munchausen is None else None
        if formula is None:
            return None
        rule = Rule(formula, self._double, self._noisy, self._draw, self._first_action, max_grad_norm)
        made = self._backend.replay_steps(rule, lent, due, self.estimate.counts(len(due)), tau)
        if made is not None:
            if made.error is None:
                self._predictions = made.predictions
            self.estimate.counted(made.clipped, lambda k: batch(made.indices[k]))
        return made

    def logs(self) -> dict[str, float]:
        """Return the mean of Q(s, a) over the latest batch, worked out only now: few updates are asked for it."""
        if self._predictions is None:
            return {}
        values = self.estimate.values(self._predictions[:, None], Mean())  # (B, N) -> (B, 1)
        return {"q_mean": float(self._backend.to_numpy(values).mean())}

    def get_state(self) -> dict[str, Any]:
        """Return the latest predictions, which the log asks for, and the estimate's state."""
        latest = None if self._predictions is None else self._backend.to_numpy(self._predictions).copy()
        return {"predictions": latest, "estimate": self.estimate.get_state()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore it."""
        latest = state.get("predictions")
        self._predictions = None if latest is None else self._backend.array(np.array(latest))
        self.estimate.set_state(state["estimate"])

    def priorities(self, errors: Errors) -> np.ndarray:
        """Return how much replay should prefer each transition of a batch, (B,)."""
        return self._backend.to_numpy(self.estimate.priorities(errors))

    def outputs(self, batch: Batch) -> tuple[Array, Array, Array]:
        """Return the online network's outputs, the target's for the next observations, and those that choose there.

        All (B, A, N); the first are the last to be computed, and what `backward` goes back through.
        """
        backend, estimate, n_batch = self._backend, self.estimate, len(batch.rewards)
        self._fresh_noise("target")
        next_outputs = backend.evaluate(
            estimate.to_bootstrap(batch.next_observations, n_batch, self._uniform), "target"
        )
        if self._double and not self._noisy and not estimate.chooses_apart:
            outputs, selector = backend.forward_and_select(batch.observations, batch.next_observations)
            return outputs, next_outputs, selector
        selector = next_outputs
        if self._double:
            self._fresh_noise("online")
        if self._double or estimate.chooses_apart:
            chooser = "online" if self._double else "target"
            selector = backend.evaluate(estimate.to_choose(batch.next_observations), chooser)
        self._fresh_noise("online")
        return backend.forward(estimate.to_learn(batch.observations, n_batch, self._uniform)), next_outputs, selector

    def _fresh_noise(self, which: str) -> None:
        if self._noisy:
            self._backend.reset_noise(which, self._draw)
