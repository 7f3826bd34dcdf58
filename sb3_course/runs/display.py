"""What a person sees of a run: a progress bar, or a line per evaluation where there is no terminal."""

from __future__ import annotations

import contextlib
import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from sb3_course.config import parameters
from sb3_course.config.columns import columns
from sb3_course.registry import ALGORITHMS, find
from sb3_course.runs.words import OWN

if TYPE_CHECKING:
    from sb3_course.runs.evaluation import Evaluation
    from sb3_course.runs.progress import Progress
    from sb3_course.runs.result import Result
    from sb3_course.runs.settings import Settings


@contextlib.contextmanager
def progress_bar(title: str) -> Iterator[Callable[[Progress], None]]:
    """Show a bar on stderr for as long as the context lasts; the value moves it."""
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns: list[Any] = [
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(),
        TimeRemainingColumn(elapsed_when_finished=True), TextColumn("{task.fields[doing]}"),
        TextColumn("{task.fields[score]}"),
    ]  # fmt: skip
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=None, score="", doing="")

        def show(progress: Progress) -> None:
            by_episodes = progress.total_episodes is not None
            score = [] if progress.mean_return is None else [f"return {progress.mean_return:.1f}"]
            if progress.evaluation is not None:
                score.append(f"eval {progress.evaluation.mean:.1f}")
            bar.update(
                task,
                completed=progress.episodes if by_episodes else progress.timesteps,
                total=progress.total_episodes if by_episodes else progress.total_timesteps,
                score=", ".join(score),
                doing=doing(progress),
            )

        yield show


def doing(progress: Progress) -> str:
    """Return in words what a run does just now."""
    if progress.scoring is not None:
        return "scoring {}/{}".format(*progress.scoring)
    return "" if progress.speed is None else f"{progress.speed:,.0f} steps/s"


@contextlib.contextmanager
def episodes_bar(shown: bool) -> Iterator[Callable[[int, int], None] | None]:
    """Show a bar on stderr over the episodes of an evaluation; the value is what `evaluate` tells, None without a bar.

    :param shown: whether there is a bar at all
    """
    if not shown:
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True)) as bar:
        task = bar.add_task("episodes", total=None)
        yield lambda finished, episodes: bar.update(task, completed=finished, total=episodes)


def steps_in_words(settings: Settings, steps: int, between: str = "{} ({} frames)") -> str:
    """Return a number of steps, and of a game whose steps are several frames, which articles count, both numbers."""
    from sb3_course.runs.known_envs import frames_per_step

    frames = frames_per_step(settings)
    counted = f"{steps:,} steps"
    return counted if frames == 1 else between.format(counted, f"{steps * frames:,}")


def budget_line(settings: Settings, origin: str) -> str:
    """Return the line before a run: where its settings are from and, of a game with frames, how long it is in both."""
    steps = settings.n_timesteps
    both = "" if steps is None else steps_in_words(settings, steps, "{} = {} frames")
    return f"settings: {origin}" + (f"; {both}" if "frames" in both else "")


def evaluation_line(score: Evaluation) -> str:
    """Return one line about an evaluation."""
    return f"{score.timesteps:>10,} steps: {score.mean:.1f} ± {score.std:.1f} over {len(score.returns)} episodes"


def result_lines(settings: Settings, result: Result) -> list[str]:
    """Return the final score and where everything lies."""
    lines = []
    if result.final is not None:
        lines.append(
            f"{settings.algo} on {settings.env}, seed {settings.seed}: {result.mean:.1f} ± {result.std:.1f} over "
            f"{len(result.final.returns)} episodes, after {steps_in_words(settings, result.timesteps)} in "
            f"{result.seconds:.0f} s"
        )
    if result.folder is not None:
        lines += [f"run folder: {result.folder}", f"picture:    {result.folder / 'curve.png'}"]
        learned = (("values:     ", "values.png"), ("policy:     ", "policy.png"))
        lines += [f"{word}{result.folder / name}" for word, name in learned if (result.folder / name).exists()]
    return lines


def algorithm_table(names: Sequence[str] = ()) -> str:
    """Return the registry as text, or these rows of it.

    :raises InputError: for an unknown name
    """
    cells = [("name", "family", "from", "actions", "idea")]
    for row in map(find, names or ALGORITHMS):
        actions = "any" if len(row.action_spaces) > 2 else ", ".join(row.action_spaces)
        cells.append((row.name, row.family, row.source, actions, row.idea))
    return columns(cells)


def parameter_table(width: int = 100) -> str:
    """Return the table of hyperparameters as text: bounds, default, where the default comes from, meaning."""
    from sb3_course.value import estimates as _estimates  # noqa: F401  # whose rows belong to it

    own: list[str] = []
    other: list[str] = []
    for row in parameters.describe():
        group = parameters.ARGUMENTS[row.name].group
        if group == "run" or row.name in OWN or row.name == "total_timesteps":
            continue
        bounds = " ".join(filter(None, (row.kind, row.bounds)))
        default = "" if group == "sb3" else f"   [{row.default}; {row.source}]"
        indented = textwrap.indent(textwrap.fill(row.help, width - 6), " " * 6)
        (other if group == "sb3" else own).append(f"  {row.name}: {bounds}{default}\n{indented}")
    title = "hyperparameters of the value family (-params name:value ...), with default and its source:"
    rest = "hyperparameters of other algorithms only, by default their own constructor's:"
    return "\n".join([title, *own, "", rest, *other])
