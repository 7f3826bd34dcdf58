"""What a page names has an entry in the reference: each name that its Python imports, and each dotted name."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from api_entries import API, entries, resolved
from pages import ROOT, blocks, pages

from sb3_course.config.commands import COMMANDS

WRITTEN = [page for page in pages() if page.parent != API]
#: Directives: those of the reference are entries, and `code-of` shows the source itself, whatever it is of;
#: `code-block` is what a reader adds to it, in `docs/extending.md`.
DIRECTIVES = r"^```\{(?:eval-rst|code-of|code-block)\}.*?^```"
#: What `python -m` starts, which the guide describes.
STARTED = {f"sb3_course.{name}" for name in COMMANDS}


def has_entry(name: str) -> bool:
    modules, things = entries()
    if name in modules | STARTED | {"sb3_course"}:
        return True
    thing = resolved(name)
    asked = public(thing) if isinstance(thing, ModuleType) else [thing]
    return bool(asked) and all(any(each is known for known in things) for each in asked)


def public(module: ModuleType) -> list[Any]:
    """Return the functions and classes that a module defines for others."""
    named = [thing for name, thing in vars(module).items() if not name.startswith("_")]
    return [thing for thing in named if getattr(thing, "__module__", None) == module.__name__]


def imported(page: Path) -> Iterator[str]:
    """Yield the dotted names that the Python blocks of a page import or use."""
    for block in blocks(page):
        if block.language == "python":
            for node in ast.walk(ast.parse(block.text)):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sb3_course"):
                    yield from (f"{node.module}.{each.name}" for each in node.names)
                elif isinstance(node, ast.Import):
                    yield from (each.name for each in node.names if each.name.startswith("sb3_course"))
                elif isinstance(node, ast.Attribute) and ast.unparse(node).startswith("sb3_course."):
                    yield ast.unparse(node)


def named(page: Path) -> Iterator[str]:
    """Yield the dotted names in the text of a page."""
    text = re.sub(rf"{DIRECTIVES}|^```python\n.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    yield from re.findall(r"\bsb3_course(?:\.\w+)+", text.replace("sb3_course.COMMAND", ""))
    yield from in_short(text)


def in_short(text: str) -> Iterator[str]:
    """Yield what stands as `module.name` in a text, a name of a module in a room that the reference describes."""
    for module, name in re.findall(r"`(\w+)\.([A-Za-z]\w*)", text):
        for room in entries()[0]:
            path = f"{room}.{module}"
            if ROOT.joinpath(*room.split("."), f"{module}.py").is_file():
                thing = getattr(import_module(path), name, import_module)
                if not isinstance(thing, ModuleType) and thing is not import_module:
                    yield f"{path}.{name}"


def test_what_pages_import_has_an_entry() -> None:
    found = {name: page.name for page in WRITTEN for name in imported(page)}
    assert len(found) > 40
    assert not {name: page for name, page in found.items() if not has_entry(name)}


def test_what_pages_name_has_an_entry() -> None:
    found = {name: page.name for page in WRITTEN if page.name != "architecture.md" for name in named(page)}
    assert len(found) > 10
    found |= dict.fromkeys(in_short((ROOT / "CHANGELOG.md").read_text("utf-8")), "CHANGELOG.md")
    assert "sb3_course.envs.planning.soft_value_iteration" in found
    assert not {name: page for name, page in found.items() if not has_entry(name)}


def test_what_may_be_called_by_hand_has_an_entry() -> None:
    called = re.findall(r"`(\w+)\(\)` may be called by hand", (ROOT / "docs" / "architecture.md").read_text("utf-8"))
    assert called
    assert set(called) <= {getattr(thing, "__name__", "") for thing in entries()[1]}


def test_a_name_without_an_entry_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "`sb3_course.value.learning.Learner.update`, `python -m sb3_course.train`, `sb3_course.envs`\n\n"
        "```python\nfrom sb3_course.value.learning import Learner\nimport sb3_course.value.learning\n```\n"
    )
    assert [name for name in named(page) if not has_entry(name)] == ["sb3_course.value.learning.Learner.update"]
    monkeypatch.setattr("pages.ROOT", tmp_path)
    assert [name for name in imported(page) if not has_entry(name)] == [
        "sb3_course.value.learning.Learner", "sb3_course.value.learning",
    ]  # fmt: skip
