"""Networks that draw their noise themselves, for algorithms that know nothing of noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch as th
from torch import nn

from sb3_course.networks.noisy import noisy_layers, reset_noise


class OwnNoise(nn.Module):
    """A module that has noisy layers and the generator from which their samples are drawn.

    `noise_rng` is seeded with the number that torch's generator would give next, and leaves it there: runs repeat under
    SB3's ``seed``, and noise of σ = 0 changes nothing in a run. Like SB3's own generators it starts anew in a loaded
    model; the samples themselves are buffers, saved with the weights.
    """

    noise_rng: np.random.Generator

    def start_noise(self, *networks: nn.Module) -> None:
        """Seed the generator and draw a first sample.

        :param networks: every forward pass of one of them in training mode first draws fresh noise for all layers
        """
        with th.random.fork_rng(devices=[]):
            seed = int(th.randint(2**63 - 1, (1,)))
        self.noise_rng = np.random.default_rng(seed)
        self.draw_noise()
        for network in networks:
            noisy_layers(network)[0].register_forward_pre_hook(self._before_forward)

    def draw_noise(self) -> None:
        """Give every noisy layer a fresh sample; no two of them share one."""
        reset_noise(self, self.noise_rng.standard_normal)

    def _before_forward(self, layer: nn.Module, args: tuple[Any, ...]) -> None:
        if self.training or layer.training:  # target networks are never in training mode themselves
            self.draw_noise()
