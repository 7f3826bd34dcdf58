"""The commands of rl-baselines3-zoo, which know our algorithms: `python -m sb3_course.zoo train --algo rainbow`.

Flags, files and folders are rl_zoo3's; our presets are its hyperparameters where it has none of that algorithm.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import NoReturn

from sb3_course.config.commands import called, examples
from sb3_course.config.errors import InputError, did_you_mean
from sb3_course.runs.door import begin, run_door

#: Commands and the functions of rl_zoo3 that they are.
COMMANDS = {
    "train": "rl_zoo3.train:train", "enjoy": "rl_zoo3.enjoy:enjoy", "plot_train": "rl_zoo3.plots:plot_train",
    "all_plots": "rl_zoo3.plots:all_plots", "plot_from_file": "rl_zoo3.plots:plot_from_file",
}  # fmt: skip
_REFUSALS = ("not found in gym registry", "Hyperparameters not found")  # of rl_zoo3, before it writes anything


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    words = sys.argv[1:] if argv is None else list(argv)
    return run_door(lambda: _zoo(words), "zoo")


def _zoo(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        print(_usage(), end="")
        return 0
    command, *rest = words
    if command not in COMMANDS:
        raise InputError("command", f"unknown{did_you_mean(command, COMMANDS)}", command, ", ".join(COMMANDS))
    if importlib.util.find_spec("rl_zoo3") is None:
        pip = shlex.join([sys.executable, "-m", "pip", "install", "rl_zoo3>=2.9,<3"])
        raise InputError("installation", "the package rl_zoo3 is missing", want=pip)
    asks = bool({"-h", "--help"} & {*rest})
    if not asks:
        _check_files(rest)
    from sb3_course.tuning.zoo_entries import enter_algorithms

    begin()
    enter_algorithms()
    module, _, name = COMMANDS[command].partition(":")
    run: Callable[[], object] = getattr(importlib.import_module(module), name)
    try:
        with _command_line([command, *with_preset(command, rest)]):
            _called(run)
    except SystemExit:  # of rl_zoo3's parser after its help, which is to end as ours do
        if asks:
            print(f"\n{examples(f'zoo {command}')}", end="")
        raise
    return 0


def _usage() -> str:
    own = called("zoo")
    return "\n".join([
        f"usage: {own} {{{','.join(COMMANDS)}}} ...", "", f"{__doc__}",
        f"{own} COMMAND --help lists the flags of a command.", "", examples("zoo"),
    ])  # fmt: skip


def with_preset(command: str, words: list[str]) -> list[str]:
    """Return the words of a command, with our preset where rl_zoo3 has no hyperparameters of the algorithm."""
    algo = _value(words, "--algo")
    if command != "train" or algo is None or _value(words, "-conf", "--conf-file") is not None:
        return words
    theirs, ours = (
        Path(str(files(package) / folder / f"{algo}.yml"))
        for package, folder in (("rl_zoo3", "hyperparams"), ("sb3_course", "presets"))
    )
    return words if theirs.is_file() or not ours.is_file() else [*words, "--conf-file", str(ours)]


def _value(words: Sequence[str], *flags: str) -> str | None:
    """Return what a flag was given, or None."""
    for index, word in enumerate(words):
        flag, equals, value = word.partition("=")
        if flag in flags:
            return value if equals else next(iter(words[index + 1 :]), None)
    return None


def _check_files(words: list[str]) -> None:
    for flags in (("-conf", "--conf-file"), ("-i", "--trained-agent")):
        path = _value(words, *flags)
        if path is not None and path.endswith((".yml", ".yaml", ".zip")) and not Path(path).is_file():
            raise InputError(flags[1], "no such file", path, "a file that exists")


@contextlib.contextmanager
def _command_line(words: list[str]) -> Iterator[None]:
    """Let rl_zoo3 read these words, and refuse them as our own doors do."""

    def refuse(_parser: argparse.ArgumentParser, message: str) -> NoReturn:
        field, colon, what = message.removeprefix("argument ").partition(": ")
        if message.startswith("argument ") and colon:
            raise InputError(field.split("/")[-1], what, want="see --help")
        raise InputError("command line", message, want="see --help")

    argv, error = sys.argv, argparse.ArgumentParser.error
    sys.argv = [f"{called('zoo')} {words[0]}", *words[1:]]
    argparse.ArgumentParser.error = refuse  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        sys.argv, argparse.ArgumentParser.error = argv, error  # type: ignore[method-assign]


def _called(run: Callable[[], object]) -> None:
    try:
        run()
    except ValueError as error:
        if isinstance(error, InputError) or not any(words in str(error) for words in _REFUSALS):
            raise
        raise InputError("command line", " ".join(str(error).split()), want="a name that is known") from None


if __name__ == "__main__":
    sys.exit(main())
