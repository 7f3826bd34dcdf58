"""The Q network: a features extractor, then a head from features (B, F) to outputs (B, A, N)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch as th
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import PyTorchObs
from torch import nn

from sb3_course.config.errors import InputError, did_you_mean
from sb3_course.config.policy_arguments import unlisted
from sb3_course.functional import greedy
from sb3_course.functional.risk import Mean, Risk
from sb3_course.networks import (
    CountsFromZero,
    DuelingHead,
    NoisyLinear,
    StateActionHead,
    from_start,
    gaussian_init,
    mlp,
    noise_free,
    noisy_layers,
    uniform_init,
)
from sb3_course.networks.heads import STREAMS
from sb3_course.networks.mlp import Layer, activated
from sb3_course.value.estimates import estimate_from
from sb3_course.value.estimates.estimate import AtLevels, HeadParts

#: The values of the policy argument ``head``.
HEADS = ("plain", "dueling", "state_action")

#: Hidden widths, or those of each stream of a dueling head.
NetArch = list[int] | dict[str, list[int]]


class QNetwork(CountsFromZero):
    """Action values: a features extractor, then a head from features (B, F) to outputs (B, A, N).

    With the plain head, layers, names and order of initialisation are those of SB3's ``QNetwork``, so that
    weights can be exchanged with it. Noisy layers start with the same μ as the layers they replace, and without a
    noise sample: whoever trains the network draws it with `sb3_course.networks.reset_noise`.

    :param net_arch: hidden widths of the head; see `DuelingHead` for the dueling one
    :param head: ``plain`` (one output an action), ``dueling`` (value and advantage streams, Wang et al. 2016) or
        ``state_action`` (state and action in, one value out)
    :param noisy: whether the head's layers are noisy (Fortunato et al. 2018)
    :param noisy_kwargs: ``noise``, ``kind`` and ``sigma0`` of `NoisyLinear`, for noisy layers
    :param noisy_streams: which of ``shared``, ``value`` and ``advantage`` are noisy in a dueling head; None: all three.
        Only the advantages' noise tells one action from another: the others' moves all values of a state alike
    :param rescale_gradient: for the dueling head, see there
    :param bias: whether the plain head's layers have biases
    :param init_std: draw the head's weights from N(0, init_std²); None keeps torch's default, 0 gives zeros
    :param init_bound: or weights and biases from U(−init_bound, init_bound)
    :param layer_norm: normalise the units of each hidden layer of the head before its activation (Ba et al. 2016)
    :param distribution: what the N numbers of an output say of the return: see `sb3_course.value.estimates`
    :param estimate: the arguments of that return estimate
    """

    action_space: spaces.Discrete

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Discrete,
        features_extractor: BaseFeaturesExtractor,
        features_dim: int,
        net_arch: NetArch,
        activation_fn: type[nn.Module] = nn.ReLU,
        normalize_images: bool = True,
        head: str = "plain",
        noisy: bool = False,
        noisy_kwargs: dict[str, Any] | None = None,
        noisy_streams: Sequence[str] | None = None,
        rescale_gradient: bool = False,
        bias: bool = True,
        init_std: float | None = None,
        init_bound: float | None = None,
        layer_norm: bool = False,
        distribution: str | None = None,
        **estimate: Any,
    ) -> None:
        super().__init__(
            observation_space,
            action_space,
            features_extractor=features_extractor,
            normalize_images=normalize_images,
        )
        self.net_arch = unlisted(net_arch)
        self.activation_fn = activation_fn
        self.features_dim = features_dim
        self.head = head
        self.noisy = noisy
        self.noisy_kwargs, self.noisy_streams = noisy_kwargs, noisy_streams
        self.rescale_gradient = rescale_gradient
        self.bias = bias
        self.init_std, self.init_bound, self.layer_norm = init_std, init_bound, layer_norm
        self.distribution, self._estimate_arguments = distribution, estimate
        self.estimate = estimate_from(distribution, estimate, network=True)
        self.n_atoms = self.estimate.width  # N
        for name, constant in self.estimate.constants().items():
            self.register_buffer(name, constant)
        self.estimate.use(self._buffers)  # the dictionary itself: its tensors move from device to device
        self.q_net = self._make_head()
        if init_std is not None:
            gaussian_init(self.q_net, init_std)
        if init_bound is not None:
            uniform_init(self.q_net, init_bound)
        self.risk: Risk = Mean()  # what a prediction compares; another one for the length of a call
        self._has_noise = bool(noisy_layers(self))  # in the head, or in an extractor of the user's own

    def _make_head(self) -> nn.Module:
        n_actions, n_atoms = int(self.action_space.n), self.estimate.head_width
        layer = partial(NoisyLinear, **(self.noisy_kwargs or {})) if self.noisy else nn.Linear
        build: Any = {"activation_fn": self.activation_fn, "layer": layer, "layer_norm": self.layer_norm}

        def make(features_dim: int, net_arch: NetArch) -> nn.Module:
            if self.head == "dueling":
                streams = {**build, "rescale_gradient": self.rescale_gradient, "layer": self._layers_of_streams(layer)}
                return DuelingHead(features_dim, n_actions, n_atoms, net_arch, **streams)
            if self.noisy_streams is not None:
                what = f"the {self.head} head is one stream"
                raise InputError("noisy_streams", what, self.noisy_streams, "head='dueling'")
            if isinstance(net_arch, Mapping):
                raise InputError("net_arch", f"the {self.head} head is one stream", self.net_arch, "a list of widths")
            if self.head == "state_action":
                return StateActionHead(features_dim, n_actions, n_atoms, net_arch, **build)
            if self.head == "plain":
                return mlp([features_dim, *net_arch, n_actions * n_atoms], **build, bias=self.bias)
            hint = did_you_mean(self.head, HEADS)
            raise InputError("head", f"unknown head{hint}", got=self.head, want=" or ".join(HEADS))

        def hidden(widths: list[int]) -> nn.Module:
            layers = mlp(widths, **build)
            return layers.extend(activated(widths[-1], self.activation_fn, self.layer_norm)) if widths[1:] else layers

        learned = next(self.features_extractor.parameters(), None) is not None
        head: nn.Module = self.estimate.head(HeadParts(make, hidden, self.features_dim, self.net_arch, learned))
        return head

    def _layers_of_streams(self, layer: Layer) -> dict[str, Layer]:
        """Return the kind of layer in each part of a dueling head."""
        noisy = STREAMS if self.noisy_streams is None else self.noisy_streams
        for name in noisy:
            if name not in STREAMS:
                what = f"unknown stream{did_you_mean(name, STREAMS)}"
                raise InputError("noisy_streams", what, name, ", ".join(STREAMS))
        return {name: layer if name in noisy else nn.Linear for name in STREAMS}

    def outputs(self, obs: PyTorchObs | AtLevels) -> th.Tensor:
        """Return the head's outputs for every action, (B, A, N); what they say is the estimate's business."""
        asked = obs if isinstance(obs, AtLevels) else self.estimate.to_choose(obs, Mean())
        seen, *levels = asked if isinstance(asked, AtLevels) else (asked,)
        features = self.extract_features(seen, self.features_extractor)  # (B, F)
        outputs: th.Tensor = self.q_net(features, *levels)
        return outputs.reshape(outputs.shape[0], int(self.action_space.n), -1)

    def forward(self, obs: PyTorchObs) -> th.Tensor:
        """Return the expected return of every action, (B, A): SB3's contract of a Q network."""
        values: th.Tensor = self.estimate.values(self.outputs(obs))
        return values

    def compared(self, obs: PyTorchObs) -> th.Tensor:
        """Return what the greedy choice compares, (B, A): the expected returns, unless another risk is asked for."""
        asked = self.estimate.to_choose(obs, self.risk)
        values: th.Tensor = self.estimate.values(self.outputs(asked), self.risk)
        return values

    def _predict(self, observation: PyTorchObs, deterministic: bool = True) -> th.Tensor:
        # A deterministic prediction has no noise and leaves the sample as it is.
        with noise_free(self) if deterministic and self._has_noise else nullcontext():
            actions: th.Tensor = greedy(self.compared(observation))
        predicted: th.Tensor = from_start(actions, self.action_space)
        return predicted

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return super()._get_constructor_parameters() | {
            "net_arch": self.net_arch,
            "features_dim": self.features_dim,
            "activation_fn": self.activation_fn,
            "features_extractor": self.features_extractor,
            "head": self.head,
            "noisy": self.noisy,
            "noisy_kwargs": self.noisy_kwargs,
            "noisy_streams": self.noisy_streams,
            "rescale_gradient": self.rescale_gradient,
            "bias": self.bias,
            "init_std": self.init_std,
            "init_bound": self.init_bound,
            "layer_norm": self.layer_norm,
            "distribution": self.distribution,
            **self._estimate_arguments,
        }
