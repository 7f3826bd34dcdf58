"""Studies on a Ray cluster of two nodes on this machine, one CPU each; and clusters that are not there."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster

from sb3_course import train, tune

DRIVER = Path(__file__).parents[1] / "helpers" / "ray_study.py"
BRIEF = ["--algo", "reinforce", "--env", "sb3_course/OneShot-v0", "-n", "64", "--eval-freq", "32", "--seeds", "2"]


@pytest.fixture(scope="module")
def cluster(project_root: Path) -> Iterator[Any]:
    """Return a cluster with a node without CPUs, for the driver, and two with one each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(project_root))
        patch.setenv("RAY_health_check_period_ms", "500")
        patch.setenv("RAY_health_check_failure_threshold", "2")
        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        made.nodes = [made.add_node(num_cpus=1) for _ in range(2)]
        yield made
        with contextlib.suppress(Exception):
            made.shutdown()


def until(seconds: float, found: Callable[[], Any]) -> Any:
    """Wait until something is there, and return it."""
    end = time.monotonic() + seconds
    while not (thing := found()) and time.monotonic() < end:
        time.sleep(0.1)
    assert thing
    return thing


def test_two_nodes_finish_a_study_whatever_is_killed(lab: Any, cluster: Any) -> None:
    """A node dies in the middle, another comes; the driver is killed, and one that is started again goes on."""
    plan = lab.plan(n_trials=6, n_timesteps=4096, eval_freq=1024)
    study, tickets, _ = lab.begin(plan)

    def drive() -> subprocess.Popen[bytes]:
        line = [sys.executable, "-W", "ignore", str(DRIVER), cluster.address, lab.url, "study"]
        return subprocess.Popen(line, stdout=subprocess.DEVNULL, start_new_session=True)

    def running() -> list[Any]:
        return [trial for trial in study.trials if trial.state.name == "RUNNING" and "worker" in trial.user_attrs]

    driver = drive()
    until(120, lambda: len(running()) == 2)
    cluster.remove_node(cluster.nodes[0], allow_graceful=False)
    cluster.add_node(num_cpus=1)
    died = until(60, lambda: [trial for trial in study.trials if "deaths" in trial.user_attrs])
    assert [trial.user_attrs["deaths"] for trial in died] == [1]  # one trial ran there
    until(60, running)
    driver.kill()
    driver.wait()
    before = tickets.counts().get("COMPLETE", 0)
    assert before < 6
    driver = drive()
    assert driver.wait(120) == 0
    assert tickets.counts() == {"COMPLETE": 6}
    rows = [trial.user_attrs["ticket"] for trial in study.trials if "replaced" not in trial.user_attrs]
    assert sorted(rows) == list(range(6))
    workers = {trial.user_attrs["worker"] for trial in study.trials}
    assert all(worker.startswith("ray/") for worker in workers)
    assert len({worker.split("/")[1] for worker in workers}) == 2  # both drivers had some of it


def test_many_seeds_are_tasks_too(cluster: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["--algo", "reinforce", "--env", "sb3_course/OneShot-v0", "-n", "64", "--eval-freq", "32", "--seeds", "2"]
    try:
        assert (
            train.main([*line, "--run-dir", str(tmp_path), "--launcher", "ray", "--ray-address", cluster.address]) == 0
        )
    finally:
        ray.shutdown()
    assert "2 of 2" in capsys.readouterr().out
    with contextlib.closing(sqlite3.connect(tmp_path / "queue.db")) as database:
        signed = database.execute("SELECT value_json FROM trial_user_attributes WHERE key = 'worker'").fetchall()
    assert sorted(name.split("/")[0] for (name,) in signed) == ['"ray', '"ray']


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--launcher", "rey"], "--launcher: unknown; did you mean 'ray'"),
        (["--gpus", "1"], "--gpus: is for Ray"),
        (["--ray-address", "auto"], "--ray-address: is for Ray"),
        (["--launcher", "ray", "--gpus", "many"], "--gpus: is no number of GPUs"),
        (["--launcher", "ray", "--workers", "0"], "--workers: is out of bounds"),
        (["--launcher", "ray", "--ray-address", "somewhere"], "--ray-address: is no address"),
        (["--launcher", "ray", "--ray-address", "127.0.0.1:1"], "--ray-address: nobody answers there"),
        (["--launcher", "ray", "--ray-address", "no-such-host.invalid:6379"], "--ray-address: nobody answers there"),
        (["--launcher", "ray"], "--ray-address: no cluster is there"),
    ],
)
def test_clusters_that_are_not_there_are_refused(
    words: list[str], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def init(*_: Any, **__: Any) -> None:
        raise ConnectionError("Could not find any running Ray instance.\nPlease specify the one to connect to.")

    monkeypatch.setattr(ray, "init", init)  # another test, or a person, may have one on this machine
    line = [*BRIEF, "--storage", str(tmp_path / "studies.db"), "--log-folder", str(tmp_path / "logs"), *words]
    assert tune.main(line) == 2
    told = capsys.readouterr()
    assert told.err.startswith(f"error: {reason}")
    assert (told.err.count("\n"), told.out) == (1, "")
    assert os.listdir(tmp_path) == []
    assert not ray.is_initialized()
