"""Tables for a terminal: rows of words below each other."""

from __future__ import annotations

from collections.abc import Sequence


def columns(rows: Sequence[Sequence[object]]) -> str:
    """Return rows as lines in which each column begins below its title, two blanks behind the one before.

    :param rows: the titles first; all of one length
    """
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) + 2 for column in zip(*cells, strict=True)]
    lines = ("".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in cells)
    return "\n".join(map(str.rstrip, lines))
