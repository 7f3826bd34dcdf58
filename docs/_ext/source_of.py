"""The source of a name in the package, without its docstring: what the pages show is what runs."""

from __future__ import annotations

import ast
import textwrap
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
LEFT_OUT = "# …"
_NAMED = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


class Excerpt(NamedTuple):
    """Lines of a file."""

    path: str  # from the top of the repository
    line: int  # the first that is shown, from 1
    text: str


def source_of(name: str, start: str | None = None, end: str | None = None) -> Excerpt:
    """Return the lines that define `name`, or a part of them.

    A docstring is left out, unless it is all that the definition holds. A comment stands where `start` or `end` leaves
    out lines: nobody should take a part for the whole.

    :param name: of a function, a class, a method or a constant, dotted, from the package on
    :param start: text in the first line to show; by default the first line there is
    :param end: text in the last line to show, looked for from `start` on
    :raises ValueError: for a name or a text that is not there
    """
    file, inner = _file_of(name)
    lines = file.read_text("utf-8").splitlines()
    node = _find(ast.parse("\n".join(lines)), inner, name)
    first = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", []))])
    last = node.end_lineno or first
    docstring, alone = _docstring(node), len(getattr(node, "body", [])) == 1
    whole = [n for n in range(first, last + 1) if alone or n not in docstring]
    numbers = whole if start is None else whole[_at(lines, whole, start, name) :]
    if end is not None:
        numbers = numbers[: _at(lines, numbers, end, name) + 1]
    shown = [lines[n - 1] for n in numbers]
    if numbers[0] != whole[0]:
        shown.insert(0, _indent(shown[0]) + LEFT_OUT)
    if any(n > numbers[-1] and n not in docstring for n in whole):
        shown.append(_indent(shown[-1]) + LEFT_OUT)
    return Excerpt(file.relative_to(ROOT).as_posix(), numbers[0], textwrap.dedent("\n".join(shown)).strip("\n"))


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _file_of(name: str) -> tuple[Path, list[str]]:
    parts = name.split(".")
    for n in range(len(parts) - 1, 0, -1):
        folder = ROOT.joinpath(*parts[:n])
        for file in (folder.with_suffix(".py"), folder / "__init__.py"):
            if file.is_file():
                return Path(*_without_link(file)), parts[n:]
    raise ValueError(f"{name}: no such module")


def _without_link(file: Path) -> tuple[str, ...]:
    return file.resolve().parts  # sb3_course/envs is a link to envs


def _find(tree: ast.Module, inner: list[str], name: str) -> ast.stmt:
    body: list[ast.stmt] = tree.body
    for part in inner:
        found = next((node for node in body if part in _names(node)), None)
        if found is None:
            raise ValueError(f"{name}: {part} is not defined there")
        body = getattr(found, "body", [])
    return found


def _names(node: ast.stmt) -> set[str]:
    if isinstance(node, _NAMED):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return {target.id for target in targets if isinstance(target, ast.Name)}


def _docstring(node: ast.stmt) -> range:
    body = getattr(node, "body", [])
    if not (body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant)):
        return range(0)
    last = body[0].end_lineno or body[0].lineno
    blank = len(body) > 1 and body[1].lineno > last + 1  # the empty line after it goes too
    return range(body[0].lineno, last + 1 + blank)


def _at(lines: list[str], numbers: list[int], text: str, name: str) -> int:
    for index, number in enumerate(numbers):
        if text in lines[number - 1]:
            return index
    raise ValueError(f"{name}: no line holds {text!r}")
