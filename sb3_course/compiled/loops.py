"""All loops."""

from sb3_course.compiled.errors import categorical_errors, td_errors
from sb3_course.compiled.layers import (
    dense,
    finish,
    noisy_combine,
    noisy_dense,
    noisy_gradient,
    noisy_weight,
    unfinish,
)
from sb3_course.compiled.optimizers import adam, rmsprop
from sb3_course.compiled.softmax import expectations, sample, scores

__all__ = [
    "adam",
    "categorical_errors",
    "dense",
    "expectations",
    "finish",
    "noisy_combine",
    "noisy_dense",
    "noisy_gradient",
    "noisy_weight",
    "rmsprop",
    "sample",
    "scores",
    "td_errors",
    "unfinish",
]
