"""What a person sees of a run: a progress bar, or a line per evaluation where there is no terminal."""

from __future__ import annotations

import contextlib
import textwrap
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from sb3_course.config import parameters
from sb3_course.registry import ALGORITHMS
from sb3_course.runs.words import OWN

if TYPE_CHECKING:
    from sb3_course.runs.evaluation import Evaluation
    from sb3_course.runs.result import Result
    from sb3_course.runs.run_callbacks import Progress
    from sb3_course.runs.settings import Settings


@contextlib.contextmanager
def progress_bar(title: str) -> Iterator[Callable[[Progress], None]]:
    """Show a bar on stderr for as long as the context lasts; the value moves it."""
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns: list[Any] = [
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[score]}"),
        TimeRemainingColumn(elapsed_when_finished=True),
    ]  # fmt: skip
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=None, score="")

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
            )

        yield show


@contextlib.contextmanager
def episodes_bar(episodes: int, finished: Callable[[], int], shown: bool) -> Iterator[Callable[[], None]]:
    """Show a bar on stderr over the episodes of an evaluation; the value moves it.

    :param episodes: how many there are
    :param finished: returns how many have ended
    :param shown: whether there is a bar at all
    """
    if not shown:
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True)) as bar:
        task = bar.add_task("episodes", total=episodes)
        yield lambda: bar.update(task, completed=finished())


def evaluation_line(score: Evaluation) -> str:
    """Return one line about an evaluation."""
    return f"{score.timesteps:>10,} steps: {score.mean:.1f} ± {score.std:.1f} over {len(score.returns)} episodes"


def result_lines(settings: Settings, result: Result) -> list[str]:
    """Return the final score and where everything lies."""
    lines = []
    if result.final is not None:
        lines.append(
            f"{settings.algo} on {settings.env}, seed {settings.seed}: {result.mean:.1f} ± {result.std:.1f} over "
            f"{len(result.final.returns)} episodes, after {result.timesteps:,} steps in {result.seconds:.0f} s"
        )
    if result.folder is not None:
        lines += [f"run folder: {result.folder}", f"picture:    {result.folder / 'curve.png'}"]
    return lines


def algorithm_table() -> str:
    """Return the registry as text."""
    lines = [f"{'name':<20}{'family':<14}{'from':<19}{'actions':<16}idea"]
    for row in ALGORITHMS.values():
        actions = "any" if len(row.action_spaces) > 2 else ", ".join(row.action_spaces)
        lines.append(f"{row.name:<20}{row.family:<14}{row.source:<19}{actions:<16}{row.idea}")
    return "\n".join(lines)


def parameter_table(width: int = 100) -> str:
    """Return the table of hyperparameters as text: bounds, default, where the default comes from, meaning."""
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
