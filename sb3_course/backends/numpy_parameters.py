"""A module's parameters in one flat array, and the NumPy layers that look into it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch as th
from torch import nn

from sb3_course import networks
from sb3_course.backends.numpy_layers import Array, Chain, Layer, LayerNorm, Linear, activation, chain_of
from sb3_course.backends.numpy_noise import NoiseSamples, NumpyNoisyLinear
from sb3_course.backends.twins import best
from sb3_course.config.errors import InputError


class Unsupported(Exception):
    """What the NumPy backend cannot do, in words that follow "because"."""


class FlatParameters:
    """Parameters and their gradients, each in one flat array; torch's tensors are views into it.

    The tensors stay the truth: where one no longer lies in the flat array, it is copied in and bound again.

    :param tensors: the parameters
    :param in_place: work on the memory they lie in, if that is one block, as it is where workers share it
    :param noise: the samples of the noisy layers among their modules
    """

    def __init__(self, tensors: Iterable[th.Tensor], in_place: bool = False, noise: NoiseSamples | None = None) -> None:
        self.noise = NoiseSamples() if noise is None else noise
        self.tensors, self.in_place = list(tensors), in_place
        if any(tensor.dtype != th.float32 or tensor.device.type != "cpu" for tensor in self.tensors):
            raise Unsupported("its parameters are not float32 on the CPU")
        if not all(tensor.requires_grad for tensor in self.tensors):
            raise Unsupported("some of its parameters are not to be trained")
        size = sum(tensor.numel() for tensor in self.tensors)
        # Not otherwise: torch may free memory of its own, as in `share_memory`.
        lying = block_of(self.tensors) if in_place else None
        self.values = np.empty(size, np.float32) if lying is None else lying
        self.grads = np.zeros(size, np.float32)
        self.value_views, self.grad_views = self.views(self.values), self.views(self.grads)
        self._found: set[int] = set()  # places of those that layers were made for
        self._where: list[int] = []
        self.bind()

    def views(self, flat: Array) -> list[Array]:
        """Return a view into `flat` for each parameter, in its shape."""
        views, start = [], 0
        for tensor in self.tensors:
            views.append(flat[start : start + tensor.numel()].reshape(tuple(tensor.shape)))
            start += tensor.numel()
        return views

    def bind(self) -> bool:
        """Bind the tensors that were moved; True if there were any."""
        if self._places() == self._where:
            return False
        for tensor, view in zip(self.tensors, self.value_views, strict=True):
            if tensor.dtype != th.float32 or tensor.device.type != "cpu":  # torch would not take observations
                what, got = "its parameters are no longer float32 on the CPU", f"{tensor.dtype} on {tensor.device}"
                raise InputError("policy", what, got, "policy.float().cpu()")
            if tensor.data_ptr() != view.ctypes.data:
                np.copyto(view, tensor.detach().numpy())
                tensor.data = th.from_numpy(view)
        self._where = self._places()
        return True

    def _places(self) -> list[int]:
        return list(map(th.Tensor.data_ptr, self.tensors))

    def chain(self, *modules: nn.Module) -> Chain:
        """Return the layers of modules one after the other as a chain.

        :raises Unsupported: as `layers`
        """
        return best(chain_of)(self.plain_chain(*modules).layers, self.values, self.grads, self.noise.values)

    def plain_chain(self, *modules: nn.Module) -> Chain:
        """Return the same, layer by layer, without a compiled one in its place."""
        return Chain([layer for module in modules for layer in self.layers(module)])

    def layers(self, module: nn.Module) -> list[Layer]:
        """Return the layers that `module` consists of.

        :raises Unsupported: naming a module that has no counterpart
        """
        if type(module) is nn.Sequential:
            return [layer for child in module for layer in self.layers(child)]
        if type(module) is networks.NoisyLinear:
            names = [name for name, _ in module.named_parameters()]
            pairs = [self.find(parameter) for parameter in module.parameters()]
            values, grads = (dict(zip(names, arrays, strict=True)) for arrays in zip(*pairs, strict=True))
            return [NumpyNoisyLinear(module, values, grads, self.noise.of(module))]
        if type(module) is nn.Linear:
            weight, grad_weight = self.find(module.weight)
            bias, grad_bias = (None, None) if module.bias is None else self.find(module.bias)
            return [Linear(weight, bias, grad_weight, grad_bias)]
        if type(module) is nn.LayerNorm and len(module.normalized_shape) == 1:
            parts = [self.find(part) if part is not None else (None, None) for part in (module.weight, module.bias)]
            (weight, grad_weight), (bias, grad_bias) = parts
            return [LayerNorm(weight, bias, grad_weight, grad_bias, module.eps)]
        found = activation(module)
        if found is None:
            raise Unsupported(f"it has no {type(module).__name__} layer")
        return [found]

    def find(self, tensor: th.Tensor | None) -> Any:
        """Return the views of a tensor's value and gradient.

        :raises Unsupported: for one that a layer has already: each writes its own gradient over that of the other
        """
        index = next(index for index, known in enumerate(self.tensors) if known is tensor)
        if index in self._found:
            raise Unsupported("two of its layers share a parameter")
        self._found.add(index)
        return self.value_views[index], self.grad_views[index]


def block_of(tensors: Sequence[th.Tensor]) -> Array | None:
    """Return one flat array over `tensors` where they lie one after the other in memory already, else None."""
    first, size = tensors[0].detach(), sum(tensor.numel() for tensor in tensors)
    end = first.data_ptr()
    for tensor in tensors:
        same = tensor.untyped_storage().data_ptr() == first.untyped_storage().data_ptr()
        if not (same and tensor.is_contiguous() and tensor.dtype == th.float32 and tensor.data_ptr() == end):
            return None
        end += 4 * tensor.numel()
    block: Array = first.as_strided((size,), (1,), first.storage_offset()).numpy()
    return block
