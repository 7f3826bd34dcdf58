"""The compiler of torch is imported when somebody compiles: its import was a third of the time of a short command.

Four methods of torch's optimizers are kept out of compiled graphs, and at its first call each of them imports the
compiler to say so. As long as nobody else has imported it there is no graph to be kept out of. A step of torch's own
imports it, too; the NumPy backend takes none.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer

#: The compiler, the module whose functions import it, and where each of those keeps what it found.
COMPILER, KEEPER, FOUND = "torch._dynamo", "torch._compile", "__dynamo_disable"


def let_the_compiler_wait() -> None:
    """Let optimizers be made, saved and loaded without the compiler; where it is imported, all is as torch has it."""
    if COMPILER in sys.modules:
        return
    for method in vars(Optimizer).values():
        plain = getattr(method, "__wrapped__", None)
        keeps = getattr(method, "__globals__", {}).get("__name__") == KEEPER
        if keeps and plain is not None and getattr(plain, FOUND, None) is None:
            setattr(plain, FOUND, _waiting(method, plain))


def _waiting(method: Callable[..., Any], plain: Callable[..., Any]) -> Callable[..., Any]:
    """Return what is called in place of `plain`: itself, and torch's own from the compiler's import on."""

    def call(*args: Any, **kwargs: Any) -> Any:
        if COMPILER not in sys.modules:
            return plain(*args, **kwargs)
        if getattr(plain, FOUND, None) is call:
            vars(plain).pop(FOUND, None)  # another thread may have been here
        return method(*args, **kwargs)

    return call
