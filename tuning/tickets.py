"""The budget of a study as rows of its storage: Optuna's own waiting trials are its tickets.

A study of `n_trials` begins with that many rows in the state WAITING. A worker takes one with `Study.ask`, which is
atomic, and the storage of a worker makes no other: so a budget is neither exceeded nor missed, however many workers
there are. A worker that dies leaves its row RUNNING without a heartbeat; the row is put back with its parameters and
the seeds it had finished. A second death ends the row as FAIL and a new one, with parameters of its own, takes its
place. A configuration that was given, and not sampled, is tried `GIVEN_RETRIES` times, and then counts as failed.
"""

from __future__ import annotations

import json
import os
import socket
import time
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from sb3_course.tuning.storage import StudyStorage

#: Seconds between the heartbeats of a running trial, and without one until it counts as abandoned.
HEARTBEAT, GRACE = 4.0, 20.0
#: How often a row goes back to the queue after its worker died.
RETRIES, GIVEN_RETRIES = 1, 5


def worker_name(pid: int) -> str:
    """Return what a worker signs its trials with: the machine, the process table it is in, its number there."""
    return f"{socket.gethostname()}/{_process_table()}/{pid}"


def is_gone(worker: str | None) -> bool:
    """Return whether a worker is known to have ended: a process of this machine that is there no more."""
    if not worker or worker.rpartition("/")[0] != worker_name(0).rpartition("/")[0]:
        return False
    try:
        os.kill(int(worker.rpartition("/")[2]), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _process_table() -> str:
    """Two containers on one machine may have its name, and each a process of the same number."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


class Tickets:
    """The budget of one study: rows of its storage that wait, run or have ended. Rows made otherwise are left alone.

    :param storage: of the study
    :param study_id: Optuna's number of it
    :param n_trials: the budget
    :param n_given: how many tickets, the first ones, stand for given configurations
    """

    def __init__(self, storage: StudyStorage, study_id: int, n_trials: int, n_given: int = 0) -> None:
        self.storage, self.study_id, self.n_trials, self.n_given = storage, study_id, n_trials, n_given
        self.trials = storage.tables["trials"]
        self.notes = storage.tables["trial_user_attributes"]
        self.beats = storage.tables["trial_heartbeats"]
        self._silent: dict[int, tuple[Any, float]] = {}  # trial -> its heartbeat, and when it was first found too old

    def settle(self, grace: float = GRACE, patience: float = 1.5 * HEARTBEAT) -> int:
        """Put abandoned trials back and make the rows that are missing; return how many were abandoned.

        A trial is abandoned where its worker was a process of this machine that is gone, or where a heartbeat was too
        old twice, some seconds apart: after a sleep of the whole machine all are too old, once.

        :param grace: seconds without a heartbeat
        :param patience: seconds between the two looks
        """
        with self.storage.exclusively(self.study_id) as connection:
            abandoned = self._abandoned(connection, grace, patience)
            for trial_id, ticket in abandoned:
                deaths = (self._note(connection, trial_id, "deaths") or 0) + 1
                given = ticket < self.n_given
                if deaths <= (GIVEN_RETRIES if given else RETRIES):
                    self._end(connection, trial_id, state="WAITING", datetime_start=None)
                else:
                    self._write(connection, trial_id, "reason", f"its worker died {deaths} times")
                    if not given:
                        self._write(connection, trial_id, "replaced", True)
                    self._end(connection, trial_id, state="FAIL", datetime_complete=sa.func.current_timestamp())
                self._write(connection, trial_id, "deaths", deaths)
            self._fill(connection)
        return len(abandoned)

    def give_back(self, trial_id: int) -> None:
        """Put a running trial back, as a worker does that is asked to stop; nobody died."""
        with self.storage.exclusively(self.study_id) as connection:
            self._end(connection, trial_id, state="WAITING", datetime_start=None)

    def counts(self) -> dict[str, int]:
        """Return how many rows there are in each state; rows that another one replaced are left out."""
        query = (
            sa.select(self.trials.c.state, sa.func.count())
            .where(self.trials.c.study_id == self.study_id, self._has("ticket"), ~self._has("replaced"))
            .group_by(self.trials.c.state)
        )
        with self.storage.engine.begin() as connection:
            return {str(state): int(count) for state, count in connection.execute(query)}

    def _abandoned(self, connection: sa.Connection, grace: float, patience: float) -> list[tuple[int, int]]:
        """Return the ids and tickets of running trials whose workers are gone."""
        now = connection.execute(sa.select(sa.func.current_timestamp())).scalar_one().replace(tzinfo=None)
        query = (
            sa.select(self.trials.c.trial_id, self.beats.c.heartbeat)
            .outerjoin(self.beats, self.beats.c.trial_id == self.trials.c.trial_id)
            .where(self.trials.c.study_id == self.study_id, self.trials.c.state == "RUNNING", self._has("ticket"))
            .order_by(self.trials.c.number)
        )
        found, seen = [], {}
        for trial_id, heartbeat in connection.execute(query).all():
            gone = is_gone(self._note(connection, trial_id, "worker"))
            if heartbeat is None or now - heartbeat > timedelta(seconds=grace):
                before, since = self._silent.get(trial_id, (None, 0.0))
                seen[trial_id] = heartbeat, since if before == heartbeat else time.monotonic()
                gone = gone or (before == heartbeat and time.monotonic() - since >= patience)
            if gone:
                found.append((trial_id, int(self._note(connection, trial_id, "ticket"))))
        self._silent = seen
        return found

    def _fill(self, connection: sa.Connection) -> None:
        """Make a row for each ticket that has none which counts."""
        of_study = self.trials.c.study_id == self.study_id
        query = (
            sa.select(self.notes.c.value_json)
            .join(self.trials, self.trials.c.trial_id == self.notes.c.trial_id)
            .where(of_study, self.notes.c.key == "ticket", ~self._has("replaced"))
        )
        taken = {json.loads(value) for (value,) in connection.execute(query)}
        number = connection.execute(sa.select(sa.func.count()).select_from(self.trials).where(of_study)).scalar_one()
        for ticket in range(self.n_trials):
            if ticket in taken:
                continue
            row = {"study_id": self.study_id, "number": number, "state": "WAITING"}
            made = connection.execute(sa.insert(self.trials).values(row).returning(self.trials.c.trial_id))
            trial_id = made.scalar_one()
            self._write(connection, trial_id, "ticket", ticket)
            number += 1

    def _has(self, key: str) -> Any:
        """Whether a row of `trials` has a user attribute."""
        notes = self.notes.alias()
        return sa.exists().where(notes.c.trial_id == self.trials.c.trial_id, notes.c.key == key)

    def _end(self, connection: sa.Connection, trial_id: int, **values: Any) -> None:
        """Change a trial that is still running."""
        running = sa.and_(self.trials.c.trial_id == trial_id, self.trials.c.state == "RUNNING")
        connection.execute(sa.update(self.trials).where(running).values(**values))

    def _note(self, connection: sa.Connection, trial_id: int, key: str) -> Any:
        query = sa.select(self.notes.c.value_json).where(self.notes.c.trial_id == trial_id, self.notes.c.key == key)
        value = connection.scalar(query)
        return None if value is None else json.loads(value)

    def _write(self, connection: sa.Connection, trial_id: int, key: str, value: Any) -> None:
        connection.execute(sa.delete(self.notes).where(self.notes.c.trial_id == trial_id, self.notes.c.key == key))
        row = {"trial_id": trial_id, "key": key, "value_json": json.dumps(value)}
        connection.execute(sa.insert(self.notes).values(row))
