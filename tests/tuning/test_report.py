"""The reports of studies and comparisons: right numbers, whole pages, nothing from outside, nothing unescaped."""

import csv
import hashlib
import io
import json
import os
import re
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import matplotlib as mpl
import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from sb3_course.config.errors import InputError
from sb3_course.config.yaml_files import parse_yaml
from sb3_course.tuning import exports, findings, pages, plots, report, statistics, study_plots, trials, verdicts
from sb3_course.tuning.results import Comparison, Configuration, Run, ScoreScale, Task

FILES = ["report.html", "report.md", "comparison.png", "comparison.csv", "runs.csv", "comparison.tex",
         "comparison.json"]  # fmt: skip
HOSTILE = '<script>alert("x")</script>|`a` $\\frac{$ & \'b\'\n# c *d* ]]> --><svg id="y">'
VOID = {"meta", "br", "hr", "img", "input", "link", "wbr"}


# ----------------------------------------------------------------------------------------------- synthetic data


def make_run(seed: int, plateau: float, *, threshold_at: float = 0.5, fails: str | None = None) -> Run:
    """Return a run whose evaluations rise to a plateau."""
    rng = np.random.default_rng(seed)
    steps = np.arange(1, 21) * 1000
    rise = 1 / (1 + np.exp(-(steps / steps[-1] - threshold_at) * 12))
    means = np.clip(plateau * rise + rng.normal(0, 12, steps.size), 8, 500).round(2)
    seconds = (steps * 4e-4 * rng.uniform(0.9, 1.1)).round(3)
    last = 7 if fails else steps.size
    final = None if fails else float(np.clip(plateau + rng.normal(0, 10), 8, 500))
    curve = (tuple(column[:last].tolist()) for column in (steps, means, seconds))
    return Run(seed, *curve, final, fails)


def make_configuration(algo: str, origin: str, plateau: float, seeds: range, **changes: object) -> Configuration:
    """Return a configuration whose runs end near `plateau`."""
    rng = np.random.default_rng([len(algo), len(origin), int(plateau)])
    runs = [make_run(seed, plateau + rng.normal(0, 40), threshold_at=rng.uniform(0.3, 0.6)) for seed in seeds]
    known: dict[str, object] = {"settings": {"learning_rate": 3e-4, "policy_kwargs": {"net_arch": [64, 64]}}}
    known |= {"runs": tuple(runs), "tuning_score": plateau - 100.0, "chosen": origin == "tuned"}
    return Configuration(f"{algo}, {origin}", algo, origin, **{**known, **changes})  # type: ignore[arg-type]


def make_comparison(algos: dict[str, float], origins: tuple[str, ...] = ("default", "tuned"), n: int = 6) -> Comparison:
    """Return a comparison in which one run of the first configuration failed."""
    seeds = range(10_000_000, 10_000_000 + n)
    found = [make_configuration(algo, origin, 60 + (best - 60) * (0.4 + 0.6 * index / max(len(origins) - 1, 1)), seeds)
             for algo, best in algos.items() for index, origin in enumerate(origins)]  # fmt: skip
    failure = make_run(seeds[-1], 100, fails="FloatingPointError: the evaluation at step 8000 is nan")
    found[0] = replace(found[0], runs=(*found[0].runs[:-1], failure))
    return Comparison(
        tasks=(Task("CartPole-v1", 300.0, tuple(found)),), n_timesteps=20_000, n_trials=30,
        tuning_seeds=(0, 1, 2, 3, 4), fresh_seeds=tuple(seeds), score="auc",
        versions={"python": "3.11", "sb3_course": "0"}, command="python -m sb3_course.compare --algos rainbow dqn",
        evaluation={"eval_freq": 1_000, "eval_episodes": 5, "final_episodes": 10},
    )  # fmt: skip


def change_task(comparison: Comparison, **changes: object) -> Comparison:
    """Return a comparison of one environment with something else in it."""
    return replace(comparison, tasks=(replace(comparison.tasks[0], **changes),))  # type: ignore[arg-type]


def make_several() -> Comparison:
    """Return a comparison of two environments, whose scores differ by a factor of ten."""
    one = make_comparison({"rainbow": 440, "dqn": 250})
    other = make_comparison({"rainbow": 300, "dqn": 320}).tasks[0]

    def tenth(run: Run) -> Run:
        final = None if run.final is None else run.final / 10
        return replace(run, means=tuple(mean / 10 for mean in run.means), final=final)

    less = tuple(replace(each, runs=tuple(map(tenth, each.runs))) for each in other.configurations)
    return replace(one, tasks=(
        replace(one.tasks[0], scale=ScoreScale(20.0, 475.0, "random actions, threshold")),
        Task("my/Env-v0", None, less, ScoreScale(2.0, 47.5)),
    ))  # fmt: skip


SPACE = {
    "learning_rate": FloatDistribution(1e-5, 1e-2, log=True),
    "gamma": CategoricalDistribution((0.9, 0.95, 0.98, 0.99, 0.999)),
    "batch_size": CategoricalDistribution((16, 32, 64, 128, 256)),
    "policy_kwargs.net_arch": CategoricalDistribution(("[64, 64]", "[128, 128]", "[256, 256]")),
    "target_update_interval": IntDistribution(10, 10_000, log=True),
    "n_steps": IntDistribution(1, 10),
    "exploration_fraction": FloatDistribution(0.05, 0.5),
    "policy_kwargs.noisy_kwargs.sigma0": FloatDistribution(0.01, 1.0, log=True),
    "noise_type": CategoricalDistribution((None, "normal", "ornstein-uhlenbeck")),
}


def make_trial(number: int, kind: str, plateau: float) -> FrozenTrial:
    """Return a trial as a study leaves it; `kind`: complete, early, pruned, failed or a point's name."""
    rng = np.random.default_rng(number)
    params = {name: sample(rng, distribution) for name, distribution in SPACE.items()}
    runs = [make_run(seed, plateau + rng.normal(0, 15)) for seed in range(2 if kind in ("early", "pruned") else 5)]
    notes = {"settings": {"learning_rate": params["learning_rate"]}, "runs": [run.to_json() for run in runs]}
    value, state = float(np.mean([run.score("auc") for run in runs])), TrialState.COMPLETE
    if kind == "failed":
        notes |= {
            "runs": [make_run(0, plateau, fails="ValueError: nan").to_json()],
            "reason": "seed 0: ValueError: nan",
        }
        value, state = None, TrialState.FAIL
    elif kind in ("early", "pruned"):
        notes |= {"pruned_after": 2}
        value, state = (value, state) if kind == "early" else (None, TrialState.PRUNED)
    elif kind != "complete":
        notes |= {"point": kind}
    distributions = dict(SPACE)
    if params["noise_type"] is None:  # a parameter that is searched only under a condition
        del distributions["exploration_fraction"], params["exploration_fraction"]
    return create_trial(state=state, value=value, params=params, distributions=distributions, user_attrs=notes)


def sample(rng: np.random.Generator, distribution: object) -> object:
    """Return a value of one of Optuna's distributions."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[rng.integers(len(distribution.choices))]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high = distribution.low, distribution.high
    value = float(np.exp(rng.uniform(np.log(low), np.log(high)))) if distribution.log else rng.uniform(low, high)
    return int(value) if isinstance(distribution, IntDistribution) else value


def make_study(kinds: list[str], name: str = "rainbow-CartPole-v1") -> optuna.Study:
    """Return a study in memory with one trial of each kind."""
    study = optuna.create_study(study_name=name, direction="maximize")
    plan = {"algo": "rainbow", "env": "CartPole-v1", "n_timesteps": 20_000, "n_trials": len(kinds),
            "seeds": [0, 1, 2, 3, 4], "score": "auc", "pruner": "wilcoxon", "base": {"device": "cpu"}}  # fmt: skip
    study.set_user_attr("plan", plan)
    for number, kind in enumerate(kinds):
        study.add_trial(make_trial(number, kind, 150 + 300 * (number * 7919 % 40) / 40))
    return study


KINDS = {
    "nothing": [], "one trial": ["default"], "all failed": ["failed"] * 4, "all ended early": ["early", "pruned"],
    "two trials": ["default", "complete"],
    "one of each": ["default", "preset", "complete", "early", "pruned", "failed"],
    "many": ["default", "preset", *["complete", "complete", "early", "failed", "complete"] * 6],
}  # fmt: skip


# ------------------------------------------------------------------------------------------------ reading a page


class Page(HTMLParser):
    """Everything the tests ask of a page, and a complaint for every tag that is not closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.ids: list[str] = []
        self.tags: Counter[str] = Counter()
        self.loads: list[tuple[str, str]] = []
        self.references: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            elif name.rpartition(":")[2] in ("src", "href", "srcset", "data", "action", "poster"):
                self.loads.append((tag, value or ""))
            self.references += re.findall(r"url\(#([^)]*)\)", value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        """All that is to be read, in single spaces."""
        return " ".join(" ".join(self.words).split())


def check_page(text: str) -> Page:
    """Return a page that is whole, refers to nothing outside itself and names nothing twice."""
    page = Page(text)
    assert page.tags["html"] == page.tags["body"] == page.tags["h1"] == 1
    assert page.tags["script"] == page.tags["link"] == page.tags["iframe"] == page.tags["img"] == 0
    assert max(Counter(page.ids).values(), default=1) == 1
    inside = [value.removeprefix("#") for _, value in page.loads] + page.references
    assert all(value.startswith("#") for _, value in page.loads)
    assert set(inside) <= set(page.ids)
    assert not re.search(r"@import|url\((?!#)|https?:|<!ENTITY", text)
    assert re.search(r'<meta name="viewport" content="width=device-width', text)
    return page


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return make_comparison({"rainbow": 440, "double_dqn": 300, "dqn": 250})


@pytest.fixture(scope="module")
def html(comparison: Comparison) -> str:
    return report.comparison_report(comparison)


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return check_page(html)


# -------------------------------------------------------------------------------------------------- a comparison


def test_verdicts_are_those_of_the_statistics(comparison: Comparison, page: Page) -> None:
    pairs = [("rainbow, tuned", "dqn, tuned"), ("double_dqn, tuned", "dqn, tuned")]
    task = comparison.tasks[0]
    scores = {each.label: task.scores(each, "auc") for each in task.configurations}
    judged = verdicts.judge_pairs(scores, pairs)
    sentences = [verdict.sentence(*pair) for verdict, pair in zip(judged, pairs, strict=True)]
    assert {verdict.word for verdict in judged} == {"better", "not shown"}
    at = [page.text.index(f"{verdict.word} {sentence}") for verdict, sentence in zip(judged, sentences, strict=True)]
    assert at == sorted(at)
    assert at[-1] < page.text.index("Configurations configuration", at[-1])
    assert report.verdicts(comparison) == [f"{v.word}: {s}" for v, s in zip(judged, sentences, strict=True)]


def table_row(text: str, label: str) -> list[str]:
    """Return the cells of the first row of an HTML table that begins with a label."""
    row = re.search(rf"<tr[^>]*><td>{re.escape(label)}</td>.*?</tr>", text, re.DOTALL)
    assert row is not None
    return re.findall(r"<td[^>]*>(.*?)</td>", row[0], re.DOTALL)


def test_table_has_the_numbers_of_the_statistics(comparison: Comparison, html: str) -> None:
    text = html.partition("<h2>Configurations")[2]
    reached = set()
    task = comparison.tasks[0]
    for each in task.configurations:
        interval = statistics.stratified_bootstrap(
            [task.scores(each, "auc")], lambda drawn: statistics.iqm(drawn, -1), 0
        )
        label, iqm, tuning, steps, seconds, runs, failed, origin = table_row(text, each.label)
        assert (label, iqm, origin) == (each.label, str(interval), each.origin)
        assert float(tuning) == pytest.approx(each.tuning_score, rel=1e-4)
        found = statistics.steps_to(each.runs, 300.0)
        assert runs == f"{found.reached} of {found.total}"
        wanted = f"{found.median:,.0f}" if np.isfinite(found.median) else "&gt; 20,000"
        assert steps == wanted
        seconds_to = statistics.seconds_to(each.runs, 300.0)
        if wanted == "&gt; 20,000":
            assert seconds.startswith("&gt; ")
            assert float(seconds.removeprefix("&gt; ")) == pytest.approx(seconds_to.spent, rel=0.01)
        else:
            assert float(seconds) == pytest.approx(seconds_to.median, rel=0.01)
        assert failed == f"{len(each.failures)} of 6"
        reached.add(wanted == "&gt; 20,000")
    assert reached == {True, False}


def test_what_decides_comes_first_and_how_it_was_made_last(comparison: Comparison, page: Page) -> None:
    places = [page.text.rindex(words) for words in (
        "configuration IQM [95 %] verdict", "Learning curves", "Verdicts better", "Configurations configuration",
        "Every configuration and run", "How it was made", "seeds for tuning", "versions", "python -m sb3_course",
    )]  # fmt: skip
    assert places == sorted(places)
    text = report.comparison_markdown(comparison)
    places = [text.index(words) for words in ("| verdict |", "comparison.png", "## Verdicts", "## How it was made",
                                              "- seeds for tuning", "- versions")]  # fmt: skip
    assert places == sorted(places)


def decisive_tables(text: str) -> list[list[list[str]]]:
    """Return the words of each cell of the tables that decide, none of which may scroll sideways."""
    assert "<table" not in text.partition('<table class="decisive')[0]
    tables = re.findall(r'<table class="decisive.*?</table>', text, re.DOTALL)
    assert all(table not in box for table in tables for box in re.findall(r'<div class="scroll.*?</div>', text, re.S))
    rows = ([re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.S) for row in table.split("<tr")[1:]] for table in tables)
    return [
        [[" ".join(re.sub(r"<[^>]*>", "", cell.replace("</span>", " ")).split()) for cell in row] for row in table]
        for table in rows
    ]


def test_the_short_table_has_the_chosen_with_interval_and_verdict(comparison: Comparison, html: str) -> None:
    task = comparison.tasks[0]
    scores = {each.label: task.scores(each, "auc") for each in task.chosen}
    iqms = {label: str(statistics.stratified_bootstrap([own], statistics.pooled(statistics.iqm), 0))
            for label, own in scores.items()}  # fmt: skip
    (table,) = decisive_tables(html)
    assert table == [
        ["configuration", "IQM [95 %]", "verdict"],
        ["rainbow, tuned", iqms["rainbow, tuned"], "better than dqn"],
        ["double_dqn, tuned", iqms["double_dqn, tuned"], "not shown against dqn"],
        ["dqn, tuned", iqms["dqn, tuned"], "baseline"],
    ]
    (table,) = decisive_tables(report.comparison_report(comparison, "all"))
    assert [row[2] for row in table[1:]] == [
        "better than double_dqn, dqn", "worse than rainbow; not shown against dqn", "baseline",
    ]  # fmt: skip


def test_several_environments_are_put_together() -> None:
    several = make_several()
    normal = {}
    for algo in ("rainbow", "dqn"):
        chosen = [next(each for each in task.chosen if each.algo == algo) for task in several.tasks]
        first, second = (task.scores(each, "auc") for task, each in zip(several.tasks, chosen, strict=True))
        normal[algo] = [(first - 20) / 455, (second - 2) / 45.5]
    found = findings.examine(several)
    assert found.overall is not None
    for row in found.overall.rows:
        wanted = (statistics.stratified_bootstrap(normal[row.algo], statistics.pooled(statistic), 0)
                  for statistic in (statistics.iqm, statistics.optimality_gap))  # fmt: skip
        assert [row.iqm, row.gap] == list(wanted)
        assert row.iqm.value == pytest.approx(statistics.iqm(normal[row.algo]))
    text = report.comparison_report(several)
    tables = decisive_tables(text)
    assert [len(table[0]) for table in tables] == [4, 3, 3]
    assert [row[0] for row in tables[0]] == ["algorithm", "rainbow", "dqn"]
    # One correction for the whole report: a pair in each environment, and one over both.
    raw = [verdicts.rank_test(normal["rainbow"], normal["dqn"])]
    raw += [verdicts.rank_test(*pair) for pair in zip(normal["rainbow"], normal["dqn"], strict=True)]
    told = [each.verdict for part in found.every for each in part.verdicts]
    assert [each.p_value for each in told] == pytest.approx(verdicts.holm(raw))
    chance = np.mean([statistics.probability_of_improvement(*pair)
                      for pair in zip(normal["rainbow"], normal["dqn"], strict=True)])  # fmt: skip
    assert told[0].probability.value == pytest.approx(chance)
    assert report.verdicts(several)[0].split(": ")[1].startswith("Over all environments ")
    assert report.verdicts(several)[2].startswith("my/Env-v0: ")
    page = check_page(text)
    assert page.tags["svg"] == 4 * 3
    assert "20 and 475 in CartPole-v1 (random actions, threshold); 2 and 47.5 in my/Env-v0 (given)" in page.text


def test_without_runs_everywhere_an_algorithm_is_not_put_together() -> None:
    several = make_several()
    first = several.tasks[0]
    there = tuple(replace(each, runs=()) if each.algo == "dqn" else each for each in first.configurations)
    found = findings.examine(replace(several, tasks=(replace(first, configurations=there), several.tasks[1])))
    assert found.overall is not None
    assert [row.algo for row in found.overall.rows] == ["rainbow"]
    assert [len(part.verdicts) for part in found.every] == [0, 0, 1]


# -------------------------------------------------------------------------------------------- for other programs


def read_csv(text: str) -> list[dict[str, str]]:
    """Return the lines of a CSV file by their names."""
    return list(csv.DictReader(io.StringIO(text)))


@pytest.fixture(scope="module")
def several() -> findings.Findings:
    return findings.examine(make_several())


def test_csv_has_the_numbers(several: findings.Findings) -> None:
    lines = read_csv(exports.table_csv(several))
    assert [line["environment"] for line in lines] == ["all environments"] * 2 + ["CartPole-v1"] * 4 + ["my/Env-v0"] * 4
    for line, row in zip(lines, [row for part in several.every for row in part.rows], strict=True):
        assert (float(line["iqm"]), float(line["iqm_low"]), float(line["iqm_high"])) == row.iqm
        assert line["algorithm"] == row.algo
    assert several.overall is not None
    assert several.overall.rows[0].gap is not None
    assert float(lines[0]["optimality_gap"]) == several.overall.rows[0].gap.value
    assert lines[2]["steps_median"] == "inf"
    assert lines[2]["failed"] == "1"
    assert lines[6]["threshold"] == lines[6]["steps_median"] == ""
    runs = read_csv(exports.runs_csv(several))
    first = several.comparison.tasks[0]
    assert len(runs) == 2 * 4 * 6
    scores = first.scores(first.configurations[0], "auc")
    assert [float(run["score"]) for run in runs[:6]] == scores.tolist()
    assert [float(run["normalised"]) for run in runs[:6]] == ((scores - 20) / 455).tolist()
    assert runs[5]["failure"] == first.configurations[0].runs[5].failure


def test_latex_is_a_table_of_the_chosen(comparison: Comparison, several: findings.Findings) -> None:
    text = exports.table_latex(findings.examine(comparison)).splitlines()
    assert text[0] == r"\begin{tabular}{lrrl}"
    assert text[-1] == r"\end{tabular}"
    rows = [line.removesuffix(r" \\").split(" & ") for line in text if "&" in line]
    assert rows[0] == ["", r"IQM [95 \%]", "steps to 300", "verdict"]
    assert [row[0] for row in rows[1:]] == ["rainbow, tuned", r"double\_dqn, tuned", "dqn, tuned"]
    assert {len(row) for row in rows} == {4}
    assert [rows[1][3], rows[3][3]] == ["better than dqn", "baseline"]
    assert [line.count("&") for line in exports.table_latex(several).splitlines() if "&" in line] == [5] * 3
    hostile = exports.table_latex(findings.examine(hostile_comparison()))
    bare = re.sub(r"\\(?:textbackslash|textasciitilde|textasciicircum)\{\}|\\[&%$#_{}]", "", hostile)
    assert not re.search(r"[%#_~^]|\$(?![->]\$)(?<![->]\$)", bare)
    assert len([line for line in hostile.splitlines() if "&" in line]) == 3


def test_best_files_are_presets_of_the_chosen(several: findings.Findings) -> None:
    files = exports.best_files(several.comparison)
    assert len(files) == 4
    for env, folder in (("CartPole-v1", "CartPole-v1"), ("my/Env-v0", "my-Env-v0")):
        assert parse_yaml(files[f"{folder}/rainbow/best.yml"], "best") == {
            "algo": "rainbow", "env": env, "n_timesteps": 20_000, "exact_budget": True, "eval_freq": 1_000,
            "eval_episodes": 5, "final_episodes": 10, **several.comparison.tasks[0].chosen[0].settings,
        }  # fmt: skip
    assert exports.best_path("../..", "a/../b") == "-../a-..-b/best.yml"


def test_failed_runs_are_counted_with_their_reason_and_the_worst_score(comparison: Comparison, page: Page) -> None:
    first = comparison.tasks[0].configurations[0]
    (run,) = first.failures
    every = comparison.tasks[0].configurations
    worst = min(run.score("auc") for each in every for run in each.runs if run.failure is None)
    assert f"{first.label} {run.seed} {run.failure}" in page.text
    assert f"{run.seed} {worst:,.5g} – {run.failure}" in page.text
    text = report.comparison_markdown(comparison)
    assert f"- {first.label}, seed {run.seed}: {run.failure}" in text
    assert f"{run.seed}: {worst:,.5g} (failed)." in text


def test_page_says_what_was_compared(comparison: Comparison, page: Page) -> None:
    wanted = ("environment CartPole-v1", "20,000", "algorithm 30", "tuning 0–4 (5)", "10000000–10000005 (6)", "(auc)",
              "mean return 300", "python 3.11, sb3_course 0", "python -m sb3_course.compare --algos rainbow dqn",
              "learning_rate: 0.0003")  # fmt: skip
    for words in wanted:
        assert words in page.text
        # Markdown has the same; code blocks have no escapes, words outside them no others than these.
        assert words.removeprefix("algorithm ").split(" ")[-1] in report.comparison_markdown(comparison)
    assert page.tags["svg"] == 4
    for each in comparison.tasks[0].configurations:
        assert page.text.count(each.label) >= 3  # table, picture, details


def test_without_a_threshold_nothing_is_said_of_one(comparison: Comparison) -> None:
    page = check_page(report.comparison_report(change_task(comparison, threshold=None)))
    assert "steps to" not in page.text
    assert "reached by" not in page.text
    assert "threshold none" in page.text
    assert "steps to" not in report.comparison_markdown(change_task(comparison, threshold=None)).replace("Steps", "")


def choose(*algos: str, chosen: bool = True) -> Comparison:
    """Return a comparison of one configuration of each algorithm."""
    return make_comparison(dict.fromkeys(algos, 200.0), origins=("tuned" if chosen else "default",), n=2)


def test_default_pairs_are_own_algorithms_against_baselines() -> None:
    def pairs(*algos: str, chosen: bool = True) -> list[tuple[str, str]]:
        chosen_ones = choose(*algos, chosen=chosen).tasks[0].chosen
        found = findings.pairs_of([(each.label, each.algo) for each in chosen_ones], "baselines")
        return [(ours.removesuffix(", tuned"), theirs.removesuffix(", tuned")) for ours, theirs in found]

    assert pairs("dqn", "rainbow", "ppo", "vpg") == [
        ("rainbow", "dqn"), ("rainbow", "ppo"), ("vpg", "dqn"), ("vpg", "ppo"),
    ]  # fmt: skip
    assert pairs("dqn", "ppo", "a2c") == [("dqn", "ppo"), ("dqn", "a2c"), ("ppo", "a2c")]
    assert pairs("rainbow", "c51") == [("rainbow", "c51")]
    assert pairs("somebody_elses", "dqn") == [("somebody_elses", "dqn")]
    assert pairs("dqn", "rainbow", chosen=False) == []


def test_pairs_can_be_given(comparison: Comparison) -> None:
    pairs = [("dqn, tuned", "dqn, default")]
    assert len(report.verdicts(comparison, pairs)) == 1
    assert check_page(report.comparison_report(comparison, pairs)).text.count("probability of improvement") == 1
    with pytest.raises(InputError, match="unknown configuration"):
        report.comparison_report(comparison, [("dqn, tuned", "nobody")])


def strange(kind: str) -> Comparison:
    """Return a comparison that is hardly one."""
    comparison = choose("dqn", "rainbow")
    found = comparison.tasks[0].configurations
    if kind == "no configurations":
        found = ()
    elif kind == "no runs":
        found = tuple(replace(each, runs=()) for each in found)
    elif kind == "one without runs":
        found = (replace(found[0], runs=()), found[1])
    elif kind == "all failed":
        found = tuple(replace(each, runs=(Run(1, failure="no"), Run(2, failure="no"))) for each in found)
    elif kind == "one run each":
        found = tuple(replace(each, runs=each.runs[:1]) for each in found)
    elif kind == "nothing chosen":
        found = tuple(replace(each, chosen=False) for each in found)
    elif kind == "no evaluations":
        found = tuple(replace(each, runs=(Run(1, final=1.0), Run(2, final=1.0))) for each in found)
    return change_task(comparison, configurations=found)


@pytest.mark.parametrize(
    "kind",
    ["no configurations", "no runs", "one without runs", "all failed", "one run each", "nothing chosen",
     "no evaluations"],
)  # fmt: skip
def test_strange_comparisons_have_a_report(kind: str, tmp_path: Path) -> None:
    comparison = strange(kind)
    written = report.write_comparison(comparison, tmp_path / "deep" / "folder")
    assert [path.name for path in written if path.name != "best.yml"] == FILES
    assert all(path.read_bytes() for path in written)
    page = check_page(written[0].read_text(encoding="utf-8"))
    without = kind in ("no configurations", "no runs", "one without runs", "nothing chosen")
    assert (
        ("hence no verdict" in page.text) == ("hence no verdict" in written[1].read_text(encoding="utf-8")) == without
    )


# ------------------------------------------------------------------------------------------------ hostile words


def hostile_comparison() -> Comparison:
    """Return a comparison whose every word is out for trouble."""
    comparison = choose("dqn", "rainbow")
    found = []
    for index, each in enumerate(comparison.tasks[0].configurations):
        runs = (*each.runs, Run(9, failure=HOSTILE + "\udc80\x08"))
        settings = {HOSTILE: HOSTILE, "policy_kwargs": {"a|b": "```"}}
        found.append(replace(each, label=f"{index}\x08{HOSTILE}", origin=HOSTILE, settings=settings, runs=runs))
    hostile = replace(comparison, command=HOSTILE, versions={HOSTILE: HOSTILE})
    return change_task(hostile, env=HOSTILE, configurations=tuple(found))


def test_hostile_words_are_words(tmp_path: Path) -> None:
    comparison = hostile_comparison()
    path = report.write_comparison(comparison, tmp_path)[0]
    page = check_page(path.read_text(encoding="utf-8"))
    assert page.tags["svg"] == 4
    assert " ".join(HOSTILE.split()) in page.text
    study = make_study(["default", "complete", "failed"], name=HOSTILE)
    for trial in study.trials:
        study._storage.set_trial_user_attr(trial._trial_id, "point", HOSTILE) if not trial.state.is_finished() else None
    study.add_trial(create_trial(
        state=TrialState.FAIL, user_attrs={"reason": HOSTILE, "runs": [], "settings": {HOSTILE: HOSTILE}},
    ))  # fmt: skip
    study.add_trial(create_trial(
        value=1e3, params={HOSTILE: HOSTILE, "$\\frac{": 1.0},
        distributions={HOSTILE: CategoricalDistribution((HOSTILE, "$")), "$\\frac{": FloatDistribution(0, 1)},
        user_attrs={"point": HOSTILE, "settings": {HOSTILE: HOSTILE}, "runs": [make_run(0, 100).to_json()]},
    ))  # fmt: skip
    page = check_page(report.study_report(study, title=HOSTILE))
    assert page.text.count(" ".join(HOSTILE.split())) >= 4  # title, heading, reason, point


def test_hostile_words_leave_markdown_whole() -> None:
    text = report.comparison_markdown(hostile_comparison())
    shown = "\n".join(line for line in text.splitlines() if not line.startswith("    "))  # blocks of code show all
    assert not re.search(r"(?<!\\)[<`$]", shown)
    tables = [line for line in shown.splitlines() if line.startswith("|")]
    assert [len(re.findall(r"(?<!\\)\|", line)) for line in tables] == [4] * 4 + [10] * 4
    assert sum(line.startswith("#") for line in shown.splitlines()) == 1 + 4 + 2  # no heading but those meant
    assert "# c" in text


# ------------------------------------------------------------------------------------------------ a tuning study


@pytest.mark.parametrize("kind", KINDS)
def test_every_study_has_a_page(kind: str, tmp_path: Path) -> None:
    kinds = KINDS[kind]
    study = make_study(kinds)
    path = report.write_study_report(study, tmp_path / "folder" / "report.html")
    page = check_page(path.read_text(encoding="utf-8"))
    whole = [trial for trial in study.trials if trial.state == TrialState.COMPLETE and "pruned_after" not in
             trial.user_attrs]  # fmt: skip
    if whole:
        best = max(whole, key=lambda trial: trial.value or 0)
        assert f"Trial {best.number}" in page.text
        assert f"score {best.value:,.5g}" in page.text
        code = re.search(r"<pre><code>(.*?)</code>", path.read_text(encoding="utf-8"), re.DOTALL)
        assert code is not None
        fixed = {"algo": "rainbow", "env": "CartPole-v1", "n_timesteps": 20_000, "exact_budget": True, "device": "cpu"}
        assert parse_yaml(code[1], "best") == {**fixed, **best.user_attrs["settings"]}
    else:
        assert "No trial has a score on every seed yet." in page.text
    counted = Counter("failed" if kind == "failed" else "ended early" if kind in ("early", "pruned") else "complete"
                      for kind in kinds)  # fmt: skip
    for word, count in counted.items():
        assert f"{count} {word}" in page.text
    assert page.text.count("seed 0: ValueError: nan") == counted["failed"]
    places = [
        page.text.index(words) for words in ("Best configuration", "Trials", "How it was made", "seeds of a trial")
    ]
    assert places == sorted(places)
    assert "History" not in page.text[places[1] :]
    pictures = {"nothing": 0, "all failed": 0, "all ended early": 1, "one trial": 2, "many": 5}.get(kind, 4)
    assert page.tags["svg"] == pictures
    assert ("Not computed" in page.text) == (pictures in (1, 2, 4))


def test_trials_that_wait_run_or_were_replaced_are_told_apart() -> None:
    study = make_study(["complete"])
    study.enqueue_trial({"gamma": 0.9})
    study.add_trial(create_trial(state=TrialState.RUNNING))
    study.add_trial(create_trial(state=TrialState.FAIL, user_attrs={"replaced": True, "reason": "its worker died"}))
    text = check_page(report.study_report(study)).text
    assert "1 complete, 1 replaced, 1 running, 1 waiting." in text


def test_importance_finds_the_parameter_that_matters() -> None:
    study = optuna.create_study(direction="maximize")
    rng = np.random.default_rng(0)
    space = {"nothing": FloatDistribution(0, 1), "all": FloatDistribution(1e-4, 1, log=True)}
    for _ in range(60):
        params = {"nothing": rng.uniform(), "all": float(10 ** rng.uniform(-4, 0))}
        study.add_trial(create_trial(value=np.log10(params["all"]), params=params, distributions=space))
    shares = trials.importances(study)
    assert list(shares) == ["all", "nothing"]
    assert shares["all"] > 0.8
    assert sum(shares.values()) == pytest.approx(1)


@pytest.mark.parametrize(("n", "same", "known"), [(9, False, False), (12, True, False), (12, False, True)])
def test_importance_needs_trials_that_differ(n: int, same: bool, known: bool) -> None:
    study = optuna.create_study(direction="maximize")
    for index in range(n):
        trial = create_trial(value=0.0 if same else index, params={"x": index / n}, distributions={
            "x": FloatDistribution(0, 1)})  # fmt: skip
        study.add_trial(trial)
    assert bool(trials.importances(study)) == known


def test_early_trials_are_never_the_best() -> None:
    study = make_study(["complete", "complete", "early"])
    assert [trial.number for trial in trials.best_first(study)] == [
        trial.number for trial in sorted(study.trials[:2], key=lambda trial: -(trial.value or 0))
    ]


# ---------------------------------------------------------------------------------------------------- pictures


def test_positions_on_scales() -> None:
    scale = study_plots.Scale.of(FloatDistribution(1e-4, 1e-2, log=True))
    assert [scale.position(x) for x in (1e-4, 1e-3, 1e-2)] == pytest.approx([0, 0.5, 1])
    scale = study_plots.Scale.of(CategoricalDistribution((None, "a", "b")))
    assert [scale.position(x) for x in (None, "a", "b")] == [0, 0.5, 1]
    assert study_plots.Scale.of(IntDistribution(3, 3)).position(3) == 0.5


def test_curves_are_the_iqm_of_the_runs_that_did_not_fail(comparison: Comparison) -> None:
    first = comparison.tasks[0].configurations[0]
    figure = plots.drawing(lambda axes: plots.draw_curves(axes, [(first.label, first.runs)]))
    (line,) = figure.axes[0].lines
    means = np.array([run.means for run in first.runs if run.failure is None])
    np.testing.assert_array_equal(line.get_xdata(), first.runs[0].timesteps)
    np.testing.assert_allclose(line.get_ydata(), statistics.iqm(means, 0))
    (band,) = figure.axes[0].collections
    ends = [statistics.stratified_bootstrap([each], statistics.pooled(statistics.iqm), 0)[1:] for each in means.T]
    drawn = {tuple(point) for point in band.get_paths()[0].vertices.round(6)}
    for step, (low, high) in zip(first.runs[0].timesteps, np.round(ends, 6), strict=True):
        assert {(step, low), (step, high)} <= drawn


def test_runs_evaluated_at_other_steps_meet_where_they_overlap() -> None:
    steps, means = plots.aligned([Run(0, (10, 20, 30), (1, 2, 3), final=1), Run(1, (15, 25), (0, 10), final=1)])
    np.testing.assert_array_equal(steps, [20])
    np.testing.assert_array_equal(means, [[2], [5]])


def test_lines_differ_without_their_colours() -> None:
    looks = [plots.look(index) for index in range(42)]
    assert len({(str(look.dash), look.marker) for look in looks}) == 42


def test_as_many_lines_as_the_results_pages_draw_in_a_picture_have_colours_of_their_own() -> None:
    assert len({plots.look(index).colour for index in range(7)}) == 7


def test_drawing_leaves_the_readers_settings_alone() -> None:
    with mpl.rc_context({"font.size": 3, "svg.fonttype": "path"}):
        before = dict(mpl.rcParams)
        text = pages.to_svg(plots.drawing(lambda axes: axes.plot([1, 2])), "a", "b")
        assert dict(mpl.rcParams) == before
    assert text == pages.to_svg(plots.drawing(lambda axes: axes.plot([1, 2])), "a", "b")


def test_picture_is_a_png_of_two_columns(comparison: Comparison, tmp_path: Path) -> None:
    data = report.write_comparison(comparison, tmp_path)[2].read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", data[16:24])
    assert width == 2 * plots.WIDTH * 120
    assert 500 < height < 3000


# ------------------------------------------------------------------------------------------------------- writing


def fail(*_: object) -> None:
    raise OSError("no room")


@pytest.mark.parametrize("broken", [(os, "replace"), (report, "overview"), (os, "fsync")])
def test_failure_leaves_what_was_there(
    broken: tuple[object, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "report.html").write_text("old")
    monkeypatch.setattr(*broken, fail)
    with pytest.raises(OSError, match="no room"):
        report.write_comparison(choose("dqn", "rainbow"), tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"report.html": "old"}


def test_what_was_kept_is_read_again(tmp_path: Path) -> None:
    several = make_several()
    (tmp_path / "comparison.json").write_text(json.dumps(several.to_json()))
    assert report.read_comparison(tmp_path / "comparison.json") == several
    old = several.to_json()
    task = old.pop("tasks")[0]
    old |= {name: task[name] for name in ("env", "threshold", "configurations")}
    (tmp_path / "old.json").write_text(json.dumps(old))
    assert report.read_comparison(tmp_path / "old.json") == change_task(
        replace(several, tasks=several.tasks[:1]), scale=None
    )
    (tmp_path / "none.json").write_text("{}")
    for name in ("none.json", "missing.json"):
        with pytest.raises(InputError, match=r"^comparison: cannot be read: .*want a comparison.json"):
            report.read_comparison(tmp_path / name)


def test_failure_leaves_an_old_study_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "report.html").write_text("old")
    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no room"):
        report.write_study_report(make_study(["default"]), tmp_path / "report.html")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"report.html": "old"}


def written(folder: Path) -> dict[str, str]:
    """Write both reports and return the checksum of each file."""
    paths = report.write_comparison(make_comparison({"rainbow": 440, "dqn": 250}), folder)
    paths += (report.write_study_report(make_study(KINDS["many"]), folder / "study.html"),)
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


ELSEWHERE = """
import importlib.util, json, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("reports", sys.argv[1])
tests = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tests)
print(json.dumps(tests.written(Path("."))))
"""


def test_same_data_same_bytes(tmp_path: Path, project_root: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    there.mkdir()
    (there / "matplotlibrc").write_text("font.size: 20\nsvg.fonttype: path\naxes.linewidth: 7\n")
    settings = os.environ | {"PYTHONHASHSEED": "17", "TZ": "UTC+3", "PYTHONPATH": str(project_root)}
    words = [sys.executable, "-c", ELSEWHERE, __file__]
    done = subprocess.run(words, cwd=there, env=settings, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert len(found) == len(FILES) + 2 + 1
    assert found == written(here)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text.replace("</dl>", "", 1),
        lambda text: text.replace("<svg ", '<svg id="figure-curves-title" ', 1),
        lambda text: text.replace("<h2>", '<img src="//example.org/a.png"><h2>', 1),
        lambda text: text.replace("<style>", "<style>@import 'a.css';", 1),
        lambda text: text.replace("<h2>", "<script></script><h2>", 1),
    ],
)
def test_the_check_of_pages_can_fail(spoil: Callable[[str], str], html: str) -> None:
    assert spoil(html) != html
    with pytest.raises(AssertionError, match="assert"):
        check_page(spoil(html))


@pytest.mark.parametrize("name", ["cartpole-value", "cartpole-gradient", "one-shot"])
def test_the_kept_reports_are_those_of_the_kept_data(name: str, project_root: Path) -> None:
    folder = project_root / "docs" / "results" / name
    comparison = report.read_comparison(folder / "comparison.json")
    assert report.comparison_markdown(comparison) == (folder / "report.md").read_text(encoding="utf-8")
    for path, text in exports.best_files(comparison).items():
        assert (folder / path).read_text(encoding="utf-8") == text
