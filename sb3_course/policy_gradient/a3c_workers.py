"""Worker processes that learn asynchronously on shared parameters, and the pool that starts, hears and ends them.

Shared are the parameters, the optimizer's statistics and a count of steps. Every worker has an env, a generator and a
private copy of the policy; it copies the shared parameters, collects a rollout, and applies its gradient to them
without a lock (Mnih et al. 2016, Algorithm S3; Recht et al. 2011).
"""

from __future__ import annotations

import contextlib
import os
import pickle
import traceback
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple

import torch as th
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import DummyVecEnv
from stable_baselines3.common.vec_env.base_vec_env import CloudpickleWrapper

from sb3_course.backends import Backend
from sb3_course.backends.numpy_optimizers import starts
from sb3_course.config.errors import InputError
from sb3_course.sb3.interrupts import holding_interrupts, left_alone, stand_apart
from sb3_course.sb3.reread import refuse_if_reread

#: Rollouts that a worker may be ahead of the parent's callbacks.
AHEAD = 16
#: Seconds between two looks whether the parent is still there.
PATIENCE = 1.0
#: How multiprocessing starts a worker: a fresh interpreter, whatever threads and devices the caller has.
START_METHOD = "spawn"


class Shared(NamedTuple):
    """What all workers write to: flat tensors in shared memory."""

    values: th.Tensor  # the parameters, one after the other
    statistics: dict[str, th.Tensor]  # the optimizer's, likewise, by torch's names

    def views(self, flat: th.Tensor, like: list[th.Tensor]) -> list[th.Tensor]:
        """Return a view into `flat` for each tensor of `like`, in its shape, or one number each."""
        sizes = [tensor.numel() for tensor in like]
        if len(flat) == len(like) and len(flat) != sum(sizes):
            return [number.squeeze(0) for number in flat.split(1)]
        return [part.view(tensor.shape) for part, tensor in zip(flat.split(sizes), like, strict=True)]


class Rollout(NamedTuple):
    """What a worker tells the parent of one rollout."""

    worker: int
    steps: list[dict[str, Any]]  # a callback's locals at each step
    logs: dict[str, float]


class SharedOptimizer:
    """Steps shared parameters with the gradients of a private copy of them, by the policy's own optimizer.

    :param policy: the private copy, whose optimizer it replaces
    :param backend: takes the step
    """

    def __init__(self, policy: Any, shared: Shared, backend: Backend) -> None:
        self._private = list(policy.parameters())
        self._shared = [th.nn.Parameter(view) for view in shared.views(shared.values, self._private)]
        optimizer = policy.optimizer_class(self._shared, lr=0.0, **policy.optimizer_kwargs)
        for name, flat in shared.statistics.items():
            for parameter, view in zip(self._shared, shared.views(flat, self._private), strict=True):
                optimizer.state[parameter][name] = view
        self.param_groups = optimizer.param_groups
        self._step = backend.shared_step(optimizer, self._private)

    @th.no_grad()
    def pull(self) -> None:
        """Copy the shared parameters into the private ones."""
        for mine, ours in zip(self._private, self._shared, strict=True):
            mine.copy_(ours)

    def step(self) -> None:
        """Apply the private gradients to the shared parameters."""
        self._step()


def share(policy: Any) -> Shared:
    """Return copies of a policy's parameters and of its optimizer's statistics in shared memory.

    Where there are no statistics yet, they are those that the optimizer starts with; of one that we do not know, what a
    step with gradient 0 leaves, the count of steps excepted.
    """
    parameters, state = list(policy.parameters()), policy.optimizer.state
    if not all(parameter in state for parameter in parameters):
        copies = [th.nn.Parameter(parameter.detach().clone()) for parameter in parameters]
        optimizer = policy.optimizer_class(copies, lr=0.0, **policy.optimizer_kwargs)
        for copy in copies:
            copy.grad = th.zeros_like(copy)
        optimizer.step()
        for copy in copies:
            optimizer.state[copy]["step"] = th.zeros(())
            for name, start in starts(optimizer).items():
                optimizer.state[copy][name].fill_(start)
        state = {parameter: optimizer.state[copy] for parameter, copy in zip(parameters, copies, strict=True)}
    names = list(state[parameters[0]])
    statistics = {name: _joined([state[parameter][name] for parameter in parameters]) for name in names}
    return Shared(_joined(parameters), statistics)


def _joined(tensors: list[th.Tensor]) -> th.Tensor:
    joined: th.Tensor = th.cat([tensor.detach().reshape(-1) for tensor in tensors]).share_memory_()
    return joined


class Adopter:
    """Copies the shared parameters into a policy, whenever it is called."""

    def __init__(self, policy: Any, shared: Shared) -> None:
        parameters = list(policy.parameters())
        self._pairs = list(zip(parameters, shared.views(shared.values, parameters), strict=True))

    @th.no_grad()
    def __call__(self) -> None:
        """Copy."""
        for mine, ours in self._pairs:
            mine.copy_(ours)


def adopt_statistics(policy: Any, shared: Shared) -> None:
    """Copy the shared statistics into a policy's optimizer."""
    parameters = list(policy.parameters())
    for name, flat in shared.statistics.items():
        for mine, view in zip(parameters, shared.views(flat, parameters), strict=True):
            policy.optimizer.state[mine][name] = view.clone()


class _Recorder(BaseCallback):
    """Keeps what the parent's callbacks want to see of each step."""

    NAMES = ("new_obs", "rewards", "dones", "infos", "actions", "clipped_actions")

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[dict[str, Any]] = []

    def _on_step(self) -> bool:
        self.steps.append({name: self.locals[name] for name in self.NAMES})
        return True


def _work(index: int, job: CloudpickleWrapper, shared: Shared, done: Any, room: Any, pipe: Connection) -> None:
    """Be worker `index`: learn until the shared count of steps `done` reaches the total."""
    stand_apart()  # signals are the parent's business, which ends the workers
    th.set_num_threads(1)
    parent = os.getppid()
    try:
        cls, arguments, env, total = job.var
        model = cls(env=DummyVecEnv([lambda: env]), **arguments)
        optimizer = model.policy.optimizer = SharedOptimizer(model.policy, shared, model._backend)
        recorder = _Recorder()
        model.set_logger(Logger(None, []))  # SB3's own would leave an empty folder behind
        _, callback = model._setup_learn(total, recorder)
        while done.value < total:
            while not room.acquire(timeout=PATIENCE):
                if left_alone(parent):
                    return
            recorder.steps = []
            optimizer.pull()
            model.collect_rollouts(model.env, callback, model.rollout_buffer, model.n_steps)
            with done.get_lock():
                done.value += len(recorder.steps)
                count = done.value
            model._update_current_progress_remaining(count, total)
            model.train()
            logs = {key: value for key, value in model.logger.name_to_value.items() if key.startswith("train/")}
            pipe.send(Rollout(index, recorder.steps, logs))
        pipe.send(None)
    except (BrokenPipeError, ConnectionResetError):
        return  # the parent is gone
    except BaseException as error:
        with contextlib.suppress(OSError):
            pipe.send(_portable(error))


def _portable(error: BaseException) -> tuple[BaseException, str]:
    """Return an exception that can travel, and its traceback in words."""
    words = traceback.format_exc()
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # its constructor wants more than its message
        error = RuntimeError(f"{type(error).__name__}: {error}")
    return error, words


def _refuse_what_cannot_travel(jobs: list[tuple[type, dict[str, Any], Any]], error: BaseException) -> None:
    """Name the env or the argument that cannot be pickled, if there is one."""
    for _, arguments, env in jobs:
        for name, value in {"env": env, **arguments}.items():
            try:
                pickle.dumps(CloudpickleWrapper(value))
            except (TypeError, AttributeError, pickle.PicklingError) as reason:
                want = "one without open files, windows or locks, such as Monitor(env) without a filename"
                raise InputError(name, f"cannot be handed to a worker process: {reason}", value, want) from error


class WorkerPool:
    """Workers for the length of a ``with`` block; whatever ends it, no process is left behind.

    :param jobs: for each worker the class of its model, the constructor's arguments and its env
    :param shared: see `share`
    :param done: env steps taken before
    :param total: env steps at which to stop
    """

    def __init__(self, jobs: list[tuple[type, dict[str, Any], Any]], shared: Shared, done: int, total: int) -> None:
        context: Any = th.multiprocessing.get_context(START_METHOD)
        self.shared, self._jobs = shared, jobs
        self._count = context.Value("q", done)  # kept: the workers open it by name
        self._pipes: list[Connection] = []
        self._room, self._processes = [], []
        for index, job in enumerate(jobs):
            receiver, sender = context.Pipe(duplex=False)
            room = context.Semaphore(AHEAD)
            arguments = (index, CloudpickleWrapper((*job, total)), shared, self._count, room, sender)
            process = context.Process(target=_work, args=arguments, daemon=True, name=f"A3C worker {index}")
            self._room.append(room)
            self._pipes.append(receiver)
            self._processes.append((process, sender))

    def __enter__(self) -> WorkerPool:
        """Start the workers, or none if one of them cannot start.

        :raises InputError: naming what cannot travel to a process
        """
        try:
            for process, sender in self._processes:
                with holding_interrupts():
                    process.start()
                sender.close()  # the child has its own: then its death closes the pipe
        except BaseException as error:
            if isinstance(error, ConnectionError):  # one left before it had read what it was sent
                refuse_if_reread([process for process, _ in self._processes if process.pid is not None])
            self.__exit__()
            if isinstance(error, TypeError | AttributeError | pickle.PicklingError):
                _refuse_what_cannot_travel(self._jobs, error)
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        """End every worker."""
        started = [process for process, _ in self._processes if process.pid is not None]
        for process in started:
            process.kill()  # one that has just been started hears nothing else
        for process in started:
            process.join()

    def rollouts(self) -> Iterator[Rollout]:
        """Yield what the workers report, until all are done.

        :raises RuntimeError: when one dies
        :raises BaseException: what one raised
        """
        open_pipes = dict(enumerate(self._pipes))
        while open_pipes:
            for index in [index for index, pipe in open_pipes.items() if pipe in wait(list(open_pipes.values()))]:
                message = self._receive(index)
                if message is None:
                    del open_pipes[index]
                else:
                    yield message
                    self._room[index].release()

    def _receive(self, index: int) -> Rollout | None:
        process = self._processes[index][0]
        try:
            message = self._pipes[index].recv()
        except (EOFError, OSError, pickle.UnpicklingError):
            refuse_if_reread([process])
            code = process.exitcode or 0
            what = f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"
            raise RuntimeError(f"A3C worker {index} (process {process.pid}) {what}; training has stopped") from None
        if isinstance(message, Rollout) or message is None:
            return message
        error, words = message
        error.add_note(f"raised in A3C worker {index}:\n{words}")
        raise error
