"""Each rung has a page with all its parts, and what the pages' own directives show is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from can_i_use import can_i_use, table
from pages import ROOT, blocks, pages
from source_of import source_of

from sb3_course import registry

COURSE = ROOT / "docs" / "course"
RUNGS = [row.name for row in registry.ALGORITHMS.values() if row.source == "sb3_course"] + ["dqn"]
PARTS = (
    "The idea", "The equation", "In our code", "What changes from the rung below", "Watch it learn", "Can I use?",
    "Run it", "Exercise",
)  # fmt: skip


@pytest.mark.parametrize("name", RUNGS)
def test_a_rung_has_a_page_with_every_part(name: str) -> None:
    page = COURSE / f"{name}.md"
    text = page.read_text("utf-8")
    assert tuple(re.findall(r"^## (.*)$", text, re.MULTILINE)) == PARTS
    assert f"```{{can-i-use}} {name}\n" in text
    assert "$$" in text
    picture = re.search(r"!\[.+\]\((.+\.png)\)", text)
    assert picture is not None
    assert 1_000 < (page.parent / picture[1]).stat().st_size < 150_000
    assert any(block.language == "python" for block in blocks(page))
    assert "<details><summary>Answer</summary>" in text
    assert re.search(rf"^{name}$", (COURSE / "index.md").read_text("utf-8"), re.MULTILINE)


def shown() -> list[tuple[Path, str, dict[str, str]]]:
    found = []
    for page in pages():
        for body in re.findall(r"^```\{code-of\} (.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL):
            name, *options = body.strip().splitlines()
            found.append((page, name, dict(re.findall(r"^:(\w+): (.+)$", "\n".join(options), re.MULTILINE))))
    return found


def test_code_is_cut_from_the_source_and_short() -> None:
    assert len(shown()) > 30
    for page, name, options in shown():
        excerpt = source_of(name, options.get("from"), options.get("to"))
        source = (ROOT / excerpt.path).read_text("utf-8").splitlines()
        assert excerpt.text.splitlines()[0].strip() == source[excerpt.line - 1].strip()
        assert 2 <= len(excerpt.text.splitlines()) <= 40, f"{page.name}: {name}"


def test_a_docstring_is_left_out_where_there_is_code() -> None:
    lines = source_of("sb3_course.functional.targets.td_target").text.splitlines()
    assert lines[0] == "def td_target(rewards: Array, discounts: Array, next_values: Array) -> Array:"
    assert lines[1:] == ["    return rewards + discounts * next_values"]
    with pytest.raises(ValueError, match="no_such is not defined there"):
        source_of("sb3_course.functional.targets.no_such")
    with pytest.raises(ValueError, match="no line holds 'nowhere'"):
        source_of("sb3_course.functional.targets.td_target", start="nowhere")


def test_can_i_use() -> None:
    rainbow = can_i_use("rainbow")
    assert [kind for kind, yes in rainbow.actions.items() if yes] == ["Discrete"]
    assert all(rainbow.observations.values())
    assert (rainbow.images, rainbow.recurrent, rainbow.several_envs, rainbow.masks) == (True, False, True, True)
    assert rainbow.backends == ("numpy", "torch")
    assert [kind for kind, yes in can_i_use("q_table").observations.items() if yes] == ["Discrete"]
    assert can_i_use("dqn").masks is False
    assert can_i_use("dqn").backends == ()
    gradient = can_i_use("reinforce").actions
    assert [kind for kind, yes in gradient.items() if yes] == ["Discrete", "Box", "MultiDiscrete", "MultiBinary"]
    assert "| Dict | ❌ | ✔️ |" in table("reinforce")
