"""Compiled functions on disk: a stale one is never used, and no folder is ever needed."""

from __future__ import annotations

import errno
import importlib
import io
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

numba = pytest.importorskip("numba")
compiler, serialize = (importlib.import_module(f"numba.core.{name}") for name in ("compiler", "serialize"))
cache, jit = (importlib.import_module(f"sb3_course.backends.compiled.{name}") for name in ("cache", "jit"))


def twice(x: float) -> float:
    return 2 * x


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with sources, and let the user's cache folder be one of the test's own."""
    for variable in ("XDG_CACHE_HOME", "HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(variable, str(tmp_path / "user"))
    folder = tmp_path / "package"
    folder.mkdir()
    (folder / "one.py").write_text("a = 1\n")
    (folder / "two.py").write_text("b = 2\n")
    return folder


def hits(monkeypatch: pytest.MonkeyPatch, folder: Path | None) -> int:
    """Return how often a function that is new to this process was found in a folder, at its first call."""
    monkeypatch.setattr(cache, "FOLDER", folder)
    compiled: Any = jit.jit(twice)
    assert compiled(1.5) == 3.0
    return sum(compiled.stats.cache_hits.values())


def test_what_was_compiled_from_other_sources_is_not_used_and_deleted(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The source that changes is another than that of the function: it might be one that the function calls."""
    first = cache.folder_for(package)
    assert [hits(monkeypatch, first), hits(monkeypatch, first)] == [0, 1]
    assert cache.folder_for(package) == first
    (package / "two.py").write_text("b = 3\n")
    second = cache.folder_for(package)
    assert first is not None
    assert second is not None
    assert not first.exists()
    assert [hits(monkeypatch, second), hits(monkeypatch, second)] == [0, 1]


def test_every_source_is_in_the_hash(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {cache.hash_of_sources(package)}
    (package / "one.py").write_text("a = 2\n")
    names.add(cache.hash_of_sources(package))
    (package / "three.py").write_text("")
    names.add(cache.hash_of_sources(package))
    (package / "three.py").rename(package / "four.py")
    names.add(cache.hash_of_sources(package))
    monkeypatch.setattr(cache, "CONSTANTS", ())  # numbers of other modules, which are compiled in
    names.add(cache.hash_of_sources(package))
    assert len(names) == 5


def test_each_installed_place_and_numba_has_a_folder(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = package.with_name("other")
    other.mkdir()
    for path in package.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    assert cache.hash_of_sources(package) == cache.hash_of_sources(other)
    folders = [cache.folder_for(package), cache.folder_for(other)]
    monkeypatch.setattr(numba, "__version__", "0")
    folders.append(cache.folder_for(package))
    assert len({folder.parent for folder in folders}) == 3
    assert all(folder.exists() for folder in folders)


def test_the_folder_is_not_among_the_sources_and_is_the_users() -> None:
    assert cache.FOLDER is not None
    assert not cache.FOLDER.is_relative_to(Path(cache.__file__).parent)
    assert cache.FOLDER.is_relative_to(cache.user_cache())


@pytest.mark.parametrize("system", ["linux", "darwin", "win32"])
def test_every_system_has_a_place(system: str, package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", system)
    assert cache.user_cache().is_relative_to(package.parent / "user")


def test_a_folder_that_cannot_be_made_costs_time_only(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (package.parent / "user").write_text("a file")
    assert cache.folder_for(package) is None
    assert [hits(monkeypatch, None), hits(monkeypatch, None)] == [0, 0]


def test_a_folder_that_vanishes_costs_time_only(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = package.parent / "gone"
    assert [hits(monkeypatch, gone), hits(monkeypatch, gone)] == [0, 0]
    assert not gone.exists()


def test_a_damaged_file_is_compiled_anew(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = cache.folder_for(package)
    assert folder is not None
    hits(monkeypatch, folder)
    (path,) = folder.iterdir()
    for text in (b"", b"nonsense", path.read_bytes()[:-10]):
        path.write_bytes(text)
        assert hits(monkeypatch, folder) == 0
    assert hits(monkeypatch, folder) == 1


class Terminal(io.StringIO):
    """Text that was written to what says it is a terminal, or is none."""

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


def test_a_full_disk_costs_time_only(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(path: Path, data: bytes) -> int:
        with path.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    folder = cache.folder_for(package)
    assert folder is not None
    with monkeypatch.context() as full:
        full.setattr(Path, "write_bytes", half)
        assert [hits(monkeypatch, folder), hits(monkeypatch, folder)] == [0, 0]
        assert list(folder.iterdir()) == []
    assert [hits(monkeypatch, folder), hits(monkeypatch, folder)] == [0, 1]


def test_a_home_that_may_not_be_written_to_costs_time_only(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*asked: Any, **named: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    folder = cache.folder_for(package)
    assert folder is not None
    assert hits(monkeypatch, folder) == 0
    for name in ("mkdir", "write_bytes", "replace", "unlink"):
        monkeypatch.setattr(Path, name, refused)
    assert hits(monkeypatch, folder) == 1  # what lies there is read
    (package / "two.py").write_text("b = 3\n")
    assert cache.folder_for(package) is None
    assert [hits(monkeypatch, None), hits(monkeypatch, None)] == [0, 0]


def test_only_long_compiling_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """One function that takes three seconds, another inside of it; then short ones, which add up."""
    now, said = [0.0], []
    monkeypatch.setattr(cache, "perf_counter", lambda: now[0])
    monkeypatch.setattr(cache, "say_once", lambda: said.append(now[0]))
    watch = cache.Stopwatch()
    for begins, at in ((True, 0.0), (True, 1.0), (False, 1.5), (False, 1.9), (True, 50.0), (True, 50.05), (True, 50.2)):
        now[0] = at
        watch.begin() if begins else watch.end()
    assert said == [50.2]
    assert watch.seconds == pytest.approx(1.9)


@pytest.mark.parametrize("terminal", [True, False])
def test_compiling_is_said_in_one_line_at_a_terminal(
    terminal: bool, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = Terminal(terminal)
    monkeypatch.setattr(sys, "stderr", said)
    cache.say_once.cache_clear()
    folder = cache.folder_for(package)
    monkeypatch.setattr(cache, "PATIENCE", 1e9)
    assert hits(monkeypatch, folder) == 0
    assert said.getvalue() == ""  # it was compiled, but in no time
    (path,) = folder.iterdir()
    path.unlink()
    monkeypatch.setattr(cache, "PATIENCE", 0)
    assert [hits(monkeypatch, each) for each in (folder, None)] == [0, 0]  # both are compiled
    line = f"Compiling the fast loops, once (a minute at most); kept in {folder}\n"
    assert said.getvalue() == (line if terminal else "")
    cache.say_once.cache_clear()
    assert hits(monkeypatch, folder) == 1
    assert said.getvalue().count("Compiling") == int(terminal)  # nothing more: it was there


PROGRAM = """
import importlib.util, sys
import numba
spec = importlib.util.spec_from_file_location("cache", sys.argv[1])
cache = importlib.util.module_from_spec(spec)
spec.loader.exec_module(cache)

def twice(x):
    return 2 * x

compiled = numba.njit(twice)
compiled._cache = cache.SourcesCache(twice)
print(compiled(1), compiled(1.5), sum(compiled.stats.cache_hits.values()))
"""


def test_processes_may_start_at_once(package: Path) -> None:
    (package / "cache.py").write_bytes(Path(cache.__file__).read_bytes())
    command = [sys.executable, "-c", PROGRAM, str(package / "cache.py")]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate()[0].split()[:2] for process in both] == [["2", "3.0"]] * 2
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() == ["2", "3.0", "2"]


def test_what_is_leaned_on_inside_numba_is_there() -> None:
    """An upgrade that moves one of these fails here first; without them nothing is kept on disk."""
    compiled: Any = numba.njit(twice)
    assert compiled(1.5) == 3.0
    assert callable(compiled._cache.load_overload)
    assert callable(compiled._cache.save_overload)
    (result,) = compiled.overloads.values()
    assert isinstance(result, compiler.CompileResult)
    assert result.library.has_dynamic_globals is False
    context = result.target_context
    assert context.codegen().magic_tuple()
    context.refresh()
    again = compiler.CompileResult._rebuild(context, *pickle.loads(serialize.dumps(result._reduce())))
    assert again.signature == result.signature


def plus_one(x: float) -> float:
    """Add 1."""
    return x + 1


@pytest.mark.parametrize("tried", [True, False])
def test_code_without_a_way_in_from_python_is_not_taken_for_the_one_that_has_it(
    tried: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With versions of Numba that have not been tried, both kinds are kept on disk: a mix-up would be a crash."""
    monkeypatch.setattr(cache, "FOLDER", tmp_path)
    if not tried:
        monkeypatch.setattr(jit, "_COMPILERS", {})
    alone = jit.jit(plus_one)
    within = jit.joint(alone)

    def plus_two(x: float) -> float:
        return within(within(x))  # type: ignore[no-any-return]

    assert (jit.jit(plus_two)(1.0), alone(1.0)) == (3.0, 2.0)
    assert len(list(tmp_path.glob("*.plus_one*"))) == (1 if tried else 2)
