"""What the reference in `docs/api` has an entry for."""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module
from typing import Any

from pages import ROOT

API = ROOT / "docs" / "api"


@cache
def entries() -> tuple[set[str], list[Any]]:
    """Return the modules that the reference describes as a whole, and the things that have an entry."""
    text = "\n".join(path.read_text("utf-8") for path in sorted(API.glob("*.md")))
    modules, things, current = set(), [], ""
    for kind, name, options in re.findall(r"^\.\. (\w+):: (\S+)\n((?:   :.*\n)*)", text, re.MULTILINE):
        if kind == "currentmodule":
            current = name
        elif kind == "automodule":
            modules.add(name)
            listed = re.search(r":members: (.+)", options)
            names = listed[1].split(", ") if listed else import_module(name).__all__
            things += [getattr(import_module(name), each) for each in names]
        else:
            things.append(resolved(name if name.startswith("sb3_course.") else f"{current}.{name}"))
    return modules, things


def resolved(name: str) -> Any:
    """Return what a dotted name means; a member of a class stands for the class, where its entry is."""
    thing: Any = import_module("sb3_course")
    path = "sb3_course"
    for part in name.split(".")[1:]:
        path = f"{path}.{part}"
        if not hasattr(thing, part):
            import_module(path)
        if isinstance(thing, type):
            assert hasattr(thing, part), f"{name}: no such member"
            return thing
        thing = getattr(thing, part)
    return thing
