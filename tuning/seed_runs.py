"""Train one configuration on many seeds: `train --seeds`, on the queue that studies and comparisons have."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sb3_course.config.errors import InputError
from sb3_course.runs.door import GentleStop
from sb3_course.runs.folder import SEEDS_FILE, RunFolder, plain_name
from sb3_course.runs.kept_run import refuse_other
from sb3_course.runs.known_envs import find_env
from sb3_course.runs.settings import SEEDS, Settings
from sb3_course.saving.files import atomic_write
from sb3_course.tuning.counting import count
from sb3_course.tuning.crew import StudyProgress, run_study
from sb3_course.tuning.launcher import Launcher
from sb3_course.tuning.launchers import launcher_of
from sb3_course.tuning.options import announced
from sb3_course.tuning.plan import Plan
from sb3_course.tuning.results import Run
from sb3_course.tuning.seed_plan import digest_of, run_found, seed_folder, seed_plan
from sb3_course.tuning.seed_report import SeedReport, write_seeds
from sb3_course.tuning.storage import open_storage
from sb3_course.tuning.study import create_study

QUEUE = "queue.db"  # beside the runs' folders and their plan


def seeds_in(options: Mapping[str, Any], first: int) -> tuple[int, ...]:
    """Return the seeds that `--seeds` names: one number says how many from `first` on, several are the seeds.

    :raises InputError: for seeds that collide, or are out of bounds
    """
    words = options["seeds"]
    if len(words) == 1:
        n = count({"seeds": words[0]}, "seeds", 1)
        if first + n > SEEDS:
            raise InputError("--seeds", "go beyond the largest seed", f"{first} .. {first + n - 1}", f"< {SEEDS}")
        return tuple(range(first, first + n))
    seeds = tuple(count({"seeds": word}, "seeds", 0, 0) for word in words)
    twice = next((seed for index, seed in enumerate(seeds) if seed in seeds[:index]), None)
    if twice is not None:
        raise InputError("--seeds", "collide: one is given twice", twice, "different seeds")
    if "seed" in options:
        raise InputError("--seed", "cannot be combined with a list of --seeds", options["seed"], "one of them")
    return seeds


def train_seeds(settings: Settings, options: Mapping[str, Any]) -> int:
    """Train and report on many seeds; return the exit status."""
    count(options, "workers", 1)
    seeds = seeds_in(options, settings.seed)
    if "track" in options:
        raise InputError("--track", "cannot be combined with --seeds", want="--tensorboard-log")
    if "overwrite" in options:
        raise InputError("--overwrite", "cannot be combined with --seeds: they go on where they were", want="--run-dir")
    parent = Path(options.get("log_folder", "logs")) / settings.algo
    folder = Path(options.get("run_dir", parent / f"{plain_name(settings.env)}_seeds"))
    threshold = _threshold(options, settings)
    plan = seed_plan(settings, seeds, folder, options.get("plugins", ()))
    if not (folder / SEEDS_FILE).is_file():
        RunFolder(folder).check()
    for seed in seeds:  # before anything is written
        refuse_other(plan.settings({}, seed), seed_folder(folder, seed))
    launched = launcher_of(options)
    folder.mkdir(parents=True, exist_ok=True)
    words = {"threshold": threshold, "plan": plan.to_json()}
    atomic_write(folder / SEEDS_FILE, json.dumps(words, indent=1).encode())
    return _train(plan, folder, threshold, *launched)


def resume_seeds(options: Mapping[str, Any]) -> int:
    """Go on with the seeds of the folder that `--resume` names; return the exit status."""
    path = options["resume"]
    folder = Path(path)
    try:
        words = json.loads((folder / SEEDS_FILE).read_text(encoding="utf-8"))
        plan = replace(Plan.from_json(words["plan"]), folder=str(folder.absolute()))
        threshold = words["threshold"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError("--resume", f"cannot read {SEEDS_FILE}: {error}", path, "what train --seeds wrote") from None
    return _train(plan, folder, threshold, *launcher_of(options))


def _threshold(options: Mapping[str, Any], settings: Settings) -> float | None:
    own = find_env(settings.env).reward_threshold
    word = options.get("threshold", own)
    try:
        return None if word is None else float(word)
    except ValueError:
        raise InputError("--threshold", "is no number", word, "a mean return") from None


def _train(plan: Plan, folder: Path, threshold: float | None, launcher: Launcher | None, workers: int) -> int:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = open_storage(str(folder / QUEUE))
    study = create_study(plan, storage=storage, name=f"seeds-{digest_of(plan)}")
    if study.user_attrs["plan"]["folder"] != plan.folder:  # it was moved
        study.set_user_attr("plan", plan.to_json())
    print(f"{len(plan.seeds)} seeds, {workers} at a time, in {folder}", flush=True)
    with GentleStop() as stop:
        done = run_study(storage, study.study_name, workers, announced(stop.wanted), _teller(plan), launcher=launcher)
    if not done:
        print(f"interrupted: the same command goes on, and so does --resume {folder}")
        return stop.status
    report = SeedReport(f"{plan.algo} on {plan.env}", _runs(plan, folder, study), threshold)
    write_seeds(report, folder)
    print(f"{report.line()}\npicture: {folder / 'curve.png'}\ntables:  {folder / 'seeds.md'}, {folder / 'seeds.csv'}")
    if not report.finals:
        print(f"error: every run has failed: {report.runs[0].failure}", file=sys.stderr)
        return 1
    return 0


def _runs(plan: Plan, folder: Path, study: Any) -> tuple[Run, ...]:
    failures = {
        plan.given(trial.user_attrs["ticket"])[1]: trial.user_attrs.get("reason")
        for trial in study.get_trials(deepcopy=False)
        if "ticket" in trial.user_attrs
    }
    runs = [run_found(seed_folder(folder, seed), seed) for seed in plan.seeds]
    return tuple(
        replace(run, failure=failures.get(run.seed) or run.failure) if run.failure is not None else run for run in runs
    )


def _teller(plan: Plan) -> Callable[[StudyProgress], None]:
    """Return a function that says of each run that it has ended, and how much of the whole is done."""

    def tell(progress: StudyProgress) -> None:
        for trial in progress.ended:
            seed = plan.given(trial.user_attrs["ticket"])[1]
            score = trial.user_attrs.get("reason", "failed") if trial.value is None else f"{trial.value:.1f}"
            where = f"{progress.finished} of {progress.n_trials}; {progress.whole.words}"
            print(f"seed {seed}: {score}  [{where}]", flush=True)

    return tell
