"""Each rung has a page with all its parts, and what the pages' own directives show is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from can_i_use import can_i_use, table
from matplotlib import style
from matplotlib.figure import Figure
from pages import ROOT, blocks, pages
from PIL import Image
from source_of import LEFT_OUT, source_of

from sb3_course import registry

COURSE = ROOT / "docs" / "course"
RUNGS = [row.name for row in registry.ALGORITHMS.values() if row.source == "sb3_course"] + ["dqn"]
PARTS = (
    "The idea", "The equation", "In our code", "What changes from the rung below", "Watch it learn", "Can I use?",
    "Run it", "Exercise",
)  # fmt: skip


#: A sheet with axes alone has 97 % of one colour, the emptiest of the curves 94 %.
MOST_OF_ONE_COLOUR = 0.96
#: What the idea takes, with the marks of what is left out. A cut that needs more wants `:from:` and `:to:`.
LINES = 15


def check_picture(path: Path) -> None:
    """Ask that a picture can be read on a page, shows something, and is quickly loaded."""
    assert path.stat().st_size < 150_000
    with Image.open(path) as image:
        assert image.width >= 600, f"{path.name} is a thumbnail"
        counts = [count for count, _ in image.convert("RGB").getcolors(image.width * image.height)]
        assert max(counts) < MOST_OF_ONE_COLOUR * image.width * image.height, f"{path.name} is empty"


@pytest.mark.parametrize("name", RUNGS)
def test_a_rung_has_a_page_with_every_part(name: str) -> None:
    page = COURSE / f"{name}.md"
    text = page.read_text("utf-8")
    assert tuple(re.findall(r"^## (.*)$", text, re.MULTILINE)) == PARTS
    assert f"```{{can-i-use}} {name}\n" in text
    assert "$$" in text
    picture = re.search(r"!\[.+\]\((.+\.png)\)", text)
    assert picture is not None
    check_picture(page.parent / picture[1])
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
        lines = excerpt.text.splitlines()
        code = [line.strip() for line in lines if line.strip() != LEFT_OUT]
        assert code[0] == source[excerpt.line - 1].strip()
        assert len(code) >= 2, f"{page.name}: {name}"
        assert len(lines) <= LINES, f"{page.name}: {name}"


def test_an_empty_picture_and_a_thumbnail_are_none(tmp_path: Path) -> None:
    with style.context("default"):  # packages that other tests import set a theme
        figure = Figure((7.04, 3.52))
        axes = figure.subplots()
        figure.savefig(tmp_path / "axes.png")
        axes.fill_between([0, 1], [0, 1])
        figure.savefig(tmp_path / "small.png", dpi=50)
        figure.savefig(tmp_path / "curve.png")
    Image.new("RGB", (704, 352), "white").save(tmp_path / "white.png")
    check_picture(tmp_path / "curve.png")
    for name, said in {"axes": "is empty", "white": "is empty", "small": "is a thumbnail"}.items():
        with pytest.raises(AssertionError, match=f"{name}.png {said}"):
            check_picture(tmp_path / f"{name}.png")


def test_a_cut_says_what_it_leaves_out() -> None:
    name = "sb3_course.functional.targets.td_target"
    assert LEFT_OUT not in source_of(name).text
    assert source_of(name, start="return").text.splitlines() == [LEFT_OUT, "return rewards + discounts * next_values"]
    head, mark = source_of(name, end="def").text.splitlines()
    assert (head[:14], mark) == ("def td_target(", LEFT_OUT)
    row = "sb3_course.value.value_family.DuelingDQN"  # a docstring is all that it holds
    assert len(source_of(row).text.splitlines()) > 4
    assert source_of(row, end="class").text.splitlines()[1:] == ["class DuelingDQN(ValueAlgorithm, dueling=True):"]


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
