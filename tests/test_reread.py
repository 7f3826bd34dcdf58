"""Scripts that start processes without a ``__main__`` guard: our message, and nothing of the processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = {
    "A3C": 'from sb3_course import A3C\nA3C("MlpPolicy", "CartPole-v1", n_workers=2, device="cpu").learn(500)\n',
    "a run with subproc": (
        "from sb3_course.runs import Settings, execute\n"
        'execute(Settings(algo="a2c", env="CartPole-v1", n_timesteps=100, n_envs=2, vec_env="subproc"))\n'
    ),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_without_a_guard_our_message_stands_alone(project_root: Path, tmp_path: Path, name: str) -> None:
    script = tmp_path / "unguarded.py"
    script.write_text(SCRIPTS[name])
    environment = {**os.environ, "PYTHONPATH": str(project_root)}
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 1
    assert done.stderr.count("Traceback") == 1, done.stderr  # of the script itself
    assert done.stderr.splitlines()[-1] == (
        "sb3_course.config.errors.InputError: script: every process that this call starts reads the script, and meets "
        'the call again (want the call below `if __name__ == "__main__":`)'
    )
