"""Steps per second against SB3, sb3-contrib, PFRL, Tianshou, SBX, rlox and a single file: CartPole-v1, one thread.

    make compare                                # all of it, a quarter of an hour, with the peers' environment
    python benchmarks/peers/compare.py --only rainbow --pairs 9
    python benchmarks/peers/compare.py --before ../another-checkout

Networks are [120, 84]. Both sides of a row are processes of their own that take turns of a second, one at a time; a
ratio is the median over the pairs of turns. The value family takes one update for each env step. The single file is
written as CleanRL's are. PFRL's Rainbow has no dueling network for flat observations, so ours goes without it in that
row; Tianshou's has one, and so has ours. The last rows are against the limit: the bare matrix products of an update,
with or without those of an action and a bare env step. With `--before` every contestant of ours runs against itself as
another checkout has it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import NamedTuple

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


class Row(NamedTuple):
    """A line of the table: who against whom, at which batch sizes."""

    ours: str
    theirs: str
    sizes: tuple[int, ...] = (32, 128)


ROWS = (
    Row("switches off", "sb3 dqn"),
    Row("double_dqn", "sb3 dqn"),
    Row("double_dqn", "pfrl double_dqn"),
    Row("double_dqn", "tianshou double_dqn"),
    Row("double_dqn", "rlox dqn"),
    Row("three switches", "rlox three switches"),  # dueling, priorities, 3 steps; double as well
    Row("switches off", "sbx dqn"),
    Row("switches off", "single-file dqn"),
    Row("c51", "single-file c51"),
    Row("c51 double", "pfrl c51"),
    Row("c51", "tianshou c51"),
    Row("c51", "contrib qrdqn"),  # which compares 200 x 200 quantiles a transition
    Row("quantile_dqn", "contrib qrdqn"),  # 200 quantiles each
    Row("rainbow without dueling", "pfrl rainbow"),
    Row("rainbow", "tianshou rainbow"),
    Row("reinforce", "pfrl reinforce", (4,)),
    Row("reinforce", "tianshou reinforce", (4,)),
    Row("actor_critic", "sb3 a2c", (5,)),
    # The limits: the ratio is the share of our time that products, and the bare env, would take by themselves.
    *(Row(name, f"{name} limit") for name in ("switches off", "double_dqn", "c51", "rainbow")),
    *(Row(f"{name} update", f"{name} products") for name in ("switches off", "double_dqn", "c51", "rainbow")),
)
#: Each contestant of ours, and the variants that `benchmarks/engine.py` times, against itself before a change.
BEFORE = " before"
#: How long a turn takes, about, and the env steps by whose time it is known how many that are.
SECONDS, TRIAL = 1.0, 20
OWN_ROWS = tuple(
    Row(row.ours, row.ours + BEFORE, row.sizes) for row in {row.ours: row for row in ROWS}.values()
) + tuple(Row(name, name + BEFORE) for name in ("dueling_dqn", "per_dqn", "nstep_dqn", "noisy_dqn"))


class Contestant:
    """A process that takes its turn when asked."""

    def __init__(self, name: str, size: int, peers: Path, checkout: Path = ROOT) -> None:
        foreign = name.split()[0] in ("pfrl", "tianshou", "sbx", "rlox", "single-file")
        python = peers / "bin/python" if foreign else Path(sys.executable)
        script = HERE / ("theirs.py" if foreign else "ours.py")
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", "XLA_FLAGS": ""}
        environment["PYTHONPATH"] = str(checkout)
        self._process = subprocess.Popen(
            [str(python), str(script), name, str(size)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment,
        )  # fmt: skip
        if self._answer() != "ready":
            raise SystemExit(f"error: {name}: did not start; try: {python} {script} '{name}' {size}")
        self._n_steps = max(int(SECONDS / self._ask(TRIAL)), 1)

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def turn(self) -> float:
        """Return the seconds for each env step of some `SECONDS`."""
        return self._ask(self._n_steps)

    def _ask(self, n_steps: int) -> float:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{n_steps}\n")
        self._process.stdin.flush()
        return float(self._answer())

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()


def machine() -> str:
    """Return the name of the processor and its caches, as far as they can be read."""
    name, caches = platform.processor() or platform.machine(), []
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), name)
        for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
            level, kind, size = ((index / file).read_text().strip() for file in ("level", "type", "size"))
            caches.append(f"L{level} {kind.lower()} {size}")
    return f"{name}, {os.cpu_count()} cores; caches of the first: {', '.join(caches) or 'unknown'}"


def compare(row: Row, size: int, sides: list[Contestant], pairs: int) -> None:
    """Print one line of the table."""
    try:
        turns = [[side.turn() for side in sides] for _ in range(pairs)]
    finally:
        for side in sides:
            side.end()
    mine, theirs = (1e6 * median(turn) for turn in zip(*turns, strict=True))
    ratio = median(two / one for one, two in turns)
    print(f"| {row.ours} | {row.theirs} | {size} | {mine:.0f} | {theirs:.0f} | {ratio:.2f} |", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--only", default="", help="rows whose names contain this")
    parser.add_argument("--peers", type=Path, default=ROOT / ".venv-peers", help="their virtual environment")
    parser.add_argument("--before", type=Path, help="another checkout of this project, to compare ours with ours")
    arguments = parser.parse_args()
    print(f"{machine()}; Python {platform.python_version()}; load {os.getloadavg()[0]:.1f}\n")
    print("| ours | against | batch | ours, µs | theirs, µs | ratio |\n|---|---|---:|---:|---:|---:|")
    for row in OWN_ROWS if arguments.before else ROWS:
        if arguments.only not in f"{row.ours} {row.theirs}":
            continue
        for size in row.sizes:
            checkouts = ROOT, (arguments.before or ROOT).resolve()
            names = row.ours, row.theirs.removesuffix(BEFORE)
            sides = [Contestant(n, size, arguments.peers, c) for n, c in zip(names, checkouts, strict=True)]
            compare(row, size, sides, arguments.pairs)


if __name__ == "__main__":
    main()
