"""The compiled quantile loss, in N log N steps for N quantiles where pairs take N²."""

from __future__ import annotations

import numpy as np

from sb3_course.backends.compiled.jit import Array, exact, inner_exact


def quantile_huber(quantiles: Array, targets: Array, kappa: float) -> tuple[Array, Array]:
    """Return the losses (B,) and their gradient (B, N), as `value.estimates.quantile_return.quantile_huber`.

    Among sorted targets, those at which the loss of one quantile is a line, a square or the other line lie next to each
    other: their number, sum and sum of squares are all that the loss needs.
    """
    losses, gradients = losses_of_sorted(quantiles, np.argsort(quantiles, 1), np.sort(targets, 1), float(kappa))
    return losses, gradients


@exact
def losses_of_sorted(quantiles: Array, order: Array, targets: Array, kappa: float) -> tuple[Array, Array]:
    """Return what `quantile_huber` does.

    :param quantiles: (B, N)
    :param order: of each row's quantiles, ascending, (B, N)
    :param targets: ascending in each row, (B, M)
    """
    n_batch, n, m = quantiles.shape[0], quantiles.shape[1], targets.shape[1]
    losses, gradients = np.empty(n_batch, np.float32), np.empty((n_batch, n), np.float32)
    sums, squares = np.zeros(m + 1), np.zeros(m + 1)  # of the first so many targets, less the middle one
    per_kappa = 1 / kappa if kappa > 0 else 0.0
    for b in range(n_batch):
        # NaN comes last and what is infinite first or last: such a row has no sums.
        if not np.isfinite(targets[b, 0] + targets[b, m - 1] + quantiles[b, order[b, 0]] + quantiles[b, order[b, -1]]):
            losses[b] = loss_of_pairs(quantiles[b], targets[b], kappa, gradients[b])
            continue
        middle = np.float64(targets[b, m // 2])
        for j in range(m):
            target = targets[b, j] - middle
            sums[j + 1], squares[j + 1] = sums[j] + target, squares[j] + target * target
        lower = here = upper = 0  # the first target of the square below, of that above, and of the line above
        total = 0.0
        for i in order[b]:
            quantile, level = np.float64(quantiles[b, i]), (i + 0.5) / n
            while lower < m and targets[b, lower] < quantile - kappa:
                lower += 1
            while here < m and targets[b, here] < quantile:
                here += 1
            while upper < m and targets[b, upper] <= quantile + kappa:
                upper += 1
            q = quantile - middle
            below, above = here - lower, upper - here
            # Σ u and Σ u² over the squares, u = T − θ
            low, high = sums[here] - sums[lower] - below * q, sums[upper] - sums[here] - above * q
            low2 = squares[here] - squares[lower] - q * (2 * low + below * q)
            high2 = squares[upper] - squares[here] - q * (2 * high + above * q)
            under = 0.5 * per_kappa * low2 + lower * (q - 0.5 * kappa) - sums[lower]
            over = 0.5 * per_kappa * high2 + sums[m] - sums[upper] - (m - upper) * (q + 0.5 * kappa)
            total += (1 - level) * under + level * over
            gradients[b, i] = ((1 - level) * (lower - per_kappa * low) - level * (m - upper + per_kappa * high)) / m
        losses[b] = total / m
    return losses, gradients


@inner_exact
def loss_of_pairs(quantiles: Array, targets: Array, kappa: float, gradient: Array) -> float:
    """Return one row's loss pair by pair, and write its gradient (N,)."""
    n, m, total = quantiles.size, targets.size, 0.0
    for i in range(n):
        level, loss, slopes = (i + 0.5) / n, 0.0, 0.0
        for target in targets:
            error = np.float64(target - quantiles[i])
            weight = 1 - level if error < 0 else level
            if kappa > 0:
                slope = min(max(error, -kappa), kappa) if error == error else error
                loss += weight * slope * (error - 0.5 * slope) / kappa
                slopes += weight * slope / kappa
            else:
                loss += weight * abs(error)
                slopes += weight * np.sign(error)
        total += loss / m
        gradient[i] = -slopes / m
    return total
