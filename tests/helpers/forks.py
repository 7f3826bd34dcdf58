"""Code that has to run in a process where nothing of ours or of SB3's has been imported yet, many times over."""

from __future__ import annotations

import json
import subprocess
import sys

# What everybody imports and what no order of imports is about; without it each process takes six seconds more.
HEAVY = (
    "numpy", "torch", "torch._dynamo", "torch.utils.tensorboard", "gymnasium", "pandas", "matplotlib.pyplot", "numba",
    "scipy.special", "psutil", "tqdm", "yaml",
)  # fmt: skip

SERVER = """
import contextlib, importlib, json, os, sys, traceback
task = json.load(sys.stdin)
for name in task["heavy"]:
    with contextlib.suppress(ImportError):
        importlib.import_module(name)
assert not {name.partition(".")[0] for name in sys.modules} & {"sb3_course", "stable_baselines3", "sb3_contrib"}
failed = {}
for code in task["codes"]:
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            exec(code, {"__name__": "__main__"})
            os.write(write, b"ok")
        except BaseException:
            os.write(write, traceback.format_exc().encode()[-3000:])
        os._exit(0)
    os.close(write)
    said = os.fdopen(read, "rb").read().decode()
    os.waitpid(pid, 0)
    if said != "ok":
        failed[code] = said or "it died"
json.dump(failed, sys.stdout)
"""


def failures(*codes: str) -> dict[str, str]:
    """Run each code in a process of its own, and return what those that failed said."""
    if sys.platform == "win32":
        done = [(code, subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)) for code in codes]  # noqa: PLW1510
        return {code: each.stderr for code, each in done if each.returncode}
    task = json.dumps({"heavy": HEAVY, "codes": codes})
    done = subprocess.run([sys.executable, "-c", SERVER], input=task, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found
