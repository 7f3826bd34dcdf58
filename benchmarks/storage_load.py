"""How many workers one storage carries: workers that sleep instead of training, on one PostgreSQL or one gRPC proxy.

    OMP_NUM_THREADS=1 python benchmarks/storage_load.py costs            # of each call, beside 1 to 1,000 others
    OMP_NUM_THREADS=1 python benchmarks/storage_load.py crowd            # 1 to 200 workers at once
    OMP_NUM_THREADS=1 python benchmarks/storage_load.py crowd --proxy    # the same through one gRPC proxy of Optuna's
    python benchmarks/storage_load.py picture costs.csv crowd.csv proxy.csv docs/images/storage_load.png

`costs` lets one worker do all that a trial does with its storage while so many other trials run, and prints what each
call takes: milliseconds of the caller, and of the server's processors. `crowd` starts threads, each with a storage of
its own, which take a trial, propose its parameters, sleep, keep a run for each of five seeds, and end the trial,
heartbeats included; one more looks once a second, as the command does that began the study. `--csv FILE` keeps what is
printed.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import multiprocessing
import os
import statistics
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from sb3_course.tuning import tickets
from sb3_course.tuning.plan import Plan
from sb3_course.tuning.planner import plan_for
from sb3_course.tuning.storage import _opened, open_storage
from sb3_course.tuning.study import create_study, load_study, tickets_of
from sb3_course.tuning.workers import _heartbeat

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "helpers"))
SEEDS = 5
# What a run leaves in the database: twenty evaluations.
STEPS = list(range(0, 20_000, 1000))
RUN = {"timesteps": STEPS, "means": [1.0] * 20, "seconds": [1.0] * 20, "final": 1.0, "failure": None}
TICK = os.sysconf("SC_CLK_TCK")


def busy(pid: int) -> float:
    """Return the seconds that a process and its children, ended ones among them, have used of a processor."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    ticks = sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]))
    for child in children:
        with contextlib.suppress(OSError):  # it has just ended
            ticks += sum(map(int, Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[11:13]))
    return ticks / TICK


class Place:
    """A server, perhaps a proxy before it, and what both have used of the processors.

    :param proxied: whether the workers go through a proxy
    """

    def __init__(self, proxied: bool) -> None:
        from postgres import Postgres

        self.server = Postgres("max_connections = 400")
        self.url, self.proxy = self.server.url(), None
        self.pid = int((self.server.data / "postmaster.pid").read_text().split()[0])
        if proxied:
            port = 13000 + os.getpid() % 1000
            self.proxy = multiprocessing.get_context("spawn").Process(target=proxy, args=(self.url, port))
            self.proxy.start()
            self.url = f"grpc://localhost:{port}"
            time.sleep(15)

    def used(self) -> tuple[float, float]:
        """Return the seconds of processors that the server and the proxy have used so far."""
        return busy(self.pid), busy(self.proxy.pid) if self.proxy and self.proxy.pid else 0.0

    def close(self) -> None:
        """End both."""
        if self.proxy is not None:
            self.proxy.kill()
        self.server.close()


def proxy(url: str, port: int) -> None:
    """Be Optuna's proxy of a database."""
    warnings.simplefilter("ignore")
    optuna.storages.run_grpc_proxy_server(_opened(url), port=port, thread_pool=ThreadPoolExecutor(20))


def begin(url: str, trials: int) -> tuple[Plan, Any]:
    """Return the plan of a new study and the queue of its command."""
    plan = plan_for("reinforce", "sb3_course/OneShot-v0", n_timesteps=64, n_trials=trials, pruner="none",
                    seeds=tuple(range(SEEDS)), eval_freq=32)  # fmt: skip
    storage = open_storage(url)
    with contextlib.suppress(KeyError):
        optuna.delete_study(study_name="load", storage=storage)
    queue = tickets_of(create_study(plan, storage=storage, name="load"), plan)
    queue.settle()
    return plan, queue


def trial_of(queue: Any, plan: Plan, worker: str, do: Callable[..., Any], sleep: float) -> bool:
    """Do all that a trial does with its storage, each call through `do(name, call)`; False where none waits."""
    do("heal", queue.heal)
    trial = do("take", lambda: queue.take(worker))
    if trial is None:
        return False
    do("propose", lambda: plan.propose(trial))
    with _heartbeat(queue, trial):
        for seed in range(SEEDS):
            time.sleep(sleep / SEEDS)
            runs = [{"seed": each, **RUN} for each in range(seed + 1)]
            do("keep a run", lambda runs=runs: trial.set_user_attr("runs", runs))
    do("report", lambda: queue.report(trial, TrialState.COMPLETE, 1.0))
    return True


def cost(place: Place, others: int, repeats: int) -> Iterator[dict[str, Any]]:
    """Yield a row for each call of a trial while so many other trials run."""
    tickets.GRACE = 1e9  # nobody beats for the others
    plan, command = begin(place.url, others + repeats + 100)
    notes = {"worker": "elsewhere/1", "beat": 1, "runs": [{"seed": seed, **RUN} for seed in range(2)]}
    rate = optuna.distributions.FloatDistribution(1e-5, 1e-1)
    names = [f"parameter_{index}" for index in range(5)]
    row = optuna.trial.create_trial(
        state=TrialState.RUNNING, user_attrs=notes, params=dict.fromkeys(names, 0.01),
        distributions=dict.fromkeys(names, rate),
    )  # fmt: skip
    for ticket in range(others):
        row.user_attrs["ticket"] = others + repeats + 99 - ticket
        command.storage.create_new_trial(command.study_id, row)
    storage = open_storage(place.url, may_create=False)
    queue, found = tickets_of(load_study(storage, "load")[0], plan), dict[str, list[float]]()
    queue.heal()  # what every worker reads once

    def do(name: str, call: Callable[[], Any]) -> Any:
        time.sleep(0.02)  # what the last call left behind has ended
        server, began = place.used()[0], time.perf_counter()
        result = call()
        seconds = time.perf_counter() - began
        time.sleep(0.02)
        sums = found.setdefault(name, [0.0, 0.0, 0.0])
        for index, each in enumerate((1, seconds, place.used()[0] - server)):
            sums[index] += each
        return result

    for _ in range(repeats):
        trial_of(queue, plan, "here/1", do, 0.0)
        command.settle()
    trial = queue.take("here/1")
    for _ in range(repeats):
        do("beat", lambda: queue.beat(trial))
        do("look of the command", command.settle)
    for name, (calls, seconds, server) in found.items():
        yield {"others": others, "call": name, "caller_ms": 1000 * seconds / calls, "server_ms": 1000 * server / calls}


class Reader(optuna.samplers.RandomSampler):
    """Read what TPE reads for a proposal, and draw at random: its arithmetic belongs to other machines' processors."""

    def infer_relative_search_space(self, study: optuna.Study, trial: Any) -> dict[str, Any]:
        """Read all trials, finished ones and those that run."""
        study.get_trials(deepcopy=False)
        return super().infer_relative_search_space(study, trial)


def crowd(url: str, plan: Plan, number: int, sleep: float, until: float, pipe: Any) -> None:
    """Be so many workers until a moment; send when each trial ended and how long its storage took, and the CPU time."""
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    found: list[tuple[float, float]] = []

    def worker(place: int) -> None:
        time.sleep(sleep * place / number)  # they do not begin at once
        storage = open_storage(url, may_create=False)
        study = load_study(storage, "load")[0]
        study.sampler = Reader(seed=place)
        queue = tickets_of(study, plan)
        while time.time() < until:
            began = time.perf_counter()
            if not trial_of(queue, plan, f"sleeper/{threading.get_native_id()}", lambda _, call: call(), sleep):
                return
            found.append((time.time(), time.perf_counter() - began - sleep))

    crew = [threading.Thread(target=worker, args=(place,)) for place in range(number)]
    for thread in crew:
        thread.start()
    for thread in crew:
        thread.join()
    pipe.send((found, time.process_time()))


def measure(place: Place, arguments: argparse.Namespace, workers: int) -> dict[str, Any]:
    """Return a row: trials a second, how long one waited for its storage, and how many processors were busy."""
    warnings.simplefilter("ignore")
    plan, command = begin(place.url, arguments.trials)
    context = multiprocessing.get_context("fork")
    until, crews = time.time() + arguments.seconds, []
    for share in range(arguments.processes):
        number = workers // arguments.processes + (share < workers % arguments.processes)
        ours, theirs = context.Pipe()
        process = context.Process(target=crowd, args=(place.url, plan, number, arguments.sleep, until, theirs))
        process.start()
        crews.append((process, ours))
    half = until - arguments.seconds / 2  # the first half is the rush of all at once
    before: tuple[float, float] | None = None
    while time.time() < until:
        command.settle()
        time.sleep(1.0)
        before = before or (place.used() if time.time() >= half else None)
    after, span = place.used(), arguments.seconds / 2
    answers = [ours.recv() for _, ours in crews]
    for process, _ in crews:
        process.join()
    late = sorted(wait for found, _ in answers for moment, wait in found if half < moment <= until) or [0.0]
    server, middle = ((now - then) / span for now, then in zip(after, before or after, strict=True))
    rate = len(late) / span
    return {
        "workers": workers, "trials_per_s": rate, "of_the_ideal": rate * arguments.sleep / workers,
        "wait_median_s": statistics.median(late), "wait_longest_s": late[-1], "server_cores": server,
        "proxy_cores": middle, "worker_cores": sum(used for _, used in answers) / arguments.seconds,
    }  # fmt: skip


def picture(costs: str, alone: str, proxied: str, path: str) -> None:
    """Draw what a trial costs and how a crowd fares."""
    import matplotlib.pyplot as plt

    def read(name: str) -> list[dict[str, Any]]:
        with open(name, newline="") as file:
            return [
                {key: word if key == "call" else float(word) for key, word in row.items()}
                for row in csv.DictReader(file)
            ]

    figure, (left, right) = plt.subplots(1, 2, figsize=(9.6, 3.8), layout="constrained")
    rows = read(costs)
    for name in dict.fromkeys(row["call"] for row in rows):
        mine = [row for row in rows if row["call"] == name]
        left.plot([row["others"] for row in mine], [row["server_ms"] for row in mine], marker=".", label=name)
    left.set(xlabel="other trials that run", ylabel="server, ms of a processor a call", xscale="symlog", yscale="log")
    left.legend(fontsize=7)
    for name, label in ((alone, "PostgreSQL"), (proxied, "gRPC proxy")):
        mine = read(name)
        busy_with = "proxy_cores" if any(row["proxy_cores"] for row in mine) else "server_cores"
        right.plot([row["workers"] for row in mine], [row[busy_with] for row in mine], marker="o", label=label)
    right.axhline(1.0, color="gray", linestyle=":", label="all that one process of Python has")
    right.set(xlabel="workers that sleep", ylabel="busy processors", ylim=(0, 1.1))
    right.legend()
    figure.savefig(path, dpi=110)


def show(rows: Iterator[dict[str, Any]], name: str | None) -> None:
    """Print rows as they come, and keep them in a file where it has a name."""
    kept: list[dict[str, Any]] = []
    for row in rows:
        if not kept:
            print(*row, sep="  ", flush=True)
        kept.append(row)
        print(*(f"{each:.3f}" if isinstance(each, float) else each for each in row.values()), sep="  ", flush=True)
    if name:
        with open(name, "w", newline="") as file:
            writer = csv.DictWriter(file, list(kept[0]))
            writer.writeheader()
            writer.writerows(kept)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print, or draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["costs", "crowd", "picture"])
    parser.add_argument("files", nargs="*")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 25, 50, 100, 150, 200])
    parser.add_argument("--others", type=int, nargs="+", default=[0, 50, 200, 1000])
    parser.add_argument("--repeats", type=int, default=20, help="trials whose calls are measured")
    parser.add_argument("--sleep", type=float, default=20.0, help="seconds that a trial takes")
    parser.add_argument("--seconds", type=float, default=40.0, help="of each measurement")
    parser.add_argument("--trials", type=int, default=2000, help="the budget")
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--proxy", action="store_true")
    parser.add_argument("--csv")
    arguments = parser.parse_args(argv)
    if arguments.what == "picture":
        picture(*arguments.files)
        return
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    place = Place(arguments.proxy)
    try:
        if arguments.what == "costs":
            show((row for others in arguments.others for row in cost(place, others, arguments.repeats)), arguments.csv)
        else:
            show((measure(place, arguments, workers) for workers in arguments.workers), arguments.csv)
    finally:
        place.close()


if __name__ == "__main__":
    main()
