"""A plugin (`--import signal_hook`) that sends its command a signal when a function is called; see `signals.py`.

Told by the environment: `SIGNAL_AT` is `module:Class.method` or `module:function`, with `#n` the n-th call of it;
`SIGNAL_AS` the signal's name, `SIGNAL_TO` whether the whole group gets it, as from a terminal, or the command alone.
"""

import functools
import importlib
import os
import signal
import threading
import time


def send() -> None:
    """Send it, once, whichever process comes here first, a moment after the call has begun."""
    try:
        os.close(os.open(os.environ["SIGNAL_SENT"], os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    time.sleep(0.002)
    number, command = getattr(signal, os.environ["SIGNAL_AS"]), os.getsid(0)
    if os.environ["SIGNAL_TO"] == "group":
        os.killpg(command, number)
    else:
        os.kill(command, number)


def find(where: str) -> tuple[object, str, int]:
    """Return the module or class of the function that `where` names, its name there, and the number of the call."""
    name, _, count = where.partition("#")
    module, _, path = name.partition(":")
    *above, last = path.split(".")
    return functools.reduce(getattr, above, importlib.import_module(module)), last, int(count or 1)


def arm(where: str) -> None:
    """Wrap the function that `where` names."""
    owner, last, count = find(where)
    function = getattr(owner, last)
    calls = iter(range(1, 1 << 30))

    @functools.wraps(function)
    def wrapped(*args: object, **kwargs: object) -> object:
        if next(calls) == count:
            threading.Thread(target=send, daemon=True).start()
        return function(*args, **kwargs)

    setattr(owner, last, wrapped)


if "SIGNAL_AT" in os.environ:
    arm(os.environ["SIGNAL_AT"])
