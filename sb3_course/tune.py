"""Tune an algorithm on an environment: `python -m sb3_course.tune`.

A study in an embedded database: several seeds for each configuration, any number of workers, continued when run again.
It ends with the best configuration as a file for `train --config`, and a report. `tune worker` lends a hand to a study
that another command has begun, on this machine or another: see `tune worker --help`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

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

HEADLINE_ALGO, HEADLINE_ENV = "double_dqn", "CartPole-v1"


def make_parser() -> Parser:
    """Return the parser; no flag has a default."""
    parser = Parser.of("tune", __doc__, EPILOG)
    parser.add_argument("--algo", metavar="NAME", help=f"algorithm (default: {HEADLINE_ALGO})")
    add_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    words = sys.argv[1:] if argv is None else list(argv)
    if words[:1] == ["worker"]:
        from sb3_course.tuning import worker_command

        return worker_command.main(words[1:])
    return run_door(lambda: _tune(vars(make_parser().parse(words))), "tuning")


def _tune(options: dict[str, Any]) -> int:
    require_extra()
    count(options, "workers", 1)
    budget: dict[str, Any] = {
        "n_timesteps": count(options, "n_timesteps", 20_000),
        "n_trials": count(options, "trials", 20),
    }
    budget["seeds"] = seeds_of(options)
    from sb3_course.tuning.crew import run_study
    from sb3_course.tuning.planner import plan_for
    from sb3_course.tuning.report import write_study_report
    from sb3_course.tuning.study import create_study, write_best

    algo, env = options.get("algo", HEADLINE_ALGO), options.get("env", HEADLINE_ENV)
    plan = plan_for(algo, env, **budget, **terms(options))
    name = name_of(options, f"{algo}-{env}")
    folder = folder_of(options, name)
    launcher, workers = launcher_of(options)
    begin()
    storage = storage_of(options)
    study = create_study(plan, storage=storage, name=name)
    folder.mkdir(parents=True, exist_ok=True)
    with GentleStop() as stop, progress_display(options) as tell:
        done = run_study(storage, name, workers, announced(stop.wanted), tell, launcher=launcher)
    if not done:
        print("interrupted: every finished run is kept; the same command goes on")
        return stop.status
    best = write_best(study, folder / "best.yml")
    write_study_report(study, folder / "report.html")
    if best is None:
        raise RuntimeError(f"no trial has come through; their reasons are in {folder / 'report.html'}")
    print(f"best: {plan.score} {best.value:.1f} (trial {best.number}, mean over {len(plan.seeds)} seeds)")
    print((folder / "best.yml").read_text().rstrip())
    own = f"--import {' '.join(plan.plugins)} " if plan.plugins else ""
    print(f"report: {folder / 'report.html'}\ntrain it: python -m sb3_course.train {own}--config {folder / 'best.yml'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
