"""Draw runs: `python -m sb3_course.plot [KIND] RUN ...`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sb3_course.config.columns import columns
from sb3_course.config.errors import InputError, did_you_mean
from sb3_course.pictures.kinds import DEFAULT_KIND, KINDS, Order, PictureKind
from sb3_course.runs.door import Parser, begin, load_own, run_door
from sb3_course.tuning.counting import count

FORMATS = (".png", ".svg", ".gif")
_KINDS = "\n".join(f"  {kind.name.ljust(14)}{kind.idea}" for kind in KINDS.values())
_EPILOG = f"""\
kinds:
{_KINDS}

a RUN is the folder of a run; for curves also that of train --seeds, or one with several runs in it
exit status: 0 done, 2 input refused and nothing written, 1 failed while drawing, 130 ended by Ctrl-C, 143 by SIGTERM
"""


def make_parser() -> Parser:
    """Return the parser."""
    parser = Parser.of("plot", __doc__, _EPILOG)
    add = parser.add_argument
    add("words", metavar="[KIND] RUN", nargs="+", help=f"{', '.join(KINDS)} (default: {DEFAULT_KIND}), then folders")
    add("-o", "--out", metavar="FILE", help="PNG, SVG or, of several moments, GIF (default: KIND.png)")
    add("--threshold", metavar="RETURN", help="curves: a line, and waited for (default: the environment's own)")
    add("--most", metavar="N", help="moments that are shown at most (default: 6, in a GIF 48)")
    add("--episodes", metavar="N", help="visits: episodes that are played at each moment (default: 20)")
    add("--seed", metavar="N", help="of the episodes that are played (default: 0)")
    add("--import", metavar="MODULE", nargs="+", dest="plugins", help="own environments and algorithms")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    return run_door(lambda: _plot(vars(make_parser().parse(argv))), "plot")


def _plot(options: dict[str, Any]) -> int:
    load_own(options)
    kind, paths = _kind(options["words"])
    out = _out(Path(options.get("out", f"{kind.name}.png")), kind)
    order = Order(paths, out.suffix.lower() == ".gif", _flags(kind, options))
    begin()
    picture = kind.load()(order)
    from sb3_course.pictures.picture import write

    write(picture, out)
    print(f"{columns(picture.table)}\npicture: {out}")
    return 0


def _kind(words: Sequence[str]) -> tuple[PictureKind, tuple[Path, ...]]:
    """Return the kind of picture and the folders; without a kind it is that of curves."""
    name, folders = (words[0], words[1:]) if words[0] in KINDS else (DEFAULT_KIND, words)
    kind = KINDS[name]
    if not folders:
        raise InputError("RUN", "is missing", want=f"{name} and the folder of a run")
    for word in folders:
        if not Path(word).exists():
            hint = did_you_mean(word, KINDS) if word is words[0] else ""
            raise InputError("RUN", f"no such folder{hint}", word, "the folder of a run")
    if len(folders) > 1 and not kind.several:
        raise InputError("RUN", f"{name} shows one run", folders[1], "one folder")
    return kind, tuple(map(Path, folders))


def _flags(kind: PictureKind, options: dict[str, Any]) -> dict[str, Any]:
    given: dict[str, Any] = {
        name: options[name] for name in ("threshold", "most", "episodes", "seed") if name in options
    }
    for name in given:
        if name not in kind.flags:
            others = ", ".join(each.name for each in KINDS.values() if name in each.flags)
            raise InputError(f"--{name}", f"is not for {kind.name}", given[name], f"it for {others}")
    whole = {*given} - {"threshold"}
    found: dict[str, Any] = {name: count(given, name, 1, 0 if name == "seed" else 1) for name in whole}
    if "threshold" in given:
        found["threshold"] = _number(given["threshold"])
    return found


def _number(word: str) -> float:
    try:
        number = float(word)
    except ValueError:
        number = float("nan")
    if not abs(number) < float("inf"):
        raise InputError("--threshold", "is no number", word, "a mean return")
    return number


def _out(path: Path, kind: PictureKind) -> Path:
    """Return where the picture goes, before anything is drawn.

    :raises InputError: for another format, and a place that cannot be written
    """
    if path.suffix.lower() not in FORMATS:
        raise InputError("--out", "has no format that is known", str(path), f"a name that ends in {', '.join(FORMATS)}")
    if path.suffix.lower() == ".gif" and not kind.moves:
        raise InputError("--out", f"{kind.name} is one picture, and nothing moves", str(path), ".png or .svg")
    if not path.parent.is_dir():
        raise InputError("--out", "no such folder", str(path.parent), "a folder that exists")
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise InputError("--out", "cannot be written", str(path), "a file that you may write")
    return path


if __name__ == "__main__":
    sys.exit(main())
