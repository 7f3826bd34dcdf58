"""Every command under one name: `sb3-course COMMAND ...`, or `python -m sb3_course COMMAND ...`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from sb3_course.config.commands import NAMES, overview
from sb3_course.config.errors import InputError, did_you_mean


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    words = sys.argv[1:] if argv is None else list(argv)
    if words and words[0] in NAMES:
        status: int = import_module(f"sb3_course.{words[0]}").main(words[1:])
        return status
    from sb3_course.runs.door import run_door

    return run_door(lambda: _answer(words), "sb3-course")


def _answer(words: list[str]) -> int:
    """Say what there is, or that there is no such thing."""
    if not words or words[0] in ("-h", "--help", "help"):
        print(overview(), end="")
        return 0
    if words[0] == "--version":
        from sb3_course._version import __version__

        print(f"sb3_course {__version__}")
        return 0
    known = [*NAMES, "--help", "--version"]
    raise InputError("command", f"unknown{did_you_mean(words[0], known)}", words[0], ", ".join(NAMES))


if __name__ == "__main__":
    sys.exit(main())
