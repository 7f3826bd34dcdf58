"""Switches of the torch backend, all off: precision, compilation and memory format of its passes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields
from typing import Any

import torch as th

from sb3_course.config.errors import InputError, did_you_mean

#: A network -> its function from observations to outputs.
Passes = dict[Any, Callable[[Any], th.Tensor]]


@dataclass(frozen=True)
class TorchSwitches:
    """How passes are computed; with a switch on, results differ from SB3's in their last bits, or more.

    :param amp: products and convolutions in bfloat16 (autocast); weights, outputs, losses and steps stay in float32
    :param compile: `torch.compile`, or the name of one of its backends; the first passes take a minute
    :param channels_last: lay the weights of convolutions out that way, in which some processors are faster
    """

    amp: bool = False
    compile: bool | str = False
    channels_last: bool = False

    @classmethod
    def read(cls, given: Mapping[str, Any] | None) -> TorchSwitches:
        """Return the switches that ``backend_kwargs`` sets.

        :raises InputError: for a name that is none, and a value that is neither on nor off
        """
        known = [each.name for each in fields(cls)]
        for name, value in (given or {}).items():
            if name not in known:
                what = f"unknown switch{did_you_mean(name, known)}"
                raise InputError("backend_kwargs", what, name, ", ".join(known))
            if not isinstance(value, bool) and not (name == "compile" and isinstance(value, str)):
                raise InputError(f"backend_kwargs.{name}", "is no switch", value, "True or False")
        switches = cls(**(given or {}))
        if isinstance(switches.compile, str) and switches.compile not in (names := th.compiler.list_backends(())):
            what = f"torch has no such compiler{did_you_mean(switches.compile, names)}"
            raise InputError("backend_kwargs.compile", what, switches.compile, "True, or " + ", ".join(names))
        return switches

    def __bool__(self) -> bool:
        """Tell whether any is on."""
        return any(getattr(self, each.name) for each in fields(self))

    def precision(self, device: th.device) -> AbstractContextManager[Any]:
        """Return what a pass is computed in."""
        return th.autocast(device.type, th.bfloat16) if self.amp else nullcontext()

    def passes(self, networks: Sequence[Any], before: Passes) -> Passes:
        """Return the function of each network, those of `before` where a network is still the same.

        :param networks: modules with ``outputs(observations)``, or None
        """
        return {net: before.get(net) or self._pass_of(net) for net in networks if net is not None}

    def _pass_of(self, network: Any) -> Callable[[Any], th.Tensor]:
        if self.channels_last:
            network.to(memory_format=th.channels_last)
        if not self.compile:
            return network.outputs  # type: ignore[no-any-return]
        backend = "inductor" if self.compile is True else self.compile
        return th.compile(network.outputs, backend=backend)
