"""Multi-layer perceptrons, with the kind of layer as an argument."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch as th
from torch import nn

#: ``layer(inputs, outputs, bias=…)``: ``nn.Linear`` or anything with its signature.
Layer = Callable[..., nn.Module]


def mlp(
    sizes: Sequence[int],
    activation_fn: type[nn.Module] = nn.ReLU,
    layer: Layer = nn.Linear,
    bias: bool = True,
    layer_norm: bool = False,
) -> nn.Sequential:
    """Stack ``layer, activation, …, layer`` through `sizes`, without an activation at the end: (…, p) -> (…, q).

    ``h_{k+1} = φ(W_k h_k + b_k)``, with ``h_0`` the p inputs and the last layer, without φ, the q outputs. Layers are
    made in the order of SB3's ``create_mlp``, so that one torch seed gives both the same weights.

    :param sizes: inputs, hidden widths, outputs; at least two numbers
    :param activation_fn: between the layers
    :param layer: the kind of linear layer
    :param bias: whether layers have biases
    :param layer_norm: normalise over the units before each activation, ``layer, norm, activation`` (Ba et al. 2016,
        section 3)
    """
    modules: list[nn.Module] = []
    for number, (inputs, outputs) in enumerate(pairwise(sizes), start=2):
        modules.append(layer(inputs, outputs, bias=bias))
        if number < len(sizes):
            modules += activated(outputs, activation_fn, layer_norm)
    return nn.Sequential(*modules)


def activated(width: int, activation_fn: type[nn.Module], layer_norm: bool) -> list[nn.Module]:
    """Return what follows a hidden layer of `width` units."""
    return [nn.LayerNorm(width), activation_fn()] if layer_norm else [activation_fn()]


def gaussian_init(module: nn.Module, std: float) -> None:
    """Draw every linear layer's weights from N(0, std²) with torch's generator; biases and noise stay as they are.

    :param module: whose layers, at any depth
    :param std: the standard deviation
    """
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            with th.no_grad():
                layer.weight.normal_(0.0, std)


def uniform_init(module: nn.Module, bound: float) -> None:
    """Draw every linear layer's weights and biases from U(−bound, bound) by torch's generator; noise stays as it is.

    :param module: whose layers, at any depth
    :param bound: the largest size
    """
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            with th.no_grad():
                layer.weight.uniform_(-bound, bound)
                if layer.bias is not None:
                    layer.bias.uniform_(-bound, bound)
