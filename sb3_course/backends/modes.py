"""Which networks compute otherwise while they are trained: those with batch norm, dropout, or layers unknown here."""

from __future__ import annotations

from torch import nn

from sb3_course.networks import NoisyLinear, SpectralConv2d

#: Layers of torch that compute the same in both modes, besides its activations.
_ALIKE: tuple[type[nn.Module], ...] = (
    nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveMaxPool2d, nn.LayerNorm,
    nn.Identity, nn.Flatten, nn.Sequential, nn.ModuleList, nn.ModuleDict, NoisyLinear,
)  # fmt: skip
#: Our own layer that follows its weights in training mode only.
_UNLIKE = (SpectralConv2d,)
#: The packages whose networks only hand on to their layers.
_CONTAINERS = ("sb3_course", "stable_baselines3", "sb3_contrib")


def has_modes(network: nn.Module) -> bool:
    """Tell whether training mode may change what `network` computes; a user's own module may."""
    return not all(_alike(type(module)) for module in network.modules())


def _alike(kind: type[nn.Module]) -> bool:
    package, _, module = kind.__module__.partition(".")
    if package == "torch":
        activation = module == "nn.modules.activation" and kind not in (nn.RReLU, nn.MultiheadAttention)
        return kind in _ALIKE or activation
    return kind in _ALIKE or (package in _CONTAINERS and not issubclass(kind, _UNLIKE))
