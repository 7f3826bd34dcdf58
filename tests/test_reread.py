"""Scripts that start processes without a ``__main__`` guard: our message, and nothing of the processes."""

import os
import subprocess
import sys
from pathlib import Path

# One script for both kinds: what it imports takes longer than all it does. A process that reads it again is told by its
# environment which call has started it.
SCRIPT = """
import os
from sb3_course import A3C
from sb3_course.runs import Settings, execute

def call(stage, work):
    if os.environ.setdefault("STAGE", stage) == stage:
        try:
            work()
        except ValueError as error:
            print(error, flush=True)
        del os.environ["STAGE"]

run = Settings(algo="a2c", env="CartPole-v1", n_timesteps=100, vec_env="subproc")
call("run", lambda: execute(run))
call("workers", lambda: A3C("MlpPolicy", "CartPole-v1", n_workers=1, device="cpu").learn(500))
"""


def test_without_a_guard_our_message_stands_alone(project_root: Path, tmp_path: Path) -> None:
    script = tmp_path / "unguarded.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(project_root)}
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=environment, check=False)
    message = (
        "script: every process that this call starts reads the script, and meets the call again "
        '(want the call below `if __name__ == "__main__":`)'
    )
    assert (done.returncode, done.stderr, done.stdout.splitlines()) == (0, "", [message, message])
