"""Random generators: their states as plain numbers and strings, and a child of a space's."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces

from sb3_course.config.errors import InputError
from sb3_course.saving.values import decode, encode


def rng_state(generator: np.random.Generator) -> dict[str, Any]:
    """Return the state of a NumPy generator as plain numbers and strings that JSON can hold."""
    return plain_state(generator.bit_generator.state)


def plain_state(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state of a NumPy bit generator as plain numbers and strings that JSON can hold."""
    return dict(_to_lists(state))


def set_rng_state(generator: np.random.Generator, state: Mapping[str, Any]) -> None:
    """Put a NumPy generator into a state that `rng_state` returned.

    :raises InputError: when the state belongs to another kind of generator, or to none
    """
    kind = type(generator.bit_generator).__name__
    if state.get("bit_generator") != kind:
        raise InputError("rng", "the state is another generator's", state.get("bit_generator"), kind)
    try:
        generator.bit_generator.state = _to_arrays(state)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError("rng", f"the state is damaged: {error}", want="what rng_state returned") from None


#: Kinds of generators that objects own, see `generator_state`.
GENERATORS = "generator", "random", "legacy"


def generator_state(value: object) -> tuple[str, Any] | None:
    """Return the kind and the state of a generator of NumPy's or Python's, as plain values; None of anything else."""
    if isinstance(value, np.random.Generator):
        return "generator", rng_state(value)
    if type(value) is random.Random:
        return "random", encode(value.getstate())
    if type(value).__name__ == "RandomState" and type(value).__module__.startswith("numpy.random"):
        return "legacy", encode(value.get_state())  # type: ignore[attr-defined]
    return None


def set_generator_state(generator: Any, kind: str, state: Any) -> None:
    """Put a generator into a state that `generator_state` returned."""
    if kind == "generator":
        set_rng_state(generator, state)
    elif kind == "random":
        generator.setstate(decode(state))
    else:
        generator.set_state(decode(state))


def global_states() -> dict[str, Any]:
    """Return the states of the generators that SB3's own algorithms draw from: Python's, NumPy's and torch's."""
    import torch as th

    states = {
        "python": encode(random.getstate()),
        "numpy": encode(np.random.get_state()),  # noqa: NPY002
        "torch": th.get_rng_state().numpy(),
    }
    if th.cuda.is_available():
        states["cuda"] = th.cuda.get_rng_state().numpy()
    return states


def set_global_states(states: Mapping[str, Any]) -> None:
    """Put back what `global_states` returned."""
    import torch as th

    random.setstate(decode(states["python"]))
    np.random.set_state(decode(states["numpy"]))  # noqa: NPY002
    th.set_rng_state(th.from_numpy(np.array(states["torch"])))
    if "cuda" in states and th.cuda.is_available():
        th.cuda.set_rng_state(th.from_numpy(np.array(states["cuda"])))


def child_generator(space: spaces.Space[Any]) -> np.random.Generator:
    """Spawn a generator from a space's: seeded with it by SB3, without disturbing its stream."""
    sequence = space.np_random.bit_generator.seed_seq
    return np.random.default_rng(sequence.spawn(1)[0])  # type: ignore[attr-defined]


def _to_lists(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _to_lists(item) for key, item in value.items()}
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def _to_arrays(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _to_arrays(item) for key, item in value.items()}
    return np.array(value, dtype=np.uint64) if isinstance(value, list) else value
