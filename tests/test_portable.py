"""Windows and macOS: nothing that only POSIX or Linux has is used outside of a guard."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from sources import dotted, package_files

# What Windows lacks, or has with another meaning (os.kill with signal 0 is Ctrl-C there).
POSIX_ONLY = {
    "os": "chown chroot confstr copy_file_range ctermid eventfd fchmod fchown fork forkpty fstatvfs getegid geteuid "
    "getgid getgroups getloadavg getpgid getpgrp getpriority getrandom getresuid getsid getuid kill killpg lchown "
    "major memfd_create minor mkfifo mknod nice openpty pipe2 posix_fadvise posix_fallocate posix_spawn pread preadv "
    "pwrite pwritev register_at_fork sched_getaffinity sched_setaffinity sched_yield sendfile setegid seteuid setgid "
    "setpgid setpgrp setpriority setsid setuid splice statvfs sync sysconf tcgetpgrp ttyname uname wait wait3 wait4 "
    "waitid O_CLOEXEC O_DIRECTORY O_NOFOLLOW O_NONBLOCK O_TMPFILE WEXITSTATUS WIFEXITED WIFSIGNALED WNOHANG WTERMSIG",
    "signal": "SIGALRM SIGCHLD SIGCONT SIGHUP SIGKILL SIGPIPE SIGQUIT SIGSTOP SIGTSTP SIGUSR1 SIGUSR2 SIGWINCH "
    "SIG_BLOCK SIG_SETMASK SIG_UNBLOCK alarm getitimer pause pthread_kill pthread_sigmask setitimer siginterrupt "
    "sigpending sigtimedwait sigwait sigwaitinfo",
    "select": "POLLERR POLLHUP POLLIN POLLOUT devpoll epoll kqueue poll",
    "socket": "AF_NETLINK AF_PACKET AF_UNIX socketpair",
    "tempfile": "NamedTemporaryFile",  # cannot be opened a second time there
    "time": "clock_gettime pthread_getcpuclockid tzset",
}
NAMES = {f"{module}.{name}" for module, names in POSIX_ONLY.items() for name in names.split()}
MODULES = {
    "curses",
    "fcntl",
    "grp",
    "nis",
    "posix",
    "pty",
    "pwd",
    "readline",
    "resource",
    "spwd",
    "syslog",
    "termios",
    "tty",
}
KEYWORDS = {"preexec_fn", "process_group", "start_new_session", "pass_fds", "umask"}
START_METHODS = {"fork", "forkserver"}
ASKS = re.compile(r"hasattr\(|sys\.platform|os\.name|platform\.system|importlib\.util\.find_spec")
FALLS_BACK = {"AttributeError", "ImportError", "ModuleNotFoundError", "OSError", "Exception"}


def uses(node: ast.AST) -> Iterator[str]:
    """Yield what one node uses that is not everywhere."""
    if isinstance(node, ast.Attribute) and dotted(node) in NAMES:
        yield dotted(node)
    elif isinstance(node, ast.ImportFrom):
        found = {f"{node.module}.{name.name}" for name in node.names} & NAMES
        yield from sorted(found | ({str(node.module)} & MODULES))
    elif isinstance(node, ast.Import):
        yield from sorted({name.name for name in node.names} & MODULES)
    elif isinstance(node, ast.Call):
        yield from sorted({str(keyword.arg) for keyword in node.keywords} & KEYWORDS)
        words = {str(word.value) for word in node.args if isinstance(word, ast.Constant)}
        yield from sorted(words & START_METHODS if dotted(node.func).endswith("get_context") else ())
        yield from sorted(word for word in words if word.startswith(("/proc/", "/sys/", "/dev/", "/etc/", "/tmp/")))


def guards(node: ast.AST) -> bool:
    """Tell whether what lies in a node is reached only where it exists, or gives way where it does not."""
    if isinstance(node, ast.If | ast.IfExp | ast.BoolOp):
        test = node if isinstance(node, ast.BoolOp) else node.test
        return ASKS.search(ast.unparse(test)) is not None
    if isinstance(node, ast.Try):
        caught = {word for handler in node.handlers if handler.type for word in named(handler.type)}
        return bool(caught & FALLS_BACK)
    if isinstance(node, ast.With):
        calls = [item.context_expr for item in node.items if isinstance(item.context_expr, ast.Call)]
        return any(
            dotted(call.func).endswith("suppress") and {word for arg in call.args for word in named(arg)} & FALLS_BACK
            for call in calls
        )
    return False


def named(node: ast.AST) -> set[str]:
    return {dotted(each).rpartition(".")[2] for each in (node.elts if isinstance(node, ast.Tuple) else [node])}


def unguarded(node: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the line and the name of whatever is used below a node outside of a guard."""
    left = False  # whether an `if` before has left the block where the name is missing
    for child in ast.iter_child_nodes(node):
        if left or guards(child):
            left = left or (isinstance(child, ast.If) and isinstance(child.body[-1], ast.Return | ast.Raise))
            continue
        yield from ((getattr(child, "lineno", 0), name) for name in uses(child))
        yield from unguarded(child)


def test_the_package_runs_where_posix_is_not(project_root: Path) -> None:
    files = package_files(project_root)
    assert len(files) > 200
    found = [
        f"{path.relative_to(project_root)}:{line}: {name}"
        for path in files.values()
        for line, name in unguarded(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert found == []


BAD = {
    "os.fork": "import os\nos.fork()",
    "os.kill": "import os\ndef f(pid):\n    os.kill(pid, 0)",
    "signal.SIGKILL": "import signal\nx = signal.SIGKILL if 1 else 2",
    "fcntl": "import fcntl",
    "resource": "def f():\n    from resource import getrusage",
    "preexec_fn": "import subprocess\nsubprocess.Popen([], preexec_fn=print)",
    "forkserver": "import multiprocessing\nmultiprocessing.get_context('forkserver')",
    "/proc/self/stat": "open('/proc/self/stat')",
    "tempfile.NamedTemporaryFile": "import tempfile\nwith tempfile.NamedTemporaryFile() as file:\n    pass",
    "select.poll": "import select\ntry:\n    select.poll()\nexcept KeyError:\n    pass",
    "os.killpg": "from os import killpg",
}
GOOD = (
    "import os\nif hasattr(os, 'fork'):\n    os.fork()",
    "import os\ndef f():\n    if os.name == 'nt':\n        return 1\n    return os.getuid()",
    "import os\nx = os.getuid() if hasattr(os, 'getuid') else 0",
    "import contextlib, select\nwith contextlib.suppress(AttributeError):\n    select.poll()",
    "try:\n    import resource\nexcept ImportError:\n    pass",
    "import signal\nsignal.signal(signal.SIGTERM, print)",
    "import multiprocessing\nmultiprocessing.get_context('spawn')",
)


@pytest.mark.parametrize("name", BAD)
def test_each_kind_is_found(name: str) -> None:
    assert [found for _, found in unguarded(ast.parse(BAD[name]))] == [name]


@pytest.mark.parametrize("code", GOOD)
def test_what_is_guarded_passes(code: str) -> None:
    assert list(unguarded(ast.parse(code))) == []
