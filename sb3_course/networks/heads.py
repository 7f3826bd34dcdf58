"""Heads: features (B, F) in, outputs (B, A, N) out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any

import torch as th
from torch import nn

from sb3_course.config.errors import InputError, did_you_mean
from sb3_course.networks.mlp import Layer, activated, mlp

STREAMS = ("shared", "value", "advantage")


class StateActionHead(nn.Module):
    """Q(s, a) with the action among the inputs: the features and a one-hot action in, one value out.

    ``Q(s, a) = f([φ(s), onehot(a)])`` for every a, (B, F) -> (B, A, N), f a multi-layer perceptron. The other way to
    draw a Q network (Mnih et al. 2015, Methods, "Model architecture", names both): A forward passes for A actions, for
    which all actions share every weight. Outputs have the unit of returns, or are logits of atoms.

    :param features_dim: F
    :param n_actions: A
    :param n_atoms: N
    :param net_arch: hidden widths
    :param activation_fn: between the layers
    :param layer: the kind of linear layer
    :param layer_norm: as in `mlp`
    """

    actions: th.Tensor

    def __init__(
        self,
        features_dim: int,
        n_actions: int,
        n_atoms: int,
        net_arch: Sequence[int],
        activation_fn: type[nn.Module] = nn.ReLU,
        layer: Layer = nn.Linear,
        layer_norm: bool = False,
    ) -> None:
        super().__init__()
        self.net = mlp([features_dim + n_actions, *net_arch, n_atoms], activation_fn, layer, layer_norm=layer_norm)
        self.register_buffer("actions", th.eye(n_actions), persistent=False)

    def forward(self, features: th.Tensor) -> th.Tensor:
        """Return the outputs of every action, (B, F) -> (B, A, N)."""
        n_batch, n_actions = features.shape[0], self.actions.shape[0]  # `len` would freeze B in a trace
        pairs = th.cat(
            [
                features.unsqueeze(1).expand(-1, n_actions, -1),  # (B, A, F)
                self.actions.unsqueeze(0).expand(n_batch, -1, -1),  # (B, A, A)
            ],
            dim=2,
        )
        outputs: th.Tensor = self.net(pairs)
        return outputs


class DuelingHead(nn.Module):
    """Value and advantage streams: ``Q(s, a) = V(s) + A(s, a) − mean_a' A(s, a')`` (Wang et al. 2016, Eq. 9).

    (B, F) -> (B, A, N), from V (B, 1, N) and A (B, A, N) in the unit of returns. With atoms the equation holds for each
    atom's logit, before the softmax over atoms (Hessel et al. 2018, section "The Integrated Agent").

    :param features_dim: F
    :param n_actions: A
    :param n_atoms: N
    :param net_arch: hidden widths; all but the last are shared, and each stream has a hidden layer of the last
        width. Or a mapping with any of ``shared``, ``value`` and ``advantage``, each a list of widths
    :param activation_fn: between the layers
    :param layer: the kind of linear layer; or a mapping with the kind in each of ``shared``, ``value``, ``advantage``
    :param rescale_gradient: multiply the gradient that enters what the streams share by 1/√2, because two streams
        contribute to it (Wang et al. 2016, section 4.2)
    :param layer_norm: as in `mlp`
    :raises InputError: for a stream of another name
    """

    def __init__(
        self,
        features_dim: int,
        n_actions: int,
        n_atoms: int,
        net_arch: Sequence[int] | Mapping[str, Sequence[int]],
        activation_fn: type[nn.Module] = nn.ReLU,
        layer: Layer | Mapping[str, Layer] = nn.Linear,
        rescale_gradient: bool = False,
        layer_norm: bool = False,
    ) -> None:
        super().__init__()
        shared, value, advantage = _streams(net_arch)
        kinds = layer if isinstance(layer, Mapping) else dict.fromkeys(STREAMS, layer)
        build: dict[str, Any] = {"activation_fn": activation_fn, "layer_norm": layer_norm}
        self.n_actions, self.n_atoms = n_actions, n_atoms
        self.rescale_gradient = rescale_gradient
        self.shared = mlp([features_dim, *shared], **build, layer=kinds["shared"])
        if shared:
            self.shared.extend(activated(shared[-1], activation_fn, layer_norm))
        width = shared[-1] if shared else features_dim
        self.value = mlp([width, *value, n_atoms], **build, layer=kinds["value"])
        self.advantage = mlp([width, *advantage, n_actions * n_atoms], **build, layer=kinds["advantage"])

    def forward(self, features: th.Tensor) -> th.Tensor:
        """Return the outputs of every action, (B, F) -> (B, A, N)."""
        shared = self.shared(features)
        if self.rescale_gradient:
            shared = scale_gradient(shared, 1 / sqrt(2))
        value = self.value(shared).unsqueeze(1)  # (B, 1, N)
        advantage = self.advantage(shared).view(-1, self.n_actions, self.n_atoms)  # (B, A, N)
        outputs: th.Tensor = value + advantage - advantage.mean(dim=1, keepdim=True)
        return outputs


def scale_gradient(values: th.Tensor, factor: float) -> th.Tensor:
    """Return the values unchanged, ``y = x``, and multiply the gradient that comes back, ``∂L/∂x = factor · ∂L/∂y``.

    :param values: x, (B, …)
    :param factor: of the gradient; 1/√2 in Wang et al. (2016, section 4.2)
    :return: y, (B, …)
    """
    scaled: th.Tensor = _ScaleGradient.apply(values, factor)  # type: ignore[no-untyped-call]
    return scaled


class _ScaleGradient(th.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: th.Tensor, factor: float) -> th.Tensor:
        ctx.factor = factor
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, gradient: th.Tensor) -> tuple[th.Tensor, None]:
        return gradient * ctx.factor, None


def _streams(net_arch: Sequence[int] | Mapping[str, Sequence[int]]) -> tuple[list[int], list[int], list[int]]:
    """Return the hidden widths of the shared part, the value and the advantage stream."""
    if not isinstance(net_arch, Mapping):
        widths = list(net_arch)
        return widths[:-1], widths[-1:], widths[-1:]
    for name in net_arch:
        if name not in STREAMS:
            raise InputError("net_arch", f"unknown stream{did_you_mean(name, STREAMS)}", name, ", ".join(STREAMS))
    shared, value, advantage = (list(net_arch.get(name, [])) for name in STREAMS)
    return shared, value, advantage
