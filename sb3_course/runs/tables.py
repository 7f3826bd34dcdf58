"""CSV files that survive a kill: rows are appended and flushed, and a torn last line is ignored and repaired."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from sb3_course.saving.files import atomic_write


def read_table(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file, without the last line if a killed process left it unfinished.

    :param path: the file; a missing one has no rows
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    rows = list(csv.reader(io.StringIO(whole_lines(data).decode("utf-8", errors="replace"))))
    if not rows:
        return []
    header = rows[0]
    return [dict(zip(header, row, strict=False)) for row in rows[1:] if row]


def whole_lines(data: bytes) -> bytes:
    """Return what a file holds, less a last line without its newline: a kill has torn it."""
    return data[: data.rfind(b"\n") + 1]


class Table:
    """A CSV file that grows by rows; a new column rewrites it whole, atomically.

    :param path: the file; rows already in it are kept
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._columns: list[str] = []
        existing = read_table(path)
        if path.exists():
            self._columns = list(existing[0]) if existing else []
            self._rewrite(existing)

    def append(self, row: Mapping[str, Any]) -> None:
        """Add one row and hand it to the operating system before returning."""
        new = [name for name in row if name not in self._columns]
        if new or not self.path.exists():
            rows = read_table(self.path)
            self._columns += new
            self._rewrite([*rows, {name: _cell(value) for name, value in row.items()}])
            return
        whole = self.path.stat().st_size
        try:
            with open(self.path, "a", encoding="utf-8", newline="") as file:
                file.write(self._lines([row]))
        except OSError:
            with suppress(OSError):  # a full disk took half of the row
                os.truncate(self.path, whole)
            raise

    def keep(self, wanted: Callable[[dict[str, str]], bool]) -> None:
        """Drop every row that `wanted` refuses, atomically."""
        if self.path.exists():
            self._rewrite([row for row in read_table(self.path) if wanted(row)])

    def get_state(self) -> dict[str, Any]:
        """Return how far the file has come: its columns, and how many rows it has."""
        rows = read_table(self.path)
        return {"rows": len(rows), "columns": list(rows[0]) if rows else []}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Cut the file back to that: what came later is going to be written again."""
        if self.path.exists():
            rows = read_table(self.path)[: state["rows"]]
            self._columns = list(state["columns"])
            self._rewrite(rows)

    def _rewrite(self, rows: Iterable[Mapping[str, Any]]) -> None:
        header = self._lines([dict(zip(self._columns, self._columns, strict=True))]) if self._columns else ""
        atomic_write(self.path, (header + self._lines(rows)).encode("utf-8"))

    def _lines(self, rows: Iterable[Mapping[str, Any]]) -> str:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        for row in rows:
            writer.writerow([_cell(row.get(name, "")) for name in self._columns])
        return text.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return str(value.item() if hasattr(value, "item") and getattr(value, "size", 0) == 1 else value)
