"""Every public name has an entry in the reference: what it is, its arguments, what it refuses, where it is from."""

from __future__ import annotations

import importlib
import inspect
import re
from typing import Any

import pytest
from pages import ROOT

import sb3_course
from sb3_course import registry

ROOMS = ("envs", "runs", "tuning", "functional", "replay", "networks")
PACKAGES = ("sb3_course", *(f"sb3_course.{room}" for room in ROOMS))
#: Public names that are no functions and classes: tables and types, whose lines in the source say what they are.
PLAIN = {
    "__version__", "ENVIRONMENTS", "MINATAR", "SPACES", "LOSSES", "RISKS", "Loss",
}  # fmt: skip
PUBLIC = [
    (f"{package}.{name}", getattr(importlib.import_module(package), name))
    for package in PACKAGES
    for name in importlib.import_module(package).__all__
    if name not in PLAIN
]
ALGORITHMS = [row for row in registry.ALGORITHMS.values() if row.source == "sb3_course"]


def texts(thing: Any) -> str:
    """Return the docstrings that say what a call of it takes: its own, and those of what it inherits from."""
    parts = thing.__mro__ if inspect.isclass(thing) else [thing]
    return "\n".join(inspect.getdoc(part) or "" for part in parts if part is not object)


def own_text(thing: Any) -> str:
    """Return its own docstring, not an inherited one."""
    text: str | None = thing.__dict__.get("__doc__") if inspect.isclass(thing) else thing.__doc__
    return inspect.cleandoc(text or "")


def arguments(thing: Any) -> list[str]:
    """Return the names of what a call of it takes."""
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    try:
        parameters = inspect.signature(thing).parameters.values()
    except ValueError:
        return []
    return [each.name for each in parameters if each.kind not in kinds and not each.name.startswith("_")]


def missing(thing: Any) -> list[str]:
    """Return the arguments of which no docstring says a word, in a list or in its text."""
    said = texts(thing)
    listed = set(re.findall(r":param (?:[^\s:]+ )?(\w+):", said)) | set(re.findall(r"`+([\w.]+)", said))
    shapes = set(re.findall(r"(\w+) ?\([A-Z…]", said))
    return [name for name in arguments(thing) if name not in listed | shapes]


@pytest.mark.parametrize("thing", [thing for _, thing in PUBLIC], ids=[name for name, _ in PUBLIC])
def test_what_it_is_and_takes(thing: Any) -> None:
    text = own_text(thing)
    assert re.match(r"\S.*[.:]", text, re.DOTALL), "no sentence"
    refuses = re.search(r"raise (InputError|ValueError|refusal)\b", inspect.getsource(thing))
    said = inspect.getsource(thing) if inspect.isclass(thing) else text
    assert not refuses or ":raises" in said, "it refuses, and does not say so"
    if "sb3_course.functional" in thing.__module__ and not inspect.isclass(thing):
        assert re.search(r"\([A-Z…][^)]*\)", text), "no shapes"
        return
    assert not missing(thing)


@pytest.mark.parametrize("row", ALGORITHMS, ids=lambda row: row.name)
def test_an_algorithm_says_its_idea_its_equation_and_its_source(row: registry.Algorithm) -> None:
    text = own_text(row.load())
    assert re.search(r"\b(19|20)\d\d[ab]?\b", text), "no paper"
    assert "``" in text, "no equation"


def test_every_public_name_is_on_a_page() -> None:
    text = "\n".join(path.read_text("utf-8") for path in (ROOT / "docs" / "api").glob("*.md"))
    whole = set(re.findall(r"automodule:: (\S+)\n   :members:\n   :imported-members:", text))
    assert whole == set(PACKAGES) - {"sb3_course"}
    named = {name.rpartition(".")[2] for name in re.findall(r"auto(?:class|function|exception):: (\S+)", text)}
    elsewhere = {name for package in whole for name in importlib.import_module(package).__all__}
    assert set(sb3_course.__all__) - {"__version__"} <= named | elsewhere
    tables = {name.rpartition(".")[2] for name in re.findall(r"autodata:: (\S+)", text)}
    assert tables == PLAIN - {"__version__"} | {"ALGORITHMS"}
