"""What linear and noisy layers do besides matrix products, and all they do for few rows."""

from __future__ import annotations

import numpy as np

from sb3_course.compiled.jit import Array, jit


@jit
def dense(x: Array, weight: Array, bias: Array, relu: bool) -> Array:
    """Return ``x Wᵀ + b``, or ``max(x Wᵀ + b, 0)``, for few rows, (B, p) -> (B, q); no bias is one of length 0."""
    n_batch, q, p = x.shape[0], weight.shape[0], weight.shape[1]
    y = np.empty((n_batch, q), np.float32)
    for i in range(n_batch):
        for j in range(q):
            total = bias[j] if bias.size else np.float32(0)
            for k in range(p):
                total += weight[j, k] * x[i, k]
            y[i, j] = np.float32(0) if relu and total < 0 else total  # NaN stays NaN
    return y


@jit
def finish(y: Array, bias: Array, relu: bool) -> None:
    """``y += b``, then ``max(y, 0)`` with `relu`, in place, (B, q)."""
    for i in range(y.shape[0]):
        for j in range(y.shape[1]):
            total = y[i, j] + bias[j] if bias.size else y[i, j]
            y[i, j] = np.float32(0) if relu and total < 0 else total


@jit
def unfinish(grad: Array, y: Array, sums: Array, relu: bool) -> None:
    """Zero the gradient where `relu` cut y off, in place, and write ``Σ_b g`` to `sums` (q,) unless that is empty."""
    sums[:] = 0
    for i in range(grad.shape[0]):
        for j in range(grad.shape[1]):
            g = grad[i, j]
            if relu and not y[i, j] > 0:
                g = np.float32(0)
                grad[i, j] = g
            if sums.size:
                sums[j] += g


@jit
def noisy_dense(x: Array, mean: Array, sigma: Array, noise: Array, bias: Array, bias_sigma: Array, relu: bool) -> Array:
    """Return ``x (μ + σ ⊙ f_out f_inᵀ)ᵀ + b + σ_b ⊙ f_out`` for few rows, cut off below 0 with `relu`.

    :param x: (B, p)
    :param mean: μ, (q, p)
    :param sigma: σ, (q, p)
    :param noise: f_in and f_out, (p + q,)
    :param bias: b, (q,) or (0,)
    :param bias_sigma: σ_b, (q,) or (0,)
    """
    q, p = mean.shape
    y = np.empty((x.shape[0], q), np.float32)
    scaled = np.empty(p, np.float32)
    for i in range(x.shape[0]):
        for k in range(p):
            scaled[k] = x[i, k] * noise[k]
        for j in range(q):
            plain, noisy = np.float32(0), np.float32(0)
            for k in range(p):
                plain += mean[j, k] * x[i, k]
                noisy += sigma[j, k] * scaled[k]
            if bias.size:
                plain += bias[j]
            if bias_sigma.size:
                noisy += bias_sigma[j]
            total = plain + noise[p + j] * noisy
            y[i, j] = np.float32(0) if relu and total < 0 else total
    return y


@jit
def noisy_layer(
    weight: Array, total_bias: Array, mean: Array, sigma: Array, bias: Array, bias_sigma: Array, noise: Array
) -> None:
    """``W = μ + σ ⊙ f_out f_inᵀ``, (q, p), and ``b = μ_b + σ_b ⊙ f_out``, (q,) or (0,), in place; see `noisy_dense`."""
    q, p = mean.shape
    for j in range(q):
        out = noise[p + j]
        for k in range(p):
            weight[j, k] = mean[j, k] + sigma[j, k] * (out * noise[k])
        if total_bias.size:
            plain = bias[j] if bias.size else np.float32(0)
            total_bias[j] = plain + (bias_sigma[j] * out if bias_sigma.size else np.float32(0))


@jit
def noisy_gradient(
    grad_sigma: Array, grad_bias_sigma: Array, grad_weight: Array, grad_bias: Array, noise: Array
) -> None:
    """``∂σ = ∂W ⊙ f_out f_inᵀ``, (q, p), and ``∂σ_b = ∂b ⊙ f_out``, (q,) or (0,)."""
    q, p = grad_weight.shape
    for j in range(q):
        out = noise[p + j]
        for k in range(p):
            grad_sigma[j, k] = grad_weight[j, k] * (out * noise[k])
        if grad_bias_sigma.size:
            grad_bias_sigma[j] = grad_bias[j] * out


@jit
def dueling(value: Array, advantage: Array) -> Array:
    """Return ``V + A − mean A`` for each atom, (B, N) and (B, A, N) -> (B, A, N)."""
    n_batch, n_actions, n_atoms = advantage.shape
    outputs, share = np.empty((n_batch, n_actions, n_atoms), np.float32), np.float32(1 / n_actions)
    for b in range(n_batch):
        for i in range(n_atoms):
            total = advantage[b, 0, i]
            for a in range(1, n_actions):
                total += advantage[b, a, i]
            shift = value[b, i] - total * share
            for a in range(n_actions):
                outputs[b, a, i] = advantage[b, a, i] + shift
    return outputs


@jit
def dueling_gradient(grad: Array) -> tuple[Array, Array]:
    """Return ``∂V = Σ_a g``, (B, N), and ``∂A = g − mean g``, (B, A, N)."""
    n_batch, n_actions, n_atoms = grad.shape
    value, advantage = np.empty((n_batch, n_atoms), np.float32), np.empty((n_batch, n_actions, n_atoms), np.float32)
    share = np.float32(1 / n_actions)
    for b in range(n_batch):
        for i in range(n_atoms):
            total = grad[b, 0, i]
            for a in range(1, n_actions):
                total += grad[b, a, i]
            value[b, i] = total
            for a in range(n_actions):
                advantage[b, a, i] = grad[b, a, i] - total * share
    return value, advantage
