"""The package's sources, for tests that read them."""

import ast
from pathlib import Path


def package_files(root: Path) -> dict[str, Path]:
    """Return the file of each module by its full name."""
    found = {}
    for folder, package in (("sb3_course", "sb3_course"), ("envs", "sb3_course.envs"), ("tuning", "sb3_course.tuning")):
        for path in sorted((root / folder).rglob("*.py")):  # does not follow the two links
            parts = path.relative_to(root / folder).with_suffix("").parts
            found[".".join((package, *parts)).removesuffix(".__init__")] = path
    return found


def dotted(node: ast.AST) -> str:
    """Return `a.b.c` for such an expression, else an empty string."""
    if isinstance(node, ast.Name):
        return node.id
    prefix = dotted(node.value) if isinstance(node, ast.Attribute) else ""
    return f"{prefix}.{node.attr}" if isinstance(node, ast.Attribute) and prefix else ""
