"""The flags that `tune` and `compare` share, and what they mean; nothing heavy is imported for `--help`."""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import importlib.util
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sb3_course.config.errors import InputError, did_you_mean
from sb3_course.config.parameters import ARGUMENTS, check, flag_help
from sb3_course.config.secrets import passwords
from sb3_course.tuning.counting import count
from sb3_course.tuning.launchers import add_launcher_options

if TYPE_CHECKING:
    from sb3_course.tuning.crew import StudyProgress
    from sb3_course.tuning.storage import StudyStorage

DEFAULT_STORAGE = "logs/studies.db"
_NEEDED = ("optuna", "scipy", "jinja2", "markupsafe", "sqlalchemy")  # the extra `tuning`
_BASE = ("env_wrapper", "normalize", "frame_stack", "vec_env", "n_eval_envs", "device", "num_threads")

EPILOG = """\
a trial is one configuration on every seed; its score is the mean over the seeds. Nothing is lost when a worker or the
whole command is killed: the same command goes on where it was, and so does a second one on another terminal.
optuna-dashboard opens the same storage: optuna-dashboard sqlite:///logs/studies.db
exit status: 0 done, 2 input refused and nothing written, 1 failed while running, 130 ended by Ctrl-C, 143
by SIGTERM; either gives the trials in hand back, and again leaves at once
"""


def add_options(parser: argparse.ArgumentParser, envs: str | None = None) -> None:
    """Add the shared flags to a parser; `envs="+"` lets it take several environments."""
    what = parser.add_argument_group("every run").add_argument
    ids = "environment id" if envs is None else "environment ids, each compared alone and all of them together"
    what("--env", metavar="ID", nargs=envs, help=f"{ids} (default: CartPole-v1)")
    what("-n", "--n-timesteps", "--timesteps", metavar="STEPS", help="environment steps of a run (default: 20000)")
    what("-params", "--hyperparams", metavar="K:V", nargs="+", dest="params", help="hyperparameters that stay fixed")
    what("--env-kwargs", metavar="K:V", nargs="+", help="arguments of the environment")
    what("--eval-env-kwargs", metavar="K:V", nargs="+", help="the same for evaluations (default: those of training)")
    what("--env-wrapper", metavar="NAME", nargs="+", help="module:Class or module:Class(k=v); scores stay unwrapped")
    what("--normalize", metavar="DICT", nargs="?", const="True", help='VecNormalize; or "dict(norm_reward=False)"')
    what("--frame-stack", metavar="N", help=flag_help("frame_stack"))
    what("--vec-env", metavar="KIND", help="dummy or subproc")
    what("--device", help=flag_help("device"))
    what("--num-threads", metavar="N", help=flag_help("num_threads"))
    what("--eval-freq", metavar="STEPS", help="steps between evaluations (default: a twentieth of a run)")
    what("--eval-episodes", metavar="N", help=flag_help("eval_episodes"))
    what("--final-episodes", metavar="N", help=flag_help("final_episodes"))
    what("--n-eval-envs", metavar="N", help=flag_help("n_eval_envs"))
    study = parser.add_argument_group("study").add_argument
    study("--trials", metavar="N", help="configurations to try for an algorithm (default: 20)")
    study("--seeds", metavar="N", help="seeds of every trial (default: 5)")
    study("--seed", metavar="N", help="the first of them, and the sampler's (default: 0)")
    study("--score", metavar="KIND", help="auc, the mean over the evaluations of a run, or final (default: auc)")
    study(
        "--pruner", metavar="KIND",
        help="wilcoxon (across seeds, five or more), median (inside runs) or none (default: wilcoxon, or median)",
    )  # fmt: skip
    study("--import", metavar="MODULE", nargs="+", dest="plugins", help="own environments, algorithms and spaces")
    work = parser.add_argument_group("work").add_argument
    work("-P", "--progress", action=argparse.BooleanOptionalAction, help="progress bar (default: on a terminal)")
    work("--workers", metavar="N", help="processes (default: 1), or tasks of Ray at most (default: 1000)")
    add_launcher_options(work)
    add_storage_options(work)
    work("--study-name", metavar="NAME", help="in the storage (default: made of algorithm and environment)")
    work("-f", "--log-folder", metavar="DIR", help="reports go to DIR/<study name> (default: logs)")


def add_storage_options(add: Callable[..., object]) -> None:
    """Add the flags that say which database, to a parser or a group of it."""
    add("--storage", metavar="URL", help=f"database, a file or a URL of SQLAlchemy (default: {DEFAULT_STORAGE})")
    add("--storage-env", metavar="NAME", help="environment variable that holds the URL, which may have a password")
    add("--storage-wait", metavar="SECONDS", help="for a database server that goes away (default: 600)")


def require_extra() -> None:
    """Refuse to begin where the packages of the extra `tuning` are missing.

    :raises InputError: naming them and the command that installs them for the Python that runs
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        command = shlex.join([sys.executable, "-m", "pip", "install", *_requirements(missing)])
        raise InputError("installation", f"packages are missing: {', '.join(missing)}", want=command)


def _requirements(names: Sequence[str]) -> list[str]:
    """Return packages with the versions that we declare: what pip can install, however we were installed."""
    try:
        lines = importlib.metadata.requires("sb3_course") or []
    except importlib.metadata.PackageNotFoundError:  # run from a checkout
        lines = []
    known = {re.split(r"[^\w.-]", line)[0].lower(): line.split(";")[0].strip() for line in lines}
    return [known.get(name, name) for name in names]


def seeds_of(options: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the seeds of every trial."""
    first = count(options, "seed", 0, 0)
    return tuple(range(first, first + count(options, "seeds", 5)))


def terms(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a `Plan` that the shared flags say, algorithm, environment and budget left out.

    :raises InputError: for a value that cannot be read, and for a run key among the hyperparameters
    """
    from sb3_course.registry import load_plugins
    from sb3_course.runs.settings import RUN_KEYS, WITHOUT_FLAG
    from sb3_course.runs.words import read_pairs
    from sb3_course.tuning.plan import WILCOXON_SEEDS

    base: dict[str, Any] = {name: options[name] for name in _BASE if name in options}
    if base.get("device", "auto") != "auto":
        from sb3_course.sb3.devices import require_there

        check({"device": base["device"]})
        require_there(base["device"])
    for name in ("env_kwargs", "eval_env_kwargs"):
        if name in options:
            base[name] = dict(read_pairs(options[name], f"--{name.replace('_', '-')}"))
    for key, value in read_pairs(options.get("params", ()), "-params").items():
        if key in RUN_KEYS - WITHOUT_FLAG - {"n_envs"}:
            raise InputError("-params", f"{key} is not a hyperparameter", value, f"--{key.replace('_', '-')}")
        if key not in ARGUMENTS:
            raise InputError("-params", f"unknown hyperparameter{did_you_mean(key, ARGUMENTS)}", key, "a known one")
        base[key] = value
    plugins = tuple(options.get("plugins", ()))
    load_plugins(plugins)
    few = len(seeds_of(options)) < WILCOXON_SEEDS
    found: dict[str, Any] = {
        "base": base, "plugins": plugins, "sampler_seed": count(options, "seed", 0, 0),
        "score": options.get("score", "auc"), "pruner": options.get("pruner", "median" if few else "wilcoxon"),
    }  # fmt: skip
    for name in ("eval_freq", "eval_episodes", "final_episodes"):
        if name in options:
            found[name] = count(options, name, 0, 0)
    return found


def storage_of(options: Mapping[str, Any], may_create: bool = True) -> StudyStorage:
    """Return the storage, the folder of the default one made.

    :param may_create: as in `open_storage`
    :raises InputError: when it cannot be used
    """
    import optuna

    from sb3_course.tuning.patience import PATIENCE
    from sb3_course.tuning.storage import open_storage

    optuna.logging.set_verbosity(optuna.logging.ERROR)  # a lost connection is a page of SQL
    seconds = count(options, "storage_wait", int(PATIENCE), 0)
    url = _url_of(options)
    if url == DEFAULT_STORAGE:
        Path(DEFAULT_STORAGE).parent.mkdir(parents=True, exist_ok=True)
    return open_storage(url, may_create, seconds)


def _url_of(options: Mapping[str, Any]) -> str:
    if "storage_env" not in options:
        url = str(options.get("storage", DEFAULT_STORAGE))
        if passwords(url):
            how = "--storage-env NAME, PGPASSWORD or ~/.pgpass keep it to yourself"
            print(f"--storage: this machine's process list shows its password; {how}", file=sys.stderr, flush=True)
        return url
    name = options["storage_env"]
    if "storage" in options:
        raise InputError("--storage-env", "is given beside --storage", name, "one of the two")
    if not os.environ.get(name):
        raise InputError("--storage-env", "this environment variable is not set", name, "the name of one with a URL")
    return os.environ[name]


def name_of(options: Mapping[str, Any], default: str) -> str:
    """Return the name of the study.

    :raises InputError: for one that no folder can have
    """
    name = str(options.get("study_name", default))
    if not name.strip() or name.replace("/", "-") in (".", ".."):
        raise InputError("--study-name", "is no name", name, "a word")
    return name


def announced(stop: Callable[[], bool]) -> Callable[[], bool]:
    """Return `stop`, which says once that it was heard."""
    said = False

    def wanted() -> bool:
        nonlocal said
        if stop() and not said:
            said = True
            print("stopping: trials in hand are given back; press Ctrl-C again to leave at once", flush=True)
        return stop()

    return wanted


def folder_of(options: Mapping[str, Any], name: str) -> Path:
    """Return the folder of the reports, not made yet, before hours of work are put into what goes there.

    :raises InputError: when it could not be made or written to
    """
    folder = Path(options.get("log_folder", "logs")) / name.replace("/", "-")
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        reason = "is read-only" if there.is_dir() else "is a file"
        raise InputError("--log-folder", f"cannot be written: {there} {reason}", str(folder), "a folder")
    return folder


@contextlib.contextmanager
def progress_display(options: Mapping[str, Any]) -> Iterator[Callable[[StudyProgress], None]]:
    """Yield a function that prints a line for each trial that has ended, under one bar if asked, or at a terminal."""
    if not options.get("progress", sys.stderr.isatty()):
        yield lambda progress: _print_ended(progress, lambda line: print(line, flush=True))
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[left]}"))
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("starting", total=1.0, left="")

        def tell(progress: StudyProgress) -> None:
            _print_ended(progress, lambda line: bar.console.print(line, markup=False, highlight=False))
            best = "" if progress.best is None else f", best {progress.best:.1f}"
            where = f"{progress.study.study_name}: {progress.finished} of {progress.n_trials} trials{best}"
            left = f"{progress.whole.left} left" if progress.whole.left else ""
            bar.update(task, completed=progress.whole.share, description=where, left=left)

        yield tell


def _print_ended(progress: StudyProgress, write: Callable[[str], object]) -> None:
    best = "none yet" if progress.best is None else f"best {progress.best:.1f}"
    for trial in progress.ended:
        name = trial.user_attrs.get("point", "")
        who = f"{progress.study.study_name}: trial {trial.number}" + (f" ({name})" if name else "")
        value = "-" if trial.value is None else f"{trial.value:.1f}"
        where = f"[{best}; {progress.finished} of {progress.n_trials}; {progress.whole.words}]"
        write(" ".join(filter(None, [who, trial.state.name.lower(), value, trial.user_attrs.get("reason", ""), where])))
