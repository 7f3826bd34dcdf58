"""Torch modules the policies are built from."""

from sb3_course.networks.heads import DuelingHead, StateActionHead, scale_gradient
from sb3_course.networks.mlp import gaussian_init, mlp
from sb3_course.networks.noisy import NoisyLinear, make_noisy, noise_free, noisy_layers, reset_noise, zero_noise
from sb3_course.networks.own_noise import OwnNoise

__all__ = [
    "DuelingHead",
    "NoisyLinear",
    "OwnNoise",
    "StateActionHead",
    "gaussian_init",
    "make_noisy",
    "mlp",
    "noise_free",
    "noisy_layers",
    "reset_noise",
    "scale_gradient",
    "zero_noise",
]
