"""The heads of Q networks, and those of Gaussian policies whose spread depends on the state, in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import Any

import numpy as np
from torch import nn

from sb3_course import networks
from sb3_course.backends.numpy_layers import Array, Chain
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

    def __init__(self, head: networks.DuelingHead, chain: Callable[..., Chain]) -> None:
        self.parts = tuple(chain(part) for part in (head.shared, head.value, head.advantage))
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

    def __init__(self, head: networks.StateActionHead, chain: Callable[..., Chain]) -> None:
        self._net = chain(head.net)
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


class NumpyImplicit:
    """`sb3_course.networks.ImplicitHead`: ``Z_τ(s, a) = f(ψ(s) ⊙ φ(τ))_a``, one pass of f for each level.

    Backwards ``∂ψ = Σ_τ φ(τ) ⊙ g_τ`` and ``∂φ(τ) = ψ ⊙ g_τ``, with g_τ the gradient of what f is given.

    φ and f get many rows, and wide ones. Compiled chains turn them round first, which takes longer than it saves.
    """

    def __init__(self, head: networks.ImplicitHead, flat: FlatParameters) -> None:
        self._hidden = flat.chain(head.hidden)
        self._embedding = flat.plain_chain(head.embedding.linear, nn.ReLU())
        self._frequencies = head.embedding.frequencies.numpy()
        self._head = _asked_once(head.head, flat.plain_chain)
        self.parts = self._hidden, self._embedding  # the last of which says that nothing here is one compiled function

    def forward(self, x: Array, remember: int, levels: Array) -> Array:
        """Return the outputs, (B, F) and levels (N,) or (B, N) -> (B, A·N)."""
        n_batch, n_levels = len(x), levels.shape[-1]
        hidden = self._hidden.forward(x, remember) if self._hidden.layers else x  # ψ, (B, F')
        cosines = np.cos(levels.reshape(-1, 1) * self._frequencies)
        embedded = self._embedding.forward(cosines, remember * n_levels)  # φ, (B·N, F'), or (N, F') for all rows
        embedded = embedded.reshape(-1, n_levels, embedded.shape[1])
        joined = (hidden[:, None] * embedded).reshape(n_batch * n_levels, -1)
        if remember:
            self._seen = hidden[:remember], embedded[:remember]
        outputs = self._head.forward(joined, remember * n_levels)
        by_level: Array = outputs.reshape(n_batch, n_levels, -1)
        by_action = by_level.transpose(0, 2, 1).copy()  # a view of one level would lie in the head's own memory
        return by_action.reshape(n_batch, -1)

    @property
    def keeps(self) -> bool:
        """Whether one of its parts does: see `Chain`."""
        return self._embedding.keeps or self._head.keeps or bool(self._hidden.layers and self._hidden.keeps)

    def reuses(self, remember: int) -> bool:
        """Return False: what is returned is new."""
        return False

    def backward(self, grad: Array, wanted: bool) -> Array:
        """Return the gradient of the features."""
        hidden, embedded = self._seen
        (n_batch, width), n_levels = hidden.shape, embedded.shape[1]
        grad = np.ascontiguousarray(grad.reshape(n_batch, -1, n_levels).transpose(0, 2, 1))
        back = self._head.backward(grad.reshape(n_batch * n_levels, -1), wanted=True).reshape(n_batch, n_levels, width)
        above = back * hidden[:, None]  # ∂φ, (B, N, F')
        if len(embedded) < n_batch:  # all rows were asked at the same levels
            above = above.sum(axis=0, keepdims=True)
        self._embedding.backward(above.reshape(-1, width), wanted=False)
        if not (self._hidden.layers or wanted):
            return grad
        below = np.add.reduce(back * embedded, axis=1)  # ∂ψ, (B, F')
        return self._hidden.backward(below, wanted) if self._hidden.layers else below

    def refresh(self, weights: bool) -> None:
        """Refresh all parts."""
        for part in (self._hidden, self._embedding, self._head):
            part.refresh(weights)


def head_of(head: nn.Module, flat: FlatParameters) -> Any:
    """Return the double of a Q network's head.

    :raises Unsupported: for one that has none
    """
    if type(head) is networks.ImplicitHead and type(head.embedding) is networks.LevelEmbedding:
        return NumpyImplicit(head, flat)
    return _asked_once(head, flat.chain)


def _asked_once(head: nn.Module, chain: Callable[..., Chain]) -> Any:
    if type(head) is networks.DuelingHead:
        return NumpyDueling(head, chain)
    if type(head) is networks.StateActionHead:
        return NumpyStateAction(head, chain)
    return chain(head)


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
