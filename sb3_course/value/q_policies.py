"""Policies of the value family, in SB3's form: ``q_net``, ``q_net_target`` and an optimizer."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch as th
from gymnasium import spaces
from stable_baselines3.common.torch_layers import (
    BaseFeaturesExtractor,
    CombinedExtractor,
    FlattenExtractor,
)
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.dqn.policies import DQNPolicy
from torch import nn

from sb3_course.config import parameters
from sb3_course.config.errors import InputError, did_you_mean
from sb3_course.functional.risk import Risk
from sb3_course.networks.images import ImpalaCnn, MinAtarCnn, default_extractor, shared_with_head
from sb3_course.networks.images import NatureConvolutions as NatureConvolutions  # where files of before know it
from sb3_course.sb3.policy_files import PolicyFiles
from sb3_course.sb3.served_spaces import UnsupportedSpaceError
from sb3_course.value.estimates import ARGUMENTS, estimate_from
from sb3_course.value.q_network import NetArch, QNetwork


class QPolicy(PolicyFiles, DQNPolicy):
    """SB3's ``DQNPolicy`` with the choices of `QNetwork`; other arguments as there.

    ``net_arch`` may also be a mapping of streams when ``head="dueling"``. The arguments ``head``, ``noisy``,
    ``noisy_kwargs``, ``noisy_streams``, ``rescale_gradient``, ``bias``, ``init_std``, ``init_bound``, ``layer_norm``,
    ``distribution`` and those of its return estimate (``n_atoms``, ``v_min``, ``v_max``, …) are those of `QNetwork`.
    ``predict(deterministic=True)`` is free of noise; otherwise it uses the sample that is there.

    :param target: whether there is a target network; ``q_net_target`` is None for an algorithm that has none
    """

    q_net: QNetwork  # type: ignore[assignment]
    q_net_target: QNetwork  # type: ignore[assignment]

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Discrete,
        lr_schedule: Schedule,
        net_arch: NetArch | None = None,
        activation_fn: type[nn.Module] = nn.ReLU,
        features_extractor_class: type[BaseFeaturesExtractor] = FlattenExtractor,
        features_extractor_kwargs: dict[str, Any] | None = None,
        normalize_images: bool = True,
        optimizer_class: type[th.optim.Optimizer] = th.optim.Adam,
        optimizer_kwargs: dict[str, Any] | None = None,
        head: str = "plain",
        noisy: bool = False,
        noisy_kwargs: dict[str, Any] | None = None,
        noisy_streams: Sequence[str] | None = None,
        rescale_gradient: bool = False,
        bias: bool = True,
        init_std: float | None = None,
        init_bound: float | None = None,
        layer_norm: bool = False,
        target: bool = True,
        distribution: str | None = None,
        **estimate: Any,
    ) -> None:
        unknown = set(estimate) - set(ARGUMENTS)
        if unknown:
            name = min(unknown)
            known = [*inspect.signature(QPolicy.__init__).parameters, *ARGUMENTS]
            want = "an argument of the policy"
            raise InputError(name, f"the policy has no such argument{did_you_mean(name, known)}", estimate[name], want)
        own = ("self", "__class__", "observation_space", "action_space", "lr_schedule", "estimate", "unknown")
        parameters.check({name: value for name, value in locals().items() if name not in own})
        # Set before SB3's constructor, which already builds the networks.
        self._has_target = target
        self.head_kwargs: dict[str, Any] = {
            "head": head,
            "noisy": noisy,
            "noisy_kwargs": noisy_kwargs,
            "noisy_streams": noisy_streams,
            "rescale_gradient": rescale_gradient,
            "bias": bias,
            "init_std": init_std,
            "init_bound": init_bound,
            "layer_norm": layer_norm,
            "distribution": distribution,
            **estimate,
        }
        features_extractor_kwargs, widths = shared_with_head(
            features_extractor_class, features_extractor_kwargs, noisy or head == "dueling"
        )
        super().__init__(
            observation_space,
            action_space,
            lr_schedule,
            widths if net_arch is None else net_arch,  # type: ignore[arg-type]
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

    def _build(self, lr_schedule: Schedule) -> None:
        if self._has_target:
            super()._build(lr_schedule)
            return
        self.q_net, self.q_net_target = self.make_q_net(), None  # type: ignore[assignment]
        rate = lr_schedule(1)
        self.optimizer = self.optimizer_class(self.q_net.parameters(), lr=rate, **self.optimizer_kwargs)  # type: ignore[call-arg]

    @property
    def networks(self) -> tuple[QNetwork, QNetwork | None]:
        """What a backend works on: the online and the target network."""
        return self.q_net, self.q_net_target

    @property
    def all_start_equal(self) -> bool:
        """Whether the outputs of all actions were equal before anything was learned."""
        return bool(self.head_kwargs["init_std"] == 0)

    @contextmanager
    def judged_by(self, risk: Risk) -> Iterator[None]:
        """Let predictions compare `risk` for as long as the context lasts.

        :raises InputError: for a risk that the return estimate cannot tell
        """
        self.q_net.estimate.require(risk)
        before, self.q_net.risk = self.q_net.risk, risk
        try:
            yield
        finally:
            self.q_net.risk = before

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return super()._get_constructor_parameters() | self.head_kwargs | {"target": self._has_target}

    def set_training_mode(self, mode: bool) -> None:
        """Switch batch norm and dropout; walks the modules only when something changes (45 µs a step otherwise)."""
        if not self.training == vars(self)["_modules"]["q_net"].training == mode:  # in half the time of `self.q_net`
            super().set_training_mode(mode)


MlpPolicy = QPolicy


class CnnPolicy(QPolicy):
    """`QPolicy` for images, after the convolutions of Mnih et al. (2015), or MinAtar's for images below 36 pixels.

    SB3's extractor ends with a fully connected layer of its own. A dueling or noisy network, whose papers put streams
    or noise right after the convolutions, starts from `NatureConvolutions` instead (``net_arch`` [512]), unless
    ``features_extractor_class`` or the width of SB3's layer (``features_dim``) is given. `ImpalaCnn` and `MinAtarCnn`
    leave out theirs by the same rule (``net_arch`` [256] and [128]).
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Discrete,
        lr_schedule: Schedule,
        *args: Any,
        features_extractor_class: type[BaseFeaturesExtractor] | None = None,
        **kwargs: Any,
    ) -> None:
        if features_extractor_class is None:
            width_given = "features_dim" in (kwargs.get("features_extractor_kwargs") or {})
            own_layer = kwargs.get("noisy", False) or kwargs.get("head") == "dueling"
            features_extractor_class = default_extractor(observation_space, own_layer and not width_given)
        kwargs["features_extractor_class"] = features_extractor_class
        super().__init__(observation_space, action_space, lr_schedule, *args, **kwargs)


class BeyondCnnPolicy(CnnPolicy):
    """`CnnPolicy` with the network of Beyond the Rainbow (Clark et al. 2024, tables D6 and Figure E7).

    `ImpalaCnn` of width 2 with spectral norm and an adaptive 6 x 6 max-pool, then ``net_arch`` [512], the width of each
    stream; Adam with ε = 0.005/256. Images below 36 pixels take MinAtar's network, as in `CnnPolicy`; whatever is given
    replaces its part.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Discrete,
        lr_schedule: Schedule,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        if kwargs.get("features_extractor_class") is None and default_extractor(observation_space, True) != MinAtarCnn:
            given = kwargs.get("features_extractor_kwargs") or {}
            kwargs["features_extractor_class"] = ImpalaCnn
            kwargs["features_extractor_kwargs"] = {"width": 2, "spectral_norm": True, "max_pool": True, **given}
            if not args and kwargs.get("net_arch") is None:
                kwargs["net_arch"] = [512]
        if kwargs.get("optimizer_class", th.optim.Adam) is th.optim.Adam:
            kwargs["optimizer_kwargs"] = {"eps": 0.005 / 256, **(kwargs.get("optimizer_kwargs") or {})}
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
        table: dict[str, Any] = {"net_arch": [], "bias": False, "head": "plain", "noisy": False}
        if estimate_from(kwargs.get("distribution"), kwargs, network=True).width > 1:
            table["n_atoms" if kwargs.get("distribution") is None else "distribution"] = 1
        for name, only in table.items():
            if kwargs.get(name, only) != only:
                raise InputError(name, "a table is one plain layer without bias", got=kwargs[name], want=repr(only))
        start: dict[str, Any] = {"init_std": 0.0, "optimizer_class": th.optim.SGD}
        super().__init__(observation_space, action_space, lr_schedule, *args, **(table | start | kwargs))

    @property
    def q_table(self) -> th.Tensor:
        """The table Q[s, a], (S, A)."""
        layers: Any = self.q_net.q_net
        weight: th.Tensor = layers[0].weight
        return weight.detach().T
