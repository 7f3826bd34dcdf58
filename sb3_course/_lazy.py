"""Public names of a package that are imported at their first use, so that importing the package is cheap."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def lazy(
    package: dict[str, Any], homes: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return the ``__getattr__``, ``__dir__`` and ``__all__`` of a package (PEP 562).

    Type checkers do not run this: each package names the same imports once more under ``TYPE_CHECKING``.

    :param package: its ``globals()``, where a name stays once it has been used
    :param homes: module -> the names that live in it, in one string
    """
    table = {name: module for module, names in homes.items() for name in names.split()}

    def get(name: str) -> Any:
        if name not in table:
            raise AttributeError(f"module {package['__name__']!r} has no attribute {name!r}")
        package[name] = value = getattr(importlib.import_module(table[name]), name)
        return value

    return get, lambda: sorted({*package, *table}), sorted(table)
