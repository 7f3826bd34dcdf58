"""How many threads torch computes with while a model learns or acts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch as th


@contextlib.contextmanager
def torch_threads(number: int | None) -> Iterator[None]:
    """Let torch compute with so many threads for as long as the context lasts; None leaves it alone."""
    before = th.get_num_threads()
    if number is not None:
        th.set_num_threads(number)
    try:
        yield
    finally:
        if number is not None:
            th.set_num_threads(before)
