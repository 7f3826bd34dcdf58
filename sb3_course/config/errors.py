"""Errors of one line for whoever typed the input."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

_MISSING: Any = object()


class InputError(ValueError):
    """A refusal of user input, printed as `field: what (got X, want Y)` on one line.

    :param field: the argument, flag or file that is wrong
    :param what: what is wrong with it
    :param got: the value that was given
    :param want: what would have been accepted
    """

    def __init__(self, field: str, what: str, got: Any = _MISSING, want: str | None = None) -> None:
        self.field, self.what, self.want = field, what, want
        self.got = None if got is _MISSING else _short(got)
        details = ([] if self.got is None else [f"got {self.got}"]) + ([] if want is None else [f"want {want}"])
        tail = f" ({', '.join(details)})" if details else ""
        super().__init__(_one_line(f"{field}: {what}{tail}"))

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions travel between processes (SubprocVecEnv, workers); the default rebuilds from the message alone.
        return _rebuild_error, (self.__class__, self.field, self.what, self.got, self.want, str(self))


class OpaqueError(TypeError):
    """A value that plain JSON cannot express: a lambda, an open file, a user's own object."""


def _rebuild_error(cls: type[InputError], *parts: Any) -> InputError:
    error = cls.__new__(cls, parts[-1])
    error.args = (parts[-1],)
    error.field, error.what, error.got, error.want = parts[:-1]
    return error


def _one_line(text: str) -> str:
    return " ".join("".join(char if char.isprintable() or char.isspace() else "?" for char in text).split())


def _short(value: Any) -> str:
    try:
        text = _one_line(repr(value))
    except Exception:  # a broken __repr__ must not hide the error that is being reported
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 80 else f"{text[:77]}..."


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """Return `"; did you mean 'x'?"` for the closest of `words`, or an empty string.

    :param word: what was typed
    :param words: what exists
    """
    by_lower = {candidate.lower(): candidate for candidate in words}
    close = difflib.get_close_matches(str(word).lower(), by_lower, n=1, cutoff=0.6)
    return f"; did you mean {by_lower[close[0]]!r}?" if close else ""
