"""sb3-contrib's quantile Huber loss with the same gradient, bit by bit, in a fraction of the time.

    OMP_NUM_THREADS=1 python benchmarks/qrdqn_loss.py    # compares the gradients, and times both

QR-DQN compares each of N quantiles with each of N targets. sb3-contrib does so with some twenty passes of torch over
arrays of B x N x N numbers, which at N = 170 fit no cache. Here one pass makes the same products in the same order, a
few transitions at a time, and torch adds them up as before. So `results.py` trains its row `qrdqn` in less time and
ends with the same weights. The package's own `quantile_huber` adds them up itself, in another order.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numba
import numpy as np
import torch as th
from sb3_contrib.common.utils import quantile_huber_loss as theirs

#: So many transitions at a time: their pairs lie in the second-level cache, 8 x 170 x 170 x 4 bytes = 0.9 MB.
AT_ONCE = 8


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def gradients(current: Any, targets: Any, below: Any, above: Any, out: Any) -> None:
    """Fill in the gradient of each pair by θ_i, - weight clip(d, -1, 1) with d = y_j - θ_i and weight |τ_i - 1(d < 0)|.

    :param current: θ, (B, N)
    :param targets: y, (B, N')
    :param below: the weights where d < 0, (N)
    :param above: the others, (N)
    :param out: (B, N, N')
    """
    one = np.float32(1)
    for row in range(current.shape[0]):
        for i in range(current.shape[1]):
            theta, low, high = current[row, i], below[i], above[i]
            for j in range(targets.shape[1]):
                delta = targets[row, j] - theta
                clipped = -one if delta < -one else (one if delta > one else delta)  # nan stays nan
                out[row, i, j] = -((low if delta < 0 else high) * clipped)


@numba.njit(cache=True, fastmath={"reassoc"})  # type: ignore[untyped-decorator]
def total(current: Any, targets: Any, gradient: Any) -> float:
    """Return the sum of the pairs' losses: a number to look at, so the order of its sum is free."""
    one, half, whole = np.float32(1), np.float32(0.5), 0.0
    for row in range(current.shape[0]):
        for i in range(current.shape[1]):
            theta, added = current[row, i], np.float32(0)
            for j in range(targets.shape[1]):
                delta = targets[row, j] - theta
                added -= gradient[row, i, j] * (delta - half * min(max(delta, -one), one))
            whole += added
    return whole


class _Loss(th.autograd.Function):
    """The loss whose gradient is known as soon as the loss is."""

    @staticmethod
    def forward(ctx: Any, current: th.Tensor, targets: th.Tensor) -> th.Tensor:
        batch, number = current.shape
        levels = (th.arange(number, dtype=th.float) + 0.5) / number
        mean = th.ones(()) / (batch * targets.shape[1])  # what the mean's gradient is
        below, above = (mean * th.abs(levels - sign) for sign in (1.0, 0.0))
        gradient = th.empty_like(current)
        loss, pairs = 0.0, th.empty(AT_ONCE, number, targets.shape[1])
        for start in range(0, batch, AT_ONCE):
            rows = slice(start, min(start + AT_ONCE, batch))
            quantiles, wanted = current[rows].detach().numpy(), targets[rows].numpy()
            inner = pairs[: rows.stop - start]
            gradients(quantiles, wanted, below.numpy(), above.numpy(), inner.numpy())
            loss += total(quantiles, wanted, inner.numpy())
            gradient[rows] = inner.sum(dim=-1)
        ctx.save_for_backward(gradient)
        return th.tensor(loss)

    @staticmethod
    def backward(ctx: Any, *outputs: Any) -> tuple[th.Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * outputs[0], None


def quantile_huber_loss(current_quantiles: th.Tensor, target_quantiles: th.Tensor, **options: Any) -> th.Tensor:
    """Return sb3-contrib's loss of (B, N) quantiles and (B, N') targets: their own on a GPU, or if asked otherwise."""
    if options != {"sum_over_quantiles": True} or current_quantiles.device.type != "cpu":
        return theirs(current_quantiles, target_quantiles, **options)
    loss: th.Tensor = _Loss.apply(current_quantiles, target_quantiles)  # type: ignore[no-untyped-call]
    return loss


@contextmanager
def same_but_faster() -> Iterator[None]:
    """Let sb3-contrib's QR-DQN call the loss of this file."""
    from sb3_contrib.qrdqn import qrdqn

    qrdqn.quantile_huber_loss = quantile_huber_loss  # type: ignore[assignment]
    try:
        yield
    finally:
        qrdqn.quantile_huber_loss = theirs


def example(generator: th.Generator, batch: int = 128, number: int = 170) -> tuple[th.Tensor, th.Tensor]:
    """Return quantiles and targets, of which many are far apart, some near, and some equal."""
    current = 2 * th.randn(batch, number, generator=generator)
    targets = current.roll(1, 0) + th.randn(batch, number, generator=generator).clamp(min=0)
    return current.requires_grad_(), targets


def main() -> None:
    """Compare and time both."""
    th.set_num_threads(1)
    generator = th.Generator().manual_seed(0)
    seconds: dict[str, list[float]] = {"sb3-contrib": [], "here": []}
    for _ in range(30):
        current, targets = example(generator)
        found = []
        for name, loss in zip(seconds, (theirs, quantile_huber_loss), strict=True):
            begun = time.perf_counter()
            loss(current, targets, sum_over_quantiles=True).backward()
            seconds[name].append(time.perf_counter() - begun)
            found.append(current.grad)
            current.grad = None
        assert th.equal(*found), "the gradients differ"  # type: ignore[arg-type]
    for name, every in seconds.items():
        print(f"{name}: {1e3 * statistics.median(every):.2f} ms")


if __name__ == "__main__":
    main()
