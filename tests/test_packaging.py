"""The package as people get it: in a checkout, installed, as a wheel, as a source archive, without links."""

import os
import shutil
import site
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import sb3_course

FOLDERS = ("sb3_course", "envs", "tuning")
FILES = ("pyproject.toml", "README.md", "LICENSE", "MANIFEST.in", "CHANGELOG.md", "CITATION.cff", "constraints.txt")
LINKS = {"sb3_course/envs": "../envs", "sb3_course/tuning": "../tuning"}

USE = """
import gymnasium, sys
import sb3_course, sb3_course.envs, sb3_course.tuning
from sb3_course import GridWorldEnv
env = gymnasium.make("sb3_course/GridWorld-v0")
assert type(env.unwrapped) is GridWorldEnv is sys.modules["sb3_course.envs.grid_world"].GridWorldEnv
env.reset(seed=0)
print(sb3_course.__file__)
print(sb3_course.envs.__file__)
"""

SHORT_NAMES_ARE_ALIASES = """
import importlib, sys
{first}
import envs, envs.grid_world, tuning
from envs.grid_world import GridWorldEnv
from envs import bandit
import sb3_course.envs.bandit, sb3_course.envs.grid_world, sb3_course.tuning
assert envs is sb3_course.envs is sys.modules["envs"]
assert envs.grid_world is sb3_course.envs.grid_world is sys.modules["envs.grid_world"]
assert bandit is sb3_course.envs.bandit
assert GridWorldEnv is sb3_course.GridWorldEnv and GridWorldEnv.__module__ == "sb3_course.envs.grid_world"
assert envs.grid_world.__spec__.name == "sb3_course.envs.grid_world"
assert tuning is sb3_course.tuning
try:
    importlib.import_module("envs.no_such_module")
except ModuleNotFoundError as error:
    assert error.name == "envs.no_such_module"
else:
    raise AssertionError("envs.no_such_module was found")
"""

BUILD_EDITABLE = "import sys, setuptools.build_meta as build; build.build_editable(sys.argv[1])"


def run(*command: str | Path, cwd: Path, **environment: str | Path) -> str:
    """Run a command to its end and return what it printed; show what it printed when it fails."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "GIT_"))}
    settings = clean | {name: str(value) for name, value in environment.items()}
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, env=settings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def python(code: str, cwd: Path, **environment: str | Path) -> list[str]:
    """Run code in a new interpreter that looks into `cwd` first, as at a prompt, and return the lines printed."""
    return run(sys.executable, "-c", code, cwd=cwd, **environment).splitlines()


def build(source: Path, target: Path, *kinds: str) -> None:
    """Build without network; no kind at all means a source archive and the wheel from this archive."""
    run(sys.executable, "-m", "build", "--no-isolation", *kinds, "--outdir", target, cwd=source)


def contents(wheel: Path) -> dict[str, int]:
    """Return the name and the checksum of each file."""
    with zipfile.ZipFile(wheel) as archive:
        return {info.filename: info.CRC for info in archive.infolist()}


def copy_tree(source: Path, target: Path) -> Path:
    """Copy what the package is built from, links as links."""
    target.mkdir()
    for folder in FOLDERS:
        ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(source / folder, target / folder, symlinks=True, ignore=ignore)
    for name in FILES:
        shutil.copy(source / name, target / name)
    return target


@pytest.fixture(scope="module")
def tree(project_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the checkout in which building may leave files."""
    return copy_tree(project_root, tmp_path_factory.mktemp("tree") / "checkout")


@pytest.fixture(scope="module")
def wheel(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel built from the checkout."""
    target = tmp_path_factory.mktemp("wheel")
    build(tree, target, "--wheel")
    return next(target.glob("*.whl"))


@pytest.fixture(scope="module")
def archive(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the source archive, and the wheel that was built from it."""
    target = tmp_path_factory.mktemp("archive")
    build(tree, target)
    return target


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder into which pip installed the wheel."""
    target = tmp_path_factory.mktemp("site")
    run(sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target", target, wheel, cwd=target)
    return target


@pytest.fixture(scope="module")
def clone_without_links(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a clone as git makes it where links are not supported: text files in their place."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    base = tmp_path_factory.mktemp("clones")
    source, clone = copy_tree(tree, base / "source"), base / "clone"
    run("git", "init", "--quiet", cwd=source)
    run("git", "add", "--all", cwd=source)
    someone = ("-c", "user.name=someone", "-c", "user.email=someone@example.org", "-c", "commit.gpgsign=false")
    run("git", *someone, "commit", "--quiet", "--message", "all", cwd=source)
    run("git", "-c", "core.symlinks=false", "clone", "--quiet", source, clone, cwd=base)
    return clone


def test_links_are_relative(project_root: Path) -> None:
    for link, target in LINKS.items():
        path = project_root / link
        assert not path.is_symlink() or os.readlink(path) == target


def test_wheel_holds_the_package_and_nothing_else(wheel: Path, tree: Path) -> None:
    info = f"sb3_course-{sb3_course.__version__}.dist-info/"
    files = set(contents(wheel))
    assert {name for name in files if not name.startswith(("sb3_course/", info))} == set()

    expected = {"sb3_course/py.typed", f"{info}licenses/LICENSE"}
    for folder in FOLDERS:
        prefix = "" if folder == "sb3_course" else "sb3_course/"
        for pattern in ("*.py", "presets/*.yml", "templates/*"):
            expected |= {prefix + path.relative_to(tree).as_posix() for path in (tree / folder).rglob(pattern)}
    assert {name for name in files if name.startswith("sb3_course/")} == expected - {f"{info}licenses/LICENSE"}
    assert expected <= files
    assert any(name.endswith(".yml") for name in files)
    with zipfile.ZipFile(wheel) as archive:
        scripts = archive.read(f"{info}entry_points.txt").decode()
    assert scripts.split() == ["[console_scripts]", "sb3-course", "=", "sb3_course.__main__:main"]


def test_source_archive_builds_the_same_wheel(wheel: Path, archive: Path) -> None:
    assert contents(next(archive.glob("*.whl"))) == contents(wheel)


def test_unpacked_source_archive_works_in_place(archive: Path, tmp_path: Path) -> None:
    with tarfile.open(next(archive.glob("*.tar.gz"))) as packed:
        packed.extractall(tmp_path, filter="data")
    folder = next(path for path in tmp_path.iterdir() if path.is_dir())
    assert all(Path(line).is_relative_to(folder) for line in python(USE, folder))


def test_installed_package_works_anywhere(installed: Path, tmp_path: Path) -> None:
    assert all(Path(line).is_relative_to(installed) for line in python(USE, tmp_path, PYTHONPATH=installed))


def test_users_own_envs_and_ours_live_side_by_side(installed: Path, tmp_path: Path) -> None:
    for name in ("envs", "tuning"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("OWNER = 'user'\n")
        (tmp_path / name / "grid_world.py").write_text("OWNER = 'user'\n")
    theirs = "import envs, envs.grid_world, tuning\n"
    check = "assert envs.OWNER == envs.grid_world.OWNER == tuning.OWNER == 'user'\n"
    for code in (theirs + USE + check, USE + theirs + check):
        assert all(Path(line).is_relative_to(installed) for line in python(code, tmp_path, PYTHONPATH=installed))


@pytest.mark.parametrize(
    "first", ["", "import sb3_course", "import sb3_course.envs.grid_world", "import envs.grid_world"]
)
def test_short_names_are_aliases_in_a_checkout(tree: Path, first: str) -> None:
    python(SHORT_NAMES_ARE_ALIASES.format(first=first), tree)


def test_checkout_wins_over_an_installed_copy(installed: Path, tree: Path) -> None:
    assert all(Path(line).is_relative_to(tree) for line in python(USE, tree, PYTHONPATH=installed))
    python(SHORT_NAMES_ARE_ALIASES.format(first=""), tree, PYTHONPATH=installed)


def test_editable_installation(tree: Path, tmp_path: Path) -> None:
    wheels, target = tmp_path / "wheels", tmp_path / "site"
    wheels.mkdir()
    run(sys.executable, "-c", BUILD_EDITABLE, wheels, cwd=tree)
    with zipfile.ZipFile(next(wheels.glob("*.whl"))) as archive:
        archive.extractall(target)
    # Without -S, or with this folder behind the others, an editable installation of the checkout would answer first.
    paths = (
        f"import site, sys\nsys.path += {[str(target), *site.getsitepackages()]!r}\nsite.addsitedir({str(target)!r})\n"
    )
    printed = run(sys.executable, "-S", "-c", paths + USE, cwd=tmp_path).splitlines()
    assert all(Path(line).is_relative_to(tree) for line in printed)


def test_clone_without_links(clone_without_links: Path, wheel: Path, tmp_path: Path) -> None:
    for link, target in LINKS.items():
        assert not (clone_without_links / link).is_symlink()
        assert (clone_without_links / link).read_text() == target
    assert all(Path(line).is_relative_to(clone_without_links) for line in python(USE, clone_without_links))
    python(SHORT_NAMES_ARE_ALIASES.format(first=""), clone_without_links)
    build(clone_without_links, tmp_path, "--wheel")
    assert contents(next(tmp_path.glob("*.whl"))) == contents(wheel)


def test_import_is_light_until_a_name_is_used(tree: Path) -> None:
    heavy = "{'torch', 'stable_baselines3', 'sb3_contrib', 'matplotlib', 'pydantic', 'optuna', 'pygame', 'scipy'}"
    python(f"import sys, sb3_course\nassert not {heavy} & set(sys.modules), {heavy} & set(sys.modules)", tree)
