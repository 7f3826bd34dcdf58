"""Scores with seeds and intervals: every algorithm with its preset through the same door, as pages of docs/results.

    OMP_NUM_THREADS=1 python benchmarks/results.py ladder               # what is missing, on two cores, then the page
    OMP_NUM_THREADS=1 python benchmarks/results.py hard ablations       # other pages
    OMP_NUM_THREADS=1 python benchmarks/results.py ladder --estimate    # minutes of processor for each table
    OMP_NUM_THREADS=1 python benchmarks/results.py ladder --page        # the page of what there is

Every run is one JSON file below --folder, written whole or not at all, and counts once: called again, after Ctrl-C or a
kill, the finished ones are read and the one in hand begins again. The files stand beside the pages, so that whoever has
time can add seeds. A file made with other settings than those of today is not mixed in: it has to be deleted, or
another --folder given.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from qrdqn_loss import same_but_faster
from results_pages import CLEANRL_SCORES, FIRST_SEED, SHARED_TEXT, THRESHOLDS, Entry, Page, pages
from worker_pool import worker_pool

#: Linux keeps the memory of large arrays for the next ones: an update with 170 quantiles takes 0.7 of the time.
KEEP_MEMORY = {"MALLOC_TRIM_THRESHOLD_": str(2**32), "MALLOC_MMAP_THRESHOLD_": str(2**25)}


@dataclass(frozen=True)
class Job:
    """One run, and where its file lies."""

    entry: Entry
    env: str
    seed: int
    steps: int | None
    folder: Path

    @property
    def path(self) -> Path:
        """The file."""
        plain = "".join(char if char.isalnum() else "-" for char in f"{self.env} {self.entry.label}")
        return self.folder / f"{plain}-{self.seed}.json"

    def settings(self) -> Any:
        """Return the settings of the run: the preset, what the row changes, and how it is scored."""
        from sb3_course.runs import Settings

        fixed: dict[str, Any] = {"seed": self.seed, "eval_episodes": 10, "final_episodes": 20, "save_freq": 0}
        budget = {} if self.steps is None else {"n_timesteps": self.steps}
        whole = {"algo": self.entry.algo, "env": self.env} if self.entry.alone else {}  # the preset is left out
        return Settings.resolve(self.entry.algo, self.env, {**self.entry.changes, **fixed, **budget, **whole})

    def digest(self) -> str:
        """Return what tells runs of other settings apart."""
        config = {**_config(self.entry, self.env, self.steps), "seed": self.seed}
        return hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode()).hexdigest()[:16]


@cache  # seeds differ in the seed only, and to check a row's names takes longer than all the rest of a digest
def _config(entry: Entry, env: str, steps: int | None) -> dict[str, Any]:
    config: dict[str, Any] = Job(entry, env, FIRST_SEED, steps, Path()).settings().to_config()
    return config


def jobs_of(page: Page, options: argparse.Namespace) -> list[Job]:
    """Return the runs of a page, seed by seed: whatever is done when it is stopped is a whole table."""
    from sb3_course.runs import presets

    seeds = range(options.first_seed, options.first_seed + (options.seeds or page.seeds))
    chosen = [entry for entry in page.entries if not options.algos or entry.algo in options.algos]
    known = {entry.algo: presets.environments(entry.algo) for entry in chosen}
    return [
        Job(entry, env, seed, options.steps, options.folder)
        for seed in seeds
        for env in page.envs
        if not options.envs or env in options.envs
        for entry in chosen
        if env in known[entry.algo]
    ]


def kept(job: Job) -> dict[str, Any] | None:
    """Return what came of a run, None where it has not been made.

    :raises SystemExit: for a file of other settings
    """
    try:
        found: dict[str, Any] = json.loads(job.path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    if found["digest"] != job.digest():
        raise SystemExit(f"{job.path} was made with other settings: delete it, or take another --folder")
    return found


def work(job: Job) -> dict[str, Any]:
    """Train one run, or read what came of it, and write its file whole."""
    if (known := kept(job)) is not None:
        return known
    import torch as th

    from sb3_course.runs import RunFolder, execute
    from sb3_course.runs.run_versions import run_versions
    from sb3_course.saving.files import atomic_write
    from sb3_course.tuning.results import Run
    from sb3_course.tuning.seed_plan import run_found

    th.set_num_threads(1)
    started, processor = time.perf_counter(), time.process_time()
    # Of one name, so that a run that was killed leaves it to the next one.
    folder = Path(tempfile.gettempdir(), f"sb3_course-{job.path.stem}-{job.digest()}")
    try:
        with same_but_faster():
            execute(job.settings(), RunFolder(folder, overwrite=True))
        run = run_found(folder, job.seed)
    except Exception as error:  # a run that fails is a result: it is told, and the others go on
        run = Run(job.seed, failure=f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
    seconds = {"seconds": time.perf_counter() - started, "processor_seconds": time.process_time() - processor}
    found = {"label": job.entry.label, "env": job.env, "digest": job.digest(), "run": run.to_json(), **seconds,
             "steps": job.settings().n_timesteps, "versions": run_versions()}  # fmt: skip
    atomic_write(job.path, json.dumps(found))
    shutil.rmtree(folder, ignore_errors=True)  # all that the tables need is in the file
    return found


def train(jobs: Sequence[Job], workers: int) -> None:
    """Train what is missing, so many at a time, and say of each what came of it."""
    missing = [job for job in jobs if kept(job) is None]
    print(f"{len(jobs) - len(missing)} of {len(jobs)} runs are there", flush=True)
    if not missing:
        return
    os.environ.update({name: value for name, value in KEEP_MEMORY.items() if name not in os.environ})
    with worker_pool(workers) as pool:
        futures = {pool.submit(work, job): job for job in missing}
        try:
            for done, future in enumerate(as_completed(futures), len(jobs) - len(missing) + 1):
                job, found = futures[future], future.result()
                score = found["run"]["failure"] or f"{found['run']['final']:.1f}"
                print(f"[{done} of {len(jobs)}] {job.env} {job.entry.label} {job.seed}: {score}, "
                      f"{found['seconds']:.0f} s", flush=True)  # fmt: skip
        except KeyboardInterrupt:
            sys.exit("interrupted: every finished run is kept; the same command goes on")


# -------------------------------------------------------------------------------------------------------- estimate


def estimate(name: str, page: Page, options: argparse.Namespace) -> float:
    """Print the minutes of processor of each table of a page, and return those of all."""
    total = 0.0
    for env in page.envs:
        jobs = [job for job in jobs_of(page, options) if job.env == env]
        if not jobs:
            continue
        seconds = {job.entry.label: 0.0 for job in jobs}
        for label in seconds:
            own = [job for job in jobs if job.entry.label == label]
            seconds[label] = seconds_of(own[0]) * len(own)
        minutes = sum(seconds.values()) / 60
        total += minutes
        slowest = sorted(seconds, key=lambda label: -seconds[label])[:3]
        print(f"{name}, {env}: {minutes:.0f} minutes of one core for {len(jobs)} runs; the slowest "
              + ", ".join(f"{label} {seconds[label] / 60:.0f}" for label in slowest), flush=True)  # fmt: skip
    return total


def seconds_of(job: Job, steps: int = 1_500) -> float:
    """Return the processor seconds of one run: of one that is there, or from a short piece of it.

    Evaluations count with episodes of the longest length, so that it is rather too much.
    """
    found = next((kept(other) for other in _others(job) if kept(other) is not None), None)
    if found is not None:
        return float(found["processor_seconds"])
    import torch as th

    from sb3_course.runs.environment import training_env
    from sb3_course.runs.known_envs import longest_episode
    from sb3_course.runs.model import build_model

    th.set_num_threads(1)
    settings = job.settings()
    venv = training_env(settings)
    model = build_model(settings, venv)
    start = int(getattr(model, "learning_starts", 0)) + 200
    model.learn(start)
    begun, before = time.process_time(), model.num_timesteps
    model.learn(steps, reset_num_timesteps=False)
    a_step = (time.process_time() - begun) / max(model.num_timesteps - before, 1)
    observation, begun = venv.reset(), time.process_time()
    for _ in range(100):
        model.predict(observation, deterministic=True)
    a_choice = (time.process_time() - begun) / 100
    venv.close()
    return a_step * float(settings.n_timesteps or 0) + a_choice * 220 * longest_episode(settings)


def _others(job: Job) -> Iterator[Job]:
    yield from (Job(job.entry, job.env, FIRST_SEED + index, job.steps, job.folder) for index in range(10))


# ------------------------------------------------------------------------------------------------------------ page


def table(jobs: Sequence[Job], env: str) -> tuple[list[str], dict[str, list[Any]]]:
    """Return the lines of an environment's table, and the runs of each row by the environment's own steps."""
    from sb3_course.runs.known_envs import find_env, frames_per_step
    from sb3_course.tuning.results import Run

    threshold = THRESHOLDS.get(env, find_env(env).reward_threshold)
    rows, every = [], {}
    for label in dict.fromkeys(job.entry.label for job in jobs if job.env == env):
        own = [job for job in jobs if (job.env, job.entry.label) == (env, label)]
        found = [known for job in own if (known := kept(job))]
        if not found:
            continue
        held = frames_per_step(own[0].settings())
        runs = [Run.from_json(each["run"]) for each in found]
        rows.append(_row(label, env, found, runs, threshold, held))
        every[label] = [replace(run, timesteps=tuple(held * step for step in run.timesteps)) for run in runs]
    head = ["", "steps", "final score, IQM [95 %]", "mean ± std", "CleanRL", "runs", f"at {threshold:g}",
            "steps to it", "seconds to it", "seconds of a run"]  # fmt: skip
    if not any(label in CLEANRL_SCORES for label in every):
        head, *rows = [[*cells[:3], *cells[5:]] for cells in (head, *rows)]
    lines = [f"| {' | '.join(cells)} |" for cells in rows]
    return [f"| | {' | '.join(head[1:])} |", "|---|" + "---:|" * (len(head) - 1), *lines], every


def _row(label: str, env: str, found: list[dict[str, Any]], runs: list[Any], threshold: Any, held: int) -> list[str]:
    """Return the cells of a row.

    :param held: for how many steps of the environment an action is held
    """
    from sb3_course.tuning.seed_report import SeedReport

    report = SeedReport(label, tuple(runs), threshold)
    reached, failed = report.reached(), sum(run.failure is not None for run in runs)
    spent, budget = statistics.median(each["processor_seconds"] for each in found), found[0]["steps"]
    score, times = str(report.score or "-"), f" x {held}" if held > 1 else ""
    cells = ["-", "-", "-"]
    if reached is not None:
        first = reached[0]
        cells[0] = f"{first.reached} of {first.total}"
        if first.reached * 2 > first.total:
            cells[1:] = [f"{first.median:,.0f}{times}", f"{spent * first.median / budget:,.0f}"]
    spread, theirs = "-", CLEANRL_SCORES.get(label, {}).get(env, "-")
    if report.finals:
        spread = f"{statistics.fmean(report.finals):.2f} ± {statistics.pstdev(report.finals):.2f}"
    number = f"{len(runs)}" + (f" ({failed} failed)" if failed else "")
    return [f"`{label}`", f"{budget:,}{times}", score, spread, theirs, number, *cells, f"{spent:,.0f}"]


def page_text(name: str, page: Page, jobs: Sequence[Job], command: str) -> tuple[str, dict[str, dict[str, list[Any]]]]:
    """Return a page of docs/results, and what each of its pictures shows."""
    seeds = sorted({job.seed for job in jobs})
    said = f"Seeds {seeds[0]}-{seeds[-1]}, a run each." if len(seeds) > 1 else f"Seed {seeds[0]}."
    said += " [How to read the tables](#how-to-read-the-tables)."
    parts = [f"# {page.title}", page.text.strip(), f"```\n{command}\n```", said]
    pictures: dict[str, dict[str, list[Any]]] = {}
    for env in dict.fromkeys(job.env for job in jobs):
        lines, every = table(jobs, env)
        parts += [f"## {env}", "\n".join(lines)]
        for end, part in _parts(every).items():
            file = f"{name}-{env.rpartition('/')[2]}-{end}.png"
            pictures[file] = part
            parts.append(f"![Mean returns of the evaluations over the steps: {', '.join(part)}]({file})")
    return "\n\n".join([*parts, SHARED_TEXT.strip()]) + "\n", pictures


def write_page(name: str, page: Page, jobs: Sequence[Job], out: Path, command: str) -> None:
    """Write a page of docs/results and its pictures."""
    from sb3_course.saving.files import atomic_write

    text, pictures = page_text(name, page, jobs, command)
    for file, every in pictures.items():
        draw(every, out / file)
    atomic_write(out / f"{name}.md", text)
    print(f"page: {out / f'{name}.md'}")


def _parts(every: dict[str, list[Any]], most: int = 7) -> dict[str, dict[str, list[Any]]]:
    """Return the rows in parts that one picture can show."""
    labels = [label for label, runs in every.items() if any(run.means for run in runs)]
    return {
        f"curves-{index // most + 1}": {label: every[label] for label in labels[index : index + most]}
        for index in range(0, len(labels), most)
    }


def draw(every: dict[str, list[Any]], path: Path) -> None:
    """Save the curves of some rows."""
    from sb3_course.saving.files import atomic_path
    from sb3_course.tuning import plots

    height = 4.0 + plots.legend_height(list(every))
    figure = plots.drawing(lambda axes: plots.draw_curves(axes, list(every.items())), height)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110, facecolor="white")


def make_parser() -> argparse.ArgumentParser:
    """Return the reader of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="+", choices=pages())
    parser.add_argument("--envs", nargs="+", help="only these")
    parser.add_argument("--algos", nargs="+", help="only rows of these")
    parser.add_argument("--seeds", type=int, help="of each row (default: the page's)")
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--steps", type=int, help="of every run (default: the preset's)")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=Path("docs/results/runs"))
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument("--estimate", action="store_true", help="train little, write nothing")
    parser.add_argument("--page", action="store_true", help="train nothing")
    return parser


def command_of(name: str, options: argparse.Namespace) -> str:
    """Return the command that makes a page as these options do."""
    own = {"envs": options.envs, "algos": options.algos, "seeds": options.seeds, "steps": options.steps,
           "first-seed": options.first_seed if options.first_seed != FIRST_SEED else None}  # fmt: skip
    given = {key: value if isinstance(value, list) else [value] for key, value in own.items() if value is not None}
    words = [f" --{key} {' '.join(map(str, values))}" for key, values in given.items()]
    return f"OMP_NUM_THREADS=1 python benchmarks/results.py {name}{''.join(words)}"


def main(argv: Sequence[str] | None = None) -> None:
    """Train what is missing and write the pages."""
    options, known = make_parser().parse_args(argv), pages()
    if options.estimate:
        minutes = sum(estimate(name, known[name], options) for name in options.pages)
        print(f"all: {minutes:.0f} minutes of one core, {minutes / options.workers:.0f} with {options.workers} workers")
        return
    for place in (options.folder, options.out):
        place.mkdir(parents=True, exist_ok=True)
    for name in options.pages:
        jobs = jobs_of(known[name], options)
        if not jobs:
            raise SystemExit(f"{name}: --envs and --algos leave no run")
        if not options.page:
            train(jobs, options.workers)
        write_page(name, known[name], jobs, options.out, command_of(name, options))


if __name__ == "__main__":
    main()
