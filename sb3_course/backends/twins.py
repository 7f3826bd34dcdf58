"""The table of twins: which compiled function computes the same as a plain one, with the same arguments and results.

The plain one is what is read, taught and used without Numba, and what a test holds its twin against. Only the NumPy
backend asks for twins. The first use compiles, which takes seconds; the result is kept on disk.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from typing import cast

from sb3_course.backends.protocol import Function

#: ``module:function`` of the plain one, below `sb3_course`, and of its twin, below `sb3_course.backends`.
TWINS = {
    "functional.categorical:expectations": "compiled.softmax:expectations",
    "functional.distributions:category_scores": "compiled.actions:category_scores",
    "functional.distributions:sample_category": "compiled.actions:sample_category",
    "functional.gaussians:log_spread": "compiled.actions:log_spread",
    "functional.gaussians:normal_scores": "compiled.actions:normal_scores",
    "functional.gaussians:sample_normal": "compiled.actions:sample_normal",
    "functional.td:categorical_errors": "compiled.batch_errors:categorical_errors",
    "functional.td:td_errors": "compiled.batch_errors:td_errors",
    "functional.categorical:kl_of_loss": "compiled.batch_errors:kl_of_loss",
    "replay.rows:write_step": "compiled.replay:write_step",
    "replay.sum_tree:tree_children": "compiled.replay:tree_children",
    "replay.sum_tree:tree_parents": "compiled.replay:tree_parents",
    "replay.sum_tree:tree_roots": "compiled.replay:tree_roots",
    "replay.window:windows": "compiled.replay:windows",
    "value.estimates.quantile_return:quantile_huber": "compiled.quantiles:quantile_huber",
    "backends.numpy_heads:join_streams": "compiled.streams:join_streams",
    "backends.numpy_heads:split_gradient": "compiled.streams:split_gradient",
    "backends.numpy_layers:chain_of": "numpy_chain:chain_of",
    "backends.numpy_noise:signed_roots": "compiled.noise:signed_roots",
    "backends.numpy_optimizers:adam": "compiled.optimizers:adam",
    "backends.numpy_optimizers:radam": "compiled.optimizers:radam",
    "backends.numpy_optimizers:rmsprop": "compiled.optimizers:rmsprop",
    "backends.numpy_optimizers:rmsprop_tf_like": "compiled.optimizers:rmsprop_tf_like",
}


def best(function: Function) -> Function:
    """Return the twin of a function, where the table has one and twins are in use; otherwise the function itself."""
    twin = TWINS.get(f"{function.__module__}:{function.__qualname__}".removeprefix("sb3_course."))
    if twin is None or not in_use():
        return function
    module, _, name = twin.partition(":")
    return cast(Function, getattr(importlib.import_module(f"sb3_course.backends.{module}"), name))


def in_use() -> bool:
    """Tell whether Numba and SciPy are installed, and ``SB3_COURSE_COMPILED=0`` does not leave the twins out."""
    installed = all(importlib.util.find_spec(name) is not None for name in ("numba", "scipy"))
    return installed and os.environ.get("SB3_COURSE_COMPILED", "1") != "0"


def libraries() -> tuple[str, ...]:
    """Return the names of the libraries besides NumPy and torch that decide how a run rounds."""
    return ("numba",) if in_use() else ()
