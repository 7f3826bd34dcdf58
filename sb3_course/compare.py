"""Compare algorithms on one environment or several: `python -m sb3_course.compare`.

Each is tuned on the same terms; the best of each, its default and its preset run again on fresh seeds; a report says
of each extension against each of SB3's baselines "better", "worse" or "not shown", in each environment and over all.
"""

from __future__ import annotations

import hashlib
import shlex
import sys
from collections.abc import Sequence
from typing import Any

from sb3_course.config.errors import InputError
from sb3_course.config.secrets import safe_url
from sb3_course.runs.door import GentleStop, Parser, begin, run_door
from sb3_course.tuning.counting import count
from sb3_course.tuning.launchers import launcher_of
from sb3_course.tuning.options import (
    EPILOG,
    add_options,
    announced,
    folder_of,
    name_of,
    progress_display,
    require_extra,
    seeds_of,
    storage_of,
    terms,
)

_LONGEST_NAME = 120


def make_parser() -> Parser:
    """Return the parser; no flag has a default."""
    parser = Parser.of("compare", __doc__, EPILOG)
    add = parser.add_argument
    add("--algos", metavar="NAME", nargs="+", help="two algorithms or more (default: double_dqn dqn)")
    add("--fresh-seeds", metavar="N", help="seeds of the final runs, never used in tuning (default: 20)")
    add("--top", metavar="N", help="configurations of each study that run on them (default: 2)")
    add("--pairs", choices=("baselines", "all"), help="verdicts on: each against SB3's (default), or every pair")
    add(
        "--threshold", metavar="[ENV:]RETURN", nargs="+",
        help="what 'steps to threshold' waits for (default: the environment's own)",
    )  # fmt: skip
    add(
        "--reference", metavar="ENV:LOW,HIGH", nargs="+",
        help="scores that count as 0 and as 1 over several environments (default: that of random actions, and the "
        "threshold or, without one, the best run)",
    )  # fmt: skip
    add_options(parser, envs="+")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    words = sys.argv[1:] if argv is None else list(argv)
    return run_door(lambda: _compare(vars(make_parser().parse(words)), words), "comparison")


def _compare(options: dict[str, Any], words: list[str]) -> int:
    require_extra()
    count(options, "workers", 1)
    from sb3_course.tuning.comparison import Contest, compare
    from sb3_course.tuning.exports import best_path
    from sb3_course.tuning.report import verdicts, write_comparison

    envs = tuple(options.get("env", ("CartPole-v1",)))
    thresholds, references = _by_env(options, "threshold", envs), _by_env(options, "reference")
    contest = Contest(
        algos=tuple(options.get("algos", ("double_dqn", "dqn"))), envs=envs,
        n_timesteps=count(options, "n_timesteps", 20_000), n_trials=count(options, "trials", 20),
        seeds=seeds_of(options), n_fresh=count(options, "fresh_seeds", 20), top=count(options, "top", 2),
        thresholds={env: _numbers("--threshold", *each, n=1)[0] for env, each in thresholds.items()},
        references={env: _numbers("--reference", *each, n=2) for env, each in references.items()},
        command=" ".join(["python -m sb3_course.compare", shlex.join(map(safe_url, words))]), terms=terms(options),
    )  # fmt: skip
    contest.check()  # before anything is written
    name = name_of(options, _default_name(envs))
    folder = folder_of(options, name)
    launcher, workers = launcher_of(options)
    begin()
    storage = storage_of(options)
    with GentleStop() as stop, progress_display(options) as tell:
        comparison = compare(contest, storage, name, workers, announced(stop.wanted), tell, launcher)
    if comparison is None:
        print("interrupted: every finished run is kept; the same command goes on")
        return stop.status
    pairs = options.get("pairs", "baselines")
    write_comparison(comparison, folder, pairs)
    print("\n".join(verdicts(comparison, pairs)))
    best = folder / best_path(envs[0], contest.algos[0])
    own = f"--import {' '.join(options['plugins'])} " if options.get("plugins") else ""
    print(f"report: {folder / 'report.html'}\ntrain one: python -m sb3_course.train {own}--config {best}")
    return 0


def _default_name(envs: tuple[str, ...]) -> str:
    """Return a name that a folder can have, however many environments there are."""
    name = f"compare-{'+'.join(envs)}"
    if len(name) <= _LONGEST_NAME:
        return name
    return f"compare-{envs[0]}+{len(envs) - 1}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _by_env(options: dict[str, Any], name: str, every: tuple[str, ...] = ()) -> dict[str, tuple[str, str]]:
    """Return the word and its value for each environment; a value without a name is for `every` environment."""
    found: dict[str, tuple[str, str]] = {}
    for word in options.get(name, ()):
        env, colon, value = word.rpartition(":")
        if not (colon or every):
            raise InputError(f"--{name}", "names no environment", word, "ENV:LOW,HIGH")
        for each in (env,) if colon else every:
            if each in found:
                raise InputError(f"--{name}", f"is given twice for {each}", word, "each environment once")
            found[each] = word, value
    return found


def _numbers(flag: str, word: str, value: str, n: int) -> Any:
    try:
        found = tuple(float(part) for part in value.split(","))
    except ValueError:
        found = ()
    if len(found) != n:
        wanted = "a number, or ENV:NUMBER" if n == 1 else "ENV:LOW,HIGH"
        raise InputError(flag, "is not a number" if n == 1 else "is not two numbers", word, wanted)
    return found


if __name__ == "__main__":
    sys.exit(main())
