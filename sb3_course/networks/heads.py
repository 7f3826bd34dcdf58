"""Heads: features (B, F) in, outputs (B, A, N) out."""

from __future__ import annotations

from collections.abc import Sequence

import torch as th
from torch import nn

from sb3_course.networks.mlp import Layer, mlp


class StateActionHead(nn.Module):
    """Q(s, a) with the action among the inputs: the features and a one-hot action in, one value out.

    The other way to draw a Q network (Mnih et al. 2015, Methods, "Model architecture", names both):
    A forward passes for A actions, for which all actions share every weight.
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
    ) -> None:
        super().__init__()
        self.net = mlp([features_dim + n_actions, *net_arch, n_atoms], activation_fn, layer)
        self.register_buffer("actions", th.eye(n_actions), persistent=False)

    def forward(self, features: th.Tensor) -> th.Tensor:
        """Return the outputs of every action, (B, F) -> (B, A, N)."""
        n_batch, n_actions = len(features), len(self.actions)
        pairs = th.cat(
            [
                features.unsqueeze(1).expand(-1, n_actions, -1),  # (B, A, F)
                self.actions.unsqueeze(0).expand(n_batch, -1, -1),  # (B, A, A)
            ],
            dim=2,
        )
        outputs: th.Tensor = self.net(pairs)
        return outputs
