"""Numbers on the pages are those of the tables that they link to, and tables those of the data behind them."""

from __future__ import annotations

import argparse
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
    every = rows(ROOT / "docs" / "performance.md", "| ours | against | batch | ours, µs | theirs, µs | ratio |")
    kept = {(ours, theirs.split()[0], batch): numbers for ours, theirs, batch, *numbers in every}
    shown = rows(ROOT / "README.md", "| ours | against | ours, µs |")
    assert len(shown) > 4
    for ours, against, *numbers, times in shown:
        name, library = ours.replace("`", "").split(",")[0], against.split("'s")[0].lower()
        row = kept[name, library, "5" if name == "actor_critic" else "32"]
        assert numbers == row[:2], ours
        assert float(times) == pytest.approx(float(row[2]), abs=0.051), ours


def test_scores_of_the_readmes_ladder_are_those_of_their_rows() -> None:
    kept: dict[str, str] = {}
    for name, _, score, *_ in rows(RESULTS / "ladder.md", "| | steps | final score, IQM [95 %] |"):
        kept.setdefault(name, score)  # CartPole's table is the first
    shown = {cells[0]: cells[4] for cells in rows(ROOT / "README.md", "| name | idea | paper |")}
    assert shown.pop("q_table") == "needs discrete states"
    for name, score in shown.items():
        assert re.sub(r"\((\S+) to (\S+)\)", r"[\1, \2]", score) == kept[name], name


def test_the_index_asks_a_question_for_every_page_of_results() -> None:
    text = (RESULTS / "index.md").read_text("utf-8")
    lines = re.findall(r"^ *\* \[(.+?)\]\((.+?)\.md\): .+\?", text, re.MULTILINE)
    pages = {path.relative_to(RESULTS).with_suffix("").as_posix() for path in RESULTS.rglob("*.md")} - {"index"}
    assert len(pages) == len(lines) > 20
    assert {page for _, page in lines} == pages
    assert re.findall(r"^(.+) <(.+)>$", text, re.MULTILINE) == lines  # the sidebar's, in the same order


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
    """What three pages say goes from A to B: the least and the largest of a column of the table of multiples."""
    table = rows(RESULTS / "variance.md", "| steps | mean return | VPG | running mean |")[:4]
    ends = {}
    for name, place in (("VPG", 2), ("mean", 3), ("network", 5)):
        column = [float(cells[place].split()[0]) for cells in table]
        ends[name] = np.array([min(column), max(column)])
    said = {
        ("notes/baseline_variance.md", r"episode gives ([\d.]+) to ([\d.]+\d)"): ends["VPG"],
        ("notes/baseline_variance.md", r"running mean as baseline ([\d.]+) to ([\d.]+\d)"): ends["mean"],
        ("notes/baseline_variance.md", r"a value network ([\d.]+) to ([\d.]+\d)"): ends["network"],
        ("course/reinforce.md", r"by a factor of ([\d.]+) to ([\d.]+\d)"): ends["VPG"],
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


def options_of(page: Path, names: dict[str, Any]) -> argparse.Namespace:
    """Return the options of the command that a page says it was made by."""
    words = re.findall(r"^OMP_NUM_THREADS=1 python benchmarks/\w+\.py(.*)$", page.read_text("utf-8"), re.MULTILINE)
    assert len(words) == 1, page.name
    options: argparse.Namespace = names["make_parser"]().parse_args(words[0].split())
    return options


@pytest.mark.parametrize("name", ["ladder", "hard", "ablations", "cleanrl"])
def test_pages_are_what_is_made_of_the_kept_runs(name: str, script: Any) -> None:
    """Line by line, by the command that stands on the page; its pictures are there."""
    names, page = script("results"), RESULTS / f"{name}.md"
    options = options_of(page, names)
    options.folder = RESULTS / "runs"
    assert (options.pages, options.algos, options.steps) == ([name], None, None)
    made = names["pages"]()[name]
    text, pictures = names["page_text"](name, made, names["jobs_of"](made, options), names["command_of"](name, options))
    assert page.read_text("utf-8").splitlines() == text.splitlines()
    assert [file for file in pictures if not (RESULTS / file).exists()] == []


def test_kept_runs_are_of_todays_settings(script: Any) -> None:
    names, folder = script("results"), RESULTS / "runs"
    known = {(env, row.label): row for page in names["pages"]().values() for row in page.entries for env in page.envs}
    files = sorted(folder.glob("[!.]*.json"))  # a file that is being written begins with a dot
    assert len(files) > 700
    for path in files:
        found = json.loads(path.read_text("utf-8"))
        row = found["env"], found["label"]
        job = names["Job"](known[row], found["env"], found["run"]["seed"], None, folder)
        assert (job.path, job.digest()) == (path, found["digest"])


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


def test_noisy_exploration_keeps_its_runs(script: Any, tmp_path: Path) -> None:
    """A kept run is read and not made again, one of other settings is refused, and the page has its numbers."""
    names = script("noisy_pendulum")
    for folder in ("images", "results", "runs"):
        (tmp_path / folder).mkdir()
    row, runs = names["ROWS"][0], tmp_path / "runs"
    for seed, score in ((200, -100.0), (201, -300.0)):
        found = {"settings": names["settings_of"](row, 7_000), "score": score, "noisy": -150.0, "sigma": [0.062, 0.031],
                 "training": [-1500.0, score], "processor_seconds": 20.0}  # fmt: skip
        names["path_of"]((row, seed), runs).write_text(json.dumps(found))
    assert names["train"]((row, 200), 7_000, runs)["score"] == -100
    names["main"](["--page", "--folder", str(runs), "--out", str(tmp_path)])
    page = tmp_path / "results" / "noisy_pendulum.md"
    assert rows(page, "| what explores |") == [
        ["DDPG: noisy actor", "-200 [-300, -100]", "-100, -300", "1 of 2", "-150", "0.062 to 0.031", "20"]
    ]
    page.write_text(page.read_text("utf-8").replace("Nobody has looked at it yet.", "A conclusion."), "utf-8")
    names["main"](["--page", "--folder", str(runs), "--out", str(tmp_path)])
    assert page.read_text("utf-8").endswith("A conclusion.\n")
    with pytest.raises(SystemExit, match="made with other settings"):
        names["kept"]((row, 200), 8_000, runs)


def test_noisy_pendulum_is_that_of_its_runs(script: Any) -> None:
    """All runs that the page says are beside it, and no others; the numbers in its sentences are in its table."""
    names, page = script("noisy_pendulum"), RESULTS / "noisy_pendulum.md"
    options = options_of(page, names)
    folder = options.folder = RESULTS / "noisy_pendulum"
    wanted = {names["path_of"](job, folder) for job in names["jobs_of"](options)}
    assert {*folder.glob("[!.]*")} == wanted
    above, mark, below = page.read_text("utf-8").partition("## What this shows, and what not")
    parts = names["page_parts"](options, names["kept_runs"](options))
    assert above.splitlines() == "\n\n".join([*(part.strip() for part in parts), ""]).splitlines()
    table = rows(page, "| what explores |")
    assert sum(len(cells[2].split(", ")) for cells in table) == len(wanted)
    said = re.findall(r"-\d+", below)
    assert mark
    assert {*said} <= {number for cells in table for cell in cells for number in re.findall(r"-\d+", cell)}
