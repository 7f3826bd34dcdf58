"""What Sphinx learns for these pages: code shown from the source, "Can I use?" tables, and equations as MathML."""

from __future__ import annotations

from typing import Any, ClassVar

from can_i_use import table
from docutils import nodes
from docutils.parsers.rst import directives
from docutils.utils.math import MathError, latex2mathml
from source_of import ROOT, source_of
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

_LOG = logging.getLogger(__name__)


class CodeOf(SphinxDirective):
    """Show the source of a name, with the file it stands in as a caption."""

    required_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = {"from": directives.unchanged_required, "to": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        """Return the block."""
        name = self.arguments[0]
        try:
            excerpt = source_of(name, self.options.get("from"), self.options.get("to"))
        except ValueError as error:
            raise self.error(str(error)) from None
        self.env.note_dependency(str(ROOT / excerpt.path))
        code = nodes.literal_block(excerpt.text, excerpt.text, language="python")
        self.set_source_info(code)
        caption = nodes.caption("", "", nodes.Text(f"{excerpt.path}, line {excerpt.line}"))
        return [nodes.container("", caption, code, literal_block=True, classes=["literal-block-wrapper"])]


class CanIUse(SphinxDirective):
    """Show what an algorithm of the registry can be used with."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        return self.parse_text_to_nodes(table(self.arguments[0]))


def _mathml(node: Any, block: bool) -> str:
    try:
        return latex2mathml.tex2mathml(node.astext(), as_block=block)
    except MathError as error:
        _LOG.warning("equation: %s in %s", error, node.astext(), location=node, type="course", subtype="math")
        return ""


def visit_math(self: Any, node: nodes.math) -> None:
    """Write an equation within a line."""
    self.body.append(_mathml(node, block=False))
    raise nodes.SkipNode


def visit_math_block(self: Any, node: nodes.math_block) -> None:
    """Write an equation by itself."""
    self.body.append(f'<div class="course-math">{_mathml(node, block=True)}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Enter all of it."""
    app.add_directive("code-of", CodeOf)
    app.add_directive("can-i-use", CanIUse)
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math_block, None))
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
