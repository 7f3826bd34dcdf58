"""Train any registered algorithm on any registered environment: `python -m sb3_course.train`.

Without arguments it runs the headline example.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sb3_course.config.errors import InputError
from sb3_course.config.parameters import flag_help
from sb3_course.config.yaml_files import load_yaml
from sb3_course.runs.door import GentleStop, Parser, load_own, run_door
from sb3_course.runs.typed_settings import HEADLINE_ALGO, HEADLINE_ENV, origin, read_settings
from sb3_course.tuning.launchers import FLAGS, add_launcher_options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sb3_course.runs.result import Result, Watch
    from sb3_course.runs.settings import Settings

_WITH_RESUME = ("resume", "plugins", "progress", "verbose", "n_timesteps")
_OF_SEEDS = ("workers", "threshold", *FLAGS)

_EPILOG = """\
values: numbers, words, lists, dict(name=value), lin_1e-3 (falls linearly to 0), nn.ReLU, th.optim.Adam, after
--import mymod also mymod.MyNet; never code
a config file holds the same keys (n_timesteps, n_envs, normalize, ..., and hyperparameters beside them); preset <
config file < command line. In a table of rl-baselines3-zoo's the section for the environment replaces the preset: the
one of its name, atari, or default
exit status: 0 done, 2 input refused and nothing written, 1 failed while training, 130 ended by Ctrl-C, 143 by SIGTERM

Ctrl-C and SIGTERM finish the rollout in hand and write model.zip and a checkpoint; Ctrl-C again leaves at once.
A run that was killed goes on with --resume RUN and ends, bit for bit, as if it had never stopped. With -n STEPS a
finished run goes on to a larger budget. Every checkpoint's model is kept, all else of the newest two.
"""


class _Help(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from sb3_course.runs.display import parameter_table

        parser.epilog = f"{parser.epilog}\n{parameter_table()}"
        print(parser.format_help(), end="")  # argparse's own way is silent where nobody reads
        parser.exit()


def make_parser() -> Parser:
    """Return the parser; no flag has a default, so that what is not given can come from elsewhere."""
    parser = Parser.of("train", __doc__, _EPILOG, add_help=False)
    add = parser.add_argument
    add("-h", "--help", action=_Help, nargs=0, help="this text, with the table of hyperparameters")
    add("--list", action="store_true", help="print the algorithms and leave")
    what = parser.add_argument_group("what").add_argument
    what("--algo", metavar="NAME", help=f"algorithm, see --list (default: {HEADLINE_ALGO})")
    what("--env", metavar="ID", help=f"environment id (default: {HEADLINE_ENV})")
    what("-n", "--n-timesteps", metavar="STEPS", help="budget in environment steps (default: the preset's)")
    what("-params", "--hyperparams", metavar="K:V", nargs="+", dest="params", help="hyperparameters: gamma:0.9 ...")
    what("-conf", "--conf-file", "--config", dest="config", metavar="FILE",
         help="YAML file with any of these keys, such as the config.yaml of a run")  # fmt: skip
    what("--preset", metavar="NAME", help="settings that reproduce an article")
    what("--seed", metavar="N", help="training env i gets seed + i (default: 0)")
    what("--seeds", metavar="N", nargs="+", help="so many runs, from --seed on, and what they come to; or the seeds")
    what("--workers", metavar="N", help="of these runs at a time (default: 1; on Ray 1000)")
    add_launcher_options(what)
    what("--threshold", metavar="RETURN", help="that they are to reach (default: the environment's own)")
    what("--import", metavar="MODULE", nargs="+", dest="plugins", help="own environments, algorithms and classes")
    what("--device", help=flag_help("device"))
    what("--num-threads", metavar="N", help=flag_help("num_threads"))
    _add_flags_of_the_environment(parser)
    _add_flags_of_the_run(parser)
    return parser


def _add_flags_of_the_environment(parser: Parser) -> None:
    env = parser.add_argument_group("environment").add_argument
    env("--env-kwargs", metavar="K:V", nargs="+", help="arguments of the environment, slip:0.2 ...")
    env("--eval-env-kwargs", metavar="K:V", nargs="+", help="the same for evaluations (default: those of training)")
    env("--env-wrapper", metavar="NAME", nargs="+", help="module:Class or module:Class(k=v); scores stay unwrapped")
    env("--n-envs", metavar="N", help="environments side by side (default: the preset's, or 1)")
    env("--vec-env", metavar="KIND", help="dummy (one process) or subproc (a process each)")
    env("--normalize", metavar="DICT", nargs="?", const="True", help='VecNormalize; or "dict(norm_reward=False)"')
    env("--frame-stack", metavar="N", help=flag_help("frame_stack"))


def _add_flags_of_the_run(parser: Parser) -> None:
    run = parser.add_argument_group("run").add_argument
    run("--eval-freq", metavar="STEPS", help="steps between evaluations, 0 for none (default: budget / 20)")
    run("--eval-episodes", metavar="N", help=flag_help("eval_episodes"))
    run("--final-episodes", metavar="N", help=flag_help("final_episodes"))
    run("--n-eval-envs", metavar="N", help=flag_help("n_eval_envs"))
    run("--save-freq", metavar="STEPS", help="steps between checkpoints, 0 for none (default: budget / 10)")
    run("-f", "--log-folder", metavar="DIR", help="runs go to DIR/<algo>/<env>_<k> (default: logs)")
    run("--run-dir", metavar="DIR", help="the run folder itself")
    run("--overwrite", action="store_true", help="replace the run that --run-dir holds")
    run("--resume", metavar="RUN", help="continue a run from its newest checkpoint, with -n to a larger budget")
    run("-i", "--trained-agent", metavar="FILE", help="start from the weights and the optimizer of a model file")
    run("-tb", "--tensorboard-log", metavar="DIR", help="TensorBoard's logs go to DIR/<env>/<Class>_<k>")
    run("--track", action="store_true", help="let Weights & Biases follow the run (extra: track)")
    for name in ("project-name", "entity", "group"):
        run(f"--wandb-{name}", metavar="NAME", help=f"its {name.split('-')[0]}, with --track")
    run("--wandb-tags", metavar="TAG", nargs="+", help="its tags, with --track")
    run("--log-interval", metavar="N", help=flag_help("log_interval"))
    run("-P", "--progress", action=argparse.BooleanOptionalAction, help="progress bar (default: on a terminal)")
    run("--verbose", metavar="N", help="0 result only, 1 evaluations (default), 2 SB3's tables and tracebacks")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    verbose = 1

    def work() -> int:
        nonlocal verbose
        options = vars(make_parser().parse(argv))
        load_own(options)
        if options.get("list"):
            from sb3_course.runs.display import algorithm_table

            print(algorithm_table())
            return 0
        verbose = _verbosity(options.get("verbose", "1"))
        if many := _many_seeds(options):
            return many()
        bar = bool(options.get("progress", sys.stderr.isatty() and verbose == 1))
        return _resume(options, bar, verbose) if "resume" in options else _train(options, bar, verbose)

    return run_door(work, "training", lambda: verbose >= 2)


def _many_seeds(options: dict[str, Any]) -> Callable[[], int] | None:
    """Return what trains many seeds where that is asked for."""
    from sb3_course.runs.folder import SEEDS_FILE

    begun = "resume" in options and (Path(options["resume"]) / SEEDS_FILE).is_file()
    if begun:
        _refuse_with_resume(options, ("resume", "plugins", "progress", "verbose", "workers", *FLAGS))
    elif "seeds" not in options or "resume" in options:
        for name in {*_OF_SEEDS} & {*options}:
            raise InputError(f"--{name}", "is for many seeds", options[name], "--seeds N beside it")
        return None
    from sb3_course.tuning.options import require_extra

    require_extra()
    from sb3_course.tuning.seed_runs import resume_seeds, train_seeds

    return lambda: resume_seeds(options) if begun else train_seeds(read_settings(options), options)


def _verbosity(word: str) -> int:
    if word not in ("0", "1", "2"):
        raise InputError("--verbose", "unknown level", word, "0, 1 or 2")
    return int(word)


def _train(options: dict[str, Any], bar: bool, verbose: int) -> int:
    from sb3_course.runs.folder import RunFolder
    from sb3_course.runs.tracking import tracked_settings, tracking

    settings = tracked_settings(read_settings(options), options)
    if settings.device != "auto":
        from sb3_course.sb3.devices import require_there

        require_there(settings.device)
    if "run_dir" in options:
        if "log_folder" in options:
            raise InputError("--run-dir", "cannot be combined with --log-folder", options["run_dir"], "one of them")
        folder = RunFolder(options["run_dir"], options.get("overwrite", False))
    else:
        if "overwrite" in options:
            raise InputError("--overwrite", "needs --run-dir: numbered folders are always new", want="--run-dir DIR")
        folder = RunFolder.numbered(options.get("log_folder", "logs"), settings.algo, settings.env)
    folder.check()
    from sb3_course.runs.display import budget_line
    from sb3_course.runs.training import execute

    words = budget_line(settings, origin(options, settings))
    with GentleStop() as stop, _watch(settings, stop, bar, verbose, words) as watch, tracking(settings, options):
        result = execute(settings, folder, watch)
    return _tell(settings, result, stop)


def _resume(options: dict[str, Any], bar: bool, verbose: int) -> int:
    _refuse_with_resume(options, _WITH_RESUME)
    from sb3_course.runs.folder import RunFolder
    from sb3_course.runs.settings import Settings

    folder = RunFolder.existing(options["resume"], "--resume")
    settings = Settings.from_config(load_yaml(folder.config))
    budget = None
    if "n_timesteps" in options:
        budget = Settings.from_config({**load_yaml(folder.config), "n_timesteps": options["n_timesteps"]}).n_timesteps
        print(f"schedules go by the new budget of {budget:,} steps")
    from sb3_course.runs.training import resume

    with GentleStop() as stop, _watch(settings, stop, bar, verbose) as watch:
        result, lost = resume(folder.path, watch, budget)
    if lost:
        print(f"the resumed run need not equal an uninterrupted one: {'; '.join(lost)}")
    return _tell(settings, result, stop)


def _refuse_with_resume(options: dict[str, Any], allowed: Sequence[str]) -> None:
    for name in options:
        if name not in allowed:
            flag = "-params" if name == "params" else f"--{name.replace('_', '-')}"
            raise InputError(flag, "cannot be combined with --resume: a run goes on as it began", want="it left out")


@contextlib.contextmanager
def _watch(settings: Settings, stop: GentleStop, bar: bool, verbose: int, first: str = "") -> Iterator[Watch]:
    from sb3_course.runs.display import evaluation_line, progress_bar
    from sb3_course.runs.result import Watch

    def say(line: str) -> None:
        if line:
            print(line, flush=True)

    common: dict[str, Any] = {"stop": stop.wanted, "verbose": 1 if verbose >= 2 else 0}
    if verbose:
        common["started"] = lambda: say(first)
    if bar:
        with progress_bar(f"{settings.algo} on {settings.env}") as show:
            yield Watch(progress=show, **common)
    elif verbose:
        yield Watch(evaluation=lambda score: say(evaluation_line(score)), **common)
    else:
        yield Watch(**common)


def _tell(settings: Settings, result: Result, stop: GentleStop) -> int:
    from sb3_course.runs.display import result_lines, steps_in_words

    if not result.finished:
        after = steps_in_words(settings, result.timesteps)
        print(
            f"interrupted after {after}: model.zip and a checkpoint are in {result.folder}; "
            f"continue with --resume {result.folder}"
        )
        return stop.status
    print("\n".join(result_lines(settings, result)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
