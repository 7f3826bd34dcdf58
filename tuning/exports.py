"""What a comparison found as files for other programs: CSV, LaTeX, and presets for `train --config`."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any

from sb3_course.config.yaml_files import dump_yaml
from sb3_course.tuning.findings import Finding, Findings, Part
from sb3_course.tuning.pages import reached, standing_words
from sb3_course.tuning.plan import configuration
from sb3_course.tuning.results import Comparison
from sb3_course.tuning.statistics import Interval, Reached

_TABLE = (
    "environment", "algorithm", "configuration", "origin", "chosen", "runs", "failed", "iqm", "iqm_low", "iqm_high",
    "optimality_gap", "gap_low", "gap_high", "tuning_score", "threshold", "steps_median", "seconds_median", "reached",
    "verdict",
)  # fmt: skip
_LATEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    **{char: f"\\{char}" for char in "&%$#_{}"},
}  # fmt: skip


def table_csv(findings: Findings) -> str:
    """Return a line for each configuration, and for each algorithm over all of several environments.

    Over all environments IQM and optimality gap are of normalised scores. A median that is `inf` was not reached by
    half of the runs; what there is not is empty.
    """
    return _csv(_TABLE, (_table_row(part, row) for part in findings.every for row in part.rows))


def runs_csv(findings: Findings) -> str:
    """Return a line for each run on a fresh seed."""
    names = ("environment", "algorithm", "configuration", "seed", "score", "normalised", "final", "failure")
    rows = []
    for part in findings.parts:
        scale = part.task.scale if part.task else None
        for row in part.rows:
            shares = [None] * len(row.scores) if scale is None else scale.normalised(row.scores).tolist()
            runs = row.configuration.runs if row.configuration else ()
            for run, score, share in zip(runs, row.scores.tolist(), shares, strict=True):
                rows.append((part.name, row.algo, row.label, run.seed, score, share, run.final, run.failure))
    return _csv(names, rows)


def table_latex(findings: Findings) -> str:
    """Return the chosen configurations as a `tabular` that needs no package: a row for each, or for each algorithm."""
    parts, overall = findings.parts, findings.overall
    threshold = parts[0].task.threshold if len(parts) == 1 and parts[0].task else None
    head = ["", *([f"IQM [95 \\%], {_tex(part.name)}" for part in parts] if overall else ["IQM [95 \\%]"])]
    if overall:
        head += ["IQM, normalised", "optimality gap"]
    elif threshold is not None:
        head += [f"steps to {threshold:g}"]
    rows = [_latex_row(findings, part, row) for part in ([overall] if overall else parts) for row in part.main]
    lines = [" & ".join(cells) + r" \\" for cells in ([*head, "verdict"], *rows)]
    columns = f"l{'r' * (len(head) - 1)}l"
    body = [f"\\begin{{tabular}}{{{columns}}}", r"\hline", lines[0], r"\hline", *lines[1:], r"\hline", r"\end{tabular}"]
    return "\n".join([*body, ""])


def best_files(comparison: Comparison) -> dict[str, str]:
    """Return the chosen configuration of each algorithm in each environment, by `<env>/<algo>/best.yml`.

    `train --config` with a seed of the comparison learns and scores what the run with that seed did.
    """
    found = {}
    for task in comparison.tasks:
        for each in task.chosen:
            plan = {"algo": each.algo, "env": task.env, "n_timesteps": comparison.n_timesteps, **comparison.evaluation}
            found[best_path(task.env, each.algo)] = dump_yaml(configuration(plan, each.settings))
    return found


def best_path(env: str, algo: str) -> str:
    """Return where the chosen configuration of an algorithm lies in the folder of a comparison."""
    return "/".join((*(re.sub(r"[^\w.+-]+", "-", name).lstrip(".") or "-" for name in (env, algo)), "best.yml"))


def _csv(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([names, *rows])
    return text.getvalue().encode(errors="replace").decode()


def _table_row(part: Part, row: Finding) -> list[Any]:
    each = row.configuration
    known: list[Any] = ["", "", "yes", len(row.scores), ""] if each is None else [
        row.label, each.origin, "yes" if each.chosen else "no", len(each.runs), len(each.failures),
    ]  # fmt: skip
    times = [_median(row.steps), _median(row.seconds), row.steps.reached if row.steps else None]
    verdict = standing_words(part.standing(row)).replace("–", "")
    return [part.name, row.algo, *known, *_ends(row.iqm), *_ends(row.gap), each.tuning_score if each else None,
            part.task.threshold if part.task else None, *times, verdict]  # fmt: skip


def _ends(interval: Interval | None) -> Sequence[float | None]:
    return (None, None, None) if interval is None else interval


def _median(found: Reached | None) -> float | None:
    return None if found is None else found.median


def _latex_row(findings: Findings, part: Part, row: Finding) -> list[str]:
    verdict = _tex(standing_words(part.standing(row))).replace("–", "--")
    if part.task is not None:
        name = row.label if len(findings.parts) == 1 else f"{row.label}, {part.name}"
        steps = [reached(row.steps).replace("> ", "$>$ ").replace("–", "--")] if len(findings.parts) == 1 else []
        return [_tex(name), _tex(str(row.iqm)), *(steps if row.steps else []), verdict]
    of_each = [next(str(one.iqm) for one in each.main if one.algo == row.algo) for each in findings.parts]
    return [_tex(row.algo), *map(_tex, (*of_each, str(row.iqm), str(row.gap))), verdict]


def _tex(text: str) -> str:
    """Return text that LaTeX shows as it is, on one line."""
    line = "".join(_LATEX.get(char, char) for char in " ".join(text.split()))
    return re.sub(r"(?<![\w.])-(?=\d)", "$-$", line)
