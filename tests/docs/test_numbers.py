"""Numbers on the pages are those of the tables that they link to, and tables those of the data that they are made of."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pages import ROOT

RESULTS = ROOT / "docs" / "results"


def rows(page: Path, head: str) -> list[list[str]]:
    """Return the cells of every table of a page whose first line begins so."""
    found, inside = [], False
    for line in page.read_text("utf-8").splitlines():
        if line.startswith(head):
            inside = True
        elif not line.startswith("|"):
            inside = False
        elif inside and not line.startswith("|--") and not line.startswith("| --"):
            found.append([cell.strip().strip("`") for cell in line.strip("|").split("|")])
    assert found, f"{page.name} has no table {head}"
    return found


def test_the_readmes_speeds_are_those_of_their_rows() -> None:
    kept = {(ours, theirs, batch): numbers for ours, theirs, batch, *numbers in
            rows(ROOT / "docs" / "performance.md", "| ours | against | batch | ours, µs | theirs, µs | ratio |")}  # fmt: skip
    shown = rows(ROOT / "README.md", "| ours | against | ours, µs |")
    assert len(shown) > 4
    for ours, against, *numbers, times in shown:
        library = against.split("'s")[0].lower()
        found = [each for (one, other, batch), each in kept.items()
                 if (one, other.split()[0]) == (ours.replace("`", "").split(",")[0], library) and batch in ("32", "5")]  # fmt: skip
        assert len(found) == 1, (ours, against, found)
        assert numbers == found[0][:2], ours
        assert float(times) == pytest.approx(float(found[0][2]), abs=0.051), ours


def test_the_ladders_papers_are_those_of_the_course() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    ladder = text[text.index("## The ladder") : text.index("## Speed")]
    found = re.findall(r"^\| (`.*?) \| .*? \| (.*?) \|", ladder, re.MULTILINE)
    assert len(found) > 15
    for names, papers in found:
        for name in re.findall(r"`(\w+)`", names):
            page = (ROOT / "docs" / "course" / f"{name}.md").read_text("utf-8")
            head = page[: page.index("## The idea")]
            for author, year in re.findall(r"([A-Z]\w+)[^;]*? (\d{4})", papers):
                assert author in head, f"{name}: {author}"
                assert year in head, f"{name}: {year}"


def test_the_notes_variances_are_those_of_the_table() -> None:
    """ "A to B" on three pages: the least and the largest of a column of the table of multiples."""
    table = rows(RESULTS / "variance.md", "| steps | mean return | VPG | running mean |")[:4]
    ends = {}
    for name, place in (("VPG", 2), ("mean", 3), ("network", 5)):
        column = [float(cells[place].split()[0]) for cells in table]
        ends[name] = np.array([min(column), max(column)])
    said = {
        ("notes/baseline_variance.md", r"episode gives ([\d.]+) to ([\d.]+)"): ends["VPG"],
        ("notes/baseline_variance.md", r"running mean as baseline ([\d.]+) to ([\d.]+)"): ends["mean"],
        ("notes/baseline_variance.md", r"a value network ([\d.]+) to ([\d.]+)"): ends["network"],
        ("course/reinforce.md", r"by a factor of ([\d.]+) to ([\d.]+)"): ends["VPG"],
        ("course/reinforce_baseline.md", r"With a value network (\d+) to (\d+) %"): 100 * ends["network"],
    }
    for (page, pattern), numbers in said.items():
        found = re.search(pattern, " ".join((ROOT / "docs" / page).read_text("utf-8").split()))
        assert found, f"{page}: {pattern}"
        last = 10.0 ** -len(found[2].partition(".")[2])  # of the digits that are said
        assert np.array(found.groups(), float) == pytest.approx(numbers, abs=0.5001 * last), page


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return lambda name: runpy.run_path(str(ROOT / "benchmarks" / f"{name}.py"))


def test_overestimation_is_that_of_its_runs(script: Any) -> None:
    kept = json.loads((RESULTS / "overestimation.json").read_text("utf-8"))
    assert {len(curve) for curves in kept.values() for curve in curves} == {20}
    made = script("overestimation")["lines"](kept)
    assert rows(RESULTS / "overestimation.md", "|  | max Q less the truth |") == made


def test_risk_is_that_of_its_actions_and_exact(script: Any) -> None:
    """The page's rows from the kept actions; a policy's mean against the linear system that it solves."""
    from sb3_course.envs.planning import policy_evaluation

    names = script("risk")
    outcomes = names["Outcomes"](names["make_env"]().unwrapped.P)
    plans = names["planned"](outcomes)
    kept = json.loads((RESULTS / "risk.json").read_text("utf-8"))
    shown = {name: numbers for name, *numbers in rows(RESULTS / "risk.md", "|  | mean |")}
    for name, policy in [*plans.items(), ("averse", kept["203"]["averse"])]:
        values, cdf = names["measures"](outcomes, np.array(policy))
        label = f"{name}, planned" if policy is plans[name] else f"{name}, seed 203"
        assert names["cells"](values) == shown[label]
        assert cdf[-1] == pytest.approx(1, abs=1e-9)
        exact = policy_evaluation(outcomes.P, np.array(policy), names["GAMMA"])[outcomes.start]
        assert values[0] == pytest.approx(exact, abs=1e-9)
    assert len({tuple(policy) for policy in plans.values()}) == 3
