"""What noisy layers do besides products with their weights, and all they do for few rows: see `NumpyNoisyLinear`."""

from __future__ import annotations

import numpy as np

from sb3_course.backends.compiled.jit import Array, exact, inner


@exact
def signed_roots(drawn: Array, values: Array) -> None:
    """Write ``sign(x)·√|x|`` in float32, (n,) each, to the last bit as in NumPy."""
    for i in range(values.size):
        x = np.float32(drawn[i])
        values[i] = np.copysign(np.sqrt(np.abs(x)), x)


@inner
def noisy_dense(x: Array, mean: Array, sigma: Array, noise: Array, y: Array) -> None:
    """``y = x (μ + σ ⊙ f_out f_inᵀ)ᵀ`` for few rows; the sum is never put together. `noise`: f_in, f_out, (p + q,)."""
    q, p = mean.shape
    scaled = np.empty(p, np.float32)
    for i in range(x.shape[0]):
        for k in range(p):
            scaled[k] = x[i, k] * noise[k]
        for j in range(q):
            plain, noisy = np.float32(0), np.float32(0)
            for k in range(p):
                plain += mean[j, k] * x[i, k]
                noisy += sigma[j, k] * scaled[k]
            y[i, j] = plain + noise[p + j] * noisy


@inner
def noisy_weight(mean: Array, sigma: Array, noise: Array, total: Array) -> None:
    """Write ``μ + σ ⊙ f_out f_inᵀ``, (q, p)."""
    q, p = mean.shape
    for j in range(q):
        for k in range(p):
            total[j, k] = mean[j, k] + sigma[j, k] * (noise[p + j] * noise[k])


@inner
def noisy_bias(bias: Array, sigma: Array, noise: Array) -> Array:
    """Return ``b + σ_b ⊙ f_out``, (q,), of which either may be none."""
    total = np.zeros(noise.size, np.float32)
    for j in range(bias.size):
        total[j] = bias[j]
    for j in range(sigma.size):
        total[j] += sigma[j] * noise[j]
    return total


@inner
def noisy_gradient(grad_sigma: Array, grad_weight: Array, noise: Array) -> None:
    """``∂σ = ∂W ⊙ f_out f_inᵀ``, (q, p)."""
    q, p = grad_weight.shape
    for j in range(q):
        for k in range(p):
            grad_sigma[j, k] = grad_weight[j, k] * (noise[p + j] * noise[k])
