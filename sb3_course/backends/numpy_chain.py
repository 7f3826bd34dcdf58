"""A chain of layers whose passes are one compiled call each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from sb3_course.backends.compiled.activations import ACTIVATIONS
from sb3_course.backends.compiled.batch_errors import KINDS
from sb3_course.backends.compiled.chain import (
    GAIN,
    KIND,
    SCRATCH,
    SHIFT,
    WEIGHT_SIGMA,
    P,
    Q,
    chain_backward,
    chain_forward,
    few_forward,
)
from sb3_course.backends.compiled.optimizers import NUMBERS
from sb3_course.backends.compiled.regression import planned, regress
from sb3_course.backends.numpy_layers import Activation, Array, Chain, Layer, LayerNorm, Linear
from sb3_course.backends.numpy_noise import NumpyNoisyLinear
from sb3_course.backends.protocol import Regression

#: A linear layer's row of the table, 0 for its place in the scratch memory; its activation's number, its norm's ε or 0.
LayerRow: TypeAlias = tuple[list[int], list[float]]
_NOWHERE = -1
#: Up to so many rows loops are faster than products: with plain weights, and where there are noisy ones.
FEW, FEW_NOISY = 2, 8


def chain_of(layers: Sequence[Layer], values: Array, grads: Array, noise: Array) -> Chain:
    """Return the layers as a chain, compiled where each of them has a place in its table."""
    rows = rows_of(layers, values, noise)
    return Chain(layers) if rows is None else CompiledChain(layers, rows, values, grads, noise)


class CompiledChain(Chain):
    """Layers one after the other, which the compiled passes know from a table.

    :param layers: as in `Chain`
    :param rows: what `rows_of` says of them
    :param values: the parameters that the table's places are in
    :param grads: their gradients
    :param noise: the samples of noisy layers
    """

    keeps = False

    def __init__(
        self, layers: Sequence[Layer], rows: list[LayerRow], values: Array, grads: Array, noise: Array
    ) -> None:
        super().__init__(layers)
        self.rows = rows
        self._values, self._grads, self._noise = values, grads, noise
        self._table, shapes, norms, end = tables_of(rows)
        self._scratch = np.empty(end, np.float32)
        self._width, self._few = width_of(rows), few_of(self._table)
        self._layers = self._table, shapes, norms
        self._places = *self._layers, values, noise, self._scratch
        self._places_back = *self._layers, values, grads, noise, self._scratch
        self._outputs: dict[int, Array] = {0: np.empty(0, np.float32)}
        self._kept: tuple[Array, Array, int] | None = None

    def forward(self, x: Array, remember: int) -> Array:
        """Return the outputs of the last layer."""
        x, n_rows = _plain(x), len(x) if remember else 0
        if not remember and len(x) <= self._few:
            few: Array = few_forward(x, *self._layers, self._values, self._noise)
            return few
        outputs = self._outputs.get(n_rows)
        if outputs is None:
            if len(self._outputs) >= 8:  # whole episodes come in every length
                self._outputs = {0: self._outputs[0]}
            outputs = self._outputs[n_rows] = np.empty(n_rows * self._width, np.float32)
        if remember:
            self._kept = x, outputs, n_rows
        last: Array = chain_forward(x, *self._places, remember > 0, outputs)
        return last

    def reuses(self, remember: int) -> bool:
        """Return False: what is returned is new."""
        return False

    def backward(self, grad: Array, wanted: bool) -> Array:
        """Pass the gradient from the last layer to the first."""
        assert self._kept is not None
        x, outputs, n_rows = self._kept
        grad = _plain(grad)
        below: Array = chain_backward(grad, x[: len(grad)], *self._places_back, outputs, n_rows, wanted)
        return below

    def regress(
        self, x: Array, actions: Array, targets: Array, minibatches: Sequence[Array], loss: str, limit: Any, steps: Any
    ) -> tuple[int, Regression] | None:
        """Take a gradient step on each minibatch; return how many were taken, and what they say of themselves.

        :param x: what the first layer sees, (T, p)
        :param limit: of the gradient's norm, or None
        :param steps: of `NumpyOptimizer.at_once`
        :return: None, and nothing done, for a loss or an optimizer that is not compiled
        """
        step, group, statistics, n_before = steps
        if loss not in KINDS or step not in NUMBERS:
            return None
        sizes = [len(rows) for rows in minibatches]
        plan, bounds = planned(group, NUMBERS[step], n_before + 1, len(sizes)), np.cumsum([0, *sizes])
        losses, norms = np.zeros(len(sizes)), np.zeros(len(sizes))
        memory, limit = np.empty(max(sizes) * self._width, np.float32), -1.0 if limit is None else float(limit)
        batch = _plain(x), actions, targets, np.concatenate(minibatches), bounds
        numbers = *self._places_back, memory, *statistics, plan, limit, KINDS[loss]
        n_taken, predictions = regress(*batch, *numbers, losses, norms)
        return n_taken, Regression(losses, norms, predictions)

    def whole(self, *asked: Any) -> Any:
        """Return `sb3_course.backends.numpy_whole.whole_network` of the network whose last chain this is."""
        from sb3_course.backends.numpy_whole import whole_network  # which knows chains

        return whole_network(*asked)

    def refresh(self, weights: bool) -> None:
        """Do nothing: every pass reads weights and noise as they lie."""


def _plain(array: Array) -> Array:
    """Return the array, or a copy if it is not of the one kind that the passes are compiled for."""
    return array if array.flags.carray else array.copy()


def rows_of(layers: Sequence[Layer], values: Array, noise: Array) -> list[LayerRow] | None:
    """Return each linear layer's row; None where a layer, or the order of layers, has no place in a table."""
    rows: list[LayerRow] = []
    for before, layer in zip([None, *layers], layers, strict=False):
        follows = isinstance(before, Linear | LayerNorm)
        if isinstance(layer, Activation) and follows and rows and layer.name in ACTIVATIONS:
            rows[-1][0][KIND], rows[-1][1][0] = ACTIVATIONS.index(layer.name), layer.shape
        elif isinstance(layer, LayerNorm) and isinstance(before, Linear):
            rows[-1][0][GAIN], rows[-1][0][SHIFT] = _place(layer.weight, values), _place(layer.bias, values)
            rows[-1][1][1] = layer.eps
        elif isinstance(layer, NumpyNoisyLinear) and layer.factorised:
            names = "weight", "bias", "weight_sigma", "bias_sigma"
            places = [_place(layer.values.get(name), values) for name in names]
            rows.append(_row(layer, [*places, _place(layer.noise, noise)]))
        elif type(layer) is Linear:
            places = [_place(layer.weight, values), _place(layer.bias, values)]
            rows.append(_row(layer, [*places, _NOWHERE, _NOWHERE, _NOWHERE]))
        else:
            return None
    return rows or None


def tables_of(rows: Sequence[LayerRow]) -> tuple[Array, Array, Array | None, int]:
    """Return the table of linear layers, their activations' numbers, their norms' ε, and the scratch memory's size.

    The third is None where there is no norm at all: then nothing of norms is compiled.
    """
    table, end = np.array([row for row, _ in rows], np.int64), 0
    shapes, norms = np.array([each for _, each in rows], np.float32).T.copy()
    for index, (row, _) in enumerate(rows):
        table[index, SCRATCH] = end
        end += row[P] * row[Q] if row[WEIGHT_SIGMA] >= 0 else 0
    return table, shapes, norms if norms.any() else None, end


def few_of(table: Array) -> int:
    """Return up to how many rows loops are faster."""
    return FEW_NOISY if (table[:, WEIGHT_SIGMA] >= 0).any() else FEW


def width_of(rows: Sequence[LayerRow]) -> int:
    """Return how many outputs layers keep of each row of a batch; a norm keeps its own and their scale besides."""
    return sum(row[Q] * (1 + (eps > 0)) + (eps > 0) for row, (_, eps) in rows)


def _row(layer: Linear, places: list[int]) -> LayerRow:
    """Return a layer's row, to which its norm and its activation are still to be added."""
    return [*layer.weight.shape[::-1], *places, 0, 0, _NOWHERE, _NOWHERE], [0.0, 0.0]


def _place(view: Array | None, flat: Array) -> int:
    """Return where in a flat array a view of it starts."""
    return _NOWHERE if view is None else (view.ctypes.data - flat.ctypes.data) // flat.itemsize
