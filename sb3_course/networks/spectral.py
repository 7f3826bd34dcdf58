"""A convolution whose weight is divided by its largest singular value: spectral normalisation."""

from __future__ import annotations

from typing import Any

import torch as th
from torch import nn
from torch.nn import functional


class SpectralConv2d(nn.Conv2d):
    """A convolution with ``W / σ(W)``, σ the largest singular value of W as a matrix (Miyato et al. 2018, Eq. 8).

    (B, C, H, W) -> (B, C', H', W'). ``σ = |Wᵀu|``, where u follows W by one power iteration in each pass in training
    mode (their algorithm 1). The vector is named ``running_u``, as batch norm's statistics are, because that is what
    SB3's ``DQN`` and our backends copy to a target network. With the u of another weight, σ is too small, but never far
    from it, nor 0.
    """

    running_u: th.Tensor

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.register_buffer("running_u", functional.normalize(th.randn(self.weight.shape[0]), dim=0))
        for _ in range(15):  # as many as torch's own spectral_norm begins with
            self._iterate()

    @th.no_grad()
    def _iterate(self) -> None:
        matrix = self.weight.flatten(1)
        v = functional.normalize(self.running_u @ matrix, dim=0)
        self.running_u.copy_(functional.normalize(matrix @ v, dim=0))

    def normalized_weight(self) -> th.Tensor:
        """Return ``W / σ``, through which the gradient goes to W, (C', C, H, W) with the kernel's H and W."""
        if self.training:
            self._iterate()
        u = self.running_u.clone()  # a later pass changes it before this one's gradient is asked for
        normalized: th.Tensor = self.weight / th.linalg.vector_norm(u @ self.weight.flatten(1))
        return normalized

    def forward(self, x: th.Tensor) -> th.Tensor:
        """Return the convolution, (B, C, H, W) -> (B, C', H', W')."""
        geometry = self.stride, self.padding, self.dilation, self.groups
        return functional.conv2d(x, self.normalized_weight(), self.bias, *geometry)  # type: ignore[arg-type]
