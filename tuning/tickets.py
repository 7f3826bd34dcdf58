"""The budget of a study as rows of its storage: Optuna's own waiting trials are its tickets.

Each trial of the budget has its place there as a note (`ticket`). At most `AHEAD` of them are in the state WAITING, for
whoever looks reads all that wait; the rest is made when it is needed. A worker takes one with `Study.ask`, which is
atomic, and no worker makes one by asking: so a budget is neither exceeded nor missed. A worker that dies leaves its
trial RUNNING and silent; the trial is put back with its parameters and the seeds it had finished. A second death ends
the trial as FAIL and a new one, with parameters of its own, takes its place. A configuration that was given, and not
sampled, is tried again `GIVEN_RETRIES` times, and then counts as failed.

All of it is Optuna's documented interface, so it works on whatever storage Optuna has, and without a transaction over
several steps. What happens when two settle at once, or one dies in between:

* two trials of one ticket: the one with the smaller number counts, the other is ended as `replaced`. Numbers are given
  under a lock, so whoever sees a trial sees all with smaller numbers;
* a trial that is put back twice may be trained twice, and is ended once.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
import zlib
from collections import Counter
from collections.abc import Callable
from typing import Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from sb3_course.tuning.optuna_inside import storage_behind
from sb3_course.tuning.storage import NoTicketError, impatient

#: Seconds between the heartbeats of a running trial, and without one until it counts as abandoned.
HEARTBEAT, GRACE = 4.0, 20.0
#: Seconds between the look that finds a trial silent for too long and the one that is sure.
PATIENCE = 6.0
#: How many trials wait at most.
AHEAD = 50
#: How often a trial goes back to the queue after its worker died.
RETRIES, GIVEN_RETRIES = 1, 5


def worker_name(pid: int) -> str:
    """Return what a worker signs its trials with: the machine, the process table it is in, its number there."""
    return f"{socket.gethostname()}/{_process_table()}/{pid}"


def is_gone(worker: str | None) -> bool:
    """Return whether a worker is known to have ended: a process of this machine that is there no more."""
    if not worker or worker.rpartition("/")[0] != worker_name(0).rpartition("/")[0]:
        return False
    import psutil

    return not psutil.pid_exists(int(worker.rpartition("/")[2]))  # signal 0 asks, too, but on Windows it is Ctrl-C


def _process_table() -> str:
    """Two containers on one machine may have its name, and each a process of the same number."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


class Tickets:
    """The budget of one study; a `RunQueue`. Trials that were made otherwise are left alone.

    :param study: Optuna's
    :param n_trials: the budget
    :param n_given: how many tickets, the first ones, stand for given configurations
    :param gone: whether the worker of this name is known to have ended
    :param clock: seconds
    """

    def __init__(
        self,
        study: Study,
        n_trials: int,
        n_given: int = 0,
        gone: Callable[[str | None], bool] = is_gone,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.study, self.n_trials, self.n_given, self.gone, self.clock = study, n_trials, n_given, gone, clock
        self.storage = storage_behind(study)
        self.study_id = self.storage.get_study_id_from_name(study.study_name)
        self._beats, self._seen = 0, dict[int, FrozenTrial]()
        # By number: the sign of life seen last, since when, and when it was first found too old.
        self._silent: dict[int, tuple[Any, float, float | None]] = {}

    def take(self, worker: str = "") -> Trial | None:
        """Return a trial that is this worker's from now on; None where nothing waits.

        :param worker: who this is, for whoever finds the trial abandoned
        """
        while True:
            try:
                trial = self.study.ask()
            except NoTicketError:
                missing = self._missing()
                if not missing:
                    return None
                # No command fills the study up, or not fast enough. Many workers may find that at once.
                self._make(missing[zlib.crc32(worker.encode()) % min(len(missing), AHEAD)])
                continue
            ticket = trial.user_attrs.get("ticket")
            if ticket is not None and not self._holds(trial.number, ticket):
                self._give_up(trial.number)
                continue
            with contextlib.suppress(UpdateFinishedTrialError):  # somebody has taken it for abandoned already
                trial.set_user_attr("worker", worker)
                return trial

    def report(self, trial: Trial, state: TrialState, value: float | None = None) -> bool:
        """End a trial; return False where somebody else has ended it, or has it now.

        :param trial: that was taken
        :param state: COMPLETE, PRUNED or FAIL
        :param value: of a complete one
        """
        with contextlib.suppress(UpdateFinishedTrialError):
            if self._row(trial.number).state == TrialState.RUNNING:
                self.study.tell(trial, value if state == TrialState.COMPLETE else None, state=state)
                return True
        return False

    def put_back(self, trial: Trial) -> None:
        """Return a trial to the queue with all that it has, as a worker does that is asked to stop; nobody died."""
        if self._row(trial.number).state == TrialState.RUNNING:
            self._let_wait(trial.number)

    def beat(self, trial: Trial) -> None:
        """Say that a trial goes on, in a thread of its own. Whoever waits for it compares notes, not clocks."""
        self._beats += 1
        with contextlib.suppress(UpdateFinishedTrialError):
            impatient(self.storage).set_trial_user_attr(self._id(trial.number), "beat", self._beats)

    def settle(self) -> int:
        """Put abandoned trials back and make those that are missing; return how many were abandoned."""
        abandoned = self.heal()
        last, room = None, AHEAD - sum(row.state == TrialState.WAITING for row in self._seen.values())
        for ticket in self._missing()[: max(room, 0)]:
            number = self._make(ticket)
            if last is not None and number != last + 1:
                break  # another command fills the same study: one of both is enough, and the next look will tell
            last = number
        return abandoned

    def heal(self) -> int:
        """Put abandoned trials back; return how many there were.

        A trial is abandoned where its worker is known to have ended, or where it gave no sign of life for a while, and
        again none until a later look: after a sleep of the whole machine all seem silent, once.
        """
        holders = self._holders()
        abandoned = self._abandoned(holders)
        for ticket, row in abandoned:
            deaths = row.user_attrs.get("deaths", 0) + 1
            given = ticket < self.n_given
            if deaths <= (GIVEN_RETRIES if given else RETRIES):
                self._let_wait(row.number)
                self._note(row.number, "deaths", deaths)
            else:
                self._note(row.number, "deaths", deaths)
                self._note(row.number, "reason", f"its worker died {deaths} times")
                if given:
                    self._set(row.number, TrialState.FAIL)
                else:
                    self._give_up(row.number)
                    self._make(ticket)
        return len(abandoned)

    def counts(self) -> dict[str, int]:
        """Return how many trials of the budget are in each state, those that are still to be made as waiting.

        Those that another one replaced are left out.
        """
        found = Counter(row.state.name for row in self._holders().values())
        found["WAITING"] += self.n_trials - found.total()
        return dict(+found)

    def _holders(self) -> dict[int, FrozenTrial]:
        """Return the trial that counts for each ticket; others that wait for the same one are ended."""
        holders: dict[int, FrozenTrial] = {}
        for row in self.study.get_trials(deepcopy=False):
            if "ticket" not in row.user_attrs or "replaced" in row.user_attrs:
                continue
            if holders.setdefault(row.user_attrs["ticket"], row) is not row and row.state == TrialState.WAITING:
                self._give_up(row.number)
        self._seen = holders
        return holders

    def _holds(self, number: int, ticket: int) -> bool:
        """Whether a trial is the one that counts for its ticket. Who has seen it has seen all with smaller numbers."""
        holder = self._seen.get(ticket)
        if holder is None or holder.number < number:
            holder = self._holders().get(ticket)
        return holder is None or holder.number == number

    def _abandoned(self, holders: dict[int, FrozenTrial]) -> list[tuple[int, FrozenTrial]]:
        """Return the tickets and trials that run, and whose workers are gone."""
        found, seen, now = [], {}, self.clock()
        for ticket, row in holders.items():
            if row.state != TrialState.RUNNING:
                continue
            notes = row.user_attrs
            sign = (notes.get("worker"), notes.get("beat"), len(notes.get("runs", ())), row.datetime_start)
            before, since, old = self._silent.get(row.number, (None, now, None))
            if sign != before:
                since, old = now, None
            gone = old is not None and now - old >= PATIENCE
            if old is None and now - since >= GRACE:
                old = now
            seen[row.number] = sign, since, old
            if (gone or self.gone(notes.get("worker"))) and self._unchanged(row):
                found.append((ticket, row))
        self._silent = seen
        return found

    def _unchanged(self, row: FrozenTrial) -> bool:
        """Whether a trial is still as it was read; another one may have put it back, and a worker taken it."""
        now = self._row(row.number)
        return (now.state, now.user_attrs, now.datetime_start) == (row.state, row.user_attrs, row.datetime_start)

    def _missing(self) -> list[int]:
        """Return the tickets that have no trial which counts."""
        holders = self._holders()
        return [ticket for ticket in range(self.n_trials) if ticket not in holders]

    def _make(self, ticket: int) -> int:
        """Make the trial of a ticket and return its number."""
        row = create_trial(state=TrialState.WAITING, user_attrs={"ticket": ticket})
        return self.storage.get_trial_number_from_id(self.storage.create_new_trial(self.study_id, row))

    def _give_up(self, number: int) -> None:
        """End a trial that does not count; it says so before it ends, for nothing can be written afterwards."""
        self._note(number, "replaced", True)
        self._set(number, TrialState.FAIL)

    def _let_wait(self, number: int) -> None:
        """Put a trial back, unsigned: who takes it next must not pass for the one before until it has signed."""
        self._note(number, "worker", "")
        self._set(number, TrialState.WAITING)

    def _id(self, number: int) -> int:
        return self.storage.get_trial_id_from_study_id_trial_number(self.study_id, number)

    def _row(self, number: int) -> FrozenTrial:
        return self.storage.get_trial(self._id(number))

    def _note(self, number: int, key: str, value: Any) -> None:
        with contextlib.suppress(UpdateFinishedTrialError):
            self.storage.set_trial_user_attr(self._id(number), key, value)

    def _set(self, number: int, state: TrialState) -> None:
        with contextlib.suppress(UpdateFinishedTrialError):
            self.storage.set_trial_state_values(self._id(number), state)
