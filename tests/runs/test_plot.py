"""What `plot` draws: every kind in every format, the right numbers in its table, and one line for all that is wrong."""

from __future__ import annotations

import copy
import functools
import json
import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch as th
from PIL import Image

from sb3_course import CategoricalDQN, enjoy, plot, train
from sb3_course.config.yaml_files import dump_yaml
from sb3_course.envs import GridWorldEnv, value_iteration
from sb3_course.pictures import grid_stages
from sb3_course.pictures.kinds import KINDS
from sb3_course.pictures.picture import moments
from sb3_course.pictures.return_distributions import summary
from sb3_course.registry import find
from sb3_course.runs import RunFolder, Settings
from sb3_course.runs.learned_picture import action_values, gaussian_of, return_distribution
from sb3_course.runs.model import load_model
from sb3_course.runs.risk_reader import RiskReader
from sb3_course.value.risk_words import risk_predict

GRID, SHOT = "sb3_course/GridWorld-v0", "sb3_course/OneShot-v0"
QUICK = ["-n", "60", "--eval-freq", "30", "--save-freq", "20", "--eval-episodes", "1", "--final-episodes", "1",
         "--verbose", "0"]  # fmt: skip
RUNS = {
    "q_table": ["--algo", "q_table", "--env", GRID],
    "c51": ["--algo", "c51", "--env", GRID, "-params", "learning_starts:20", "policy_kwargs:dict(net_arch=[8])"],
    "shot": ["--algo", "reinforce", "--env", SHOT],
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of runs: each has checkpoints at 20, 40 and 60 steps."""
    root = tmp_path_factory.mktemp("runs")
    for name, words in RUNS.items():
        assert train.main([*words, *QUICK, "--run-dir", str(root / name)]) == 0
    return root


@pytest.fixture
def here(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return an empty current folder from which the runs are seen."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def table(out: str) -> list[list[str]]:
    *lines, last = out.splitlines()
    assert last.startswith("picture: ")
    return [re.split(r"  +", line) for line in lines]


RUN_OF = {"curves": "q_table", "values": "q_table", "visits": "q_table", "distribution": "c51", "policy": "shot"}
SHORT = {"visits": ["--episodes", "1"], "distribution": ["--most", "3"]}
FIRST_BYTES = {".png": b"\x89PNG", ".svg": b"<?xml", ".gif": b"GIF8"}


@pytest.mark.parametrize(
    ("kind", "suffix"), [(kind, end) for kind in KINDS for end in plot.FORMATS if end != ".svg" or kind == "curves"]
)
def test_every_kind_in_every_format(
    kind: str, suffix: str, runs: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [kind, str(runs / RUN_OF[kind]), "-o", f"a{suffix}", *SHORT.get(kind, ())]
    if (kind, suffix) == ("curves", ".gif"):
        assert plot.main(words) == 2
        assert "nothing moves" in capsys.readouterr().err
        assert list(here.iterdir()) == []
        return
    assert plot.main(words) == 0
    assert (here / f"a{suffix}").read_bytes().startswith(FIRST_BYTES[suffix])
    assert [path.name for path in here.iterdir()] == [f"a{suffix}"]
    rows = table(capsys.readouterr().out)
    assert len({len(row) for row in rows}) == 1
    if kind in ("values", "visits", "policy"):
        assert [row[0] for row in rows] == ["steps", "20", "40", "60"]
    if suffix == ".gif":
        with Image.open(here / "a.gif") as picture:
            assert picture.n_frames == len(rows) - 1  # type: ignore[attr-defined]


def test_every_kind_is_tested() -> None:
    assert set(RUN_OF) == set(KINDS)


def test_a_picture_is_the_same_each_time(runs: Path, here: Path) -> None:
    for name in ("a", "b"):
        assert plot.main([str(runs / "q_table"), "-o", f"{name}.svg"]) == 0
    assert (here / "a.svg").read_bytes() == (here / "b.svg").read_bytes()


# ---------------------------------------------------------------------------------------------------------- curves


def kept_run(path: Path, seed: int, means: list[float], state: str = "finished", **settings: Any) -> Path:
    """Write what a run leaves: evaluations every 100 steps, each of 2 seconds."""
    path.mkdir(parents=True)
    (path / "config.yaml").write_text(dump_yaml({"algo": "dqn", "env": "CartPole-v1", "seed": seed, **settings}))
    lines = [f"{100 * k},{mean},0.0,{mean},{mean},1,{2 * k},{mean},1" for k, mean in enumerate(means, 1)]
    head = "timesteps,mean,std,min,max,length,seconds,returns,lengths"
    (path / "evaluations.csv").write_text("\n".join([head, *lines]) + "\n")
    (path / "status.json").write_text(json.dumps({"state": state, "mean": means[-1], "timesteps": 100 * len(means)}))
    return path


def test_runs_of_one_setting_are_one_row_with_their_interval(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seeds = here / "seeds"
    for seed, final in enumerate((400.0, 480.0, 490.0, 500.0)):
        kept_run(seeds / f"seed_{seed}", seed, [10.0, 475.0 if seed > 1 else 20.0, final])
    other = kept_run(here / "other", 0, [10.0, 20.0], gamma=0.9)
    assert plot.main([str(seeds), str(other), "-o", "a.png"]) == 0
    head, four, one = table(capsys.readouterr().out)
    assert head == ["setting", "runs", "final, IQM [95 %]", "reach it", "steps to it", "seconds to it"]
    # The middle two of four are 480 and 490; three reach 475: after 300, 200 and 200 steps.
    assert four[:2] == ["dqn, gamma=None", "4"]
    assert four[2].startswith("485 [")
    assert four[3:] == ["3 of 4", "250", "5"]
    assert one == ["dqn, gamma=0.9", "1", "20", "0 of 1", "-", "-"]


def test_a_threshold_of_ones_own_and_a_run_that_goes_on(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = kept_run(here / "run", 0, [10.0, 20.0], state="running")
    assert plot.main(["curves", str(run), "--threshold", "15", "-o", "a.png"]) == 0
    _, row = table(capsys.readouterr().out)
    assert row[1] == "1 (1 not ended)"
    assert row[3:] == ["1 of 1", "200", "4"]


# ------------------------------------------------------------------------------------------- GridWorld and OneShot


def test_values_count_the_cells_whose_greedy_action_is_optimal(
    runs: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings.from_config({"algo": "q_table", "env": GRID, "n_timesteps": 60})
    for exact, cells in ((True, "10 of 10"), (False, "0 of 10")):
        model = load_model(settings, runs / "q_table" / "model.zip", None)
        q = value_iteration(GridWorldEnv().P, model.gamma) * (1 if exact else -1)
        with th.no_grad():
            (weights,) = [each for each in model.policy.q_net.parameters() if each.shape == (4, 12)]
            weights.copy_(th.as_tensor(q.T, dtype=th.float32))
        folder = here / f"exact_{exact}"
        folder.mkdir()
        for name in ("config.yaml", "status.json"):
            (folder / name).write_bytes((runs / "q_table" / name).read_bytes())
        model.save(folder / "model.zip")
        assert plot.main(["values", str(folder), "-o", "a.png"]) == 0
        _, row = table(capsys.readouterr().out)
        start = GridWorldEnv().rows * GridWorldEnv().columns - 4
        assert row == ["60", f"{q[start].max():.3f}", cells]


def test_visits_are_those_of_whole_episodes(
    runs: Path, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    found: list[np.ndarray] = []
    heat = grid_stages._heat
    monkeypatch.setattr(grid_stages, "_heat", lambda rows, counts: found.append(counts) or heat(rows, counts))
    words = ["visits", str(runs / "q_table"), "--episodes", "4", "--most", "2", "--seed", "3", "-o", "a.png"]
    assert plot.main(words) == 0
    rows = table(capsys.readouterr().out)[1:]
    assert [row[0] for row in rows] == ["20", "60"]
    for counts, row in zip(found, rows, strict=True):
        assert counts.sum() == 4 * (float(row[2]) + 1)  # each state that an action led to, and the first ones
        assert counts[5] == 0  # the wall
        assert np.count_nonzero(counts) == int(row[1])
    again = list(found)
    assert plot.main(words) == 0
    np.testing.assert_array_equal(again, found[2:])


def test_the_policys_mean_and_deviation_are_the_models(runs: Path, here: Path, capsys: Any) -> None:
    assert plot.main(["policy", str(runs / "shot"), "-o", "a.png"]) == 0
    rows = table(capsys.readouterr().out)[1:]
    settings = Settings.from_config({"algo": "reinforce", "env": SHOT, "n_timesteps": 60})
    for row in rows:
        file = RunFolder(runs / "shot").checkpoints / row[0] / "model.zip"
        mean, std = gaussian_of(load_model(settings, file, None), np.ones((1, 1), np.float32))
        assert row[1:3] == [f"{mean:.3f}", f"{std:.3f}"]


# ---------------------------------------------------------------------------------------------------- distributions


def test_a_summary_is_that_of_the_distribution() -> None:
    values, shares = np.array([3.0, 1.0, 2.0, 0.0]), np.array([0.1, 0.2, 0.3, 0.4])
    mean, std, low, high = summary(values, shares)
    assert (mean, low, high) == (pytest.approx(1.1), 0.0, 3.0)
    assert std == pytest.approx(np.sqrt(0.1 * 9 + 0.2 + 0.3 * 4 - 1.21))


@pytest.mark.parametrize("algo", ["c51", "quantile_dqn", "iqn", "rainbow", "qrdqn"])
def test_a_distributions_mean_is_the_action_value(algo: str) -> None:
    model = find(algo).load()("MlpPolicy", GRID, seed=1, device="cpu", buffer_size=10)
    seen = np.arange(3)
    returns, shares = return_distribution(model, seen)
    assert returns.shape == shares.shape == (3, 4, returns.shape[2])
    np.testing.assert_allclose(shares.sum(axis=2), 1.0, rtol=1e-5)
    np.testing.assert_allclose((returns * shares).sum(axis=2), action_values(model, seen), rtol=1e-4, atol=1e-5)


def test_risk_changes_what_a_model_does_and_nothing_else() -> None:
    for algo in ("c51", "qrdqn"):
        model = find(algo).load()("MlpPolicy", "CartPole-v1", seed=1, device="cpu", buffer_size=10)
        seen = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
        reader = RiskReader(model, "cvar:0.25")
        if algo == "c51":
            wanted = model.predict(seen, deterministic=True, risk="cvar:0.25")[0]
        else:
            wanted = risk_predict(model, seen, "cvar:0.25")[0]
        assert (reader.predict(seen, deterministic=True)[0] == wanted).all()
        assert (wanted != model.predict(seen, deterministic=True)[0]).any()
        assert reader.action_space is model.action_space


def test_enjoy_takes_a_risk(runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    predict = CategoricalDQN.predict

    @functools.wraps(predict)
    def watched(self: Any, *args: Any, **kwargs: Any) -> Any:
        asked.append(kwargs.get("risk"))
        return predict(self, *args, **kwargs)

    monkeypatch.setattr(CategoricalDQN, "predict", watched)
    assert enjoy.main([str(runs / "c51"), "--risk", "cvar:0.25", "--episodes", "2"]) == 0
    assert set(asked) == {"cvar:0.25"}
    assert re.search(r"^returns: \S+ \S+$", capsys.readouterr().out, re.MULTILINE)


def test_moments_are_even_and_have_both_ends() -> None:
    assert moments(1, 6) == [0]
    assert moments(5, 6) == [0, 1, 2, 3, 4]
    assert moments(11, 6) == [0, 2, 4, 6, 8, 10]


# -------------------------------------------------------------------------------------------------------- refusals

BAD = {
    "nothing": ([], "command line", "[KIND] RUN"),
    "a kind alone": (["values"], "RUN", "is missing"),
    "a missing run": (["absent"], "RUN", "no such folder"),
    "a kind that is not quite one": (["valeus", "RUNS/q_table"], "RUN", "did you mean 'values'"),
    "an empty folder": (["EMPTY"], "RUN", "holds no run"),
    "an empty folder for values": (["values", "EMPTY"], "RUN", "holds no run"),
    "two runs for a kind of one": (["values", "RUNS/q_table", "RUNS/c51"], "RUN", "shows one run"),
    "different environments": (["RUNS/q_table", "RUNS/shot"], "RUN", "different environments"),
    "no GridWorld": (["values", "RUNS/shot"], "RUN", "no GridWorld"),
    "no GridWorld to visit": (["visits", "RUNS/shot"], "RUN", "no GridWorld"),
    "no OneShot": (["policy", "RUNS/q_table"], "RUN", "no OneShot"),
    "no distribution": (["distribution", "RUNS/q_table"], "RUN", "learns no distribution"),
    "no actions to compare": (["distribution", "RUNS/shot"], "RUN", "no actions to compare"),
    "a torn config": (["TORN"], "config", "TORN"),
    "torn evaluations": (["ODD"], "RUN", "cannot be read"),
    "no evaluation": (["BEGUN"], "RUN", "no run has an evaluation"),
    "no model": (["values", "BEGUN"], "RUN", "has no model yet"),
    "unknown flag": (["RUNS/q_table", "--trheshold", "1"], "--trheshold", "did you mean '--threshold'"),
    "another kind's flag": (["values", "RUNS/q_table", "--threshold", "1"], "--threshold", "is not for values"),
    "moments of curves": (["RUNS/q_table", "--most", "2"], "--most", "is not for curves"),
    "a threshold in words": (["RUNS/q_table", "--threshold", "high"], "--threshold", "'high'"),
    "a threshold that is NaN": (["RUNS/q_table", "--threshold", "nan"], "--threshold", "'nan'"),
    "no moments": (["values", "RUNS/q_table", "--most", "0"], "--most", "out of bounds"),
    "episodes in words": (["visits", "RUNS/q_table", "--episodes", "few"], "--episodes", "'few'"),
    "a seed below zero": (["visits", "RUNS/q_table", "--seed", "-1"], "--seed", "'-1'"),
    "no format": (["RUNS/q_table", "-o", "a"], "--out", "no format"),
    "another format": (["RUNS/q_table", "-o", "a.bmp"], "--out", ".png, .svg, .gif"),
    "curves that move": (["curves", "RUNS/q_table", "-o", "a.gif"], "--out", "nothing moves"),
    "a missing folder": (["RUNS/q_table", "-o", "no/a.png"], "--out", "no such folder"),
    "a folder": (["RUNS/q_table", "-o", "folder.png"], "--out", "cannot be written"),
    "a missing module": (["RUNS/q_table", "--import", "no_such_module"], "--import", "no_such_module"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_said_in_one_line(
    case: str, runs: Path, here: Path, capfd: Any, tmp_path_factory: Any
) -> None:
    words, field, part = BAD[case]
    root = tmp_path_factory.mktemp("odd")
    for name in ("EMPTY", "TORN", "BEGUN"):
        (root / name).mkdir()
    (root / "TORN" / "config.yaml").write_text("gamma: [0.9\n")
    (root / "BEGUN" / "config.yaml").write_text(f"algo: q_table\nenv: {GRID}\nn_timesteps: 10\n")
    kept_run(root / "ODD", 0, [1.0])
    (root / "ODD" / "evaluations.csv").write_text("timesteps,mean\nmany,1\n")
    (here / "folder.png").mkdir()
    given = [re.sub(r"^RUNS", str(runs), word) for word in words]
    given = [re.sub(r"^(EMPTY|TORN|BEGUN|ODD)$", lambda found: str(root / found[0]), word) for word in given]
    assert plot.main(given) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert re.fullmatch(rf"error: [^:]*{re.escape(field)}: .+\n", err) or case == "a torn config", err
    assert part.replace("TORN", str(root / "TORN")) in err
    assert err.count("\n") == 1
    assert [path.name for path in here.iterdir()] == ["folder.png"]


def test_a_reader_is_copied_and_refuses_what_is_not_there() -> None:
    """What copies asks for names before there is a model to ask."""
    with pytest.raises(AttributeError, match="_model"):
        RiskReader.__new__(RiskReader)._model  # noqa: B018
    reader = RiskReader(SimpleNamespace(predict=Asked(), n=3), "cvar:0.25")
    for twin in (copy.copy(reader), copy.deepcopy(reader), pickle.loads(pickle.dumps(reader))):
        assert type(twin) is RiskReader
        assert (twin.n, twin.predict(None)) == (3, "cvar:0.25")


class Asked:
    """Answers with the risk it was asked with."""

    def __call__(self, observation: object, risk: str = "") -> str:
        return risk
