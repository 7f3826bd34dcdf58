"""Classes that users name in files and on the command line: imported from modules they may name, never by `eval`."""

from __future__ import annotations

import importlib
from typing import Any

from sb3_course.config.errors import InputError, did_you_mean

_LIBRARIES = ("gymnasium", "rl_zoo3", "sb3_contrib", "sb3_course", "stable_baselines3")
_plugins: list[str] = []


def allow_module(module: str) -> None:
    """Let files name the classes of a module that the user has asked to import, and of the modules below it.

    Whoever hands over a class itself, from Python, has asked for its module, too.
    """
    if not _lies_in(module, [*_LIBRARIES, *_plugins]):
        _plugins.append(module)


def allowed_modules() -> tuple[str, ...]:
    """Return the modules that `allow_module` was given, for a process that is to know them too."""
    return tuple(_plugins)


def names_class(word: str) -> bool:
    """Return whether a word such as `mymod.MyNet` names a class of a user's module; nothing is imported."""
    module, _, name = word.rpartition(".")
    return name.isidentifier() and name.lstrip("_")[:1].isupper() and _lies_in(module, _plugins)


def find_class(name: str, field: str, base: type[Any] = object) -> type[Any]:
    """Return the class of a name.

    :param name: `package.module:Class` or `package.module.Class`
    :param field: the name to report in an error
    :param base: what it has to be a subclass of
    :raises InputError: when its module may not be named or cannot be imported, and when it is no such class
    """
    module, _, attribute = name.rpartition(":" if ":" in name else ".")
    require_allowed(module, field, name)
    try:
        found: Any = getattr(importlib.import_module(module), attribute)
    except ImportError as error:
        raise InputError(field, f"cannot import the module: {error}", name, "module:Class") from None
    except AttributeError:
        hint = did_you_mean(attribute, vars(importlib.import_module(module)))
        raise InputError(field, f"no such class in {module}{hint}", attribute, "module:Class") from None
    if not (isinstance(found, type) and issubclass(found, base)):
        kind = "class" if base is object else f"{base.__module__.partition('.')[0]}.{base.__name__}"
        raise InputError(field, f"is no {kind}", name, "a class" if base is object else f"a subclass of {kind}")
    return found


def require_allowed(module: str, field: str, name: str) -> None:
    """Refuse a module that is neither a library that files may name nor imported by the user's own word.

    :param name: the word that names it, for the error
    :raises InputError: with the flag that imports it
    """
    if not _lies_in(module, [*_LIBRARIES, *_plugins]):
        what = f"names a module that was not imported{did_you_mean(module, _plugins)}"
        raise InputError(field, what, name, f"--import {module.partition('.')[0] or 'MODULE'}")


def _lies_in(module: str, packages: list[str]) -> bool:
    return any(f"{module}.".startswith(f"{package}.") for package in packages)
