"""The lists that are written by hand agree with each other and with the tree."""

import ast
import re
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

import sb3_course
import sb3_course.runs
import sb3_course.tuning

LAZY = [sb3_course, sb3_course.runs, sb3_course.tuning]


def test_every_package_folder_is_listed(project_root: Path) -> None:
    settings = tomllib.loads((project_root / "pyproject.toml").read_text(encoding="utf-8"))
    found = set()
    for folder in ("sb3_course", "envs", "tuning"):
        top = folder if folder == "sb3_course" else f"sb3_course.{folder}"
        for path in (project_root / folder).rglob("__init__.py"):  # does not follow links
            found.add(".".join((top, *path.parent.relative_to(project_root / folder).parts)))
    assert found == set(settings["tool"]["setuptools"]["packages"])


@pytest.mark.parametrize("package", LAZY, ids=lambda package: package.__name__)
def test_public_names(package: ModuleType) -> None:
    assert set(package.__all__) <= set(dir(package))
    for name in package.__all__:
        assert getattr(package, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'NoSuchName'"):
        _ = package.NoSuchName


@pytest.mark.parametrize("package", LAZY, ids=lambda package: package.__name__)
def test_type_checkers_see_the_names_that_are_imported_at_first_use(package: ModuleType) -> None:
    tree = ast.parse(Path(str(package.__file__)).read_text(encoding="utf-8"))
    checked = next(node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    imported = {
        (node.module, name.name, name.asname)
        for node in checked.body
        if isinstance(node, ast.ImportFrom)
        for name in node.names
    }
    table = next(ast.literal_eval(node) for node in ast.walk(checked.orelse[0]) if isinstance(node, ast.Dict))
    lazy = {(module, name, name) for module, names in table.items() for name in names.split()}
    assert imported == lazy - {("sb3_course._version", "__version__", "__version__")}  # which is cheap: at once


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
