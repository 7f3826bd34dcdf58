"""What holds for every test: one thread, no screen, repeatable examples, and global generators in a known state."""

import os
from pathlib import Path

# Read when numpy, torch, matplotlib and pygame are first imported, hence before any of them.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
os.environ.setdefault("SDL_AUDIODRIVER", "dummy")

import gc
import multiprocessing
import shutil
import signal
import tempfile
from collections.abc import Iterator
from multiprocessing import forkserver, util

import gymnasium
import gymnasium.envs.registration
import gymnasium.wrappers.common
import hypothesis
import pytest
import torch as th
from stable_baselines3.common.utils import set_random_seed

#: Where files take no time to sync.
MEMORY = Path("/dev/shm")
#: The file whose tests were the last to begin.
LATEST_FILE = pytest.StashKey[Path]()

# A search for garbage costs what is there; most of what is made here goes as soon as nobody has it.
gc.set_threshold(5_000, 10, 10)

# A shell starts what it does not wait for with Ctrl-C ignored, and commands started from there would ignore it, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

TIME_LIMIT = gymnasium.wrappers.TimeLimit

# Every model seeds every device, and torch keeps a seed for one that is not there, with a trace of the whole stack.
for _device in (th.cuda, th.xpu, th.mtia):
    if not _device.is_available():
        _device.manual_seed_all = lambda seed: None

# A busy machine is slow at times: no deadline. The same examples each time: a failure is never a matter of luck.
hypothesis.settings.register_profile("project", deadline=None, derandomize=True, max_examples=50)
hypothesis.settings.load_profile("project")


#: Files whose tests take seconds each, besides those marked `learning`; the rest of them takes a tenth of a second.
LONG = {
    "test_ray.py", "test_doors.py", "test_signals.py", "test_kills.py", "test_postgres.py", "test_exact_gradients.py",
    "test_a3c.py", "test_zoo_door.py", "test_packaging.py", "test_reread.py", "test_atari.py", "test_extending.py",
}  # fmt: skip


def pytest_configure() -> None:
    """Keep files in memory where there is plenty and programs may start from: studies and checkpoints sync often."""
    if "TMPDIR" in os.environ or not (MEMORY.is_dir() and os.access(MEMORY, os.W_OK | os.X_OK)):
        return
    if not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC and shutil.disk_usage(MEMORY).free > 4 << 30:
        folder = tempfile.mkdtemp(prefix="sb3-", dir=MEMORY)
        os.chmod(folder, 0o711)  # a test that gives up the superuser's rights has to come through it
        os.environ["TMPDIR"] = folder  # workers and commands inherit it
        tempfile.tempdir = None  # to be read again
        # After multiprocessing's own, which removes what it has in there.
        util.Finalize(None, shutil.rmtree, (folder, True), exitpriority=-200)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Let the collector pass over what exists when a file's tests begin: nearly all of it is modules."""
    if item.config.stash.get(LATEST_FILE, None) != item.path:
        item.config.stash[LATEST_FILE] = item.path
        gc.collect()
        gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let long tests come first: no worker is left alone with one of them when the others have nothing more to do."""
    items.sort(key=lambda item: not (item.path.name in LONG or item.get_closest_marker("learning")))


@pytest.fixture(scope="session")
def project_root() -> Path:
    """Return the top folder of the checkout."""
    return Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Seed the global generators: SB3's toy environments draw from them, and no test may depend on the one before."""
    set_random_seed(0)


@pytest.fixture(autouse=True)
def gymnasiums_own_limit() -> Iterator[None]:
    """Put Gymnasium's TimeLimit back: rl_zoo3 has another one stand in for it everywhere, once it is imported."""
    yield
    if gymnasium.wrappers.TimeLimit is not TIME_LIMIT:
        for module in (gymnasium.wrappers, gymnasium.wrappers.common, gymnasium.envs.registration):
            module.TimeLimit = TIME_LIMIT  # type: ignore[attr-defined]


# With more than one worker the suite is meant, and there is one server only: whichever test is first to need it, among
# them those with SB3's default way to start environments, must find it with everything imported.
@pytest.fixture(scope="session", autouse="PYTEST_XDIST_WORKER" in os.environ)
def worker_server(project_root: Path) -> bool:
    """Start a process that has imported everything, if this system can fork workers from one."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return False
    with pytest.MonkeyPatch.context() as patch:
        found = [str(project_root), str(project_root / "tests" / "helpers"), os.environ.get("PYTHONPATH", "")]
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, found)))
        multiprocessing.set_forkserver_preload(["pytest", "warm_worker"])
        forkserver.ensure_running()
    return True


@pytest.fixture
def workers_from_one_server(worker_server: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let A3C's workers be forked from one process, which saves four seconds each.

    Fresh interpreters, which is how they start elsewhere, have tests of their own in test_a3c.py.
    """
    from sb3_course.policy_gradient import a3c_workers

    if worker_server:
        monkeypatch.setattr(a3c_workers, "START_METHOD", "forkserver")
