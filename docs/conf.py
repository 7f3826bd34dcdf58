"""How Sphinx builds these pages: `make docs`. Nothing is fetched from the network, neither here nor by the pages."""

import sys
from pathlib import Path

from sb3_course import __version__

sys.path.insert(0, str(Path(__file__).with_name("_ext")))

project = "sb3_course"
author = "The sb3_course contributors"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "course_docs"]
exclude_patterns = ["_build", "_ext"]
source_suffix = {".md": "markdown"}

highlight_language = "text"  # of blocks that name none: commands

# Markdown: $…$ and $$…$$ are equations, headings have anchors that links may name.
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 4
myst_dmath_double_inline = True

# The text of the API is the docstrings: `x` there is code, and types stand in the code itself.
default_role = "code"
autodoc_typehints = "none"
autodoc_member_order = "bysource"
python_use_unqualified_type_names = True
add_module_names = False
# What has no page here: the bases of our classes, and what docstrings that environments inherit from Gymnasium name.
nitpick_ignore = [
    ("py:class", "collections.abc.Callable"),
    ("py:meth", "render"),
    ("py:exc", "ResetNeeded"),
    ("py:exc", "DependencyNotInstalled"),
]

html_theme = "furo"
html_title = "sb3_course"
html_static_path = ["_static"]
html_css_files = ["course.css"]
html_math_renderer = "mathml"  # of `course_docs`: every browser draws it, without a script
html_show_sphinx = False
html_copy_source = False
