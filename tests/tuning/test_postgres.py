"""Studies on a PostgreSQL server: the same promises as on a file, and what only a server does: refuse, and go away."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy as sa
from optuna.exceptions import StorageInternalError
from postgres import QUOTED, SECRET, Postgres
from silence import abandon

from sb3_course import compare, tune
from sb3_course.config.errors import InputError
from sb3_course.config.secrets import passwords, safe_url, without_passwords
from sb3_course.tuning import tickets as tickets_waiting
from sb3_course.tuning import workers
from sb3_course.tuning.crew import run_study
from sb3_course.tuning.idle import IdleClosing
from sb3_course.tuning.objective import Objective
from sb3_course.tuning.patience import Patience, StorageGoneError
from sb3_course.tuning.storage import open_storage
from sb3_course.tuning.study import create_study, tickets_of
from sb3_course.tuning.workers import work

BRIEF = [
    "--env", "sb3_course/OneShot-v0", "-n", "64", "--eval-freq", "32", "--eval-episodes", "1", "--final-episodes", "2",
    "--trials", "3", "--seeds", "2", "--pruner", "none",
]  # fmt: skip


def told(capsys: pytest.CaptureFixture[str]) -> str:
    """Return all that was printed, which has no password in any form."""
    found = "".join(capsys.readouterr())
    assert SECRET not in found
    assert QUOTED not in found
    return found


def everything_in(folder: Path) -> str:
    """Return the text of all files."""
    return "".join(path.read_text("latin-1") for path in sorted(folder.rglob("*")) if path.is_file())


@pytest.mark.usefixtures("served_workers")
def test_every_way_to_give_a_password(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A study by the variable, whose workers must find the password, too; then a worker by each of the other ways."""
    bare = postgres.url("postgres", "tuner") + "&options=-csearch_path%3Dtuner"
    whole = bare.replace("tuner@", f"tuner:{QUOTED}@")
    monkeypatch.setenv("MY_STORAGE", whole)
    line = ["--algo", "reinforce", *BRIEF, "--trials", "1", "--log-folder", str(tmp_path / "logs")]
    assert tune.main([*line, "--study-name", "mine", "--storage-env", "MY_STORAGE"]) == 0
    assert "process list" not in told(capsys)
    found = everything_in(tmp_path / "logs")
    assert QUOTED not in found
    assert SECRET not in found.encode("latin-1").decode("utf-8", "replace")

    (tmp_path / "pgpass").write_text(f"*:*:*:tuner:{SECRET}\n")
    (tmp_path / "pgpass").chmod(0o600)
    for name, value, storage in (
        ("NOTHING", "", bare), ("PGPASSWORD", SECRET, bare), ("PGPASSFILE", str(tmp_path / "pgpass"), bare),
        ("NOTHING", "", whole),
    ):  # fmt: skip
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            status = tune.main(["worker", "--study", "mine", "--storage", storage])
        said = told(capsys)
        assert status == (2 if (name, storage) == ("NOTHING", bare) else 0), said
        assert ("done: 0 trials trained" in said) == (status == 0)
        assert ("process list" in said) == (storage == whole)


def test_a_driver_that_is_missing_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(InputError, match=r'psycopg.* pip install "sb3_course\[postgres\]"'):
        open_storage("postgresql+psycopg://me@host/studies")


WORKER = {
    "no study": ([], "--study: is missing"),
    "an unknown study": (["--study", "stdy"], "--study: there is no such study in the storage; did you mean 'study'"),
    "a study that is being made": (["--study", "begun"], "--study: there is no such study in the storage"),
    "a study of somebody else": (["--study", "foreign"], "--study-name: is a study that was not made here"),
    "no trials": (["--study", "study", "--most", "0"], "--most: is out of bounds"),
    "to wait for ever": (["--study", "study", "--wait", "ever"], "--wait: is not an integer"),
    "to wait backwards": (["--study", "study", "--storage-wait", "-1"], "--storage-wait: is out of bounds"),
    "two storages": (["--study", "study", "--storage-env", "HOME"], "--storage-env: is given beside --storage"),
    "an unknown flag": (["--studdy", "study"], "--studdy: unknown flag"),
}


@pytest.mark.parametrize("name", WORKER)
def test_a_worker_that_cannot_be_is_refused(name: str, both_labs: Any, capsys: pytest.CaptureFixture[str]) -> None:
    words, reason = WORKER[name]
    create_study(both_labs.plan(), storage=both_labs.storage(), name="study")
    optuna.create_study(study_name="foreign", storage=both_labs.url).ask()
    optuna.create_study(study_name="begun", storage=both_labs.storage())
    assert tune.main(["worker", "--storage", both_labs.url, *words]) == 2
    found = told(capsys)
    assert (found.startswith(f"error: {reason}"), found.count("\n")) == (True, 1), found


def test_passwords_are_found_and_hidden() -> None:
    for text, secret in (
        ("postgresql://me:secret@host/studies", "secret"),
        ("--storage=postgresql+psycopg://me:a:b@c@host:5432/studies?host=/tmp", "a:b@c"),
        ("mysql://host/studies?user=me&password=secret&x=1", "secret"),
        ("postgresql://:secret@/studies", "secret"),
    ):
        assert passwords(text) == [secret]
        assert safe_url(text) == text.replace(secret, "***")
    for text in (
        "sqlite:///a.db",
        "postgresql://me@host:5432/studies",
        "http://host:80/a@b",
        "postgresql://me:@/studies",
    ):
        assert passwords(text) == []
    assert without_passwords("no 'p w' for me", "postgresql://me:p%20w@host/x") == "no '***' for me"


def test_a_comparison_keeps_no_password(postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The report says what command repeats it."""
    seen: dict[str, Any] = {}

    def stop_here(contest: Any, storage: Any, *_: Any) -> None:
        seen.update(command=contest.command, shown=repr(storage.patience.where))

    monkeypatch.setattr("sb3_course.tuning.comparison.compare", stop_here)
    url = postgres.url(password=QUOTED)
    compare.main(["--algos", "reinforce", "ppo", *BRIEF, "--storage", url, "--log-folder", str(tmp_path)])
    assert ":***@" in seen["command"]
    assert QUOTED not in "".join(seen.values())


class Away:
    """A server that is away for the first so many calls."""

    def __init__(self, times: int, error: Exception) -> None:
        self.times, self.calls, self.error = times, 0, error

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.times:
            raise self.error
        return "here"


def lost(kind: Any = sa.exc.OperationalError) -> StorageInternalError:
    """Return what Optuna makes of a lost connection."""
    error = StorageInternalError("An exception is raised during the commit.")
    error.__cause__ = kind("SELECT 1", {}, RuntimeError("server closed the connection unexpectedly"))
    return error


def test_a_server_that_comes_back_is_waited_for_with_growing_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    patience, pauses = Patience("somewhere", 60.0), list[float]()
    monkeypatch.setattr(patience, "_sleep", pauses.append)
    assert patience(Away(9, lost())) == "here"
    assert len(pauses) == 9
    assert all(
        1 / 2 <= pause / full <= 1 for pause, full in zip(pauses, (0.25, 0.5, 1, 2, 4, 8, 16, 30, 30), strict=True)
    )


def test_a_server_that_stays_away_is_waited_for_as_long_as_was_said() -> None:
    began = time.monotonic()
    with pytest.raises(StorageGoneError, match=r"^somewhere has not answered for \d s; nothing is lost"):
        Patience("somewhere", 1.0)(Away(10**6, lost()))
    assert 1.0 <= time.monotonic() - began < 3.0


def test_whoever_is_asked_to_stop_does_not_wait() -> None:
    patience = Patience("somewhere", 600.0)
    patience.stop = lambda: True
    with pytest.raises(StorageGoneError):
        patience(Away(10**6, lost()))


def test_a_server_that_is_full_when_a_worker_begins_is_waited_for(postgres: Postgres) -> None:
    url = postgres.url()
    schema = url.rpartition("%3D")[2]
    postgres.sql(
        f"CREATE ROLE latecomer LOGIN PASSWORD '{SECRET}' CONNECTION LIMIT 0",
        f"GRANT ALL ON SCHEMA {schema} TO latecomer",
    )
    there = threading.Timer(1.0, postgres.sql, ["ALTER ROLE latecomer CONNECTION LIMIT -1"])
    there.start()
    began = time.monotonic()
    storage = open_storage(url.replace("//postgres@", f"//latecomer:{QUOTED}@"))
    there.join()
    assert time.monotonic() - began >= 1.0
    assert storage.get_all_studies() == []


class Gone:
    """A storage whose server is away."""

    def __getattr__(self, name: str) -> Any:
        raise lost()


def test_a_command_that_is_asked_to_stop_while_the_server_is_away_has_stopped(lab: Any) -> None:
    _, _, storage = lab.begin(lab.plan())
    storage.inner, asked = Gone(), iter([False, False, False])
    began = time.monotonic()
    assert not run_study(storage, "study", stop=lambda: next(asked, True))
    assert time.monotonic() - began < 5.0


@pytest.mark.parametrize("ends", ["long ago", "never"])
def test_a_run_folder_is_no_failure_of_its_seed_when_the_storage_has_gone(
    ends: str, lab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def finish(*_: Any) -> bool:
        raise StorageGoneError("away") if ends == "never" else FloatingPointError("its score is nan")

    monkeypatch.setattr("sb3_course.tuning.objective.finish", finish)
    objective, failed = Objective(lab.plan()), list[str | None]()
    with contextlib.suppress(StorageGoneError):
        failed.append(objective._kept({}, 0, tmp_path / "seed_0").failure)
    assert failed == ([] if ends == "never" else ["FloatingPointError: its score is nan"])


@pytest.mark.parametrize("error", [lost(sa.exc.ProgrammingError), lost(sa.exc.IntegrityError), KeyError("no study")])
def test_what_will_not_pass_is_not_waited_for(error: Exception) -> None:
    away = Away(1, error)
    with pytest.raises(type(error)):
        Patience("somewhere", 600.0)(away)
    assert away.calls == 1


def test_a_full_disk_under_a_file_is_not_waited_for() -> None:
    import sqlite3

    error = sa.exc.OperationalError("INSERT", {}, sqlite3.OperationalError("database or disk is full"))
    with pytest.raises(sa.exc.OperationalError):
        Patience("somewhere", 600.0)(Away(1, error))


def test_a_trial_asks_on_one_connection_and_trains_on_none(
    lab_in: Any, tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection costs the server ten times what a question does, and there are only so many."""
    monkeypatch.setattr("sb3_course.tuning.optuna_inside.IdleClosing", lambda engine: IdleClosing(engine, 2.0))
    lab, made, ended = lab_in(tmp_path, postgres.url()), list[object](), list[object]()
    listeners = [("connect", lambda *_: made.append(1)), ("close", lambda *_: ended.append(1))]
    for event, listener in listeners:
        sa.event.listen(sa.pool.Pool, event, listener)
    try:
        study, _, _ = lab.begin(lab.plan())
        before = len(made)
        trial = study.ask()
        for number in range(20):
            trial.set_user_attr("note", number)
        assert len(made) <= before + 1
        until(lambda: len(ended) == len(made))
    finally:
        for event, listener in listeners:
            sa.event.remove(sa.pool.Pool, event, listener)


def test_a_connection_that_is_in_use_when_others_are_closed_is_closed_after_it(tmp_path: Path) -> None:
    engine = sa.create_engine(
        f"sqlite:///{tmp_path / 'a.db'}", poolclass=sa.pool.QueuePool, pool_size=1, max_overflow=-1
    )
    IdleClosing(engine, 0.05)
    made, ended = list[object](), list[object]()
    sa.event.listen(engine, "connect", lambda *_: made.append(1))
    sa.event.listen(engine, "close", lambda *_: ended.append(1))
    with engine.connect():
        with engine.connect():
            pass
        until(lambda: ended)
        assert (len(made), len(ended)) == (2, 1)
    until(lambda: len(ended) == 2)


class Door:
    """The command line of `tune` in a thread of its own, which saves the start of a process.

    :param argv: its words
    """

    def __init__(self, argv: list[str]) -> None:
        self._found: list[int] = []
        self.thread = threading.Thread(target=lambda: self._found.append(tune.main(argv)), daemon=True)
        self.thread.start()

    def status(self) -> int:
        """Wait for its end and return its status."""
        self.thread.join(60)
        return self._found[0]


def until(found: Callable[[], object]) -> None:
    """Wait until something is so."""
    end = time.monotonic() + 60
    while not found():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Postgres]:
    """Return a server that a test may stop."""
    server = Postgres("fsync = off")
    yield server
    server.close()


def test_a_server_that_crashes_in_the_middle_costs_nothing(
    lab_in: Any, tmp_path: Path, own: Postgres, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is away for a while: one worker goes on, another one has no patience and ends with status 1.

    Whose trial is taken over when it has been silent for long, which is a quarter of what it is elsewhere.
    """
    for module, name in ((workers, "HEARTBEAT"), (tickets_waiting, "GRACE"), (tickets_waiting, "PATIENCE")):
        monkeypatch.setattr(module, name, getattr(module, name) / 4)
    lab = lab_in(tmp_path, own.url())
    plan = lab.plan(n_trials=6, n_timesteps=256, eval_freq=64)
    study, tickets, storage = lab.begin(plan)
    hasty = Door(["worker", "--storage", lab.url, "--study", "study", "--storage-wait", "0"])
    until(lambda: tickets.counts().get("RUNNING"))
    thread = threading.Thread(target=work, args=(storage, "study"))
    thread.start()
    until(lambda: tickets.counts().get("RUNNING") == 2)
    own.stop("immediate")
    assert hasty.status() == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("waiting: ")]
    assert len(errors) == 1
    assert errors[0].startswith("error: worker: StorageGoneError: postgresql+psycopg://postgres@/postgres")
    own.start()
    thread.join()
    assert tickets.counts() == {"COMPLETE": 6}
    rows = [trial.user_attrs["ticket"] for trial in study.trials if "replaced" not in trial.user_attrs]
    assert sorted(rows) == list(range(6))


def test_connections_that_break_at_any_statement_cost_nothing(
    lab_in: Any, tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gaps between two of them grow by one statement, so that every call comes through in the end."""
    lab = lab_in(tmp_path, postgres.url())
    study, tickets, storage = lab.begin(lab.plan(n_trials=2, seeds=(0,)))
    monkeypatch.setattr("sb3_course.tuning.patience._FIRST", 0.01)
    left, gap, broken = 1, 1, 0

    def break_some(_: Any, cursor: Any, *__: Any) -> None:
        nonlocal left, gap, broken
        left -= 1
        if not left:
            gap, broken = gap + 1, broken + 1
            left = gap
            postgres.sql(f"SELECT pg_terminate_backend({cursor.connection.info.backend_pid}, 1000)")

    sa.event.listen(sa.Engine, "before_cursor_execute", break_some)
    try:
        while tickets.counts() != {"COMPLETE": 2}:
            work(storage, "study", most=2)
            abandon(tickets)  # an answer that was lost may have been that a trial is ours
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", break_some)
    assert broken >= 10
    rows = [trial.user_attrs["ticket"] for trial in study.trials if "replaced" not in trial.user_attrs]
    assert sorted(rows) == [0, 1]


def test_workers_of_a_comparison_wait_for_its_last_part(
    lab_in: Any, tmp_path: Path, postgres: Postgres, capsys: pytest.CaptureFixture[str]
) -> None:
    """A worker that is there before the study; then the tuning, and later the fresh runs."""
    lab = lab_in(tmp_path, postgres.url())
    storage, plan = lab.storage(), lab.plan(n_trials=2)
    worker = Door(["worker", "--storage", lab.url, "--study", "match", "--wait", "60"])
    optuna.create_study(
        study_name="match/reinforce", storage=storage, direction="maximize"
    )  # where another command is in this moment
    time.sleep(1.5)
    study = create_study(plan, storage=storage, name="match/reinforce")
    study.set_user_attr("next", None)
    until(lambda: tickets_of(study, plan).counts() == {"COMPLETE": 2})
    time.sleep(1.5)  # longer than its pauses
    assert worker.thread.is_alive()
    fresh = create_study(plan, storage=storage, name="match/fresh")
    study.set_user_attr("next", "match/fresh")
    assert worker.status() == 0
    assert capsys.readouterr() == ("done: 4 trials trained; nothing else waits in match\n", "")
    assert tickets_of(fresh, plan).counts() == {"COMPLETE": 2}
