"""All loops."""

from sb3_course.compiled.layers import (
    dense,
    dueling,
    dueling_gradient,
    finish,
    noisy_dense,
    noisy_gradient,
    noisy_layer,
    unfinish,
)
from sb3_course.compiled.optimizers import adam, rmsprop
from sb3_course.compiled.outputs import (
    categorical_errors,
    expectations,
    kl_of_loss,
    sample,
    scores,
    td_errors,
)
from sb3_course.compiled.replay import tree_children, tree_parents, windows

__all__ = [
    "adam",
    "categorical_errors",
    "dense",
    "dueling",
    "dueling_gradient",
    "expectations",
    "finish",
    "kl_of_loss",
    "noisy_dense",
    "noisy_gradient",
    "noisy_layer",
    "rmsprop",
    "sample",
    "scores",
    "td_errors",
    "tree_children",
    "tree_parents",
    "unfinish",
    "windows",
]
