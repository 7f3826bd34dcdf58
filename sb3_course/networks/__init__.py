"""Torch modules the policies are built from."""

from sb3_course.networks.heads import DuelingHead, StateActionHead, scale_gradient
from sb3_course.networks.mlp import gaussian_init, mlp
from sb3_course.networks.noisy import NoisyLinear, noise_free, noisy_layers, reset_noise, zero_noise

__all__ = [
    "DuelingHead",
    "NoisyLinear",
    "StateActionHead",
    "gaussian_init",
    "mlp",
    "noise_free",
    "noisy_layers",
    "reset_noise",
    "scale_gradient",
    "zero_noise",
]
