"""Lend a hand to a study that another command has begun: `python -m sb3_course.tune worker`.

Start it as often as you like, where you like: in a second terminal, as a Slurm array, as a Kubernetes job. It takes
one trial after the other and ends when none is left.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any

from sb3_course.config.errors import InputError, did_you_mean
from sb3_course.runs.door import GentleStop, Parser, run_door
from sb3_course.tuning.counting import count
from sb3_course.tuning.launcher import ONE_THREAD
from sb3_course.tuning.options import add_storage_options, require_extra, storage_of

_NEXT_PART = 600  # seconds that a worker waits for the next part of a comparison
_PAUSE = 1.0

EPILOG = """\
NAME is that of a study, or of a comparison, whose studies are called NAME/... A worker that is ended by Ctrl-C or
SIGTERM gives its trial back first; one that is killed loses nothing either.
exit status: 0 nothing is left to do, 1 the server was away for longer than --storage-wait, or training is impossible,
2 input refused, 130 or 143 ended by Ctrl-C or SIGTERM
"""


def make_parser() -> Parser:
    """Return the parser; no flag has a default."""
    parser = Parser.of("tune worker", __doc__, EPILOG)
    add = parser.add_argument
    add("--study", "--study-name", metavar="NAME", dest="study", help="of the study or comparison")
    add("--most", metavar="N", help="trials to train at most (default: all)")
    add("--wait", metavar="SECONDS", help="for a study that is not there yet (default: 0, refused at once) and "
        f"for the next part of a comparison (default: {_NEXT_PART})")  # fmt: skip
    add_storage_options(add)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    for name, value in ONE_THREAD.items():  # read when NumPy is first imported
        os.environ.setdefault(name, value)
    return run_door(lambda: _serve(vars(make_parser().parse(argv))), "worker")


def _serve(options: dict[str, Any]) -> int:
    require_extra()
    if "study" not in options:
        raise InputError("--study", "is missing", want="the name of a study that tune or compare has begun")
    most = count(options, "most", 2**31 - 1)
    first, later = count(options, "wait", 0, 0), count(options, "wait", _NEXT_PART, 0)
    from sb3_course.tuning.patience import StorageGoneError
    from sb3_course.tuning.tickets import worker_name
    from sb3_course.tuning.workers import one_thread

    with GentleStop() as stop:
        storage = storage_of(options, may_create=False)
        one_thread()
        storage.patience.stop = stop.wanted
        errand = Errand(storage, str(options["study"]), stop.wanted, worker_name(os.getpid()))
        try:
            errand.find(first)
            trained = errand.run(most, later)
        except StorageGoneError:
            if not stop.wanted():
                raise
            print("stopped while the server was away; another worker takes the trial in hand")
            return stop.status
    if stop.wanted():
        print(f"stopped: {trained} trials trained; the one in hand was given back")
        return stop.status
    print(f"done: {trained} trials trained; nothing else waits in {options['study']}")
    return 0


class Errand:
    """What one worker does for all studies of a name.

    :param storage: of them
    :param name: of the study, or of the comparison
    :param stop: asked all the time
    :param worker: who this is
    """

    def __init__(self, storage: Any, name: str, stop: Callable[[], bool], worker: str) -> None:
        self.storage, self.name, self.stop, self.worker = storage, name, stop, worker
        self._hands: dict[str, Any] = {}

    def find(self, wait: float) -> None:
        """Find the studies.

        :param wait: seconds
        :raises InputError: when there is none in that time
        """
        until = time.monotonic() + wait
        while not self._look() and not self.stop():
            if time.monotonic() >= until:
                hint = did_you_mean(self.name, self._names())
                raise InputError(
                    "--study", f"there is no such study in the storage{hint}", self.name, "an existing one"
                )
            time.sleep(_PAUSE)

    def run(self, most: int, wait: float) -> int:
        """Train until nothing is left, and return how many trials that were.

        :param most: trials
        :param wait: seconds for the next part of a comparison
        """
        trained, idle = 0, time.monotonic()
        while trained < most and not self.stop():
            self._look()
            if any(hand.train_one() for hand in self._hands.values()):
                trained, idle = trained + 1, time.monotonic()
            elif any(hand.is_open() for hand in self._hands.values()):
                idle = time.monotonic()
                time.sleep(_PAUSE)
            elif self._more_follows() and time.monotonic() - idle < wait:
                time.sleep(_PAUSE)
            else:
                break
        return trained

    def _names(self) -> list[str]:
        import optuna

        return list(optuna.get_all_study_names(self.storage))

    def _look(self) -> bool:
        """Open the studies that have come; return whether there is any."""
        from sb3_course.registry import load_plugins
        from sb3_course.tuning.workers import Hand, load_plan_plugins

        for name in self._names():
            mine = name == self.name or name.startswith(f"{self.name}/")
            if mine and name not in self._hands and not self._is_being_made(name):
                load_plugins(load_plan_plugins(self.storage, name))
                self._hands[name] = Hand(self.storage, name, self.stop, self.worker)
        return bool(self._hands)

    def _is_being_made(self, name: str) -> bool:
        """Whether a study has neither a plan yet nor a trial: Optuna makes the one before it takes the other."""
        number = self.storage.get_study_id_from_name(name)
        return "plan" not in self.storage.get_study_user_attrs(number) and not self.storage.get_n_trials(number)

    def _more_follows(self) -> bool:
        """Whether a comparison is still to run the best on fresh seeds."""
        from sb3_course.tuning.plan import NEXT

        notes = [self.storage.get_study_user_attrs(self.storage.get_study_id_from_name(name)) for name in self._hands]
        return any(NEXT in each and each[NEXT] not in self._hands for each in notes)
