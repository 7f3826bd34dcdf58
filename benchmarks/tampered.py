"""Opens each kind of tampered file in a process of its own: does it run code, how much does it take, what is said.

python benchmarks/tampered.py            # all kinds, a line each, and the sums
python benchmarks/tampered.py KIND ...   # some of them
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "helpers")]

LIMIT_MB = 300


class Kind(NamedTuple):
    """One tampered file, and what opens it.

    :param door: what reads it
    :param name: what was done to it
    :param path: where it lies
    :param raw: makes its bytes, or the path that it links to
    :param open: reads it
    :param good: a folder that lies around it first, whole
    """

    door: str
    name: str
    path: Path
    raw: Callable[[], bytes | Path]
    open: Callable[[], Any]
    good: Path | None = None

    def lay(self) -> None:
        """Put the file there."""
        self.path.unlink(missing_ok=True)
        if self.good is not None:
            run = self.path
            while run.name != "run":
                run = run.parent
            shutil.rmtree(run, ignore_errors=True)
            shutil.copytree(self.good, run)
            for older in sorted(run.glob("checkpoints/*"), key=lambda path: int(path.name))[:-1]:
                shutil.rmtree(older)  # or training goes on from it, with a warning
        raw = self.raw()
        if isinstance(raw, Path):
            self.path.symlink_to(raw)
        else:
            self.path.write_bytes(raw)


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
        except (InputError, FileNotFoundError) as error:  # the latter as SB3's `load`
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


def command_line(words: list[str]) -> Callable[[], Any]:
    """Return what runs a command: raises what it says as an error of its own, if it says one line and status 2."""
    from importlib import import_module

    from sb3_course.config.errors import InputError

    main = import_module(f"sb3_course.{words[0]}").main

    def run() -> None:
        with tempfile.TemporaryFile("w+") as err, open(os.devnull, "w") as out:
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            status = main(words[1:])
            sys.stderr.flush()
            err.seek(0)
            lines = err.read().strip().splitlines()
        if words[0] == "inspect" and status == 0 and not lines:
            raise InputError("inspect", "says what it is")
        told = [line for line in lines if line.startswith("error: ")]
        if status != 2 or len(told) != 1 or "Traceback" in " ".join(lines):
            raise RuntimeError(f"status {status}, {lines[-3:]}")
        raise InputError("error", told[0].removeprefix("error: "))

    return run


def model_doors(folder: Path) -> Iterator[Kind]:
    """Yield the ways in which a model file is read: `load`, the weights alone, and `inspect`."""
    import tampered

    from sb3_course import DoubleDQN

    model: Any = DoubleDQN("MlpPolicy", "CartPole-v1", buffer_size=50, learning_starts=5, device="cpu", seed=0)
    model.learn(20).save(folder / "good.zip")
    model.save_replay_buffer(folder / "good.npz")
    DoubleDQN.load(folder / "good.zip")  # whatever a good file needs is not a tampered one's
    members, rows = tampered.members_of(folder / "good.zip"), (folder / "good.npz").read_bytes()
    path, marker = folder / "tampered.zip", folder / "code ran"
    inspect = command_line(["inspect", str(path)])
    for kind, make in tampered.MODELS.items():
        raw = partial(make, members, marker)
        yield Kind("model", kind, path, raw, partial(DoubleDQN.load, path))
        yield Kind("inspect", kind, path, raw, inspect)
        if kind in tampered.OF_TENSORS:
            yield Kind("weights", kind, path, raw, partial(model.set_parameters, path))
    for kind, make_rows in tampered.BUFFERS.items():
        raw = partial(make_rows, rows, marker)
        yield Kind("replay", kind, path, raw, partial(model.load_replay_buffer, path))
        yield Kind("inspect", kind, path, raw, inspect)
    for kind, target in {"a link to nothing": "nowhere", "a link to itself": "tampered.zip", "a link to a device":
                         "/dev/zero", "a link to a folder": "/proc"}.items():  # fmt: skip
        yield Kind("model", kind, path, partial(Path, target), partial(DoubleDQN.load, path))
        yield Kind("inspect", kind, path, partial(Path, target), inspect)


def run_doors(folder: Path) -> Iterator[Kind]:
    """Yield the ways in which the files of a run are read: `--resume` and `enjoy`."""
    import tampered

    from sb3_course.train import main as train

    run, good, marker = folder / "run", folder / "good run", folder / "code ran"
    words = [
        "--algo",
        "double_dqn",
        "-n",
        "600",
        "-params",
        "learning_starts:100",
        "--eval-freq",
        "0",
        "--verbose",
        "0",
    ]
    train([*words, "--final-episodes", "1", "--save-freq", "300", "--run-dir", str(good)])
    newest = max((good / "checkpoints").iterdir(), key=lambda path: int(path.name))
    members = tampered.members_of(newest / "model.zip")
    state, rows = ((newest / name).read_bytes() for name in ("state.npz", "replay.npz"))
    resume = command_line(["train", "--resume", str(run), "-n", "700"])
    for name, kinds, content in (
        ("state.npz", tampered.STATES, state),
        ("replay.npz", tampered.REPLAYS, rows),
        ("model.zip", {kind: tampered.MODELS[kind] for kind in tampered.OF_TENSORS}, members),
    ):
        for kind, make in kinds.items():
            path = run / "checkpoints" / newest.name / name
            yield Kind("resume", f"{name}: {kind}", path, partial(make, content, marker), resume, good)
    for kind, text in tampered.CONFIGS.items():
        raw = partial(text.replace("{marker}", str(marker)).encode)
        yield Kind("resume", f"config: {kind}", run / "config.yaml", raw, resume, good)


def main(only: list[str]) -> int:
    """Try all kinds, or some, and return 1 if one of them got through."""
    bad = tried = most = 0
    with tempfile.TemporaryDirectory() as name:
        marker = Path(name) / "code ran"
        for door in (model_doors, run_doors):
            for kind in door(Path(name)):
                if only and not {kind.door, kind.name} & set(only):
                    continue
                kind.lay()
                said, grown = in_child(kind.open)
                ran = marker.exists()
                if ran:
                    marker.rmdir()
                wrong = ran or grown > LIMIT_MB or said.startswith(("LOADED", "RAW")) or "\n" in said
                bad, tried, most = bad + wrong, tried + 1, max(most, grown)
                line = f"{'WRONG' if wrong else 'ok':6}{kind.door:8}{kind.name:48}{grown:5} MB"
                print(f"{line}  {'RAN CODE ' * ran}{said[:120]}", flush=True)
    print(f"{tried} kinds, {bad} wrong, at most {most} MB more than before")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
