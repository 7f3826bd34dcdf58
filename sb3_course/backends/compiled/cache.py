"""Compiled functions kept on disk, in the user's cache folder, under the hash of the sources that they come from.

Numba's own cache looks at the file of a function alone: after a change in a module that it calls it would hand out what
was compiled before. Here the folder is named by the SHA-256 of all sources of this package, and of the numbers that it
takes from others, which are compiled in; what lies under another name is deleted. Each installed place, Python and
Numba has a folder of its own around it. A folder that cannot be read or written costs the time to compile again and
nothing else, and so do two processes at once: files appear whole.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import multiprocessing
import os
import pickle
import shutil
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

import numba
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

from sb3_course.functional.categorical import CLIP_TOLERANCE
from sb3_course.replay.sum_tree import FAN_OUT

#: What compiled functions know from modules whose sources are not in the hash.
CONSTANTS = CLIP_TOLERANCE, FAN_OUT


def user_cache() -> Path:
    """Return the folder in which programs of this user keep what they can do without."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def hash_of_sources(package: Path) -> str:
    """Return the SHA-256 of `CONSTANTS` and of the modules in a folder, names and texts."""
    digest = hashlib.sha256(repr(CONSTANTS).encode())
    for path in sorted(package.glob("*.py")):
        text = path.read_bytes()
        digest.update(f"{path.name} {len(text)} ".encode() + text)
    return digest.hexdigest()


def folder_for(package: Path) -> Path | None:
    """Return where the compiled functions of a package lie, None for nowhere; delete those of other sources."""
    place = hashlib.sha256(f"{package} {sys.version} {numba.__version__}".encode()).hexdigest()[:16]
    try:
        folder = user_cache() / "sb3_course" / "compiled" / place / hash_of_sources(package)
        folder.mkdir(parents=True, exist_ok=True)
        for other in folder.parent.iterdir():
            if other != folder:
                shutil.rmtree(other, ignore_errors=True)
    except (OSError, RuntimeError):  # RuntimeError: there is no home
        return None
    return folder


#: Found when this module is imported, just before those whose sources it is named by.
FOLDER = folder_for(Path(__file__).resolve().parent)


@functools.cache
def say_once() -> None:
    """Tell a person at a terminal what the next seconds are for; scripts, logs and worker processes are not told."""
    if sys.stderr.isatty() and multiprocessing.parent_process() is None:
        kept = "not kept: there is no folder for them" if FOLDER is None else f"kept in {FOLDER}"
        print(f"Compiling the fast loops, once (a minute at most); {kept}", file=sys.stderr)


class Stopwatch:
    """How long this process has compiled: one function begins inside of another that calls it."""

    def __init__(self) -> None:
        self.seconds, self._depth, self._since = 0.0, 0, 0.0

    def begin(self) -> None:
        """Take notice of a function that has to be compiled, and speak where functions have taken long enough."""
        now = perf_counter()
        self._since, self._depth = now if self._depth == 0 else self._since, self._depth + 1
        if self.seconds + now - self._since > PATIENCE:
            say_once()

    def end(self) -> None:
        """Take notice of one that is compiled."""
        self._depth = max(self._depth - 1, 0)
        if self._depth == 0:
            self.seconds += perf_counter() - self._since


#: Seconds of compiling that nobody is told of.
PATIENCE = 2.0
WATCH = Stopwatch()


class Unkept:
    """What a dispatcher asks for machine code where there is none to keep; the time it takes is counted."""

    cache_path = None

    def load_overload(self, signature: Any, context: Any) -> Any:
        """Return None."""
        WATCH.begin()
        return None

    def save_overload(self, signature: Any, result: Any) -> None:
        """Keep nothing."""
        WATCH.end()


class SourcesCache:
    """What a dispatcher of Numba asks for machine code and hands it to; each function and signature is a file.

    :param function: the plain one, before it is compiled
    :param within: a word for code without a way in from Python, which is not to be taken for the one that has it
    """

    cache_path = FOLDER  # which Numba shows among its statistics

    def __init__(self, function: Any, within: str = "") -> None:
        self._name = f"{function.__module__.rpartition('.')[2]}.{function.__qualname__}{within and '-' + within}"

    def load_overload(self, signature: Any, context: Any) -> Any:
        """Return the machine code for a signature, or None."""
        context.refresh()
        with contextlib.suppress(Exception):  # whatever is wrong with a file, it can be compiled again
            data = self.path(signature, context).read_bytes()
            return CompileResult._rebuild(context, *pickle.loads(data))  # type: ignore[no-untyped-call]
        WATCH.begin()
        return None

    def save_overload(self, signature: Any, result: Any) -> None:
        """Keep the machine code for a signature."""
        WATCH.end()
        if FOLDER is None or result.library.has_dynamic_globals:  # which are addresses, of this process alone
            return
        path = self.path(signature, result.target_context)
        part = path.with_suffix(f".{os.getpid()}")
        try:
            part.write_bytes(dumps(result._reduce()))  # type: ignore[no-untyped-call]
            part.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                part.unlink()

    def path(self, signature: Any, context: Any) -> Path:
        """Return the file for a signature on this processor."""
        assert FOLDER is not None
        key = repr((str(signature), context.codegen().magic_tuple()))
        return FOLDER / f"{self._name}-{hashlib.sha256(key.encode()).hexdigest()[:32]}.code"
