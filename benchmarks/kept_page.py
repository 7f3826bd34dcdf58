"""Pages that a script writes: the tables are made anew, and what a person has concluded below them stays."""

from __future__ import annotations

from pathlib import Path

#: From this heading on a page is written by hand.
BY_HAND = "## What this shows, and what not"


def write_tables(page: Path, parts: list[str]) -> None:
    """Write a page's parts, one blank line between them, above what is written by hand."""
    from sb3_course.saving.files import atomic_write

    found = page.read_text(encoding="utf-8") if page.exists() else ""
    start = found.find(BY_HAND)
    kept = found[start:] if start >= 0 else f"{BY_HAND}\n\nNobody has looked at it yet.\n"
    atomic_write(page, "\n\n".join([*(part.strip() for part in parts), kept]))
    print(f"page: {page}")


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table; all columns but the first are set to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
