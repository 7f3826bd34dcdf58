"""How long the command line takes to answer `--help`, and what importing the package adds to importing SB3.

python benchmarks/start.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from time import perf_counter

COMMANDS = {
    "python -m sb3_course.train --help": ["-m", "sb3_course.train", "--help"],
    "import stable_baselines3": ["-c", "import stable_baselines3"],
    "import stable_baselines3, sb3_course": ["-c", "import stable_baselines3, sb3_course"],
}


def main(runs: int = 11) -> None:
    """Print the median and the fastest of `runs` calls, taken by turns."""
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(runs):
        for name, arguments in COMMANDS.items():
            start = perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
            seconds[name].append(perf_counter() - start)
    for name, times in seconds.items():
        print(f"{name:40s} median {statistics.median(times):.3f} s, fastest {min(times):.3f} s")


if __name__ == "__main__":
    main()
