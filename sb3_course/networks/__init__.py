"""Torch modules the policies are built from."""

from sb3_course.networks.heads import DuelingHead, StateActionHead, scale_gradient
from sb3_course.networks.images import ImageExtractor, ImpalaCnn, MinAtarCnn, NatureConvolutions
from sb3_course.networks.implicit import ImplicitHead, LevelEmbedding
from sb3_course.networks.mlp import gaussian_init, mlp, uniform_init
from sb3_course.networks.noisy import NoisyLinear, make_noisy, noise_free, noisy_layers, reset_noise, zero_noise
from sb3_course.networks.own_noise import OwnNoise
from sb3_course.networks.spectral import SpectralConv2d
from sb3_course.networks.starts import CountsFromZero, from_start, from_zero, start_of

__all__ = [
    "CountsFromZero",
    "DuelingHead",
    "ImageExtractor",
    "ImpalaCnn",
    "ImplicitHead",
    "LevelEmbedding",
    "MinAtarCnn",
    "NatureConvolutions",
    "NoisyLinear",
    "OwnNoise",
    "SpectralConv2d",
    "StateActionHead",
    "from_start",
    "from_zero",
    "gaussian_init",
    "make_noisy",
    "mlp",
    "noise_free",
    "noisy_layers",
    "reset_noise",
    "scale_gradient",
    "start_of",
    "uniform_init",
    "zero_noise",
]
