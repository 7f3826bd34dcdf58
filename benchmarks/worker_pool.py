"""Processes that train for a script: they leave Ctrl-C to it, and end when it does, a kill included."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager


@contextmanager
def worker_pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Give a pool whose processes start afresh; an error or Ctrl-C in the script ends what they have in hand."""
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_belong)
    try:
        yield pool
    except BaseException:
        for process in (pool._processes or {}).values():
            process.terminate()
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


def _belong() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_script, daemon=True).start()


def _end_with_the_script() -> None:
    if (script := multiprocessing.parent_process()) is not None:
        script.join()  # otherwise the run in hand would go on, beside the one that the next command begins again
        os._exit(1)
