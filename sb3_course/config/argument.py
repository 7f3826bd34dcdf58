"""One argument: its type in words, and the check of a value against it. The table itself is `parameters.py`."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt

from sb3_course.config.text import Named, resolve


class _PerAlgorithm:
    """The default of an argument whose algorithms disagree; the class's own signature says which."""

    def __repr__(self) -> str:
        return "per algorithm"


PER_ALGORITHM = _PerAlgorithm()


@dataclass(frozen=True)
class Argument:
    """One row of the table.

    :param name: the keyword of the constructor, or the key of a preset
    :param type: a type that pydantic understands, bounds included
    :param help: one line
    :param default: the default of the value family, or `PER_ALGORITHM`
    :param source: where the default comes from
    :param group: `value` (our value family), `sb3` (only other algorithms take it), `run` (a key of a preset) or
        `policy` (a key of `policy_kwargs`)
    :param finite: whether infinity is refused; NaN always is
    :param want: the words of an error, where the type alone says too little
    :param below: the name of an argument that must be larger than this one
    """

    name: str
    type: Any
    help: str
    default: Any
    source: str
    group: Literal["value", "sb3", "run", "policy"] = "value"
    finite: bool = True
    want: str | None = None
    below: str | None = None

    def wanted(self) -> str:
        """Return what an error asks for, e.g. `a number > 0 or a schedule`."""
        return self.want or _words(self.type)

    def accepts(self, value: Any) -> bool:
        """Return whether `value` has the type of this row and lies within its bounds."""
        return _validator(self)(unwrap(value))

    def bounds(self) -> str:
        """Return the bounds of the numbers this row takes, e.g. `> 0` or `>= 0, <= 1`, or an empty string."""
        for part in _members(self.type):
            if get_origin(part) is Annotated and (limits := _limits(part)):
                return ", ".join(limits)
        return ""

    @property
    def least(self) -> int:
        """The smallest integer that this row takes."""
        marks: list[Any] = [mark for part in _members(self.type) for mark in getattr(part, "__metadata__", ())]
        return int(next(mark.ge for mark in marks if hasattr(mark, "ge")))

    def kind(self) -> str:
        """Return the type in words without its bounds, e.g. `number or schedule`."""
        return " or ".join(dict.fromkeys(_kind(part) for part in _members(self.type)))


def unwrap(value: Any) -> Any:
    """Return `value` as plain Python: NumPy scalars, enum members and named tuples become what they hold."""
    if isinstance(value, Named):
        return resolve(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple):
        return tuple(unwrap(item) for item in value)
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        return value.item()
    return value


@functools.cache
def _adapter(kind: Any, finite: bool) -> Any:
    from pydantic import ConfigDict, TypeAdapter

    config = ConfigDict(strict=True, allow_inf_nan=not finite, arbitrary_types_allowed=True)
    return TypeAdapter(kind, config=config)


_VALIDATORS: dict[str, tuple[Any, Callable[[Any], bool]]] = {}


def _validator(row: Argument) -> Callable[[Any], bool]:
    known = _VALIDATORS.get(row.name)
    if known is not None and known[0] is row.type:
        return known[1]
    from pydantic import ValidationError

    validate = _adapter(row.type, row.finite).validate_python

    def accepts(value: Any) -> bool:
        try:
            validate(value)
        except (ValidationError, OverflowError):
            return False
        return True

    _VALIDATORS[row.name] = (row.type, accepts)
    return accepts


# ------------------------------------------------------------------------------------------- types in words

_SIGNS = {Gt: (">", "gt"), Ge: (">=", "ge"), Lt: ("<", "lt"), Le: ("<=", "le")}
_KINDS = {int: "integer", float: "number", bool: "True or False", str: "text", type(None): "None", Any: "anything"}


def _members(kind: Any) -> tuple[Any, ...]:
    """The alternatives of a union, or the type itself."""
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def _limits(kind: Any) -> list[str]:
    return [
        f"{_SIGNS[type(mark)][0]} {getattr(mark, _SIGNS[type(mark)][1])}"
        for mark in kind.__metadata__
        if type(mark) in _SIGNS
    ]


def _kind(kind: Any) -> str:
    origin = get_origin(kind)
    if origin is Annotated:
        return _kind(get_args(kind)[0])
    if origin is Literal:
        return " | ".join(repr(choice) for choice in get_args(kind))
    if origin is tuple:
        return f"({', '.join(['k', *map(_kind, get_args(kind)[1:])])})"
    if origin is type:
        return "class"
    if origin is not None and issubclass(origin, dict):
        return "dict(...)"
    if origin is not None and issubclass(origin, list):
        return "list"
    if origin is not None:
        return "schedule"
    return _KINDS.get(kind, getattr(kind, "__name__", str(kind)).lower())


def _words(kind: Any) -> str:
    """The type with its bounds, e.g. `a number > 0 or a schedule`."""
    words = []
    for part in _members(kind):
        word = _kind(part)
        if word[0].isalpha() and word not in ("None", "True or False", "text", "anything", "dict(...)"):
            word = f"{'an' if word[0] in 'aeiou' else 'a'} {word}"
        limits = _limits(part) if get_origin(part) is Annotated else []
        words.append(" ".join([word, " and ".join(limits)]).strip())
    return " or ".join(dict.fromkeys(words))
