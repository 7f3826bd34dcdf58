"""Opens each kind of tampered file in a process of its own: does it run code, how much does it take, what is said.

python benchmarks/tampered.py            # all kinds, a line each, and the sums
python benchmarks/tampered.py KIND ...   # some of them
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "helpers")]

LIMIT_MB = 300


def peak() -> int:
    """Return the most memory that this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def in_child(load: Callable[[], Any]) -> tuple[str, int]:
    """Return what a forked process says of `load`, and by how much it grew."""
    from sb3_course.config.errors import InputError

    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        before = peak()
        try:
            load()
            said = "LOADED"
        except InputError as error:
            said = str(error)
        except BaseException as error:
            said = f"RAW {type(error).__name__}: {error}"
        os.write(writer, json.dumps([said, peak() - before]).encode())
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        told = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    said, grown = json.loads(told) if told else (f"RAW exit {status}", 0)
    return said, grown


def main(only: list[str]) -> int:
    """Try all kinds, or some, and return 1 if one of them got through."""
    import tampered

    from sb3_course import DoubleDQN

    bad = tried = most = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model: Any = DoubleDQN("MlpPolicy", "CartPole-v1", buffer_size=50, learning_starts=5, device="cpu", seed=0)
        model.learn(20).save(folder / "good.zip")
        model.save_replay_buffer(folder / "good.npz")
        DoubleDQN.load(folder / "good.zip")  # whatever a good file needs is not a tampered one's
        members, rows = tampered.members_of(folder / "good.zip"), (folder / "good.npz").read_bytes()
        kinds: list[tuple[str, str, Any, Any, Any]] = [
            ("model", kind, make, members, DoubleDQN.load) for kind, make in tampered.MODELS.items()
        ]
        kinds += [("replay", kind, make, rows, model.load_replay_buffer) for kind, make in tampered.BUFFERS.items()]
        for door, kind, make, content, load in kinds:
            if only and kind not in only:
                continue
            marker, path = folder / "code ran", folder / "tampered"
            path.write_bytes(make(content, marker))
            said, grown = in_child(lambda load=load, path=path: load(path))  # type: ignore[misc]
            ran = marker.exists()
            if ran:
                marker.rmdir()
            wrong = ran or grown > LIMIT_MB or said.startswith(("LOADED", "RAW")) or "\n" in said
            bad, tried, most = bad + wrong, tried + 1, max(most, grown)
            print(f"{'WRONG' if wrong else 'ok':6}{door:7}{kind:42}{grown:5} MB  {'RAN CODE ' * ran}{said[:120]}")
    print(f"{tried} kinds, {bad} wrong, at most {most} MB more than before")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
