"""Show what there is: `python -m sb3_course.list [algos | envs | presets [NAME ...]]`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from sb3_course.config.errors import InputError, did_you_mean
from sb3_course.runs.display import algorithm_table
from sb3_course.runs.door import Parser, load_own, run_door
from sb3_course.runs.listings import env_table, preset_table

#: What can be asked for, its title and its table; the words after it narrow the table down.
TABLES: dict[str, tuple[str, Callable[[Sequence[str]], str]]] = {
    "algos": ("algorithms", algorithm_table),
    "envs": ("environments", env_table),
    "presets": ("presets", preset_table),
}


def make_parser() -> Parser:
    """Return the parser."""
    parser = Parser.of("list", __doc__)
    add = parser.add_argument
    add("what", metavar="WHAT", nargs="?", help=f"{', '.join(TABLES)} (default: all of them)")
    add("names", metavar="NAME", nargs="*", help="algorithms; of environments, any part of their ids")
    add("--import", metavar="MODULE", nargs="+", dest="plugins", help="own environments and algorithms")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    return run_door(lambda: _list(vars(make_parser().parse(argv))), "list")


def _list(options: dict[str, object]) -> int:
    load_own(options)
    what, names = options.get("what"), options.get("names") or ()
    if what is None:
        print("\n\n".join(f"{title}\n{table(())}" for title, table in TABLES.values()))
        return 0
    if what not in TABLES:
        raise InputError("WHAT", f"unknown{did_you_mean(str(what), TABLES)}", what, ", ".join(TABLES))
    print(TABLES[str(what)][1](names))  # type: ignore[arg-type]
    return 0


if __name__ == "__main__":
    sys.exit(main())
