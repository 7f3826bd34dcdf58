"""The lists that are written by hand agree with each other and with the tree."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

import sb3_course


def test_every_package_folder_is_listed(project_root: Path) -> None:
    settings = tomllib.loads((project_root / "pyproject.toml").read_text(encoding="utf-8"))
    found = set()
    for folder in ("sb3_course", "envs", "tuning"):
        top = folder if folder == "sb3_course" else f"sb3_course.{folder}"
        for path in (project_root / folder).rglob("__init__.py"):  # does not follow links
            found.add(".".join((top, *path.parent.relative_to(project_root / folder).parts)))
    assert found == set(settings["tool"]["setuptools"]["packages"])


def test_public_names() -> None:
    assert set(sb3_course.__all__) == {*sb3_course._PUBLIC, "__version__"}
    assert set(sb3_course.__all__) <= set(dir(sb3_course))
    for name in sb3_course.__all__:
        assert getattr(sb3_course, name) is not None
    tree = ast.parse(Path(sb3_course.__file__).read_text(encoding="utf-8"))
    checked = next(node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    imported = {
        name.name: f"{node.module}:{name.name}"
        for node in checked.body
        if isinstance(node, ast.ImportFrom)
        for name in node.names
    }
    assert imported == sb3_course._PUBLIC
    with pytest.raises(AttributeError, match="no attribute 'NoSuchName'"):
        _ = sb3_course.NoSuchName


def test_every_direct_dependency_is_pinned(project_root: Path) -> None:
    project = tomllib.loads((project_root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [
        *project["dependencies"],
        *(name for extra in project["optional-dependencies"].values() for name in extra),
    ]
    names = {re.split(r"[<>=\[]", name)[0].lower() for name in wanted} - {"sb3_course"}
    lines = (project_root / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert names == {line.split("==")[0].lower() for line in lines if not line.startswith("#")}


def test_version_is_the_same_everywhere(project_root: Path) -> None:
    assert f"\nversion: {sb3_course.__version__}\n" in (project_root / "CITATION.cff").read_text(encoding="utf-8")
    assert "\n## [Unreleased]\n" in (project_root / "CHANGELOG.md").read_text(encoding="utf-8")
