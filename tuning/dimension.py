"""One dimension of a search space, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sb3_course.config.errors import InputError
from sb3_course.config.parameters import ARGUMENTS
from sb3_course.config.text import read_value

if TYPE_CHECKING:
    from optuna.trial import Trial


@dataclass(frozen=True)
class Dimension:
    """One thing that is searched: a range of numbers, or words to choose from.

    :param name: a constructor argument, a run key, or a name with dots
    :param low: smallest number
    :param high: largest number
    :param log: whether the logarithm is searched evenly
    :param choices: numbers, booleans, None, or text as a preset would have it
    :param default: what an algorithm has where neither its constructor nor a preset says
    :param when: (name, values): searched only where that other dimension, or key, has one of these values
    :raises InputError: for a range without numbers in it
    """

    name: str
    low: float | None = None
    high: float | None = None
    log: bool = False
    choices: tuple[Any, ...] = ()
    default: Any = None
    when: tuple[str, tuple[Any, ...]] | None = None

    def __post_init__(self) -> None:
        if not self.choices:
            if self.low is None or self.high is None or not self.low < self.high:
                got = f"{self.low} .. {self.high}"
                raise InputError(self.name, "low must be below high", got, "low < high, or choices")
            if self.log and self.low <= 0:
                raise InputError(self.name, "a logarithmic range begins above 0", self.low, "low > 0")
        argument = ARGUMENTS.get(self.name)
        if argument is None:
            return
        for value in self.choices or (self.low, self.high):
            if not argument.accepts(read_value(value) if isinstance(value, str) else value):
                raise InputError(self.name, "the range reaches beyond the argument's bounds", value, argument.wanted())

    @property
    def integer(self) -> bool:
        """Whether the range is one of integers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def suggest(self, trial: Trial) -> Any:
        """Return what an Optuna trial suggests."""
        low, high = self.low, self.high
        if self.choices or low is None or high is None:
            return trial.suggest_categorical(self.name, self.choices)
        if isinstance(low, int) and isinstance(high, int):
            return trial.suggest_int(self.name, low, high, log=self.log)
        return trial.suggest_float(self.name, low, high, log=self.log)

    def nearest(self, value: Any) -> Any:
        """Return the value of this dimension that is nearest to one that a preset has."""
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not self.choices:
            clipped = min(max(value, self.low), self.high) if number else self.low
            return int(clipped) if self.integer else float(clipped)  # type: ignore[arg-type]
        if value in self.choices:
            return value
        wanted, known = _size(value), [choice for choice in self.choices if _size(choice) is not None]
        if wanted is None or not known:
            return self.choices[0]
        return min(known, key=lambda choice: abs((_size(choice) or 0.0) - wanted))

    def to_json(self) -> dict[str, Any]:
        """Return what identifies the dimension, without what is at its default."""
        found = {"low": self.low, "high": self.high, "log": self.log or None, "choices": list(self.choices) or None}
        found["when"] = None if self.when is None else [self.when[0], list(self.when[1])]
        return {"name": self.name} | {key: value for key, value in found.items() if value is not None}

    def is_active(self, found: Mapping[str, Any], actions: str) -> bool:
        """Return whether the condition holds.

        :param found: the values of the dimensions before this one
        :param actions: class name of the action space, e.g. `Discrete`
        """
        if self.when is None:
            return True
        name, values = self.when
        return (actions if name == "actions" else found.get(name)) in values

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Dimension:
        """Return the dimension that `to_json` wrote; its default is no part of what was searched."""
        when = data.get("when")
        condition = None if when is None else (when[0], tuple(when[1]))
        return cls(**{**data, "choices": tuple(data.get("choices", ())), "when": condition})


def _size(value: Any) -> float | None:
    """Return a number that says how large a choice is: itself, or the units of a network; None for other words."""
    if isinstance(value, str) and value.startswith("["):
        widths = read_value(value)
        return float(sum(widths)) if all(isinstance(width, int) for width in widths) else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
