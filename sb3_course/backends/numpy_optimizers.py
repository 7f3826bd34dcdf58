"""Torch's optimizers on flat arrays, with torch's arithmetic; their state is torch's own, as views.

A model saved after steps of one backend therefore continues on the other.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import sqrt
from operator import is_not
from typing import Any

import numpy as np
import torch as th
from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike

from sb3_course.backends.numpy_parameters import FlatParameters, block_of
from sb3_course.backends.twins import best

Array = np.ndarray
#: So many parameters are stepped at a time: with their statistics they stay in the cache from operation to operation.
BLOCK = 65536


class Moments:
    """The optimizer's statistics of all parameters, each kind in one flat array, and the count of steps.

    :param optimizer: the torch optimizer, whose ``state`` holds views into these arrays
    :param flat: the parameters
    :param start: what each kind of statistics starts with, by its torch name
    """

    def __init__(self, optimizer: Any, flat: FlatParameters, start: dict[str, float]) -> None:
        self._optimizer, self._flat, self._start = optimizer, flat, {**start, "step": 0.0}
        self.arrays: dict[str, Array] = {}
        self._views: dict[str, list[Array]] = {}
        self._bound: Any = None
        for name in self._start:
            lying = self._lying(name) if flat.in_place else None
            size = len(flat.tensors) if name == "step" else len(flat.values)  # torch counts for each parameter
            self.arrays[name] = np.empty(size, np.float32) if lying is None else lying
            self._views[name] = (
                [self.arrays[name][index : index + 1].reshape(()) for index in range(size)]
                if name == "step"
                else flat.views(self.arrays[name])
            )

    def _lying(self, name: str) -> Array | None:
        """Return torch's statistics as one array where they lie in one block already: then they may be shared."""
        tensors = [self._optimizer.state.get(tensor, {}).get(name) for tensor in self._flat.tensors]
        return block_of(tensors) if all(isinstance(tensor, th.Tensor) for tensor in tensors) else None

    def bind(self, certain: bool = False) -> None:
        """Make torch's state look into the arrays; where it was replaced, it is copied in first.

        :param certain: it was not, unless as a whole, which is how ``load_state_dict`` does it
        """
        if certain and self._optimizer.state is self._bound:
            return
        self._bound = self._optimizer.state
        for index, tensor in enumerate(self._flat.tensors):
            state: dict[str, Any] = self._optimizer.state[tensor]
            for name, views in self._views.items():
                view, held = views[index], state.get(name)
                if not isinstance(held, th.Tensor) or held.data_ptr() != view.ctypes.data:
                    view[...] = self._start[name] if held is None else np.asarray(held)
                    state[name] = th.from_numpy(view)

    def count(self) -> float:
        """Count one more step and return how many it makes."""
        counts = self.arrays["step"]
        counts += 1
        return float(counts[0])


#: ``step(values, grads, statistics, group, n, scratch)``: the n-th step of some of the parameters, in place.
Step = Callable[[Array, Array, tuple[Array, ...], dict[str, Any], float, Array], None]


def adam(
    values: Array, grads: Array, statistics: tuple[Array, ...], group: dict[str, Any], n: float, scratch: Array
) -> None:
    """Take a step of Adam (Kingma & Ba 2015, Algorithm 1), or of AdamW where the group decays weights by itself."""
    beta1, beta2 = group["betas"]
    mean, square = _moments(grads, statistics, beta1, beta2, scratch)
    np.sqrt(square, out=scratch)
    scratch /= np.float32(sqrt(1 - beta2**n))
    scratch += np.float32(group["eps"])
    np.divide(mean, scratch, out=scratch)
    scratch *= np.float32(group["lr"] / (1 - beta1**n))
    values -= scratch


def radam(
    values: Array, grads: Array, statistics: tuple[Array, ...], group: dict[str, Any], n: float, scratch: Array
) -> None:
    """Take a step of rectified Adam (Liu et al. 2020, Algorithm 2): ``θ −= lr·m̂``, once v can be trusted ``·r/√v̂``."""
    beta1, beta2 = group["betas"]
    mean, square = _moments(grads, statistics, beta1, beta2, scratch)
    rate, trusted = rectified(group, n)
    if trusted:
        np.sqrt(square, out=scratch)
        scratch += np.float32(group["eps"])
        np.divide(mean, scratch, out=scratch)
    else:
        np.copyto(scratch, mean)
    scratch *= np.float32(rate)
    values -= scratch


def rectified(group: dict[str, Any], n: float) -> tuple[float, bool]:
    """Return what the n-th step of rectified Adam multiplies by, and whether it divides by √v + ε.

    v can be trusted where ``ρ_n = ρ∞ − 2n·β2^n/(1 − β2^n)``, ``ρ∞ = 2/(1 − β2) − 1``, is more than 5, torch's bound.
    """
    beta1, beta2 = group["betas"]
    rate, limit = group["lr"] / (1 - beta1**n), 2 / (1 - beta2) - 1
    length = limit - 2 * n * beta2**n / (1 - beta2**n)
    if length <= 5:
        return rate, False
    share = (length - 4) * (length - 2) * limit / ((limit - 4) * (limit - 2) * length)
    return rate * sqrt(share * (1 - beta2**n)), True


def _moments(
    grads: Array, statistics: tuple[Array, ...], beta1: float, beta2: float, scratch: Array
) -> tuple[Array, ...]:
    """Move the running means of g and g² in place and return them."""
    mean, square = statistics
    np.subtract(grads, mean, out=scratch)
    scratch *= np.float32(1 - beta1)
    mean += scratch
    square *= np.float32(beta2)
    np.multiply(grads, grads, out=scratch)
    scratch *= np.float32(1 - beta2)
    square += scratch
    return statistics


def rmsprop(
    values: Array, grads: Array, statistics: tuple[Array, ...], group: dict[str, Any], n: float, scratch: Array
) -> None:
    """Take a step of torch's RMSprop: ``θ −= lr·g / (√s + ε)``."""
    _mean_square(grads, statistics[0], group["alpha"], scratch)
    np.sqrt(statistics[0], out=scratch)
    scratch += np.float32(group["eps"])
    _divided(values, grads, group["lr"], scratch)


def rmsprop_tf_like(
    values: Array, grads: Array, statistics: tuple[Array, ...], group: dict[str, Any], n: float, scratch: Array
) -> None:
    """Take a step of SB3's RMSprop of TensorFlow's form: ``θ −= lr·g / √(s + ε)``."""
    _mean_square(grads, statistics[0], group["alpha"], scratch)
    np.add(statistics[0], np.float32(group["eps"]), out=scratch)
    np.sqrt(scratch, out=scratch)
    _divided(values, grads, group["lr"], scratch)


def _mean_square(grads: Array, square: Array, alpha: float, scratch: Array) -> None:
    square *= np.float32(alpha)
    np.multiply(grads, grads, out=scratch)
    scratch *= np.float32(1 - alpha)
    square += scratch


def _divided(values: Array, grads: Array, learning_rate: float, divisor: Array) -> None:
    np.divide(grads, divisor, out=divisor)
    divisor *= np.float32(learning_rate)
    values -= divisor


def sgd(
    values: Array, grads: Array, statistics: tuple[Array, ...], group: dict[str, Any], n: float, scratch: Array
) -> None:
    """Take a step of plain gradient descent."""
    np.multiply(grads, np.float32(group["lr"]), out=scratch)
    values -= scratch


# optimizer: (the step, what its statistics start with, options that are torch's where they are on)
_STEPS: dict[type, tuple[Step, dict[str, float], tuple[str, ...]]] = {
    th.optim.Adam: (adam, {"exp_avg": 0.0, "exp_avg_sq": 0.0}, ("weight_decay", "amsgrad", "maximize")),
    th.optim.AdamW: (adam, {"exp_avg": 0.0, "exp_avg_sq": 0.0}, ("amsgrad", "maximize")),
    th.optim.RAdam: (radam, {"exp_avg": 0.0, "exp_avg_sq": 0.0}, ("weight_decay", "maximize")),
    th.optim.RMSprop: (rmsprop, {"square_avg": 0.0}, ("weight_decay", "momentum", "centered", "maximize")),
    RMSpropTFLike: (rmsprop_tf_like, {"square_avg": 1.0}, ("weight_decay", "momentum", "centered")),
    th.optim.SGD: (sgd, {}, ("weight_decay", "momentum", "maximize")),
}


def starts(optimizer: Any) -> dict[str, float]:
    """Return what the statistics of an optimizer start with, by torch's names; of one in the table."""
    return _STEPS[type(optimizer)][1] if type(optimizer) in _STEPS else {}


class NumpyOptimizer:
    """Steps flat parameters as the policy's torch optimizer would.

    An optimizer that is not in the table, or with an option or a group that a step here does not know, steps by itself
    on gradients that NumPy has written. Options and groups are a user's to change at any time: each step asks anew.
    """

    def __init__(self, optimizer: Any, flat: FlatParameters) -> None:
        self.optimizer, self._flat = optimizer, flat
        row = _STEPS.get(type(optimizer))
        self._step = None if row is None else best(row[0])
        self._start, self._torchs = ({}, ()) if row is None else row[1:]
        self._grads = [th.from_numpy(view) for view in flat.grad_views]
        self._moments: Moments | None = None
        self._sure = False  # that torch's statistics are views into those here
        #: for each block views of its parameters, gradients, statistics and as much scratch; none before they are used
        self._blocks: list[tuple[Array, Array, tuple[Array, ...], Array]] = []
        if self._group() is not None:
            self._make_blocks()
        self.bind()

    def _make_blocks(self) -> None:
        flat = self._flat
        self._moments = Moments(self.optimizer, flat, self._start) if self._start else None
        scratch = np.empty(min(BLOCK, len(flat.values)), np.float32)
        arrays = {} if self._moments is None else self._moments.arrays
        statistics = self._statistics = tuple(array for name, array in arrays.items() if name != "step")
        self._blocks = [
            (flat.values[part], flat.grads[part], tuple(array[part] for array in statistics), scratch[: stop - start])
            for start, stop in pairwise([*range(0, len(flat.values), BLOCK), len(flat.values)])
            for part in (slice(start, stop),)
        ]

    def bind(self, certain: bool = False) -> None:
        """Look at torch's state again: a user may have loaded another one.

        :param certain: as in `Moments.bind`
        """
        if self._moments is not None and self.optimizer.state:
            self._moments.bind(certain)

    def _group(self) -> dict[str, Any] | None:
        """Return the one group of parameters, None where torch has to step: see the class."""
        if self._step is None or len(self.optimizer.param_groups) != 1:
            return None
        group: dict[str, Any] = self.optimizer.param_groups[0]
        params, tensors = group["params"], self._flat.tensors
        if len(params) != len(tensors) or any(map(is_not, params, tensors)):
            return None
        return None if any(map(group.get, self._torchs)) else group

    def at_once(self) -> tuple[Step, dict[str, Any], tuple[Array, ...], float] | None:
        """Return the step, its options, the statistics and how many steps were taken; None where that is not all of it.

        Who steps by himself calls `counted`.
        """
        group = self._group()
        if self._step is None or group is None or isinstance(self.optimizer, th.optim.AdamW):
            return None
        if not self._blocks:
            self._make_blocks()
        if self._moments is None:
            return None
        if not (self._sure and self.optimizer.state):
            self._moments.bind()
            self._sure = True
        return self._step, group, self._statistics, float(self._moments.arrays["step"][0])

    def counted(self, n_steps: int) -> None:
        """Count steps that somebody else has taken."""
        assert self._moments is not None
        self._moments.arrays["step"] += n_steps

    def step(self) -> None:
        """Take one step with the gradients as they are."""
        group = self._group()
        if self._step is None or group is None:
            for tensor, grad in zip(self._flat.tensors, self._grads, strict=True):
                tensor.grad = grad
            self.optimizer.step()
            self._sure = False  # torch may have begun statistics of its own
            return
        if not self._blocks:
            self._make_blocks()
        if self._moments is not None and not (self._sure and self.optimizer.state):
            self._moments.bind()
            self._sure = True
        n = 0.0 if self._moments is None else self._moments.count()
        decay = isinstance(self.optimizer, th.optim.AdamW) and group["weight_decay"]
        for values, grads, statistics, scratch in self._blocks:
            if decay:
                values *= np.float32(1 - group["lr"] * decay)
            self._step(values, grads, statistics, group, n, scratch)
