"""The head of an implicit quantile network: features (B, F) and quantile levels in, the quantiles there out."""

from __future__ import annotations

from math import pi

import torch as th
from torch import nn


class LevelEmbedding(nn.Module):
    """``φ_j(τ) = ReLU(Σ_{i<n} cos(π·i·τ)·w_ij + b_j)`` (Dabney et al. 2018a, section 3): (…, N) -> (…, N, F).

    :param n_cosines: n
    :param width: F, how many φ_j there are
    """

    frequencies: th.Tensor

    def __init__(self, n_cosines: int, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(n_cosines, width)
        self.register_buffer("frequencies", pi * th.arange(n_cosines), persistent=False)

    def forward(self, levels: th.Tensor) -> th.Tensor:
        """Return φ of the levels τ in [0, 1], (…, N) -> (…, N, F)."""
        return nn.functional.relu(self.linear(th.cos(levels.unsqueeze(-1) * self.frequencies)))


class ImplicitHead(nn.Module):
    """``Z_τ(s, a) = f(ψ(s) ⊙ φ(τ))_a``: an action's return at the quantile level τ (Dabney et al. 2018a, section 3).

    Features (B, F) and levels (N,) or (B, N) -> quantiles (B, A, N), in the unit of returns.

    :param hidden: ψ from features (B, F) to (B, F'); the features themselves where it is empty
    :param embedding: φ, of width F'
    :param head: f from (B·N, F') to one number an action
    """

    def __init__(self, hidden: nn.Module, embedding: LevelEmbedding, head: nn.Module) -> None:
        super().__init__()
        self.hidden, self.embedding, self.head = hidden, embedding, head

    def forward(self, features: th.Tensor, levels: th.Tensor) -> th.Tensor:
        """Return the quantiles of every action's return, (B, A, N).

        :param features: (B, F)
        :param levels: τ, (N,) for all rows or (B, N)
        """
        n_batch, n_levels = features.shape[0], levels.shape[-1]
        joined = self.hidden(features).unsqueeze(1) * self.embedding(levels)  # (B, N, F')
        outputs: th.Tensor = self.head(joined.flatten(0, 1))  # (B·N, A), or (B·N, A, 1)
        return outputs.reshape(n_batch, n_levels, -1).transpose(1, 2)
