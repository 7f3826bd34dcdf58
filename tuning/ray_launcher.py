"""Workers as tasks of a Ray cluster: one task trains one trial, on whatever node has a free CPU."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import time
from typing import Any

from sb3_course.config.errors import InputError
from sb3_course.tuning.launcher import Worker
from sb3_course.tuning.storage import StudyStorage
from sb3_course.tuning.tickets import is_gone

_KEPT = ("PGPASSWORD", "PGSSLMODE", "PGUSER")  # what a driver of PostgreSQL reads, and other nodes do not have
_REACH, _LOOK = 5.0, 0.2  # seconds to reach a cluster, and between two looks at the tasks


class RayLauncher:
    """Starts a task of Ray for each worker; a node that dies costs the trials that run there, which are taken again.

    :param address: of the cluster, as `ray.init` takes it: `auto`, `host:port` or `ray://host:port`
    :param gpus: for each trial, a share of one perhaps
    :raises InputError: where Ray is not installed or no cluster is there
    """

    def __init__(self, address: str = "auto", gpus: float = 0.0) -> None:
        self._ray = _connected(address)
        self._task = self._ray.remote(num_cpus=1, num_gpus=gpus, max_retries=0)(train_one)
        self._job = self._ray.get_runtime_context().get_job_id()
        self._tasks: dict[Any, RayTask] = {}
        self._dead: set[str] = set()
        self._number, self._looked = 0, 0.0

    def start(self, storage: StudyStorage, study: str) -> Worker:
        """Return a new task; the URL of the storage goes as an argument, which Ray shows nowhere."""
        self._number += 1
        name = f"ray/{self._job}/{self._number}"
        secrets = {key: os.environ[key] for key in _KEPT if key in os.environ}
        reference = self._task.options(name=f"trial of {study}").remote(
            storage.url, storage.patience.seconds, study, name, secrets
        )
        self._tasks[reference] = RayTask(self, reference, name)
        return self._tasks[reference]

    def is_gone(self, worker: str | None) -> bool:
        """Return whether a task has died with its node or its process."""
        return worker in self._dead or is_gone(worker)

    def look(self) -> None:
        """See which tasks have ended, all at once and not too often."""
        if not self._tasks or time.monotonic() - self._looked < _LOOK:
            return
        self._looked = time.monotonic()
        ended, _ = self._ray.wait([*self._tasks], num_returns=len(self._tasks), timeout=0)
        for reference in ended:
            task = self._tasks.pop(reference)
            try:
                task.returncode = self._ray.get(reference)
            except self._ray.exceptions.RayError:
                task.returncode = 1
                self._dead.add(task.name)

    def cancel(self, reference: Any, force: bool) -> None:
        """Interrupt a task."""
        self._ray.cancel(reference, force=force)


class RayTask:
    """One task, in the words of `subprocess.Popen`.

    :param launcher: that started it
    :param reference: Ray's, of its result
    :param name: that it signs its trial with
    """

    def __init__(self, launcher: RayLauncher, reference: Any, name: str) -> None:
        self.launcher, self.reference, self.name = launcher, reference, name
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the status, or None while it runs or waits for a CPU."""
        self.launcher.look()
        return self.returncode

    def terminate(self) -> None:
        """Ask it to give its trial back and leave."""
        if self.poll() is None:
            self.launcher.cancel(self.reference, force=False)

    def kill(self) -> None:
        """End it now."""
        if self.poll() is None:
            self.launcher.cancel(self.reference, force=True)

    def wait(self, timeout: float | None = None) -> int:
        """Return its status when it has ended.

        :raises subprocess.TimeoutExpired: where it has not
        """
        until = None if timeout is None else time.monotonic() + timeout
        while self.poll() is None:
            if until is not None and time.monotonic() >= until:
                raise subprocess.TimeoutExpired(self.name, timeout or 0.0)
            time.sleep(0.05)
        return self.returncode or 0


def train_one(url: str, seconds: float, study: str, worker: str, secrets: dict[str, str]) -> int:
    """Train one trial of a study; what a task does.

    :param url: of the storage
    :param seconds: how long to wait for a server that is away
    :param study: its name
    :param worker: what to sign the trial with
    :param secrets: for the environment
    """
    os.environ.update(secrets)
    from sb3_course.registry import load_plugins
    from sb3_course.tuning.patience import StorageGoneError
    from sb3_course.tuning.storage import open_storage
    from sb3_course.tuning.workers import load_plan_plugins, one_thread, work

    one_thread()
    try:
        storage = open_storage(url, may_create=False, seconds=seconds, wait=True)
        load_plugins(load_plan_plugins(storage, study))
        work(storage, study, worker=worker, most=1)
    except StorageGoneError:
        return 1
    return 0


def _connected(address: str) -> Any:
    """Return the module `ray`, connected."""
    try:
        import ray
    except ImportError:
        raise InputError("--launcher", "ray is not installed", "ray", 'pip install "sb3_course[ray]"') from None
    want = "the address of a cluster that runs, e.g. auto or host:6379"
    place = address.removeprefix("ray://")
    if address != "auto":
        host, colon, port = place.rpartition(":")
        if not (host and colon and port.isdigit() and int(port) < 2**16):
            raise InputError("--ray-address", "is no address", address, want)
        try:
            socket.create_connection((host, int(port)), _REACH).close()
        except OSError as error:
            raise InputError(
                "--ray-address", f"nobody answers there: {error.strerror or error}", address, want
            ) from None
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, ignore_reinit_error=True)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        reason = (str(error).splitlines() or ["no reason given"])[0]
        raise InputError("--ray-address", f"no cluster is there: {reason}", address, want) from None
    return ray
