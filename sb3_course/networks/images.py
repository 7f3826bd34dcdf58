"""Networks for images in SB3's form: usable as ``features_extractor_class`` in our policies and in SB3's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, NatureCNN
from torch import nn

from sb3_course.config.errors import InputError
from sb3_course.networks.spectral import SpectralConv2d

#: Pixels; the convolutions of Mnih et al. (2015) have no output for less.
SMALLEST_FOR_NATURE = 36


class ImageExtractor(BaseFeaturesExtractor):
    """Convolutions, then a fully connected layer with a ReLU; a subclass gives the convolutions.

    (B, C, H, W) or (B, H, W, C) -> (B, F). Images come as SB3 hands them over: floats, scaled to 0..1 where their space
    is SB3's of images (uint8, 0 to 255), with their channels first, which SB3 sees to for such a space. In any other
    space, booleans for one, they may be last as well.

    :param observation_space: a Box of three dimensions
    :param features_dim: width of the fully connected layer. None leaves it to the head: dueling and noisy networks,
        whose papers put streams or noise right after the convolutions, build it themselves
    :param normalized_image: taken because SB3 passes it on; images of any range will do
    :param channels_last: where the channels are; None: first, unless the last dimension is the smallest
    :raises InputError: for a space that is no image, and one that is too small
    """

    #: Width of the fully connected layer where nobody says.
    last_layer: ClassVar[int]

    def __init__(
        self,
        observation_space: spaces.Box,
        features_dim: int | None,
        normalized_image: bool = False,
        channels_last: bool | None = None,
        **options: Any,
    ) -> None:
        shape = observation_space.shape
        if len(shape) != 3:
            raise InputError("observation_space", "is no image", shape, "three dimensions")
        self.channels_last = int(np.argmin(shape)) == 2 if channels_last is None else channels_last
        channels = shape[-1] if self.channels_last else shape[0]
        super().__init__(observation_space, features_dim or 1)
        self.cnn = self.convolutions(channels, **options)
        with th.no_grad():
            try:
                flat = self._convolved(th.zeros(1, *shape)).shape[1]
            except RuntimeError as error:
                name = type(self).__name__
                raise InputError("observation_space", f"too small for {name}", shape, "a larger image") from error
        self.linear = (
            nn.Sequential() if features_dim is None else nn.Sequential(nn.Linear(flat, features_dim), nn.ReLU())
        )
        self._features_dim = features_dim or flat

    def convolutions(self, channels: int, **options: Any) -> nn.Sequential:
        """Return the layers from images (B, C, H, W) to flat features (B, F)."""
        raise NotImplementedError

    def _convolved(self, images: th.Tensor) -> th.Tensor:
        features: th.Tensor = self.cnn(images.movedim(-1, 1) if self.channels_last else images)
        return features

    def forward(self, observations: th.Tensor) -> th.Tensor:
        """Return the features, (B, C, H, W) or (B, H, W, C) -> (B, F)."""
        features: th.Tensor = self.linear(self._convolved(observations))
        return features


class NatureConvolutions(NatureCNN):
    """The convolutions of Mnih et al. (2015, Methods) without the fully connected layer after them: the head builds it.

    (B, C, H, W) -> (B, F).

    :param observation_space: of images, with their channels first
    :param normalized_image: as in `ImageExtractor`
    """

    last_layer: ClassVar[int] = 512  # Mnih et al. (2015); both streams of Wang et al. (2016)

    def __init__(self, observation_space: spaces.Box, normalized_image: bool = False) -> None:
        super().__init__(observation_space, normalized_image=normalized_image)
        self._features_dim = next(self.linear.parameters()).shape[1]  # the inputs of that layer
        self.linear = nn.Sequential()

    def forward(self, observations: th.Tensor) -> th.Tensor:
        """Return the features, (B, C, H, W) -> (B, F)."""
        features: th.Tensor = self.cnn(as_fits_cpu(observations))
        return features


class ResidualBlock(nn.Module):
    """``x + conv(relu(conv(relu(x))))`` (Espeholt et al. 2018, Figure 3, right)."""

    def __init__(self, channels: int, spectral_norm: bool) -> None:
        super().__init__()
        layer = SpectralConv2d if spectral_norm else nn.Conv2d
        self.layers = nn.Sequential(
            nn.ReLU(), layer(channels, channels, 3, padding=1), nn.ReLU(), layer(channels, channels, 3, padding=1)
        )

    def forward(self, x: th.Tensor) -> th.Tensor:
        """Return the sum, (B, C, H, W) -> (B, C, H, W)."""
        total: th.Tensor = x + self.layers(x)
        return total


class ImpalaCnn(ImageExtractor):
    """The large network of IMPALA (Espeholt et al. 2018, Figure 3, right), without its LSTM.

    (B, C, H, W) or (B, H, W, C) -> (B, F). Three times a convolution, a max-pool of stride 2 and two residual blocks,
    with 16, 32 and 32 channels.

    :param width: multiplies the channels; Beyond the Rainbow (Clark et al. 2024) takes 2
    :param spectral_norm: normalise the residual blocks' convolutions, as Beyond the Rainbow does
    :param max_pool: end with an adaptive 6 x 6 max-pool, as Beyond the Rainbow does, whatever the image's size
    :raises InputError: for a width that is none, and an observation space that holds no image or one too small
    """

    last_layer: ClassVar[int] = 256

    def __init__(
        self,
        observation_space: spaces.Box,
        features_dim: int | None = 256,
        normalized_image: bool = False,
        channels_last: bool | None = None,
        width: int = 1,
        spectral_norm: bool = False,
        max_pool: bool = False,
    ) -> None:
        if isinstance(width, bool) or not isinstance(width, int) or width < 1:
            raise InputError("width", "is no multiplier of channels", width, "an integer >= 1")
        options = {"width": width, "spectral_norm": spectral_norm, "max_pool": max_pool}
        super().__init__(observation_space, features_dim, normalized_image, channels_last, **options)

    def convolutions(  # type: ignore[override]
        self, channels: int, width: int, spectral_norm: bool, max_pool: bool
    ) -> nn.Sequential:
        """Return the layers from images (B, C, H, W) to flat features (B, F)."""
        layers: list[nn.Module] = []
        for out in (16 * width, 32 * width, 32 * width):
            layers += [nn.Conv2d(channels, out, 3, padding=1), nn.MaxPool2d(3, stride=2, padding=1)]
            layers += [ResidualBlock(out, spectral_norm), ResidualBlock(out, spectral_norm)]
            channels = out
        pool = [nn.AdaptiveMaxPool2d((6, 6))] if max_pool else []
        return nn.Sequential(*layers, nn.ReLU(), *pool, nn.Flatten())

    def _convolved(self, images: th.Tensor) -> th.Tensor:
        features: th.Tensor = self.cnn(as_fits_cpu(images.movedim(-1, 1) if self.channels_last else images))
        return features


class MinAtarCnn(ImageExtractor):
    """The network of Young & Tian (2019) for 10 x 10 x C: 16 filters of 3 x 3, then 128 units.

    (B, C, H, W) or (B, H, W, C) -> (B, F).
    """

    last_layer: ClassVar[int] = 128

    def __init__(
        self,
        observation_space: spaces.Box,
        features_dim: int | None = 128,
        normalized_image: bool = False,
        channels_last: bool | None = None,
    ) -> None:
        super().__init__(observation_space, features_dim, normalized_image, channels_last)

    def convolutions(self, channels: int, **options: Any) -> nn.Sequential:
        """Return the layers from images (B, C, H, W) to flat features (B, F)."""
        return nn.Sequential(nn.Conv2d(channels, 16, 3), nn.ReLU(), nn.Flatten())


def as_fits_cpu(images: th.Tensor) -> th.Tensor:
    """Return images with their channels last in memory where a CPU computes: large convolutions are faster then.

    Forwards and backwards, batch 32: IMPALA's 0.7 of the time, Mnih's 0.7 to 0.9. MinAtar's one small layer is slower.
    """
    return images.contiguous(memory_format=th.channels_last) if images.device.type == "cpu" else images


def default_extractor(space: Any, left_to_head: bool) -> type[BaseFeaturesExtractor]:
    """Return the network for an image whose user names none: Mnih's, or MinAtar's where that has no output.

    :param space: of the observations
    :param left_to_head: whether the head builds the fully connected layer
    """
    shape = getattr(space, "shape", None) or ()
    # The channels are the smallest dimension, wherever they are.
    if len(shape) == 3 and sorted(shape)[1] < SMALLEST_FOR_NATURE:
        return MinAtarCnn
    return NatureConvolutions if left_to_head else NatureCNN


def shared_with_head(
    extractor: type[BaseFeaturesExtractor], options: Mapping[str, Any] | None, left_to_head: bool
) -> tuple[dict[str, Any] | None, list[int] | None]:
    """Return an extractor's arguments and the head's hidden widths where nobody says: one of them has the last layer.

    :param options: what the user says
    :param left_to_head: whether the head builds the fully connected layer, unless the user gives its ``features_dim``
    :return: widths are None for an extractor of another kind, which is as it is
    """
    if issubclass(extractor, NatureConvolutions):
        return None if options is None else dict(options), [extractor.last_layer]
    if not issubclass(extractor, ImageExtractor):
        return None if options is None else dict(options), None
    given = {"features_dim": None, **(options or {})} if left_to_head else dict(options or {})
    leaves = "features_dim" in given and given["features_dim"] is None
    return given, [extractor.last_layer] if leaves else []
