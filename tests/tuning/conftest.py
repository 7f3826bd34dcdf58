"""Small studies that train for a moment."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from postgres import Postgres
from study_worker import StudyWorker

from sb3_course.tuning import local_launcher
from sb3_course.tuning.plan import Plan
from sb3_course.tuning.planner import plan_for
from sb3_course.tuning.storage import StudyStorage, open_storage
from sb3_course.tuning.study import create_study, tickets_of
from sb3_course.tuning.tickets import Tickets
from sb3_course.tuning.workers import work

BRIEF: dict[str, Any] = {
    "n_timesteps": 64, "n_trials": 4, "seeds": (0, 1), "pruner": "none", "eval_freq": 32, "eval_episodes": 1,
    "final_episodes": 2,
}  # fmt: skip


@functools.cache
def empty_database() -> bytes:
    """Return a file with the tables of studies and no study: to make them takes Optuna a fifth of a second each time.

    That they are made where there are none is shown by the command lines, which begin with no file (test_doors.py).
    """
    with tempfile.TemporaryDirectory() as folder:
        open_storage(f"sqlite:///{folder}/studies.db")
        return Path(folder, "studies.db").read_bytes()


class Lab:
    """Studies in one folder, or in the database at a URL."""

    def __init__(self, folder: Path, url: str = "") -> None:
        self.folder = folder
        if not url and not (folder / "studies.db").exists():
            (folder / "studies.db").write_bytes(empty_database())
        self.url = url or f"sqlite:///{folder / 'studies.db'}"
        self.brief = BRIEF

    def at(self, name: str) -> Lab:
        """Return another laboratory, in a folder below."""
        (self.folder / name).mkdir()
        return Lab(self.folder / name)

    def plan(self, algo: str = "reinforce", env: str = "sb3_course/OneShot-v0", **arguments: Any) -> Plan:
        """Return a plan whose trials take a tenth of a second."""
        return plan_for(algo, env, **{**BRIEF, **arguments})

    def storage(self) -> StudyStorage:
        """Return a worker's storage."""
        return open_storage(self.url, may_create=False)

    def begin(self, plan: Plan) -> tuple[optuna.Study, Tickets, StudyStorage]:
        """Return a study with its tickets, nothing trained."""
        storage = self.storage()
        study = create_study(plan, storage=storage, name="study")
        tickets = tickets_of(study, plan)
        tickets.settle()
        return study, tickets, storage

    def finish(self, plan: Plan) -> optuna.Study:
        """Return a study that one worker in this process has finished."""
        study, _, storage = self.begin(plan)
        work(storage, "study")
        return study

    def outcome(self, study: optuna.Study | None = None) -> list[tuple[Any, ...]]:
        """Return what must be equal in two studies that are the same: everything but times."""
        study = optuna.load_study(study_name="study", storage=self.storage()) if study is None else study
        found = []
        for trial in study.get_trials(deepcopy=False):
            notes = trial.user_attrs
            runs = [(run["seed"], run["timesteps"], run["means"], run["final"]) for run in notes.get("runs", ())]
            found.append((trial.number, trial.state.name, trial.value, trial.params, notes.get("settings"), runs))
        return found


@pytest.fixture(scope="session")
def lab_in() -> type[Lab]:
    """Return the class of laboratories."""
    return Lab


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """Return a laboratory of this test's own."""
    return Lab(tmp_path)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """Return a PostgreSQL server that the tests share, each with databases of its own."""
    server = Postgres("fsync = off", "synchronous_commit = off")
    server.ask_for_passwords()
    yield server
    server.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def both_labs(request: pytest.FixtureRequest, tmp_path: Path) -> Lab:
    """Return a laboratory on a file, then one on PostgreSQL."""
    url = request.getfixturevalue("postgres").url() if request.param == "postgresql" else ""
    return Lab(tmp_path, url)


@pytest.fixture
def served_workers(worker_server: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `run_study` fork its workers from one process that has imported everything, which saves six seconds each.

    Workers that are killed, interrupted or bring their own modules start as they do for a user: see test_doors.py.
    """
    if worker_server:
        monkeypatch.setattr(local_launcher, "start_process", StudyWorker)
