"""Opens each kind of tampered file in a process of its own: does it run code, how much does it take, what is said.

python benchmarks/tampered.py            # all kinds, a line each, and the sums
python benchmarks/tampered.py KIND ...   # some of them
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "helpers")]

LIMIT_MB = 300

OPEN = """
import json, resource, sys
from sb3_course import DoubleDQN
from sb3_course.config.errors import InputError
path, door, good = sys.argv[1:]
model = DoubleDQN("MlpPolicy", "CartPole-v1", buffer_size=50)
DoubleDQN.load(good)  # whatever a good file needs is not the tampered one's
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
before = peak()
try:
    DoubleDQN.load(path) if door == "model" else model.load_replay_buffer(path)
    said = "LOADED"
except InputError as error:
    said = str(error)
except BaseException as error:
    said = f"RAW {type(error).__name__}: {error}"
print(json.dumps([said, peak() - before]))
"""


def main(only: list[str]) -> int:
    """Try all kinds, or some, and return 1 if one of them got through."""
    import tampered

    from sb3_course import DoubleDQN

    bad = tried = most = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = DoubleDQN("MlpPolicy", "CartPole-v1", buffer_size=50, learning_starts=5, device="cpu", seed=0).learn(20)
        model.save(folder / "good.zip")
        model.save_replay_buffer(folder / "good.npz")
        members, rows = tampered.members_of(folder / "good.zip"), (folder / "good.npz").read_bytes()
        kinds = [("model", kind, make, members) for kind, make in tampered.MODELS.items()]
        kinds += [("replay", kind, make, rows) for kind, make in tampered.BUFFERS.items()]
        for door, kind, make, content in kinds:
            if only and kind not in only:
                continue
            marker, path = folder / "code ran", folder / "tampered"
            path.write_bytes(make(content, marker))
            command = [sys.executable, "-W", "ignore", "-c", OPEN, str(path), door, str(folder / "good.zip")]
            done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
            said, grown = json.loads(done.stdout) if done.returncode == 0 else (f"RAW exit {done.returncode}", 0)
            ran = marker.exists()
            if ran:
                marker.rmdir()
            wrong = ran or grown > LIMIT_MB or said.startswith(("LOADED", "RAW")) or "\n" in said
            bad, tried, most = bad + wrong, tried + 1, max(most, grown)
            print(
                f"{'WRONG' if wrong else 'ok':6}{door:7}{kind:42}{grown:5} MB  {'RAN CODE ' * ran}{said[:120]}",
                flush=True,
            )
    print(f"{tried} kinds, {bad} wrong, at most {most} MB more than a good file")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
