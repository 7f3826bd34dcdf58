"""The interface between the learning rule and the library that does the arithmetic."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np

from sb3_course.functional.array_api import Array


class Backend(Protocol):
    """Forward, backward and step of one policy; the learning rule itself lives in `functional`.

    The torch policy stays the single truth (construction, ``save``, ``load``, ``state_dict``): a backend
    works on its memory, is made anew from it and is neither pickled nor copied.
    Outputs are (B, A, N) in the value family, (B, D) with policy gradients; every method takes and
    returns the backend's own arrays.
    """

    name: str
    why: str  # this backend and no other, in words that follow "because"
    quick: bool  # whether `act_forward` is a faster way to act than the torch policy's own

    def bind(self, certain: bool = False) -> None:
        """Look up the policy's parameters again; idempotent, called before every use that others may have preceded.

        :param certain: nobody has written to the weights in a way that torch does not count
        """

    def bind_online(self) -> None:
        """Look up the online network's parameters again, if torch counts that they were written to."""

    def fits(self) -> bool:
        """Tell whether the policy still has the modules and parameters that this backend was made for."""

    def set_training_mode(self, mode: bool) -> None:
        """Switch the policy's batch norm and dropout, if there can be any."""

    def computing(self) -> AbstractContextManager[Any]:
        """Return what gradient steps are taken inside of."""

    def array(self, values: Any) -> Any:
        """Bring a NumPy array, a mapping of such or None over to this backend."""

    def batch(self, batch: Any) -> Any:
        """Bring a named tuple of NumPy arrays, mappings of such or None over to this backend."""

    def to_numpy(self, array: Array) -> np.ndarray:
        """Bring an array of this backend back to NumPy."""

    def zeros_like(self, array: Array) -> Array:
        """Return zeros of the shape and type of `array`."""

    def forward(self, observations: Any) -> Array:
        """Return the online network's outputs and remember what `backward` needs."""

    def act_forward(self, observations: Any) -> Array:
        """Return what an action is drawn from or chosen by: of an actor-critic, the actor's outputs only."""

    def select_forward(self, observations: Any) -> Array:
        """Return the online network's outputs for choosing an action or rating a state; nothing is remembered."""

    def forward_and_select(self, observations: Any, others: Any) -> tuple[Array, Array]:
        """Return `forward` of `observations` and `select_forward` of `others`, with the same noise if there is any."""

    def target_forward(self, observations: Any) -> Array:
        """Return the target network's outputs; nothing is remembered."""

    def backward(self, grad_outputs: Array) -> None:
        """Send the loss's gradient with respect to the last `forward`'s outputs back to the parameters."""

    def step(self, max_grad_norm: float | None) -> float:
        """Clip the gradient's norm (None: do not), take one optimizer step and return the norm before clipping.

        A gradient that is not finite takes no step: the caller sees it in the returned norm.
        """

    def update_target(self, tau: float) -> None:
        """Move the target network: ``target ← τ·online + (1 − τ)·target``."""

    def reset_noise(self, which: str, draw: Any) -> None:
        """Draw a fresh sample for every noisy layer of the ``online`` or the ``target`` network."""

    def get_state(self) -> dict[str, Any]:
        """Return weights, buffers and optimizer state as plain arrays and numbers."""

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore what `get_state` returned."""
