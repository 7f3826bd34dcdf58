"""What a contestant's process does: build it, then take so many env steps whenever asked, and say how long they took.

It speaks over its standard streams: a line with a number of steps in, a line with seconds out; a line ``ready`` first.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from time import perf_counter

#: ``advance(n_steps)``: take that many env steps, or a little more, and return how many were taken.
Advance = Callable[[int], int]


def serve(contestants: dict[str, Callable[[int], Advance]]) -> None:
    """Serve the contestant named by the first argument, with the batch size that is the second."""
    name, batch_size = sys.argv[1], int(sys.argv[2])
    answers, sys.stdout = sys.stdout, sys.stderr  # libraries print
    advance = contestants[name](batch_size)
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        start = perf_counter()
        taken = advance(int(line))
        print((perf_counter() - start) / taken, file=answers, flush=True)
