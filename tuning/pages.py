"""Figures, values and templates made into pages: inline SVG, HTML and Markdown in which every value is escaped."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from sb3_course.config.yaml_files import dump_yaml
from sb3_course.tuning.plots import GRID, INK, MUTED, PAPER, house_style, number
from sb3_course.tuning.statistics import Reached

#: What a page may colour in its own way, dark for instance.
_VARIABLES = {INK: "var(--ink)", MUTED: "var(--muted)", GRID: "var(--grid)", PAPER: "var(--paper)"}


# ------------------------------------------------------------------------------------------------- SVG and PNG


def to_svg(figure: Figure, name: str, title: str) -> str:
    """Return a figure as an `<svg>` to stand inside a page: no ids but its own, no metadata, no fixed size.

    :param figure: drawn by `plots.drawing`
    :param name: begins every id; another one for each figure of a page
    :param title: what the picture shows, for those who cannot see it
    """
    buffer = io.BytesIO()
    with house_style():
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    root = ElementTree.fromstring(buffer.getvalue())
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.endswith(("}metadata", "}style")):
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = {key.rpartition("}")[2]: _local(value, key, name) for key, value in element.attrib.items()}
        element.tail = None if element.tag != "tspan" else element.tail
    view = root.attrib["viewBox"]
    root.attrib = {"viewBox": view, "role": "img", "aria-labelledby": f"{name}-title", "class": "figure"}
    heading = ElementTree.Element("title", {"id": f"{name}-title"})
    heading.text = title
    root.insert(0, heading)
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=False)


def _local(value: str, key: str, name: str) -> str:
    """Return an attribute with its ids prefixed by `name` and the page's colours in the place of ours."""
    if key == "id":
        return f"{name}-{value}"
    value = value.replace("url(#", f"url(#{name}-")
    if key.endswith("}href"):
        return value.replace("#", f"#{name}-", 1)
    if key == "style":
        for colour, variable in _VARIABLES.items():
            value = value.replace(colour, variable)
    return value


def to_png(figure: Figure, dpi: int = 120) -> bytes:
    """Return a figure as the bytes of a PNG on white paper.

    :param figure: drawn in `house_style`
    :param dpi: pixels of an inch
    """
    buffer = io.BytesIO()
    with house_style():
        figure.savefig(buffer, format="png", dpi=dpi, facecolor=PAPER, metadata={"Software": None})
    return buffer.getvalue()


def picture(name: str, title: str, caption: str, figure: Figure) -> dict[str, Any]:
    """Return what the template of a page takes for one picture.

    :param name: another one for each picture of a page
    :param title: of the picture
    :param caption: how to read it
    :param figure: drawn by `plots.drawing`
    """
    svg = Markup(to_svg(figure, f"figure-{name}", title))
    return {"name": name, "title": title, "caption": caption, "svg": svg}


# ---------------------------------------------------------------------------------------------------- templates


def seed_ranges(seeds: Iterable[int]) -> str:
    """Return `0–4, 7 (6)`: ranges, and how many there are."""
    ordered = sorted(seeds)
    ranges: list[list[int]] = []
    for seed in ordered:
        if ranges and seed == ranges[-1][-1] + 1:
            ranges[-1][1:] = [seed]
        else:
            ranges.append([seed])
    return f"{', '.join('–'.join(map(str, each)) for each in ranges) or 'none'} ({len(ordered)})"


def _yaml(settings: Mapping[str, Any]) -> str:
    return dump_yaml(settings) if settings else "# nothing: the constructor's own values\n"


def reached(found: Reached | None) -> str:
    """Return the median until a threshold, or `> 10,000`: at least half of the runs went so far without it."""
    if found is None or (found.spent is None and not np.isfinite(found.median)):
        return "–"
    return number(found.median) if np.isfinite(found.median) else f"> {number(found.spent or 0.0)}"


def standing_words(standing: Sequence[tuple[str, Sequence[str]]]) -> str:
    """Return what `Part.standing` found as one line: `better than a2c, ppo; not shown against dqn`."""
    found = (f"{word} {'against' if word == 'not shown' else 'than'} {', '.join(names)}" if names else word
             for word, names in standing)  # fmt: skip
    return "; ".join(found) or "–"


def _value(value: float | None) -> str:
    return "–" if value is None or not np.isfinite(value) else f"{value:,.5g}" if abs(value) < 1e5 else f"{value:,.0f}"


def _setting(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _breakable(text: str) -> Markup:
    """Return a label that a narrow page may break after each underscore."""
    return Markup("_<wbr>").join(text.split("_"))


class _Ready(str):
    """Markdown that needs no more escaping."""


def _escape(value: Any) -> str:
    """Return text that Markdown shows as it is, on one line, even inside a table."""
    if isinstance(value, _Ready):
        return value
    line = re.sub(r"([\\`*\[\]<>|&$~#!])", r"\\\1", " ".join(str(value).split()))
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", line)  # `double_dqn` is safe as it is


def _block(text: str) -> str:
    """Return lines as a Markdown block of code, which nothing inside can end."""
    return _Ready("\n".join(f"    {line}" for line in text.splitlines()))


def _environment(finalize: Callable[[Any], Any] | None = None) -> Environment:
    made = Environment(
        loader=PackageLoader("sb3_course.tuning"), autoescape=finalize is None, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, finalize=finalize,
    )  # fmt: skip
    made.filters.update(
        yaml=_yaml,
        value=_value,
        reached=reached,
        block=_block,
        setting=_setting,
        standing=standing_words,
        breakable=_breakable,
    )
    return made


def render(template: str, **context: Any) -> str:
    """Fill in a template; HTML and Markdown both escape every value by themselves."""
    environment = _environment(None if template.endswith(".html") else _escape)
    text = environment.get_template(template).render(**context)
    return text.encode(errors="replace").decode()  # half a surrogate pair, from an odd path, would stop the writing
