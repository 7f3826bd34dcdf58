"""The heads of Q networks, and those of Gaussian policies whose spread depends on the state, in NumPy."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np

from sb3_course import networks
from sb3_course.backends.numpy_layers import Array
from sb3_course.backends.numpy_parameters import FlatParameters
from sb3_course.backends.twins import best
from sb3_course.functional.gaussians import log_spread


def join_streams(value: Array, advantage: Array) -> Array:
    """Return ``V + A − mean A`` for each atom, (B, N) and (B, A, N) -> (B, A, N)."""
    share = np.float32(1 / advantage.shape[1])
    shift = value - np.add.reduce(advantage, axis=1) * share  # half the time of `mean`
    outputs: Array = advantage + shift[:, None]
    return outputs


def split_gradient(grad: Array) -> tuple[Array, Array]:
    """Return ``∂V = Σ_a g``, (B, N), and ``∂A = g − mean g``, (B, A, N), from (B, A, N)."""
    total: Array = np.add.reduce(grad, axis=1)
    return total, grad - (total * np.float32(1 / grad.shape[1]))[:, None]


class NumpyDueling:
    """`sb3_course.networks.DuelingHead`: ``V + A − mean A`` for each atom; ``∂V = Σ_a g``, ``∂A = g − mean g``."""

    def __init__(self, head: networks.DuelingHead, flat: FlatParameters) -> None:
        self.parts = tuple(flat.chain(part) for part in (head.shared, head.value, head.advantage))
        self._shared, self._value, self._advantage = self.parts
        self._shape = head.n_actions, head.n_atoms
        self.factor = np.float32(1 / sqrt(2) if head.rescale_gradient else 1)
        self._join, self._split = best(join_streams), best(split_gradient)

    def forward(self, x: Array, remember: int) -> Array:
        """Return the outputs, (B, F) -> (B, A·N)."""
        shared = self._shared.forward(x, remember)
        value = self._value.forward(shared, remember)
        advantage = self._advantage.forward(shared, remember).reshape(len(x), *self._shape)
        return self._join(value, advantage).reshape(len(x), -1)

    @property
    def keeps(self) -> bool:
        """Whether one of its chains does: see `Chain`."""
        return any(part.keeps for part in (self._shared, self._value, self._advantage) if part.layers)

    def reuses(self, remember: int) -> bool:
        """Return False: what is returned is new."""
        return False

    def backward(self, grad: Array, wanted: bool) -> Array:
        """Return the gradient of the features."""
        grad = grad.reshape(len(grad), *self._shape)
        total, advantage = self._split(grad)
        below = bool(self._shared.layers) or wanted
        back: Array = self._advantage.backward(advantage.reshape(len(grad), -1), below)
        value = self._value.backward(total, below)
        if not below:
            return grad
        back += value
        back *= self.factor
        return self._shared.backward(back, wanted)

    def refresh(self, weights: bool) -> None:
        """Refresh the streams."""
        for part in (self._shared, self._value, self._advantage):
            part.refresh(weights)


class NumpyStateAction:
    """`sb3_course.networks.StateActionHead`: one forward pass for each action, all weights shared."""

    def __init__(self, head: networks.StateActionHead, flat: FlatParameters) -> None:
        self._net = flat.chain(head.net)
        self.parts = (self._net,)
        self._actions = head.actions.numpy()

    def forward(self, x: Array, remember: int) -> Array:
        """Return the outputs, (B, F) -> (B, A·N)."""
        n_actions = len(self._actions)
        pairs = np.concatenate([np.repeat(x, n_actions, axis=0), np.tile(self._actions, (len(x), 1))], axis=1)
        return self._net.forward(pairs, remember * n_actions).reshape(len(x), -1)

    @property
    def keeps(self) -> bool:
        """Whether its chain does: see `Chain`."""
        return self._net.keeps

    def reuses(self, remember: int) -> bool:
        """Tell whether a later pass may write to the memory of what such a pass has returned."""
        return self._net.reuses(remember)

    def backward(self, grad: Array, wanted: bool) -> Array:
        """Return the gradient of the features."""
        n_batch, n_actions = len(grad), len(self._actions)
        back = self._net.backward(grad.reshape(n_batch * n_actions, -1), wanted)
        return back[:, : -n_actions or None].reshape(n_batch, n_actions, -1).sum(1) if wanted else grad

    def refresh(self, weights: bool) -> None:
        """Refresh the network."""
        self._net.refresh(weights)


class NumpyGaussian:
    """The actor of `sb3_course.policy_gradient.gaussian.GaussianMlpPolicy`: hidden layers, a head of μ and one of σ."""

    def __init__(self, policy: Any, flat: FlatParameters) -> None:
        self._shared = flat.chain(policy.mlp_extractor.policy_net)
        self._mean, self._sigma = flat.chain(policy.action_net), flat.chain(policy.sigma_net)
        self._smallest, self._log_spread = policy.sigma_min, best(log_spread)
        self.layers = [*self._shared.layers, *self._mean.layers, *self._sigma.layers]

    def forward(self, x: Array, remember: int) -> Array:
        """Return (μ, log σ), (B, F) -> (B, 2K)."""
        shared = self._shared.forward(x, remember)
        mean = self._mean.forward(shared, remember)
        log_sigma, slope = self._log_spread(self._sigma.forward(shared, remember), self._smallest)
        if remember:
            self._slope = slope[:remember]
        return np.concatenate([mean, log_sigma], axis=1)

    @property
    def keeps(self) -> bool:
        """Whether one of its chains does: see `Chain`."""
        return any(part.keeps for part in (self._shared, self._mean, self._sigma) if part.layers)

    def reuses(self, remember: int) -> bool:
        """Return False: what is returned is new."""
        return False

    def backward(self, grad: Array, wanted: bool) -> Array:
        """Return the gradient of the features."""
        n_dimensions, below = grad.shape[1] // 2, bool(self._shared.layers) or wanted
        back: Array = self._mean.backward(np.ascontiguousarray(grad[:, :n_dimensions]), below)
        spread = self._sigma.backward(grad[:, n_dimensions:] * self._slope, below)
        return self._shared.backward(back + spread, wanted) if below else grad

    def refresh(self, weights: bool) -> None:
        """Refresh the layers and both heads."""
        for part in (self._shared, self._mean, self._sigma):
            part.refresh(weights)
