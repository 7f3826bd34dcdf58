"""Tickets: a budget that is neither exceeded nor missed, whoever dies when."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
import pytest
from silence import Clock, abandon
from study_worker import take_all

from sb3_course.config.errors import InputError
from sb3_course.tuning.objective import Objective
from sb3_course.tuning.storage import NoTicketError, open_storage, safe_url
from sb3_course.tuning.study import create_study, tickets_of
from sb3_course.tuning.tickets import worker_name
from sb3_course.tuning.workers import _train, work


@pytest.fixture
def lab(both_labs: Any) -> Any:
    """Return a laboratory; all that is said here holds on a file and on a server."""
    return both_labs


def test_a_study_begins_with_its_budget_waiting(lab: Any) -> None:
    study, tickets, _ = lab.begin(lab.plan(n_trials=5))
    assert tickets.counts() == {"WAITING": 5}
    assert [trial.number for trial in study.trials] == list(range(5))
    tickets.settle()
    assert tickets.counts() == {"WAITING": 5}


def test_the_known_points_come_first(lab: Any) -> None:
    plan = lab.plan(n_trials=3)
    study, _, _ = lab.begin(plan)
    for ticket in range(3):
        trial = study.ask()
        name, _, _ = plan.propose(trial)
        assert name == ("default", "preset", "")[ticket]
        if name:
            assert trial.params == dict(plan.points[ticket].values)


def test_a_worker_cannot_exceed_the_budget(lab: Any) -> None:
    study, tickets, _ = lab.begin(lab.plan(n_trials=2))
    assert [study.ask().number, study.ask().number] == [0, 1]
    with pytest.raises(NoTicketError):
        study.ask()
    assert tickets.take() is None
    assert len(study.trials) == 2


@pytest.mark.usefixtures("worker_server")
def test_three_processes_never_take_the_same_ticket(lab: Any) -> None:
    lab.begin(lab.plan(n_trials=40))
    context = multiprocessing.get_context("forkserver")
    start, answers = context.Barrier(3), context.Queue()
    crew = [context.Process(target=take_all, args=(lab.url, start, answers), daemon=True) for _ in range(3)]
    for process in crew:
        process.start()
    shares = [answers.get(timeout=60) for _ in crew]
    assert sorted(number for share in shares for number in share) == list(range(40))
    assert sum(bool(share) for share in shares) > 1  # they met


def test_a_trial_in_hand_has_a_heartbeat_and_is_left_alone(lab: Any) -> None:
    study, tickets, _ = lab.begin(lab.plan(n_trials=1))
    study.ask()
    assert tickets.settle() == 0
    assert tickets.counts() == {"RUNNING": 1}


def test_an_abandoned_trial_goes_back_with_its_parameters(lab: Any) -> None:
    study, tickets, _ = lab.begin(lab.plan(n_trials=1, space=lab.plan().space))
    trial = study.ask()
    rate = trial.suggest_float("learning_rate", 1e-5, 1e-2, log=True)
    trial.set_user_attr("runs", [{"seed": 0}])
    assert abandon(tickets) == 1
    assert tickets.counts() == {"WAITING": 1}
    again = study.ask()
    assert (again.number, again.params, again.user_attrs["deaths"]) == (0, {"learning_rate": rate}, 1)
    assert again.user_attrs["runs"] == [{"seed": 0}]


def test_after_a_second_death_another_trial_takes_the_place(lab: Any) -> None:
    study, tickets, _ = lab.begin(lab.plan(n_trials=4))
    study.tell(study.ask(), 1.0), study.tell(study.ask(), 1.0)
    for _ in range(2):
        study.ask()
        abandon(tickets)
    third = study.trials[2]
    assert (third.state.name, third.user_attrs["reason"]) == ("FAIL", "its worker died 2 times")
    assert tickets.counts() == {"COMPLETE": 2, "WAITING": 2}
    assert [trial.user_attrs["ticket"] for trial in study.trials] == [0, 1, 2, 3, 2]


def test_a_given_configuration_whose_worker_always_dies_is_a_failure_that_counts(lab: Any) -> None:
    study, tickets, _ = lab.begin(lab.plan(n_trials=1))
    for _ in range(6):
        study.ask()
        abandon(tickets)
    assert tickets.counts() == {"FAIL": 1}
    assert study.trials[0].user_attrs["reason"] == "its worker died 6 times"
    tickets.settle()
    assert len(study.trials) == 1


def test_a_process_that_is_there_no_more_needs_no_waiting(lab: Any) -> None:
    study, tickets, _ = lab.begin(lab.plan(n_trials=3))
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    for name in (worker_name(gone.pid), worker_name(os.getpid()), f"another/machine/{gone.pid}"):
        study.ask().set_user_attr("worker", name)
    assert tickets.settle() == 1
    assert [trial.state.name for trial in study.trials] == ["WAITING", "RUNNING", "RUNNING"]


def test_a_trial_that_is_being_taken_is_not_its_dead_worker_s(lab: Any) -> None:
    """Between the two writes of whoever takes it a trial runs and is not signed yet."""
    study, tickets, _ = lab.begin(lab.plan(n_trials=1))
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    tickets.put_back(tickets.take(worker_name(gone.pid)))
    tickets.take(worker_name(gone.pid))
    assert tickets.heal() == 1
    study.ask()
    assert tickets.heal() == 0
    assert [trial.user_attrs["deaths"] for trial in study.trials] == [1]


def test_a_trial_that_was_ended_before_it_was_signed_is_left(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    study, tickets, _ = lab.begin(lab.plan(n_trials=2))
    ask = study.ask

    def slow() -> Any:
        trial = ask()
        if trial.number == 0:
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        return trial

    monkeypatch.setattr(study, "ask", slow)
    assert tickets.take("me").number == 1
    assert tickets.counts() == {"FAIL": 1, "RUNNING": 1}


def test_one_look_at_a_silent_worker_proves_nothing(lab: Any) -> None:
    """A machine that slept finds everybody silent, and a moment later alive."""
    study, tickets, _ = lab.begin(lab.plan(n_trials=1))
    trial = study.ask()
    clock = tickets.clock = Clock()
    assert tickets.heal() == 0
    clock.now = 60.0
    assert tickets.heal() == 0
    assert tickets.heal() == 0  # too soon after the first look
    tickets.beat(trial)
    clock.now = 70.0
    assert tickets.heal() == 0
    clock.now = 89.0
    assert tickets.heal() == 0  # not yet silent for long enough
    clock.now = 90.0
    assert tickets.heal() == 0
    clock.now = 96.0
    assert tickets.heal() == 1
    assert tickets.counts() == {"WAITING": 1}


def test_trials_made_by_other_means_are_left_alone(lab: Any) -> None:
    study, tickets, storage = lab.begin(lab.plan(n_trials=1))
    work(storage, "study")
    storage.may_create = True
    live = study.ask()  # beyond the budget: somebody's own `study.optimize`
    assert abandon(tickets) == 0
    assert tickets.counts() == {"COMPLETE": 1}
    study.tell(live, 1.0)


def test_a_trial_given_back_has_not_died(lab: Any) -> None:
    study, tickets, _ = lab.begin(lab.plan(n_trials=1))
    trial = study.ask()
    tickets.put_back(trial)
    assert tickets.counts() == {"WAITING": 1}
    assert "deaths" not in study.ask().user_attrs


def test_a_finished_trial_cannot_be_given_back(lab: Any) -> None:
    study, tickets, _ = lab.begin(lab.plan(n_trials=1))
    trial = study.ask()
    study.tell(trial, 1.0)
    tickets.put_back(trial)
    assert tickets.counts() == {"COMPLETE": 1}


class Dies(Exception):
    """The process is killed."""


@pytest.mark.parametrize("writes", range(5))
def test_whoever_settles_may_die_between_any_two_writes(lab: Any, writes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one finds what is missing, and nothing counts twice: a first and a second death, and a new ticket."""
    study, tickets, storage = lab.begin(lab.plan(n_trials=3))
    for _ in range(2):
        trial = study.ask()
    trial.set_user_attr("deaths", 1)
    tickets.n_trials, tickets.n_given = 4, 0
    left = writes

    def deadly(call: Any) -> Any:
        def write(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                raise Dies
            return call(*args, **kwargs)

        return write

    with monkeypatch.context() as patch:
        for name in ("set_trial_state_values", "set_trial_user_attr", "create_new_trial"):
            patch.setattr(storage.inner, name, deadly(getattr(storage.inner, name)))
        with pytest.raises(Dies):
            abandon(tickets)
    abandon(tickets)
    abandon(tickets)
    assert tickets.counts() == {"WAITING": 4}
    rows = [trial for trial in study.trials if "replaced" not in trial.user_attrs]
    assert sorted(trial.user_attrs["ticket"] for trial in rows) == [0, 1, 2, 3]


def test_two_rows_of_one_ticket_are_one_trial(lab: Any) -> None:
    """Two that settle at once may both make a missing one: the smaller number counts, whoever takes which."""
    study, tickets, storage = lab.begin(lab.plan(n_trials=2))
    assert tickets._make(1) == 2
    work(storage, "study")
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "COMPLETE", "FAIL"]
    assert study.trials[2].user_attrs == {"ticket": 1, "replaced": True}
    assert tickets.counts() == {"COMPLETE": 2}


def test_workers_fill_a_study_whose_command_died_at_once(lab: Any) -> None:
    plan, storage = lab.plan(n_trials=3), lab.storage()
    study = create_study(plan, storage=storage, name="study")
    work(storage, "study")
    assert tickets_of(study, plan).counts() == {"COMPLETE": 3}


def test_a_large_budget_is_made_as_it_is_needed(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever looks reads all that wait: they are few, and the budget is exact all the same."""
    monkeypatch.setattr("sb3_course.tuning.tickets.AHEAD", 3)
    study, tickets, _ = lab.begin(lab.plan(n_trials=8))
    assert (len(study.trials), tickets.counts()) == (3, {"WAITING": 8})
    for number in range(2):
        tickets.report(tickets.take(), optuna.trial.TrialState.COMPLETE, 1.0)
        assert tickets.counts() == {"COMPLETE": number + 1, "WAITING": 7 - number}
    tickets.settle()
    assert [trial.user_attrs["ticket"] for trial in study.trials] == [0, 1, 2, 3, 4]
    while (trial := tickets.take()) is not None:  # no command is there any more
        tickets.report(trial, optuna.trial.TrialState.COMPLETE, 1.0)
    assert tickets.counts() == {"COMPLETE": 8}
    assert sorted(trial.user_attrs["ticket"] for trial in study.trials) == list(range(8))


def test_two_commands_fill_a_study_once(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = lab.plan(n_trials=20)
    study = create_study(plan, storage=lab.storage(), name="study")
    one, two = (tickets_of(optuna.load_study(study_name="study", storage=lab.storage()), plan) for _ in range(2))
    make = one._make
    monkeypatch.setattr(one, "_make", lambda ticket: make(ticket) if ticket != 3 else (two._make(ticket), make(4))[1])
    one.settle()
    two.settle()
    assert len(study.trials) == 20
    assert sorted(trial.user_attrs["ticket"] for trial in study.trials) == list(range(20))


def test_a_worker_killed_in_a_transaction_locks_nobody_out(lab_in: Any, tmp_path: Path) -> None:
    _, tickets, _ = lab_in(tmp_path).begin(lab_in(tmp_path).plan(n_trials=2))
    connection = sqlite3.connect(tmp_path / "studies.db", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("UPDATE trials SET state = 'FAIL'")
    connection.close()  # what the kernel does with the files of a killed process
    assert tickets.counts() == {"WAITING": 2}


def test_studies_in_one_storage_do_not_mix(lab: Any) -> None:
    storage = lab.storage()
    for name, number in (("one", 2), ("two", 3)):
        plan = lab.plan(n_trials=number)
        tickets_of(create_study(plan, storage=storage, name=name), plan).settle()
    counts = Counter(trial.state.name for name in ("one", "two") for trial in
                     optuna.load_study(study_name=name, storage=storage).trials)  # fmt: skip
    assert counts == {"WAITING": 5}


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("sqlite:////no/such/folder/studies.db", "unable to open database file"),
        ("nothing://studies", "Can't load plugin"),
        ("", "is empty"),
        ("://", "Could not parse"),
        (".", "is a folder"),
    ],
)
def test_storages_that_cannot_be_are_refused(url: str, reason: str) -> None:
    with pytest.raises(InputError, match=f"^--storage: .*{reason}") as refusal:
        open_storage(url)
    assert "\n" not in str(refusal.value)


def test_a_file_that_is_no_database_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("these are my notes\n" * 100)
    with pytest.raises(InputError, match="file is not a database"):
        open_storage(str(path))
    assert path.read_text() == "these are my notes\n" * 100


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "other.db") as connection:
        connection.execute("CREATE TABLE studies (name TEXT)")
    with pytest.raises(InputError, match=r"^--storage: .* another program"):
        open_storage(str(tmp_path / "other.db"))
    with sqlite3.connect(tmp_path / "other.db") as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("studies",)]


def test_passwords_are_not_shown() -> None:
    assert safe_url("postgresql://me:secret@host/studies") == "postgresql://me:***@host/studies"


def test_a_worker_that_was_taken_for_dead_and_one_in_its_place_count_once(lab: Any) -> None:
    """The first is only slow: its trial goes to a second worker, who ends it; then the first one ends it, too."""
    study, tickets, storage = lab.begin(lab.plan(n_trials=1))
    slow = study.ask()
    abandon(tickets)
    work(storage, "study")
    before = lab.outcome(study)
    _train(tickets, slow, Objective(lab.plan(n_trials=1)))
    assert lab.outcome(study) == before
    assert tickets.counts() == {"COMPLETE": 1}
