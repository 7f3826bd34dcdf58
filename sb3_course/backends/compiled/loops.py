"""All loops."""

from sb3_course.backends.compiled.chain import chain_backward, chain_forward
from sb3_course.backends.compiled.noise import roots
from sb3_course.backends.compiled.optimizers import adam, rmsprop
from sb3_course.backends.compiled.outputs import (
    categorical_errors,
    expectations,
    kl_of_loss,
    sample,
    scores,
    td_errors,
)
from sb3_course.backends.compiled.replay import tree_children, tree_parents, tree_roots, windows
from sb3_course.backends.compiled.streams import dueling, dueling_gradient

__all__ = [
    "adam",
    "categorical_errors",
    "chain_backward",
    "chain_forward",
    "dueling",
    "dueling_gradient",
    "expectations",
    "kl_of_loss",
    "rmsprop",
    "roots",
    "sample",
    "scores",
    "td_errors",
    "tree_children",
    "tree_parents",
    "tree_roots",
    "windows",
]
