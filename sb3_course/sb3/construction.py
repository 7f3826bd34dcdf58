"""Tools of construction: a class statement that names an algorithm, and what SB3 is shown while it builds one."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sb3_course.config.argument import Argument

#: From the arguments given, the names of the other defaults that do not hold beside them.
Exceptions = Callable[[Mapping[str, Any]], Collection[str]]


def with_defaults(
    init: Callable[..., None], defaults: Mapping[str, Any], exceptions: Exceptions = lambda _: ()
) -> Callable[..., None]:
    """Return a constructor like `init` with other `defaults`, visible in its signature.

    :param exceptions: which of them do not hold beside the arguments given; by default all do
    :raises TypeError: for a default whose argument `init` does not have
    """
    signature = inspect.signature(init)
    unknown = set(defaults) - set(signature.parameters)
    if unknown:
        raise TypeError(f"no argument of the constructor: {', '.join(sorted(unknown))}")

    @functools.wraps(init)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        given = signature.bind_partial(self, *args, **kwargs).arguments
        apart = {*given, *exceptions(given)}
        init(self, *args, **{key: value for key, value in defaults.items() if key not in apart}, **kwargs)

    __init__.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[p.replace(default=defaults.get(p.name, p.default)) for p in signature.parameters.values()]
    )
    return __init__


def extending(parent: Callable[..., None]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Let a constructor that passes ``*args, **kwargs`` on to `parent` show the arguments of both in its signature."""

    def decorate(init: Callable[..., None]) -> Callable[..., None]:
        inherited = inspect.signature(parent).parameters
        own = [p for p in inspect.signature(init).parameters.values() if p.kind is p.KEYWORD_ONLY]
        new = [p for p in own if p.name not in inherited]
        init.__signature__ = inspect.Signature([*inherited.values(), *new])  # type: ignore[attr-defined]
        return init

    return decorate


def taking(parent: Callable[..., None], *rows: Argument) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Let a constructor take the arguments of `parent` and those in `rows`, and be handed them all in one dictionary.

    ``init(self, given, _init_setup_model)``: `given` has every argument, defaults filled in. The signature shows them.

    :param rows: rows of the table of arguments, with their own defaults
    """
    theirs = list(inspect.signature(parent).parameters.values())
    # In words: our own table says what each takes, and more than SB3's annotations do.
    shown = [p.replace(annotation=inspect.formatannotation(p.annotation)) for p in theirs if p.name[0] != "_"]
    named = {p.name for p in theirs}
    new = [inspect.Parameter(row.name, inspect.Parameter.KEYWORD_ONLY, default=row.default) for row in rows]
    new = [p for p in new if p.name not in named]
    private = inspect.Parameter("_init_setup_model", inspect.Parameter.KEYWORD_ONLY, default=True)
    signature = inspect.Signature([*shown, *new, private])

    def decorate(init: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(init)
        def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
            bound = signature.bind(self, *args, **kwargs)
            bound.apply_defaults()
            given = dict(bound.arguments)
            del given["self"]
            init(self, given, given.pop("_init_setup_model"))

        __init__.__signature__ = signature  # type: ignore[attr-defined]
        return __init__

    return decorate


@contextmanager
def temporarily(target: object, **attributes: Any) -> Iterator[None]:
    """Give `target` other attributes for as long as the context lasts."""
    before = {name: getattr(target, name) for name in attributes}
    target.__dict__.update(attributes)
    try:
        yield
    finally:
        target.__dict__.update(before)
