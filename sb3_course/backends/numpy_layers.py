"""Layers in NumPy with their own forward and backward passes: the course's "only NumPy" lesson, and the fast engine.

Weights keep torch's layout, (q, p) for p inputs and q outputs. A layer also keeps its weight transposed and contiguous
where that pays: a plain product takes less time. Whoever changes weights calls `refresh`. A forward pass that is to be
followed by a backward pass over its first rows, `remember` of them, has scratch arrays of its own: one between the two
does no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

Array = np.ndarray
#: Up to so many rows a product with the weight as it lies is as fast as one with its contiguous transpose.
FEW = 8
#: A weight of up to so many entries is transposed for its first product since it changed; for 256 x 256 the copy takes
#: three times what the product saves, and ever more above, so that a larger one has to be used `SETTLED` times.
SMALL = 20_000
SETTLED = 5


class Layer(Protocol):
    """A step of a network, (B, p) -> (B, q)."""

    def forward(self, x: Array, remember: int) -> Array:
        """Return the outputs; of the first `remember` rows, keep what `backward` needs. `x` may be overwritten."""

    def backward(self, grad: Array, wanted: bool) -> Array:
        """Write the parameters' gradients; return that of the inputs, or anything unless it is `wanted`."""

    def refresh(self, weights: bool) -> None:
        """Notice that noise, and perhaps `weights`, have changed."""


class Chain:
    """Layers one after the other."""

    #: Whether something made of weights or noise is used again, until `refresh`.
    keeps: bool = True

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.layers = list(layers)

    def forward(self, x: Array, remember: int) -> Array:
        """Return the outputs of the last layer."""
        for layer in self.layers:
            x = layer.forward(x, remember)
        return x

    def reuses(self, remember: int) -> bool:
        """Tell whether a later pass may write to the memory of what such a pass has returned."""
        return True

    def backward(self, grad: Array, wanted: bool) -> Array:
        """Pass the gradient from the last layer to the first."""
        for index in range(len(self.layers) - 1, -1, -1):
            grad = self.layers[index].backward(grad, wanted or index > 0)
        return grad

    def regress(self, *asked: Any) -> Any:
        """Return None: many gradient steps at once are the compiled chain's."""
        return None

    def whole(self, *asked: Any) -> Any:
        """Return None: whole networks are compiled where their chains are."""
        return None

    def refresh(self, weights: bool) -> None:
        """Refresh every layer."""
        for layer in self.layers:
            layer.refresh(weights)


def chain_of(layers: Sequence[Layer], values: Array, grads: Array, noise: Array) -> Chain:
    """Return layers as a chain.

    :param values: the flat array in which their parameters lie; the twin of this function walks through it
    :param grads: likewise, their gradients
    :param noise: likewise, the samples of noisy layers
    """
    return Chain(layers)


class Linear:
    """``y = x Wᵀ + b``; backwards ``∂W = gᵀ x``, ``∂b = Σ g``, ``∂x = g W``.

    :param weight: W, (q, p)
    :param bias: b, (q,), or None
    :param grad_weight: where ∂W goes, (q, p)
    :param grad_bias: where ∂b goes, (q,), or None
    """

    def __init__(self, weight: Array, bias: Array | None, grad_weight: Array, grad_bias: Array | None) -> None:
        self.weight, self.bias = weight, bias
        self.grad_weight, self.grad_bias = grad_weight, grad_bias
        self._transposed = np.empty(weight.shape[::-1], np.float32)
        self._uses, self._pays_at = 0, 1 if weight.size <= SMALL else SETTLED
        self._scratch: dict[tuple[int, bool], Array] = {}
        self._ones = np.ones(1, np.float32)

    def refresh(self, weights: bool) -> None:
        """Take the transposed weight for outdated."""
        if weights:
            self._uses = 0

    def forward(self, x: Array, remember: int) -> Array:
        """Return x Wᵀ + b, (B, p) -> (B, q)."""
        if remember:
            self._x = x[:remember]
        y = self._product(x, remember)
        if self.bias is not None:
            y += self.bias
        return y

    def _product(self, x: Array, remember: int) -> Array:
        if len(x) <= FEW and not remember:
            product: Array = x @ self.weight.T
            return product
        self._uses += 1
        if self._uses == self._pays_at:
            np.copyto(self._transposed, self.weight.T)
        weight = self.weight.T if self._uses < self._pays_at else self._transposed
        return np.dot(x, weight, out=self._outputs(len(x), remember))

    def backward(self, grad: Array, wanted: bool) -> Array:
        """Return g W, (B, q) -> (B, p)."""
        np.dot(grad.T, self._x, out=self.grad_weight)
        if self.grad_bias is not None:
            if len(self._ones) != len(grad):
                self._ones = np.ones(len(grad), np.float32)
            np.dot(self._ones, grad, out=self.grad_bias)  # a quarter of the time of a sum over the first axis
        return grad @ self.weight if wanted else grad

    def _outputs(self, n_batch: int, remember: int) -> Array:
        key = n_batch, bool(remember)
        array = self._scratch.get(key)
        if array is None:
            if len(self._scratch) >= 8:  # whole episodes come in every length
                self._scratch.clear()
            array = self._scratch[key] = np.empty((n_batch, len(self.weight)), np.float32)
        return array


class LayerNorm:
    """``y = γ·x̂ + β``, ``x̂ = (x − mean x)/√(var x + ε)`` over the units of a row (Ba et al. 2016, Eq. 4).

    Backwards ``∂γ = Σ_b g·x̂``, ``∂β = Σ_b g``, ``∂x = (h − mean h − x̂·mean(h·x̂))/√(var x + ε)`` with ``h = γ·g``.

    :param weight: γ, (p,), or None for 1
    :param bias: β, (p,), or None for 0
    :param grad_weight: where ∂γ goes, (p,), or None
    :param grad_bias: where ∂β goes, (p,), or None
    :param eps: ε
    """

    def __init__(
        self, weight: Array | None, bias: Array | None, grad_weight: Array | None, grad_bias: Array | None, eps: float
    ) -> None:
        self.weight, self.bias, self.eps = weight, bias, eps
        self.grad_weight, self.grad_bias = grad_weight, grad_bias

    def forward(self, x: Array, remember: int) -> Array:
        """Return γ·x̂ + β, (B, p) -> (B, p)."""
        share = np.float32(1 / x.shape[1])
        x = x - (np.add.reduce(x, axis=1) * share)[:, None]
        scale = 1 / np.sqrt(np.einsum("bp,bp->b", x, x) * share + np.float32(self.eps))
        x *= scale[:, None]
        if remember:
            self._x, self._scale = x[:remember], scale[:remember]
        y = x.copy() if self.weight is None else x * self.weight
        if self.bias is not None:
            y += self.bias
        return y

    def backward(self, grad: Array, wanted: bool) -> Array:
        """Return ∂x, (B, p) -> (B, p)."""
        if self.grad_bias is not None:
            np.add.reduce(grad, axis=0, out=self.grad_bias)
        if self.grad_weight is not None:
            np.einsum("bp,bp->p", grad, self._x, out=self.grad_weight)
        if not wanted:
            return grad
        grad = grad.copy() if self.weight is None else grad * self.weight
        share = np.float32(1 / grad.shape[1])
        along = np.einsum("bp,bp->b", grad, self._x) * share
        grad -= (np.add.reduce(grad, axis=1) * share)[:, None]
        grad -= self._x * along[:, None]
        grad *= self._scale[:, None]
        return grad

    def refresh(self, weights: bool) -> None:
        """Do nothing: weights are read as they lie."""


class Activation:
    """An elementwise function, in place.

    :param name: torch's
    :param function: ``function(x)`` returns y, in the memory of x if it can
    :param derivative: ``derivative(grad, y)`` returns ``grad · ∂y/∂x``, in the memory of grad
    :param shape: the number that some of them have: a slope, an α
    """

    def __init__(
        self,
        name: str,
        function: Callable[[Array], Array],
        derivative: Callable[[Array, Array], Array],
        shape: float = 0.0,
    ) -> None:
        self.name, self.shape = name, shape
        self._function, self._derivative = function, derivative

    def forward(self, x: Array, remember: int) -> Array:
        """Return the function of every entry."""
        y = self._function(x)
        if remember:
            self._y = y[:remember]
        return y

    def backward(self, grad: Array, wanted: bool) -> Array:
        """Multiply the gradient by the derivative."""
        return self._derivative(grad, self._y)

    def refresh(self, weights: bool) -> None:
        """Do nothing: there are no weights."""


class ReLU(Activation):
    """``max(x, 0)``, against an array of zeros: against one zero it takes two to four times as long."""

    def __init__(self) -> None:
        super().__init__("ReLU", self._maximum, lambda grad, y: np.multiply(grad, y > 0, out=grad))
        self._zeros = np.zeros((0, 0), np.float32)

    def _maximum(self, x: Array) -> Array:
        if self._zeros.shape != x.shape:
            self._zeros = np.zeros(x.shape, np.float32)
        y: Array = np.maximum(x, self._zeros, out=x)
        return y


def _tanh_grad(grad: Array, y: Array) -> Array:
    grad *= 1 - y * y
    return grad


def _sigmoid(x: Array) -> Array:
    np.exp(-x, out=x)
    x += 1
    np.reciprocal(x, out=x)
    return x


def _sigmoid_grad(grad: Array, y: Array) -> Array:
    grad *= y * (1 - y)
    return grad


def activation(module: Any) -> Activation | None:
    """Return the layer for a torch activation, None for one that is not elementwise, invertible and common.

    The derivative is written in terms of the output, which is all that is kept.
    """
    name = type(module).__name__
    if name == "ReLU":
        return ReLU()
    if name == "Tanh":
        return Activation(name, lambda x: np.tanh(x, out=x), _tanh_grad)
    if name == "Sigmoid":
        return Activation(name, _sigmoid, _sigmoid_grad)
    if name == "LeakyReLU" and module.negative_slope > 0:
        slope = np.float32(module.negative_slope)
        return Activation(
            name, lambda x: np.where(x > 0, x, slope * x), lambda g, y: g * np.where(y > 0, 1, slope), float(slope)
        )
    if name == "ELU" and module.alpha > 0:
        alpha = np.float32(module.alpha)
        return Activation(
            name,
            lambda x: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0))),
            lambda g, y: g * np.where(y > 0, 1, y + alpha),
            float(alpha),
        )
    if name == "Softplus" and module.beta == 1:  # 1 − e^−y is σ(x)
        return Activation(name, lambda x: np.logaddexp(x, np.float32(0)), lambda g, y: g * -np.expm1(-y))
    return Activation(name, lambda x: x, lambda g, y: g) if name == "Identity" else None
