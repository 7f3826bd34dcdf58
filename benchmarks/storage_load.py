"""How many workers one storage carries: workers that sleep instead of training, on one PostgreSQL or one gRPC proxy.

    python benchmarks/storage_load.py                 # 1 to 200 workers on PostgreSQL
    python benchmarks/storage_load.py --proxy         # the same through one gRPC proxy of Optuna's

Each worker is a thread with a storage of its own, in a few processes. It takes a trial, proposes its parameters,
sleeps, writes a run for each of five seeds, and ends the trial: all that a worker does with the storage, heartbeats
included; one more looks once a second, as the command does that began the study. Printed: trials a second, and how long
a trial kept its worker waiting for the storage.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import statistics
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from sb3_course.tuning.plan import Plan
from sb3_course.tuning.storage import open_storage
from sb3_course.tuning.study import create_study, load_study, tickets_of
from sb3_course.tuning.workers import _heartbeat

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "helpers"))
SEEDS = 5
# What a run leaves in the database: twenty evaluations.
RUN = {
    "timesteps": list(range(0, 20_000, 1000)),
    "means": [1.0] * 20,
    "seconds": [1.0] * 20,
    "final": 1.0,
    "failure": None,
}


def sleeper(url: str, plan: Plan, sleep: float, until: float, found: list[tuple[float, float]]) -> None:
    """Work until a moment, and note of each trial when it ended and how long the storage took."""
    storage = open_storage(url, may_create=False)
    study, _ = load_study(storage, "load")
    queue = tickets_of(study, plan)
    while time.time() < until:
        began = time.perf_counter()
        queue.heal()
        trial = queue.take(f"sleeper/{threading.get_native_id()}")
        if trial is None:
            return
        plan.propose(trial)
        with _heartbeat(queue, trial):
            for seed in range(SEEDS):
                time.sleep(sleep / SEEDS)
                trial.set_user_attr("runs", [{"seed": each, **RUN} for each in range(seed + 1)])
            queue.report(trial, TrialState.COMPLETE, 1.0)
        found.append((time.time(), time.perf_counter() - began - sleep))


def crowd(url: str, plan: Any, number: int, sleep: float, until: float, pipe: Any) -> None:
    """Be so many workers."""
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    found: list[tuple[float, float]] = []
    crew = [threading.Thread(target=sleeper, args=(url, plan, sleep, until, found)) for _ in range(number)]
    for worker in crew:
        worker.start()
    for worker in crew:
        worker.join()
    pipe.send((found, time.process_time()))


def proxy(url: str, port: int) -> None:
    """Be Optuna's proxy of a database."""
    warnings.simplefilter("ignore")
    from concurrent.futures import ThreadPoolExecutor

    from sb3_course.tuning.storage import _opened

    optuna.storages.run_grpc_proxy_server(_opened(url), port=port, thread_pool=ThreadPoolExecutor(20))


def measure(url: str, arguments: argparse.Namespace, workers: int) -> tuple[float, float, float]:
    """Return trials a second, and the median and the longest wait of a trial for its storage."""
    warnings.simplefilter("ignore")
    plan = Plan(algo="reinforce", env="sb3_course/OneShot-v0", n_timesteps=64, n_trials=arguments.trials, pruner="none",
                seeds=tuple(range(SEEDS)))  # fmt: skip
    storage = open_storage(url)
    with contextlib.suppress(KeyError):
        optuna.delete_study(study_name="load", storage=storage)
    tickets_of(create_study(plan, storage=storage, name="load"), plan).settle()
    context = multiprocessing.get_context("fork")
    until, crews = time.time() + arguments.seconds, []
    for share in range(arguments.processes):
        number = workers // arguments.processes + (share < workers % arguments.processes)
        ours, theirs = context.Pipe()
        process = context.Process(target=crowd, args=(url, plan, number, arguments.sleep, until, theirs))
        process.start()
        crews.append((process, ours))
    command, found = tickets_of(load_study(storage, "load")[0], plan), []
    while time.time() < until:
        command.settle()
        time.sleep(1.0)
    for process, ours in crews:
        found += ours.recv()[0]
        process.join()
    half = until - arguments.seconds / 2  # the first half is the rush of all at once
    late = [wait for moment, wait in found if half < moment <= until]
    return len(late) / (arguments.seconds / 2), statistics.median(late or [0]), max(late or [0])


def main() -> None:
    """Print a line for each number of workers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 10, 25, 50, 100, 200])
    parser.add_argument("--sleep", type=float, default=10.0, help="seconds that a trial takes")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each measurement")
    parser.add_argument("--trials", type=int, default=1000, help="the budget, all of it waiting")
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--proxy", action="store_true")
    arguments = parser.parse_args()
    from postgres import Postgres

    server = Postgres("max_connections = 300")
    url, serving = server.url(), None
    try:
        if arguments.proxy:
            serving = multiprocessing.get_context("spawn").Process(target=proxy, args=(url, 13000 + os.getpid() % 1000))
            serving.start()
            time.sleep(10)
            url = f"grpc://localhost:{13000 + os.getpid() % 1000}"
        print("workers  trials/s  of the ideal  wait of a trial for the storage: median, longest")
        for workers in arguments.workers:
            rate, median, longest = measure(url, arguments, workers)
            ideal = workers / arguments.sleep
            print(f"{workers:7d}  {rate:8.2f}  {rate / ideal:12.0%}  {median:6.3f} s, {longest:6.2f} s", flush=True)
    finally:
        if serving is not None:
            serving.kill()
        server.close()


if __name__ == "__main__":
    main()
