"""Memory and time of a replay of frames against SB3's buffers and ours of rows: stacks of four 84 x 84 images.

    python benchmarks/frames.py [TRANSITIONS]

Each buffer is filled in a process of its own; resident memory is what the process has more than before. Batches of 32
from equal indices, the two buffers taking turns. By default 1,000,000 transitions of frames, and as many rows as 2 GB
hold.
"""

from __future__ import annotations

import multiprocessing
import sys
import time
from statistics import median
from typing import Any

import numpy as np
import psutil
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer as SB3ReplayBuffer

from sb3_course.replay import FrameReplayBuffer, ReplayBuffer

SPACE, ACTIONS = spaces.Box(0, 255, (4, 84, 84), np.uint8), spaces.Discrete(6)
ROWS = 35_000  # 2 GB


def fill(buffer: Any, n: int, episode: int = 1_000) -> float:
    """Store n transitions of an env whose every frame is new; return the seconds of `add` alone."""
    rng = np.random.default_rng(0)
    noise = rng.integers(256, size=(84 * 84 + 4_096,)).astype(np.uint8)
    stack, spent = np.zeros((1, 4, 84, 84), np.uint8), 0.0
    action, reward, infos = np.zeros((1, 1), np.int64), np.zeros(1, np.float32), [{}]
    for step in range(n):
        first = int(rng.integers(4_096))
        following = np.concatenate([stack[:, 1:], noise[first : first + 84 * 84].reshape(1, 1, 84, 84)], axis=1)
        done = np.array([step % episode == episode - 1])
        began = time.perf_counter()
        buffer.add(stack, following, action, reward, done, infos)
        spent += time.perf_counter() - began
        stack = np.concatenate([np.zeros((1, 3, 84, 84), np.uint8), following[:, 3:]], axis=1) if done[0] else following
    return spent


def measure(kind: str, n: int, answer: Any) -> None:
    """Fill one buffer and put bytes and microseconds a transition into a queue."""
    resident = psutil.Process().memory_info().rss
    arguments: dict[str, Any] = {"optimize_memory_usage": True, "handle_timeout_termination": False}
    make = {
        "frames": lambda: FrameReplayBuffer(n, SPACE, ACTIONS, "cpu"),
        "rows": lambda: ReplayBuffer(n, SPACE, ACTIONS, "cpu"),
        "SB3": lambda: SB3ReplayBuffer(n, SPACE, ACTIONS, "cpu"),
        "SB3, optimize_memory_usage": lambda: SB3ReplayBuffer(n, SPACE, ACTIONS, "cpu", **arguments),
    }
    buffer = make[kind]()
    seconds = fill(buffer, n)
    answer.put((psutil.Process().memory_info().rss - resident, seconds / n * 1e6))


def draws(pairs: int = 400, size: int = 32) -> tuple[float, float]:
    """Return the median milliseconds of a batch from frames and from rows."""
    buffers: list[Any] = [cls(ROWS, SPACE, ACTIONS, "cpu") for cls in (FrameReplayBuffer, ReplayBuffer)]
    for buffer in buffers:
        fill(buffer, ROWS)
    rng, times = np.random.default_rng(1), ([], [])
    for _ in range(pairs):
        indices = rng.integers(ROWS, size=size)
        for buffer, kept in zip(buffers, times, strict=True):
            began = time.perf_counter()
            buffer.gather(indices)
            kept.append(time.perf_counter() - began)
    frames, rows = (median(kept) * 1e3 for kept in times)
    return frames, rows


def main() -> None:
    """Print the table."""
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    context = multiprocessing.get_context("spawn")
    print(f"{'buffer':28} {'transitions':>12} {'GB resident':>12} {'GB a million':>13} {'us an add':>10}")
    for kind, count in (("frames", n), ("rows", ROWS), ("SB3", ROWS), ("SB3, optimize_memory_usage", ROWS)):
        answer = context.Queue()
        process = context.Process(target=measure, args=(kind, count, answer))
        process.start()
        taken, micros = answer.get()
        process.join()
        print(f"{kind:28} {count:12,} {taken / 1e9:12.2f} {taken / count * 1e-3:13.2f} {micros:10.1f}", flush=True)
    frames, rows = draws()
    print(f"a batch of 32: frames {frames:.3f} ms, rows {rows:.3f} ms, ratio {frames / rows:.2f}")


if __name__ == "__main__":
    main()
