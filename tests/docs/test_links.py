"""Every link of every page leads to a file that is there, and to a heading that the file has."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from pages import ROOT, every_page, prose

#: `[text](target)`, `[name]: target` and the tags of pictures.
LINK = re.compile(r"""\]\(<?([^)\s>]+)[^)]*\)|^\[[^\]^]+\]: (\S+)|(?:src|href)="([^"]+)\"""", re.MULTILINE)


@cache
def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub and MyST give the headings of a page."""
    seen: Counter[str] = Counter()
    found = set()
    for heading in re.findall(r"^#{1,6} +(.+?) *#*$", prose(page), re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", words.strip().lower()).replace(" ", "-")
        found.add(f"{name}-{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return found


def links(page: Path) -> Iterator[str]:
    """Yield what a page's links lead to in this repository."""
    for match in LINK.finditer(re.sub(r"(`+)(?:(?!\1).)+\1", "`", prose(page))):
        link = next(filter(None, match.groups()))
        if not re.match(r"https?://|mailto:", link):
            yield link


@pytest.mark.parametrize("page", every_page(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_file(), f"{link}: no such file"
        assert target.is_relative_to(ROOT), f"{link}: outside"
        assert not anchor or anchor in anchors(target), f"{link}: no such heading"


def test_links_and_headings_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A `b` [c](d.md), e's\n```\n# no heading [no](link.md)\n```\n## Twice\n## Twice\n"
        '[![p](q.png)](r.md#s) `[x](y.md)` [web](https://example.org)\n[ref]: t.md\n<img src="u.png">\n'
    )
    assert anchors(page) == {"a-b-c-es", "twice", "twice-1"}
    assert [*links(page)] == ["d.md", "q.png", "r.md#s", "t.md", "u.png"]
    assert sum(1 for each in every_page() for _ in links(each)) > 200
