"""Returns as probabilities over fixed atoms: projection, cross-entropy and the way back to one number (C51).

The support (N,) is ascending and equally spaced, N ≥ 2: ``z_i = v_min + i·Δz``.
"""

from __future__ import annotations

import numpy as np

from sb3_course.functional.array_api import Array, cast, in_numpy, namespace, rows, steps

#: In atoms: a target this little outside the support is rounding, not a return that the support cannot hold.
CLIP_TOLERANCE = 1e-3


def log_softmax(logits: Array) -> Array:
    """Return ``x − log Σ exp x`` of `logits` x over the last axis, (…, N) -> (…, N); finite for every finite x."""
    if not isinstance(logits, np.ndarray):
        return logits.log_softmax(-1)
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def softmax(logits: Array) -> Array:
    """Return ``exp x / Σ exp x`` of `logits` x over the last axis, (…, N) -> (…, N)."""
    if not isinstance(logits, np.ndarray):
        return logits.softmax(-1)
    powers = odds(logits)
    return powers / powers.sum(-1, keepdims=True)


def odds(logits: Array) -> Array:
    """Return ``exp(x − max x)`` over the last axis, the softmax up to its scale, (…, N) -> (…, N)."""
    if not isinstance(logits, np.ndarray):
        return (logits - logits.amax(-1, keepdim=True)).exp()
    return np.exp(logits - logits.max(-1, keepdims=True))


def expectation(probabilities: Array, support: Array) -> Array:
    """Return ``Σ_i p_i z_i``, the action value of a distribution (Bellemare et al. 2017, Algorithm 1).

    :param probabilities: p, (…, N); logits go through `softmax` first
    :param support: z, (N,)
    :return: (…)
    """
    # As one flat product: three times as fast in NumPy as a stack of small ones.
    flat = probabilities.reshape(-1, len(support)) @ support
    return flat.reshape(probabilities.shape[:-1])


def expectations(outputs: Array, support: Array) -> Array:
    """Return ``Σ_i z_i softmax(outputs)_i``: every action's value, from logits.

    :param outputs: (B, A, N)
    :param support: z, (N,)
    :return: (B, A)
    """
    return expectation(softmax(outputs), support)


def _positions(rewards: Array, discounts: Array, support: Array) -> Array:
    """Return where the targets ``r + discount·z_j`` lie, counted in atoms from v_min, (B, N)."""
    n_atoms = len(support)
    low = support[0]
    gap = (support[-1] - low) / (n_atoms - 1)
    # (r + γ·z_j − v_min) / Δz, written as start + γ·j: with r = 0 and γ = 1 it is j to the last bit.
    start = (rewards + (discounts - 1) * low) / gap
    return start[:, None] + discounts[:, None] * steps(n_atoms, support)


@in_numpy
def project(next_probabilities: Array, rewards: Array, discounts: Array, support: Array) -> Array:
    """Project the distribution of ``r + discount·Z'`` onto the support: each atom's mass goes to its two neighbours.

    ``m_i = Σ_j p_j · clip(1 − |clip(r + discount·z_j, v_min, v_max) − z_i| / Δz, 0, 1)`` (Bellemare et al. 2017,
    Eq. 7 and Algorithm 1). Mass is kept, and so is the mean where nothing is clipped.

    :param next_probabilities: p, the distribution of the return from the next observation on, (B, N)
    :param rewards: the (discounted, m-step) reward, (B,)
    :param discounts: γ^m·(1 − terminated), (B,)
    :param support: z, (N,)
    :return: the target distribution m, (B, N)
    """
    xp, n_atoms = namespace(next_probabilities), len(support)
    position = xp.clip(_positions(rewards, discounts, support), 0, n_atoms - 1)
    # The lower neighbour is N − 2 at most, so that lower + 1 always exists. With l = ⌊b⌋ and u = ⌈b⌉ the published
    # algorithm loses all the mass of an integer b, and a b rounded up beyond N − 1 would index past the end.
    lower = xp.clip(cast(position, xp.int64), 0, n_atoms - 2)
    to_upper = (position - cast(lower, position.dtype)) * next_probabilities
    return _deposit(lower, next_probabilities - to_upper, to_upper)


def _deposit(lower: Array, to_lower: Array, to_upper: Array) -> Array:
    """Add, in each row, `to_lower` at the columns `lower` and `to_upper` one column further; all (B, N).

    Work grows as N; the kernel of the equation, taken literally, is a B·N·N array and 3 to 20 times as slow.
    """
    # Both sum in float64: in float32 an atom that holds nearly everything swallows what a hundred small ones add.
    if not isinstance(lower, np.ndarray):
        exact = to_lower.dtype if to_lower.device.type == "mps" else namespace(lower).float64  # Apple's GPUs have none
        table = to_lower.new_zeros(to_lower.shape, dtype=exact).scatter_add_(1, lower, to_lower.to(exact))
        table[:, 1:].scatter_add_(1, lower, to_upper.to(exact))
        return table.to(to_lower.dtype)
    flat = (lower + lower.shape[1] * rows(lower)[:, None]).ravel()
    sums = np.bincount(flat, to_lower.ravel(), lower.size)  # np.add.at takes four times as long
    sums[1:] += np.bincount(flat, to_upper.ravel(), lower.size)[:-1]  # no row's last column is a lower neighbour
    return sums.reshape(lower.shape).astype(to_lower.dtype)


@in_numpy
def clipped_mass(next_probabilities: Array, rewards: Array, discounts: Array, support: Array) -> Array:
    """Return ``Σ_j p_j [r + discount·z_j outside (v_min, v_max)]``: the mass that `project` moves to an end.

    A large share says that the support cannot hold the returns.

    :param next_probabilities: p, (B, N)
    :param rewards: r, (B,)
    :param discounts: γ^m·(1 − terminated), (B,)
    :param support: z, (N,)
    :return: numbers from 0 to 1, (B,)
    """
    position = _positions(rewards, discounts, support)
    outside = (position < -CLIP_TOLERANCE) | (position > len(support) - 1 + CLIP_TOLERANCE)
    return (next_probabilities * outside).sum(-1)


def cross_entropy(logits: Array, targets: Array) -> tuple[Array, Array]:
    """Return ``−Σ_i m_i log p_i``, p = softmax(logits), and its gradient ``p − m`` with respect to the logits.

    The sample loss of Bellemare et al. (2017, Algorithm 1); the gradient is that of targets of mass 1.

    :param logits: (B, N)
    :param targets: m, (B, N)
    :return: the loss (B,) and the gradient (B, N)
    """
    xp = namespace(logits)
    log_probabilities = log_softmax(logits)
    return -xp.linalg.vecdot(targets, log_probabilities), xp.exp(log_probabilities) - targets


def entropy(probabilities: Array) -> Array:
    """Return ``−Σ_i p_i log p_i`` of `probabilities` p, with ``0·log 0 = 0``, (…, N) -> (…)."""
    xp = namespace(probabilities)
    tiny = xp.finfo(probabilities.dtype).tiny
    return -xp.linalg.vecdot(probabilities, xp.log(probabilities.clip(tiny, None)))


def kl_of_loss(losses: Array, targets: Array) -> Array:
    """Return ``KL(m ‖ p)`` from the cross-entropy already at hand: the loss minus the target's entropy.

    The priority of Rainbow (Hessel et al. 2018, section "The Integrated Agent"). A priority must not be negative,
    and rounding would make it so: hence the 0 below.

    :param losses: the losses of `cross_entropy`, (B,)
    :param targets: m, (B, N)
    :return: (B,)
    """
    return (losses - entropy(targets)).clip(0, None)
