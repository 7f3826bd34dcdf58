"""Studies on a Ray cluster of two nodes on this machine, one CPU each.

One node that dies and one driver that is killed, because to start any of them takes seconds.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster
from ray_study import drive

from sb3_course import compare, train
from sb3_course.tuning.crew import run_study
from sb3_course.tuning.ray_launcher import RayLauncher
from sb3_course.tuning.storage import open_storage
from sb3_course.tuning.tickets import HEARTBEAT

LONGEST = 300.0  # seconds that a busy machine may take for what a quiet one does in ten
BRIEF = ["--env", "sb3_course/OneShot-v0", "-n", "64", "--eval-freq", "32"]


@pytest.fixture(scope="module")
def cluster(project_root: Path) -> Iterator[Any]:
    """Return a cluster of two nodes with a CPU each, of which the second can be killed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(project_root))
        patch.setenv("RAY_health_check_period_ms", "500")
        patch.setenv("RAY_health_check_failure_threshold", "2")
        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        made.add_node(num_cpus=1)
        yield made
        with contextlib.suppress(Exception):
            made.shutdown()


def until(found: Callable[[], Any]) -> Any:
    """Wait until something is there, and return it."""
    end = time.monotonic() + LONGEST
    while not (thing := found()) and time.monotonic() < end:
        time.sleep(0.3)
    assert thing
    return thing


@pytest.fixture(scope="module")
def on_ray(cluster: Any) -> Iterator[list[str]]:
    """Return the flags of a command on the cluster; what it started there serves the next test, too."""
    yield ["--launcher", "ray", "--ray-address", cluster.address]
    ray.shutdown()


def test_two_nodes_finish_a_study_whatever_is_killed(
    lab: Any, cluster: Any, on_ray: list[str], worker_server: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node dies in the middle, another comes; the driver is killed, and one that is started again goes on."""
    plan = lab.plan(n_trials=4, n_timesteps=4096, eval_freq=2048, seeds=(0,))
    study, tickets, _ = lab.begin(plan)

    def running() -> list[Any]:
        return [trial for trial in study.trials if trial.state.name == "RUNNING" and "worker" in trial.user_attrs]

    driver = multiprocessing.get_context("forkserver" if worker_server else "spawn").Process(
        target=drive, args=(cluster.address, lab.url, "study"), daemon=True
    )
    driver.start()
    until(lambda: len(running()) == 2)
    (other,) = cluster.worker_nodes
    cluster.remove_node(other, allow_graceful=False)
    cluster.add_node(num_cpus=1)
    died = until(lambda: [trial for trial in study.trials if "deaths" in trial.user_attrs])
    assert [trial.user_attrs["deaths"] for trial in died] == [1]  # one trial ran there
    until(lambda: running() and tickets.counts().get("COMPLETE"))  # so that each driver has some of it
    driver.kill()
    driver.join()
    assert tickets.counts().get("COMPLETE", 0) < 4
    monkeypatch.setattr("sb3_course.tuning.tickets.GRACE", 2.5 * HEARTBEAT)  # half of what is waited elsewhere
    monkeypatch.setattr("sb3_course.tuning.tickets.PATIENCE", 1.0)
    end = time.monotonic() + LONGEST
    launcher = RayLauncher(cluster.address)
    assert run_study(open_storage(lab.url), "study", 4, lambda: time.monotonic() > end, launcher=launcher)
    assert tickets.counts() == {"COMPLETE": 4}
    rows = [trial.user_attrs["ticket"] for trial in study.trials if "replaced" not in trial.user_attrs]
    assert sorted(rows) == list(range(4))
    workers = {trial.user_attrs["worker"] for trial in study.trials}
    assert all(worker.startswith("ray/") for worker in workers)
    assert len({worker.split("/")[1] for worker in workers}) == 2  # both drivers had some of it


def signed(database: Path) -> list[str]:
    """Return who trained the trials of all studies in a file: Ray or this machine."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        rows = connection.execute("SELECT value_json FROM trial_user_attributes WHERE key = 'worker'").fetchall()
    return [json.loads(name).split("/")[0] for (name,) in rows]


def test_many_seeds_are_tasks_too(on_ray: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train.main([*BRIEF, "--algo", "reinforce", "--seeds", "2", "--run-dir", str(tmp_path), *on_ray]) == 0
    assert "2 of 2" in capsys.readouterr().out
    assert signed(tmp_path / "queue.db") == ["ray"] * 2
    assert [(tmp_path / f"seed_{seed}" / "model.zip").is_file() for seed in (0, 1)] == [True] * 2


def test_a_comparison_is_tasks_from_tuning_to_the_fresh_seeds(on_ray: list[str], tmp_path: Path) -> None:
    line = [*BRIEF, "--algos", "reinforce", "vpg", "--trials", "2", "--seeds", "1", "--top", "1", "--fresh-seeds", "2"]
    line += ["--pruner", "none", "--eval-episodes", "1", "--final-episodes", "2", "--study-name", "match"]
    where = ["--storage", str(tmp_path / "studies.db"), "--log-folder", str(tmp_path / "logs")]
    assert compare.main([*line, *where, *on_ray]) == 0
    # Two trials of each, and of each the best and the default on two fresh seeds.
    assert signed(tmp_path / "studies.db") == ["ray"] * (2 * 2 + 2 * 2 * 2)
    assert (tmp_path / "logs" / "match" / "report.html").is_file()
