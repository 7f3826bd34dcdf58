"""The rungs' own defaults: hyperparameters for small tasks, which hold as long as a rung's idea is switched on."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from sb3_course.sb3.construction import with_defaults

_Class = TypeVar("_Class", bound=type)

# SB3's defaults of DQN are for Atari: in 50,000 steps of CartPole Double DQN gets to 170 with them, Noisy DQN to 14.
# These are for CartPole, from PyTorch's own tutorial (Paszke & Towers, "Reinforcement Learning (DQN) Tutorial"); what
# they reach: docs/results/defaults.md.
SMALL_TASKS: dict[str, Any] = {
    "learning_rate": 3e-4,
    "buffer_size": 10_000,
    "learning_starts": 128,  # the first batch
    "batch_size": 128,
    "train_freq": 1,
    "tau": 0.005,
    "target_update_interval": (1, "update"),
}
TARGET = {"tau", "target_update_interval"}
#: The switches that SB3's ``DQN`` does not have, and what they are when they are off.
SWITCHES: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("double", "dueling", "noisy", "prioritized", "munchausen"), (False,)),
    "n_atoms": (1,),
    "distribution": (None, "mean"),
}


def for_small_tasks(cls: _Class) -> _Class:
    """Give a rung the defaults for small tasks, with ``MlpPolicy`` and while a switch is on: with none it is SB3's DQN.

    ``n_steps`` is SB3's too, and counts as a switch where it is the rung's own idea.
    """
    init: Any = cls.__init__  # type: ignore[misc]
    defaults = {name: parameter.default for name, parameter in inspect.signature(init).parameters.items()}
    off = SWITCHES.copy()
    if defaults["n_steps"] > 1:
        off["n_steps"] = (1,)

    def sb3s(given: Mapping[str, Any]) -> Collection[str]:
        arguments = {**defaults, **given}
        if "Mlp" not in str(arguments["policy"]) or all(arguments[name] in values for name, values in off.items()):
            return SMALL_TASKS
        return TARGET if TARGET & given.keys() else ()  # half of a rule for the target is none

    cls.__init__ = with_defaults(init, SMALL_TASKS, sb3s)  # type: ignore[misc]
    return cls
