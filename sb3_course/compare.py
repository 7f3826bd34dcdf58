"""Compare algorithms on an environment: `python -m sb3_course.compare`.

Each is tuned on the same terms; the best of each, its default and its preset run again on fresh seeds; a report says
of each extension against each of SB3's baselines "better", "worse" or "not shown".
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from typing import Any

from sb3_course.config.errors import InputError
from sb3_course.runs.door import INTERRUPTED, GentleStop, Parser, run_door
from sb3_course.saving.files import atomic_write
from sb3_course.tuning.options import (
    EPILOG,
    add_options,
    announced,
    count,
    folder_of,
    name_of,
    progress_display,
    require_extra,
    seeds_of,
    storage_of,
    terms,
)


def make_parser() -> Parser:
    """Return the parser; no flag has a default."""
    parser = Parser(
        prog="python -m sb3_course.compare", description=__doc__, epilog=EPILOG, argument_default=argparse.SUPPRESS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    add = parser.add_argument
    add("--algos", metavar="NAME", nargs="+", help="two algorithms or more (default: double_dqn dqn)")
    add("--fresh-seeds", metavar="N", help="seeds of the final runs, never used in tuning (default: 20)")
    add("--top", metavar="N", help="configurations of each study that run on them (default: 2)")
    add("--pairs", choices=("baselines", "all"), help="verdicts on: each against SB3's (default), or every pair")
    add("--threshold", metavar="RETURN", help="what 'steps to threshold' waits for (default: the environment's own)")
    add_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    words = sys.argv[1:] if argv is None else list(argv)
    return run_door(lambda: _compare(vars(make_parser().parse(words)), words), "comparison")


def _compare(options: dict[str, Any], words: list[str]) -> int:
    require_extra()
    workers = count(options, "workers", 1)
    from sb3_course.tuning.comparison import Contest, compare, to_json
    from sb3_course.tuning.findings import all_pairs
    from sb3_course.tuning.report import verdicts, write_comparison

    contest = Contest(
        algos=tuple(options.get("algos", ("double_dqn", "dqn"))), env=options.get("env", "CartPole-v1"),
        n_timesteps=count(options, "n_timesteps", 20_000), n_trials=count(options, "trials", 20),
        seeds=seeds_of(options), n_fresh=count(options, "fresh_seeds", 20), top=count(options, "top", 2),
        threshold=_number(options, "threshold"), command=" ".join(["python -m sb3_course.compare", shlex.join(words)]),
        terms=terms(options),
    )  # fmt: skip
    contest.plans()  # refuses what cannot be before anything is written
    name = name_of(options, f"compare-{contest.env}")
    folder = folder_of(options, name)
    storage = storage_of(options)
    with GentleStop() as stop, progress_display(options) as tell:
        comparison = compare(contest, storage, name, workers, announced(stop.wanted), tell)
    if comparison is None:
        print("interrupted: every finished run is kept; the same command goes on")
        return INTERRUPTED
    folder.mkdir(parents=True, exist_ok=True)
    pairs = all_pairs(comparison) if options.get("pairs") == "all" else None
    atomic_write(folder / "comparison.json", to_json(comparison))
    write_comparison(comparison, folder, pairs)
    print("\n".join(verdicts(comparison, pairs)))
    print(f"report: {folder / 'report.html'}")
    return 0


def _number(options: dict[str, Any], name: str) -> float | None:
    if name not in options:
        return None
    try:
        return float(options[name])
    except ValueError:
        raise InputError(f"--{name}", "is not a number", options[name], "a number") from None


if __name__ == "__main__":
    sys.exit(main())
