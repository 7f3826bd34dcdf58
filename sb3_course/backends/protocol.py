"""The interface between the learning rule and the library that does the arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from sb3_course.functional.array_api import Array
from sb3_course.functional.td import Formula
from sb3_course.replay.lending import LentBuffer

Function = TypeVar("Function", bound=Callable[..., Any])


class Regression(NamedTuple):
    """What gradient steps on K minibatches say of themselves."""

    losses: np.ndarray  # (K,) means
    norms: np.ndarray  # (K,) of the gradients, before clipping; after one that is not finite no step was taken
    predictions: Any  # Q of the actions in the last minibatch, (B, 1)


class Rule(NamedTuple):
    """How Q-learning from replay takes its steps, in each call of ``train`` the same."""

    formula: Formula
    double: bool
    noisy: bool
    draw: Callable[[int], np.ndarray]  # standard normal numbers, for the noise
    first_action: int  # what actions count from
    max_grad_norm: float | None


class StepsTaken(NamedTuple):
    """What gradient steps say of themselves, up to the first loss or gradient that is not finite."""

    losses: np.ndarray  # (K,) weighted means
    norms: np.ndarray  # (K,) of the gradients, before clipping; after one that is not finite no step was taken
    predictions: Any  # of the actions in the last batch, (B, N)
    indices: np.ndarray  # of the batches in replay, (K, B)
    clipped: np.ndarray  # the mean mass beyond the support, where it was asked for, (K,)
    error: Exception | None = None  # what ended the steps; nothing is said of the one that it was raised in


class Backend(Protocol):
    """Forward, backward and step of one policy; the learning rule itself lives in `functional`.

    The torch policy stays the single truth (construction, ``save``, ``load``, ``state_dict``): a backend
    works on its memory, is made anew from it and is neither pickled nor copied.
    Outputs are (B, A, N) in the value family, (B, D) with policy gradients; every method takes and
    returns the backend's own arrays.
    """

    name: str
    why: str  # this backend and no other, in words that follow "because"
    quick: bool  # whether `act` is a faster way to act than the torch policy's own
    two_modes: bool  # whether batch norm, dropout and the like let `forward` return other outputs than `evaluate`

    def bind(self) -> bool:
        """Look up the policy's parameters again, whatever a user has done to them; idempotent.

        Torch's count of writes is not trusted: ``tensor.data`` goes around it.

        :return: False when the policy has other modules or parameters than this backend was made for: make a new one
        """

    def fits(self) -> bool:
        """Tell whether the policy has the modules and parameters that this backend was made for."""

    def updating(self) -> AbstractContextManager[Any]:
        """Return what gradient steps are taken inside of: training mode, and weights as torch has last written them."""

    def array(self, values: Any) -> Any:
        """Bring a NumPy array, a mapping or named tuple of such, or None over to this backend."""

    def to_numpy(self, array: Array) -> np.ndarray:
        """Bring an array of this backend back to NumPy."""

    def act(self, observations: Any, trusted: bool = False, noise_free: bool = False) -> Array:
        """Return what an action is drawn from or chosen by: of an actor-critic, the actor's outputs only.

        Nothing is remembered.

        :param trusted: nobody has written to the weights since the last call; otherwise it is looked for
        :param noise_free: with the means of noisy layers; their sample stays as it is
        """

    def greedy(self, formula: Formula, observations: Any, draw: Any, trusted: bool) -> np.ndarray | None:
        """Return the actions, counted from 0, that are best by a return estimate, (E,).

        :param draw: for a fresh sample of the noise; None: without one
        :param trusted: as in `act`
        :return: None, and nothing done, where it takes more than one call
        """

    def forward(self, observations: Any) -> Array:
        """Return the online network's outputs in training mode and remember what `backward` needs."""

    def forward_and_select(self, observations: Any, others: Any) -> tuple[Array, Array]:
        """Return `forward` of `observations` and `evaluate` of `others`, with the same noise if there is any."""

    def evaluate(self, observations: Any, net: str = "online") -> Array:
        """Return the outputs of the ``online`` or the ``target`` network in evaluation mode; nothing is remembered."""

    def backward(self, grad_outputs: Array) -> None:
        """Send the loss's gradient with respect to the last `forward`'s outputs back to the parameters."""

    def step(self, max_grad_norm: float | None) -> float:
        """Clip the gradient's norm (None: do not), take one optimizer step and return the norm before clipping.

        A gradient that is not finite takes no step: the caller sees it in the returned norm.
        """

    def regress(
        self,
        observations: Any,
        actions: np.ndarray,
        targets: np.ndarray,
        minibatches: Sequence[np.ndarray],
        loss: str,
        max_grad_norm: float | None,
    ) -> Regression | None:
        """Do what `forward`, `td_errors`, `backward` and `step` do for each of some minibatches, in one call.

        :param observations: NumPy's, (T, …)
        :param actions: counted from 0, (T,)
        :param targets: of Q(s, a), (T,)
        :param minibatches: rows of these, (B,) each
        :param loss: a name in `sb3_course.functional.LOSSES`
        :return: None, and nothing done, where one has to take these steps one by one
        """

    def replay_steps(
        self, rule: Rule, lent: LentBuffer, due: Sequence[bool], counted: Sequence[bool], tau: float
    ) -> StepsTaken | None:
        """Do what `sb3_course.value.learning.Learner.update` does, draws and new priorities included, in one call.

        :param lent: the buffer
        :param due: after which steps the target is moved, by `tau`
        :param counted: at which steps the mass beyond the support is to be told
        :return: None, and nothing done, where these steps have to be taken one by one
        """

    def update_target(self, tau: float) -> None:
        """Move the target network: ``target ← τ·online + (1 − τ)·target``."""

    def reset_noise(self, which: str, draw: Any) -> None:
        """Draw a fresh sample for every noisy layer of the ``online`` or the ``target`` network."""

    def best(self, function: Function) -> Function:
        """Return this backend's fastest twin of a function on its arrays, or the function itself if it has none."""

    def shared_step(self, optimizer: Any, private: Sequence[Any]) -> Callable[[], None]:
        """Return a function that takes one step of `optimizer`, with the gradients of other tensors than its own.

        :param optimizer: torch's, over parameters that lie one after the other in memory shared by processes
        :param private: copies of these parameters, on which `backward` works
        """

    def get_state(self) -> dict[str, Any]:
        """Return weights, buffers and optimizer state as plain arrays and numbers."""

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore what `get_state` returned."""
