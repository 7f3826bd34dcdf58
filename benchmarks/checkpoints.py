"""Measures checkpoints: their time and memory with numbers and with images, and their share of training time.

python benchmarks/checkpoints.py                # all three
python benchmarks/checkpoints.py numbers images share
"""

from __future__ import annotations

import gc
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
STACKS, NEW = 20_000, 2_000  # a checkpoint every tenth of the run
SHAPE = (4, 84, 84)


class Frames(gymnasium.Env[np.ndarray, np.int64]):
    """Noise: what shrinks in a memory of it are repeated frames, and nothing else."""

    def __init__(self) -> None:
        self.observation_space = gymnasium.spaces.Box(0, 255, SHAPE, np.uint8)
        self.action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin an episode."""
        super().reset(seed=seed)
        return self.frames(), {}

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Show the next stack."""
        return self.frames(), 0.0, False, False, {}

    def frames(self) -> np.ndarray:
        """Return a random stack."""
        return self.np_random.integers(0, 256, SHAPE, dtype=np.uint8)


def resident(name: str = "VmRSS") -> int:
    """Return this process's resident memory in MB, or with `VmHWM` the most since `forget_peak`."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) // 1024


def forget_peak() -> None:
    """Let `VmHWM` begin anew (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")


def took(work: Callable[[], object]) -> float:
    """Return the seconds that something takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def checkpoint(model: Any, path: Path) -> tuple[float, float, int]:
    """Write one, and return its seconds, those of a processor, and the MB that it needed in between."""
    gc.collect()
    forget_peak()
    before, worked = resident(), time.process_time()
    seconds = took(partial(model.save_checkpoint, path))
    return seconds, time.process_time() - worked, resident("VmHWM") - before


def numbers() -> None:
    """Rainbow with 50,000 transitions of CartPole: the first checkpoint of a process and later ones."""
    from sb3_course import Rainbow

    model = Rainbow("MlpPolicy", "CartPole-v1", buffer_size=50_000, learning_starts=200, seed=0, device="cpu")
    model.learn(400)
    buffer = model.replay_buffer
    draw = np.random.default_rng(0)
    rows = draw.random((50_000, 4), dtype=np.float32)

    def fill(count: int) -> None:
        for row in rows[:count]:
            buffer.add(row[None], row[None], np.zeros((1, 1), np.int64), np.ones(1), np.zeros(1), [{}])

    fill(50_000)
    with tempfile.TemporaryDirectory() as name:
        times = []
        for index in range(6):
            times.append(took(partial(model.save_checkpoint, Path(name) / str(index))))
            fill(2000)
    later = statistics.median(times[1:])
    print(f"Rainbow, 50,000 transitions: first {times[0] * 1e3:.0f} ms, later {later * 1e3:.0f} ms", flush=True)


def images() -> None:
    """20,000 stacks of four frames: time, and memory beyond that of training."""
    from sb3_course import DoubleDQN

    model = DoubleDQN("CnnPolicy", Frames(), buffer_size=STACKS, learning_starts=32, seed=0, device="cpu")
    model.learn(48)
    buffer = model.replay_buffer
    draw = np.random.default_rng(0)

    def fill(count: int) -> None:
        frames = draw.integers(0, 256, (count + 4, *SHAPE[1:]), dtype=np.uint8)
        action, number = np.zeros((1, 1), np.int64), np.zeros(1)
        for index in range(count):
            stack, following = frames[index : index + 4], frames[index + 1 : index + 5]
            buffer.add(stack[None], following[None], action, number, number, [{}])

    for _ in range(STACKS // NEW):
        fill(NEW)
    with tempfile.TemporaryDirectory() as name:
        for index in range(5):
            seconds, worked, extra = checkpoint(model, Path(name) / str(index))
            times = f"{seconds:.2f} s ({worked:.2f} s of a processor)"
            print(f"{STACKS} stacks, checkpoint {index + 1}: {times}, {extra} MB more memory", flush=True)
            shutil.rmtree(Path(name) / str(index - 2), ignore_errors=True)
            fill(NEW)
        forget_peak()
        before = resident()
        seconds = took(lambda: model.save_replay_buffer(Path(name) / "memory.npz"))
        print(f"save_replay_buffer: {seconds:.1f} s, {resident('VmHWM') - before} MB more memory", flush=True)
        forget_peak()
        before = resident()
        seconds = took(lambda: DoubleDQN.load_checkpoint(Path(name) / "4", Frames(), device="cpu"))
        own = buffer._storage.table.nbytes >> 20
        print(
            f"load_checkpoint: {seconds:.1f} s, {resident('VmHWM') - before} MB, {own} of them its memory", flush=True
        )


def share(pairs: int = 5, steps: int = 20_000) -> None:
    """What checkpoints at the default frequency take of a run: Rainbow on CartPole, with and without, in turns."""
    from sb3_course.runs import active_run, execute
    from sb3_course.runs.settings import Settings

    write, inside = active_run.write_checkpoint, []
    active_run.write_checkpoint = lambda *arguments: inside.append(took(lambda: write(*arguments)))
    frequencies, shares = {"with": {}, "without": {"save_freq": 0}}, []
    for index in range(pairs):
        times, checkpoints = {}, []
        for word in sorted(frequencies, reverse=bool(index % 2)):
            layer = {"n_timesteps": steps, "seed": index, **frequencies[word]}
            settings = Settings.resolve("rainbow", "CartPole-v1", layer)
            with tempfile.TemporaryDirectory() as name:
                inside.clear()
                times[word] = took(partial(execute, settings, Path(name) / "run"))
                checkpoints = list(inside) or checkpoints
        shares.append(times["with"] / times["without"] - 1)
        total = sum(checkpoints)
        written = f"{len(checkpoints)} checkpoints, {total:.2f} s of {times['with']:.1f} s"
        first = f"first {checkpoints[0] * 1e3:.0f} ms"
        print(f"{written}, {first}: {total / times['with']:.1%}; without any {times['without']:.1f} s", flush=True)
    print(f"with checkpoints a run takes {statistics.median(shares):+.1%} longer (median of {pairs} pairs)", flush=True)


def main(names: list[str]) -> int:
    """Measure each in a process of its own, so that it is the first in it."""
    parts = {"numbers": numbers, "images": images, "share": share}
    if len(names) == 1:
        parts[names[0]]()
        return 0
    return max(subprocess.run([sys.executable, __file__, name], check=False).returncode for name in names or parts)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
