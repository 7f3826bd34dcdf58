"""The queue of a budget, as workers and commands see it; `tickets` is the one that lies in Optuna's storage."""

from __future__ import annotations

from typing import Protocol

from optuna.trial import Trial, TrialState


class RunQueue(Protocol):
    """A budget of trials that is neither exceeded nor missed, whoever dies when."""

    def take(self, worker: str) -> Trial | None:
        """Return a trial that is this worker's from now on; None where nothing waits."""

    def report(self, trial: Trial, state: TrialState, value: float | None = None) -> bool:
        """End a trial; return False where somebody else has ended it, or has it now."""

    def put_back(self, trial: Trial) -> None:
        """Return a trial to the queue with all that it has; nobody died."""

    def beat(self, trial: Trial) -> None:
        """Say that a trial goes on."""

    def heal(self) -> int:
        """Put the trials of dead workers back; return how many were abandoned."""

    def settle(self) -> int:
        """Put the trials of dead workers back and fill the budget up; return how many were abandoned."""

    def counts(self) -> dict[str, int]:
        """Return how many trials of the budget are in each state."""
