"""Noisy linear layers (NoisyNet, Fortunato et al. 2018): exploration by learned noise on weights or outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import pi, sqrt
from typing import Any

import numpy as np
import torch as th
from torch import nn
from torch.nn import functional as F

from sb3_course.config.errors import InputError, did_you_mean

#: ``draw(size)``: that many independent standard normal numbers, as ``rng.standard_normal`` of a NumPy generator.
Draw = Callable[[int], Any]

#: The start of σ for each kind of noise (Fortunato et al. 2018, section 3.2).
SIGMA0 = {"factorised": 0.5, "independent": 0.017}
NOISES = ("weights", "activations")


class NoisyLinear(nn.Linear):
    """A linear layer with learned noise: ``y = (μ_w + σ_w ⊙ ε_w) x + μ_b + σ_b ⊙ ε_b``.

    (Fortunato et al. 2018, Eq. 9.) x (…, p) -> y (…, q); μ_w and σ_w (q, p), μ_b and σ_b (q,). The noise ε is a buffer:
    a forward pass uses the sample that is there, in training and in evaluation mode alike, until `sample_noise` or
    `zero_noise` replaces it. A new layer has none (ε = 0). ``weight`` and ``bias`` are μ; with p inputs they start as

    * factorised (Eqs. 10-11: ε_w = f(ε_out) f(ε_in)ᵀ, ε_b = f(ε_out), f(x) = sign(x)·√|x|, p + q numbers a sample):
      μ ~ U(±1/√p), the same draw as ``nn.Linear``'s, and σ = σ0/√p for weights *and* biases, σ0 = 0.5;
    * independent (pq + q numbers a sample): μ ~ U(±√(3/p)), σ = 0.017.

    ``noise="activations"`` adds the noise to the q outputs instead: ``y = μ_w x + μ_b + σ ⊙ ε``, ε ~ N(0, 1), with
    one learned σ for each output and the sample shared by the batch, so that it acts as a noisy bias. σ starts at
    the standard deviation that noisy weights of the same kind give an output for inputs of mean square 1.

    :param in_features: p
    :param out_features: q
    :param bias: whether there are biases μ_b (and, with noisy weights, σ_b)
    :param noise: ``weights`` or ``activations``
    :param kind: ``factorised`` or ``independent``
    :param sigma0: σ0; None: 0.5 for factorised and 0.017 for independent noise
    :raises InputError: for an unknown word, or a σ0 that is no standard deviation
    """

    noise: th.Tensor  # f(ε) when factorised, ε itself otherwise
    bias_sigma: th.Tensor | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        noise: str = "weights",
        kind: str = "factorised",
        sigma0: float | None = None,
    ) -> None:
        super().__init__(in_features, out_features, bias)  # torch's default is U(±1/√p) for weights and biases
        _check("noise", noise, NOISES)
        _check("kind", kind, SIGMA0)
        sigma0 = SIGMA0[kind] if sigma0 is None else sigma0
        if not 0 <= sigma0 < float("inf"):
            raise InputError("sigma0", "a standard deviation", got=sigma0, want="a number >= 0")
        self.noise_on, self.kind, self.sigma0 = noise, kind, sigma0
        self.noise_enabled = True  # see `noise_free`

        factorised = kind == "factorised"
        if not factorised:
            with th.no_grad():
                for mean in self.parameters():
                    mean.mul_(sqrt(3))  # U(±√(3/p))
        start = sigma0 / sqrt(in_features) if factorised else sigma0
        n_noise = in_features + out_features if factorised else (in_features + int(bias)) * out_features
        if noise == "activations":
            start *= _output_std(in_features, bias, factorised)
            n_noise = out_features
            self.sigma = nn.Parameter(th.full((out_features,), start))  # (q,)
        else:
            self.weight_sigma = nn.Parameter(th.full((out_features, in_features), start))  # (q, p)
            self.register_parameter("bias_sigma", nn.Parameter(th.full((out_features,), start)) if bias else None)
        self.register_buffer("noise", th.zeros(n_noise))

    @classmethod
    def like(cls, layer: nn.Linear, **kwargs: Any) -> NoisyLinear:
        """Return a noisy layer whose μ are the weights of `layer` and whose σ are those of a new one."""
        noisy = cls(layer.in_features, layer.out_features, layer.bias is not None, **kwargs).to(layer.weight)
        noisy.weight, noisy.bias = layer.weight, layer.bias
        return noisy

    def sample_noise(self, draw: Draw) -> None:
        """Replace the noise by a fresh sample, taken in one call of `draw`."""
        noise = np.asarray(draw(len(self.noise)), np.float64 if self.noise.dtype == th.float64 else np.float32)
        if self.noise_on == "weights" and self.kind == "factorised":
            # f in NumPy, whose root is rounded correctly everywhere; torch's is off by a bit on some processors.
            noise = np.copysign(np.sqrt(np.abs(noise)), noise)
        # A new tensor: a backward pass still to come needs the sample of its own forward pass.
        self.noise = th.as_tensor(noise).to(self.noise, copy=True)

    def zero_noise(self) -> None:
        """Forget the sample: ε = 0 until the next `sample_noise`."""
        self.noise = th.zeros_like(self.noise)

    def noisy_parameters(self) -> tuple[th.Tensor, th.Tensor | None]:
        """Return the weights (q, p) and biases (q,) that a forward pass uses now."""
        p, q, noise = self.in_features, self.out_features, self.noise
        if self.noise_on == "activations":
            shift = self.sigma * noise
            return self.weight, shift if self.bias is None else self.bias + shift
        if self.kind == "factorised":
            noise_in, bias_noise = noise[:p], noise[p:]  # f(ε_in), f(ε_out)
            weight = _noisy_weight(self.weight, self.weight_sigma, noise_in, bias_noise)
        else:
            weight_noise, bias_noise = noise[: p * q].view(q, p), noise[p * q :]
            weight = self.weight + self.weight_sigma * weight_noise
        return weight, None if self.bias_sigma is None else self.bias + self.bias_sigma * bias_noise

    def forward(self, input: th.Tensor) -> th.Tensor:
        """Return the outputs under the current noise, (…, p) -> (…, q)."""
        if not self.noise_enabled:
            return F.linear(input, self.weight, self.bias)
        return F.linear(input, *self.noisy_parameters())

    def extra_repr(self) -> str:
        """Return what ``print`` shows between the brackets."""
        return f"{super().extra_repr()}, noise={self.noise_on!r}, kind={self.kind!r}, sigma0={self.sigma0}"


class _NoisyWeight(th.autograd.Function):
    """``W = μ + σ ⊙ f(ε_out) f(ε_in)ᵀ`` and ``∂μ = ∂W``, ``∂σ = ∂W ⊙ f(ε_out) f(ε_in)ᵀ``, (q, p) each.

    What autograd would make of the equation, but for large layers, whose time goes into fresh memory: this takes one
    matrix on the way forward and one on the way back, where autograd takes three and two.
    """

    @staticmethod
    def forward(mean: th.Tensor, sigma: th.Tensor, noise_in: th.Tensor, noise_out: th.Tensor) -> th.Tensor:
        return th.outer(noise_out, noise_in).mul_(sigma).add_(mean)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[th.Tensor, ...], output: th.Tensor) -> None:
        ctx.save_for_backward(*inputs[2:])

    @staticmethod
    def backward(ctx: Any, grad: th.Tensor) -> tuple[th.Tensor | None, ...]:
        noise_in, noise_out = ctx.saved_tensors
        return grad, (grad * noise_in).mul_(noise_out[:, None]), None, None


def _noisy_weight(mean: th.Tensor, sigma: th.Tensor, noise_in: th.Tensor, noise_out: th.Tensor) -> th.Tensor:
    if _recorded() or not isinstance(mean, nn.Parameter):  # `torch.func` hands in others
        return mean + sigma * th.outer(noise_out, noise_in)
    weight: th.Tensor = _NoisyWeight.apply(mean, sigma, noise_in, noise_out)  # type: ignore[no-untyped-call]
    return weight


def _recorded() -> bool:
    """Tell whether torch writes down what is computed: an export knows plain operations, and no size for certain."""
    return bool(th.jit.is_tracing()) or th.compiler.is_compiling()  # type: ignore[attr-defined, no-untyped-call]


def noisy_layers(module: nn.Module) -> list[NoisyLinear]:
    """Return every noisy layer inside `module`, in the order in which they are registered."""
    return [layer for layer in module.modules() if isinstance(layer, NoisyLinear)]


def reset_noise(module: nn.Module, draw: Draw) -> None:
    """Give every noisy layer inside `module` a fresh sample, one call of `draw` a layer."""
    for layer in noisy_layers(module):
        layer.sample_noise(draw)


def zero_noise(module: nn.Module) -> None:
    """Forget the sample of every noisy layer inside `module`."""
    for layer in noisy_layers(module):
        layer.zero_noise()


def make_noisy(module: nn.Module, keep: nn.Module | None = None, **kwargs: Any) -> None:
    """Replace every ``nn.Linear`` inside `module` by a noisy layer that takes over its weights as μ.

    :param keep: a part of `module` that stays as it is
    :param kwargs: of `NoisyLinear`
    """
    kept = set() if keep is None else set(keep.modules())
    noisy: dict[nn.Linear, NoisyLinear] = {}  # a layer in two places stays one layer
    with th.random.fork_rng(devices=[]):  # the new layers draw weights that nobody uses
        for parent in set(module.modules()) - kept:
            for name, layer in list(parent._modules.items()):
                if type(layer) is nn.Linear and layer not in kept:
                    if layer not in noisy:
                        noisy[layer] = NoisyLinear.like(layer, **kwargs)
                    setattr(parent, name, noisy[layer])


@contextmanager
def noise_free(module: nn.Module) -> Iterator[None]:
    """Let every noisy layer inside `module` compute with μ alone for a while; the samples stay as they are."""
    before = [(layer, layer.noise_enabled) for layer in noisy_layers(module)]
    try:
        for layer, _ in before:
            layer.noise_enabled = False
        yield
    finally:
        for layer, enabled in before:
            layer.noise_enabled = enabled


def _output_std(n_inputs: int, bias: bool, factorised: bool) -> float:
    """Return the standard deviation of an output under noisy weights of σ = 1, for inputs of mean square 1."""
    if not factorised:
        return sqrt(n_inputs + int(bias))
    square = sqrt(2 / pi)  # E f(ε)² = E|ε|; the terms are uncorrelated because E f(ε_in) = 0
    return sqrt(n_inputs * square**2 + int(bias) * square)


def _check(field: str, value: str, known: Any) -> None:
    if value not in known:
        hint = did_you_mean(value, known)
        raise InputError(field, f"unknown kind of noise{hint}", got=value, want=" or ".join(known))
