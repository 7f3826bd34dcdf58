"""Noisy layers in NumPy, and the samples of a whole network drawn at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch as th

from sb3_course import networks
from sb3_course.backends.numpy_layers import FEW, Array, Linear
from sb3_course.backends.twins import best

#: ``draw(size)``: that many independent standard normal numbers.
Draw = Callable[[int], Any]
#: Up to so many rows two products, with means and with σ, cost less than putting the noisy weight together in NumPy.
FACTORED = 48


class NumpyNoisyLinear(Linear):
    """`sb3_course.networks.NoisyLinear`: a linear layer whose weights are put together from means, σ and the noise.

    ``W = μ_w + σ_w ⊙ ε_w``, ``b = μ_b + σ_b ⊙ ε_b``; ``∂μ = ∂W``, ``∂σ = ∂W ⊙ ε``. Factorised noise has
    ``ε_w = f_out f_inᵀ``: a pass over few rows, to be followed by no backward pass, takes
    ``y = x μ_wᵀ + μ_b + f_out ⊙ ((x ⊙ f_in) σ_wᵀ + σ_b)``, and W is never put together.

    :param module: the torch layer
    :param values: its parameters by name
    :param grads: where their gradients go, by name
    :param noise: its sample, as long as torch's
    """

    def __init__(self, module: Any, values: dict[str, Array], grads: dict[str, Array], noise: Array) -> None:
        self.values, self._grads, self.noise = values, grads, noise
        self.factorised = bool(module.noise_on == "weights" and module.kind == "factorised")
        mean = values["weight"]
        self._sigma, self._bias_sigma = values.get("weight_sigma"), values.get("bias_sigma", values.get("sigma"))
        biased = "bias" in values or self._bias_sigma is not None
        super().__init__(
            mean if self._sigma is None else np.empty_like(mean),
            np.zeros(len(mean), np.float32) if biased else None,
            grads["weight"],
            grads.get("bias", np.empty(len(mean), np.float32)) if biased else None,
        )
        self._weight_noise = np.zeros_like(mean)
        self._bias_noise: Array = np.zeros(len(mean), np.float32)
        self._parts = np.empty((2, *mean.shape[::-1]), np.float32)  # μ and σ, transposed
        self._together = self._parts_lie = False

    def refresh(self, weights: bool) -> None:
        """Remember what has to be put together again, when a pass needs it."""
        self._together = False
        if weights:
            self._parts_lie = False

    def forward(self, x: Array, remember: int) -> Array:
        """Return x Wᵀ + b, (B, p) -> (B, q)."""
        if self.factorised and not remember and len(x) <= FACTORED:
            return self._factored(x)
        if not self._together:
            self._put_together()
        return super().forward(x, remember)

    def _factored(self, x: Array) -> Array:
        p = x.shape[1]
        if len(x) <= FEW:
            mean, sigma = self.values["weight"].T, self.values["weight_sigma"].T
        else:
            mean, sigma = self._parts
            if not self._parts_lie:
                np.copyto(mean, self.values["weight"].T)
                np.copyto(sigma, self.values["weight_sigma"].T)
                self._parts_lie = True
        y: Array = (x * self.noise[:p]) @ sigma
        if self._bias_sigma is not None:
            y += self._bias_sigma
        y *= self.noise[p:]
        y += x @ mean
        if "bias" in self.values:
            y += self.values["bias"]
        return y

    def _put_together(self) -> None:
        values, noise = self.values, self.noise
        q, p = self.weight.shape
        if self._sigma is None:  # noise on the activations
            self._bias_noise = noise
        elif self.factorised:
            self._bias_noise = noise[p:]
            np.multiply(noise[p:, None], noise[:p], out=self._weight_noise)
        else:
            self._bias_noise, self._weight_noise = noise[p * q :], noise[: p * q].reshape(q, p)
        if self._sigma is not None:
            np.multiply(self._sigma, self._weight_noise, out=self.weight)
            self.weight += values["weight"]
        if self.bias is not None:
            if self._bias_sigma is None:
                self.bias[...] = values["bias"]
            else:
                np.multiply(self._bias_sigma, self._bias_noise, out=self.bias)
                if "bias" in values:
                    self.bias += values["bias"]
        super().refresh(weights=True)
        self._together = True

    def backward(self, grad: Array, wanted: bool) -> Array:
        """Share the gradient of W and b out among means and σ."""
        grad_x = super().backward(grad, wanted)
        for name, target in self._grads.items():
            if name == "weight_sigma":
                np.multiply(self.grad_weight, self._weight_noise, out=target)
            elif name in ("bias_sigma", "sigma"):  # σ of the biases, or of the outputs
                np.multiply(self.grad_bias, self._bias_noise, out=target)  # type: ignore[arg-type]
        return grad_x


class NoiseSamples:
    """The samples of all noisy layers of a network in one array; torch's buffers are views into it.

    :param layers: torch's, in the order in which they are registered
    """

    def __init__(self, layers: Sequence[networks.NoisyLinear] = ()) -> None:
        self._layers = list(layers)
        self.values = np.zeros(sum(len(layer.noise) for layer in layers), np.float32)
        self._views: list[Array] = []
        start = 0
        for layer in layers:
            self._views.append(self.values[start : start + len(layer.noise)])
            start += len(layer.noise)
        factorised = [layer.noise_on == "weights" and layer.kind == "factorised" for layer in layers]
        self.all_factorised = all(factorised)
        self._factorised = [view for view, each in zip(self._views, factorised, strict=True) if each]
        self._signed_roots = best(signed_roots)
        self._where: list[int] = []
        self.bind()

    def of(self, layer: networks.NoisyLinear) -> Array:
        """Return the sample of a layer, a view."""
        return next(view for known, view in zip(self._layers, self._views, strict=True) if known is layer)

    def bind(self) -> bool:
        """Bind the buffers that were replaced; True if there were any."""
        if not self._layers or self._places() == self._where:
            return False
        for layer, view in zip(self._layers, self._views, strict=True):
            if layer.noise.data_ptr() != view.ctypes.data:
                np.copyto(view, layer.noise.detach().numpy())
                layer.noise = th.from_numpy(view)
        self._where = self._places()
        self._first = self._layers[0]._buffers["noise"]
        return True

    def _places(self) -> list[int]:
        held: Any = [layer._buffers["noise"] for layer in self._layers]  # a tenth of the time of ``layer.noise``
        return [noise.data_ptr() for noise in held]

    def draw(self, draw: Draw) -> None:
        """Replace all samples by fresh ones, as `sb3_course.networks.reset_noise` does, in one draw."""
        if not self._layers:
            return
        if self._layers[0]._buffers["noise"] is not self._first:  # torch has drawn by itself, for all layers at once
            self.bind()
        drawn = np.asarray(draw(len(self.values)))
        if self.all_factorised and drawn.shape == self.values.shape:
            self._signed_roots(drawn, self.values)
            return
        self.values[...] = drawn
        for part in self._factorised:
            signed_roots(part, part)


def signed_roots(drawn: Array, values: Array) -> None:
    """Write ``f(x) = sign(x)·√|x|`` in float32, (n,) each (Fortunato et al. 2018, section 3.1)."""
    values[...] = drawn
    np.copysign(np.sqrt(np.abs(values)), values, out=values)
