"""Policies of the value family, in SB3's form: ``q_net``, ``q_net_target`` and an optimizer."""

from __future__ import annotations

from typing import Any

import torch as th
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.torch_layers import (
    BaseFeaturesExtractor,
    CombinedExtractor,
    FlattenExtractor,
    NatureCNN,
)
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from stable_baselines3.dqn.policies import DQNPolicy
from torch import nn

from sb3_course.networks import StateActionHead, gaussian_init, mlp
from sb3_course.text import InputError, did_you_mean

#: The values of the policy argument ``head``.
HEADS = ("plain", "state_action")


class UnsupportedSpaceError(InputError, AssertionError):
    """A space the algorithm cannot serve; an ``AssertionError`` too, which SB3's contract has there."""


class QNetwork(BasePolicy):
    """Action values: a features extractor, then a head from features (B, F) to outputs (B, A, N).

    With the plain head, layers, names and order of initialisation are those of SB3's ``QNetwork``, so that
    weights can be exchanged with it.

    :param head: ``plain`` (one output an action) or ``state_action`` (state and action in, one value out)
    :param n_atoms: N, the numbers an action's output consists of
    :param bias: whether the plain head's layers have biases
    :param init_std: draw the head's weights from N(0, init_std²); None keeps torch's default, 0 gives zeros
    """

    action_space: spaces.Discrete

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Discrete,
        features_extractor: BaseFeaturesExtractor,
        features_dim: int,
        net_arch: list[int],
        activation_fn: type[nn.Module] = nn.ReLU,
        normalize_images: bool = True,
        head: str = "plain",
        n_atoms: int = 1,
        bias: bool = True,
        init_std: float | None = None,
    ) -> None:
        super().__init__(
            observation_space,
            action_space,
            features_extractor=features_extractor,
            normalize_images=normalize_images,
        )
        self.net_arch = net_arch
        self.activation_fn = activation_fn
        self.features_dim = features_dim
        self.head = head
        self.n_atoms = n_atoms
        self.bias = bias
        self.init_std = init_std
        n_actions = int(action_space.n)
        if head == "plain":
            self.q_net: nn.Module = mlp([features_dim, *net_arch, n_actions * n_atoms], activation_fn, bias=bias)
        elif head == "state_action":
            self.q_net = StateActionHead(features_dim, n_actions, n_atoms, net_arch, activation_fn)
        else:
            raise InputError("head", f"unknown head{did_you_mean(head, HEADS)}", got=head, want=" or ".join(HEADS))
        if init_std is not None:
            gaussian_init(self.q_net, init_std)

    def outputs(self, obs: PyTorchObs) -> th.Tensor:
        """Return the head's outputs for every action, (B, A, N)."""
        features = self.extract_features(obs, self.features_extractor)  # (B, F)
        outputs: th.Tensor = self.q_net(features)
        return outputs.view(len(outputs), -1, self.n_atoms)

    def values(self, outputs: th.Tensor) -> th.Tensor:
        """Return the expected return of every action, (B, A, N) -> (B, A)."""
        return outputs.squeeze(2)

    def forward(self, obs: PyTorchObs) -> th.Tensor:
        """Return the expected return of every action, (B, A): SB3's contract of a Q network."""
        return self.values(self.outputs(obs))

    def _predict(self, observation: PyTorchObs, deterministic: bool = True) -> th.Tensor:
        greedy: th.Tensor = self(observation).argmax(dim=1)
        return greedy

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return super()._get_constructor_parameters() | {
            "net_arch": self.net_arch,
            "features_dim": self.features_dim,
            "activation_fn": self.activation_fn,
            "features_extractor": self.features_extractor,
            "head": self.head,
            "n_atoms": self.n_atoms,
            "bias": self.bias,
            "init_std": self.init_std,
        }


class QPolicy(DQNPolicy):
    """SB3's ``DQNPolicy`` with the choices of `QNetwork`; other arguments as there.

    :param head: see `QNetwork`
    :param n_atoms: see `QNetwork`
    :param bias: see `QNetwork`
    :param init_std: see `QNetwork`
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Discrete,
        lr_schedule: Schedule,
        net_arch: list[int] | None = None,
        activation_fn: type[nn.Module] = nn.ReLU,
        features_extractor_class: type[BaseFeaturesExtractor] = FlattenExtractor,
        features_extractor_kwargs: dict[str, Any] | None = None,
        normalize_images: bool = True,
        optimizer_class: type[th.optim.Optimizer] = th.optim.Adam,
        optimizer_kwargs: dict[str, Any] | None = None,
        head: str = "plain",
        n_atoms: int = 1,
        bias: bool = True,
        init_std: float | None = None,
    ) -> None:
        # Set before SB3's constructor, which already builds the networks.
        self.head_kwargs: dict[str, Any] = {"head": head, "n_atoms": n_atoms, "bias": bias, "init_std": init_std}
        super().__init__(
            observation_space,
            action_space,
            lr_schedule,
            net_arch,
            activation_fn,
            features_extractor_class,
            features_extractor_kwargs,
            normalize_images,
            optimizer_class,
            optimizer_kwargs,
        )

    def make_q_net(self) -> QNetwork:  # type: ignore[override]
        """Return a new Q network with a features extractor of its own."""
        net_args = self._update_features_extractor(self.net_args, features_extractor=None)
        return QNetwork(**net_args, **self.head_kwargs).to(self.device)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return super()._get_constructor_parameters() | self.head_kwargs

    def set_training_mode(self, mode: bool) -> None:
        """Switch batch norm and dropout; walks the modules only when something changes (45 µs a step otherwise)."""
        if not self.training == self.q_net.training == mode:
            super().set_training_mode(mode)


MlpPolicy = QPolicy


class CnnPolicy(QPolicy):
    """`QPolicy` for images, behind the convolutions of Mnih et al. (2015)."""

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Discrete,
        lr_schedule: Schedule,
        *args: Any,
        features_extractor_class: type[BaseFeaturesExtractor] = NatureCNN,
        **kwargs: Any,
    ) -> None:
        kwargs["features_extractor_class"] = features_extractor_class
        super().__init__(observation_space, action_space, lr_schedule, *args, **kwargs)


class MultiInputPolicy(QPolicy):
    """`QPolicy` for Dict observations: one extractor a key, concatenated."""

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Discrete,
        lr_schedule: Schedule,
        *args: Any,
        features_extractor_class: type[BaseFeaturesExtractor] = CombinedExtractor,
        **kwargs: Any,
    ) -> None:
        kwargs["features_extractor_class"] = features_extractor_class
        super().__init__(observation_space, action_space, lr_schedule, *args, **kwargs)


class TablePolicy(QPolicy):
    """A table Q[s, a]: one weight for each state and action, starting at zero, moved by plain SGD.

    A linear layer without bias over a one-hot state *is* the table, so that the one learner serves it too.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Discrete,
        lr_schedule: Schedule,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        if not isinstance(observation_space, spaces.Discrete):
            raise UnsupportedSpaceError(
                "observation_space", "a table needs one row a state", got=observation_space, want="Discrete"
            )
        table: dict[str, Any] = {"net_arch": [], "bias": False, "head": "plain"}
        for name, only in table.items():
            if kwargs.get(name, only) != only:
                raise InputError(name, "a table is one layer without bias", got=kwargs[name], want=repr(only))
        start: dict[str, Any] = {"init_std": 0.0, "optimizer_class": th.optim.SGD}
        super().__init__(observation_space, action_space, lr_schedule, *args, **(table | start | kwargs))

    @property
    def q_table(self) -> th.Tensor:
        """The table Q[s, a], (S, A)."""
        weight: th.Tensor = self.q_net.q_net[0].weight  # type: ignore[assignment]
        return weight.detach().T
