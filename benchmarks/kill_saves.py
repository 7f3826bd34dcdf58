"""Kills a process inside a save, and fills its disk in the midst of one: what was there before always loads.

python benchmarks/kill_saves.py        # 40 kills and 40 full disks
python benchmarks/kill_saves.py N
"""

from __future__ import annotations

import os
import random
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))


def in_child(work: Callable[[], object], kill_after: float | None = None) -> int:
    """Run `work` in a forked process, killed after so many seconds, and return its status."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except OSError:
            os._exit(28)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main(times: int = 40, seed: int = 0) -> int:
    """Kill and fill so many times each, and return 1 if a file was lost."""
    import gymnasium

    from sb3_course import DoubleDQN
    from sb3_course.runs.checkpoint import newest_checkpoint, write_checkpoint
    from sb3_course.runs.folder import RunFolder
    from sb3_course.saving import blocks
    from sb3_course.sb3.checkpoints import read_replay

    blocks.BLOCK_BYTES = 4096  # so that this memory lies in blocks, and later checkpoints link to some
    draw = random.Random(seed)
    arguments = {"buffer_size": 20_000, "learning_starts": 5, "device": "cpu", "seed": 0}
    model = DoubleDQN("MlpPolicy", "CartPole-v1", **arguments).learn(1000)
    rewards = model.replay_buffer.rewards
    lost, statuses = [], []
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        folder = RunFolder(path)

        def save() -> None:
            model.save(path / "model.zip")
            model.save_replay_buffer(path / "replay.npz")
            write_checkpoint(folder, model, {})

        def save_for_ever() -> None:
            while True:
                save()
                model.num_timesteps += draw.randrange(2)  # or comes by the same checkpoint again
                rewards[draw.randrange(1000)] += 1

        def load() -> None:
            DoubleDQN.load(path / "model.zip")
            model.load_replay_buffer(path / "replay.npz")
            steps = max(int(each.name) for each in folder.checkpoints.iterdir() if each.name.isdecimal())
            assert newest_checkpoint(folder).timesteps == steps  # blocks included, or it is an earlier one
            DoubleDQN.load_checkpoint(folder.checkpoints / str(steps), gymnasium.make("CartPole-v1"))
            assert read_replay(folder.checkpoints / str(steps))

        started = time.perf_counter()
        save()
        span = time.perf_counter() - started
        largest = max(each.stat().st_size for each in path.rglob("*") if each.is_file())
        assert list(path.rglob("*.block"))
        for index in range(times):
            in_child(save_for_ever, kill_after=draw.uniform(0, 3 * span))
            if in_child(load) != 0:
                lost.append(f"kill {index}")
        for index in range(times):
            limit = draw.randrange(largest)

            def fill(limit: int = limit) -> None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
                save()

            statuses.append(in_child(fill))
            if in_child(load) != 0:
                lost.append(f"disk {index} at {limit}")
        torn = [each.name for each in path.iterdir() if each.name.endswith(".tmp")]
    refused = sum(status == 28 for status in statuses)
    print(f"{times} kills, {times} full disks ({refused} told in an OSError): {len(lost)} lost {lost} {torn}")
    return int(bool(lost) or refused < times)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
