"""The lists that are written by hand agree with each other and with the tree."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from types import ModuleType

import gymnasium.envs.box2d.lunar_lander
import pytest
import stable_baselines3.common.callbacks
import stable_baselines3.common.monitor
from numba.np import linalg
from rl_zoo3.plots import all_plots

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
    lines = (project_root / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert declared(wanted) == {normal(line.split("==")[0]) for line in lines if not line.startswith("#")}


# Declared though nobody imports them here: what the library that does needs of them.
THROUGH = {
    "tqdm": stable_baselines3.common.callbacks,
    "scipy": linalg,
    "pandas": stable_baselines3.common.monitor,
    "box2d": gymnasium.envs.box2d.lunar_lander,
    "seaborn": sys.modules[all_plots.__module__],
}
#: Imported by their names, as text, where one of their games is asked for; OpenCV by SB3's wrappers, as `cv2`.
GAMES = {"ale-py": "atari", "opencv-python-headless": "atari", "minatar": "minatar"}
#: Run by hand, by the Makefile or by a tool.
TOOLS = {"build", "mypy", "pre-commit", "pytest-xdist", "ruff", "setuptools", "types-pyyaml", "types-psutil"}
#: Named in `docs/conf.py`, where Sphinx looks for them.
SITE = {"furo", "myst-parser"}
#: torch's export writes with it.
TOOLS |= {"onnx"}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(words: list[str]) -> set[str]:
    return {normal(re.split(r"[<>=!~;\[ ]", word)[0]) for word in words} - {"sb3-course"}


def imported(*folders: Path) -> set[str]:
    """Return the distributions that the files of some folders import, at once or when something is used."""
    tops = set()
    for path in (path for folder in folders for path in folder.rglob("*.py")):  # does not follow links
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                tops |= {name.name.split(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom):
                tops.add((node.module or "").split(".")[0])
    known = packages_distributions()
    return {normal(known[top][0]) for top in tops if top in known} - {"sb3-course"}


def test_what_is_declared_is_what_is_imported(project_root: Path) -> None:
    project = tomllib.loads((project_root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    always = declared(project["dependencies"])
    extras = {name: declared(words) for name, words in project["optional-dependencies"].items()}
    optional = extras["fast"] | extras["render"] | extras["video"]
    core, tuning = imported(project_root / "sb3_course", project_root / "envs"), imported(project_root / "tuning")
    assert core <= always | optional
    assert tuning - extras["zoo"] - extras["ray"] <= always | extras["tuning"]
    assert extras["ray"] <= tuning
    assert extras["zoo"] <= tuning | set(THROUGH)
    assert extras["postgres"] == {"psycopg"}  # SQLAlchemy imports it for postgresql+psycopg://
    assert extras["track"] <= core | {"wandb", "tensorboard"}  # imported by name, where --track asks for them
    assert {"pillow", "filelock", "torch", "gymnasium"} <= core  # the search finds something
    assert always | optional == core | (set(THROUGH) & (always | optional))
    assert extras["tuning"] <= tuning | set(THROUGH)
    assert extras["box2d"] <= set(THROUGH) - core - tuning  # Gymnasium's environments want it, we do not
    assert extras["atari"] | extras["minatar"] == GAMES.keys() - core - tuning
    assert extras.keys() == {
        "render",
        "box2d",
        "video",
        "fast",
        "tuning",
        "zoo",
        "postgres",
        "ray",
        "track",
        "docs",
        "dev",
        *GAMES.values(),
    }  # none is left out
    tests = imported(project_root / "tests", project_root / "benchmarks", project_root / "docs")
    peers = imported(project_root / "benchmarks" / "peers")
    assert tests - peers <= always | set().union(*extras.values())
    assert extras["docs"] == (tests & extras["docs"]) | SITE
    assert extras["dev"] == ((tests | set(THROUGH)) & extras["dev"]) | TOOLS


def test_what_is_declared_for_another_library_is_imported_by_it() -> None:
    for name, module in THROUGH.items():
        text = Path(str(module.__file__)).read_text(encoding="utf-8")
        assert re.search(rf"(import|find_spec\(.)\W*{name}|from {name}", text, re.IGNORECASE), name


def test_every_installation_is_the_fast_one_where_there_are_wheels(project_root: Path) -> None:
    project = tomllib.loads((project_root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    marked = dict(line.split("; ") for line in project["dependencies"] if ";" in line)
    assert {normal(wanted.split(">")[0]) for wanted in marked} == {"numba", "scipy"}
    for marker in marked.values():
        least = re.fullmatch(r"implementation_name == 'cpython' and python_version < '3\.(\d+)'", marker)
        assert least is not None
        assert int(least[1]) > 13  # every version that is promised
    makefile = (project_root / "Makefile").read_text(encoding="utf-8")
    recipe = re.search(r"^\.venv/ready:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    assert recipe is not None
    assert re.search(r"\$\(PIP\).* -e \.\n", recipe[1])  # what everybody gets, and no extra


def test_the_versions_of_python_are_those_that_are_promised(project_root: Path) -> None:
    project = tomllib.loads((project_root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    prefix = "Programming Language :: Python :: 3."
    minors = [int(word.removeprefix(prefix)) for word in project["classifiers"] if word.startswith(prefix)]
    assert minors == [11, 12, 13]
    assert project["requires-python"] == f">=3.{minors[0]}"
    assert f'python_version = "3.{minors[0]}"' in (project_root / "pyproject.toml").read_text(encoding="utf-8")
    readme = (project_root / "README.md").read_text(encoding="utf-8")
    assert f"Python 3.{minors[0]} to 3.{minors[-1]}" in readme


def test_what_people_type_takes_torch_for_the_cpu(project_root: Path) -> None:
    readme = (project_root / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```\w*\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    installing = [line for block in blocks for line in block.splitlines() if "pip install" in line]
    index = "https://download.pytorch.org/whl/cpu"
    assert installing
    assert all(f"--extra-index-url {index}" in line for line in installing)
    makefile = (project_root / "Makefile").read_text(encoding="utf-8")
    assert f"TORCH_INDEX ?= {index}\n" in makefile
    for stamp in (".venv/ready", ".venv/ready-dev"):
        assert re.search(rf"^{re.escape(stamp)}: .*\.venv/torch", makefile, re.MULTILINE), stamp


def test_version_is_the_same_everywhere(project_root: Path) -> None:
    assert f"\nversion: {sb3_course.__version__}\n" in (project_root / "CITATION.cff").read_text(encoding="utf-8")
    assert "\n## [Unreleased]\n" in (project_root / "CHANGELOG.md").read_text(encoding="utf-8")
