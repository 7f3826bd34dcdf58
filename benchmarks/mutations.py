"""Whether the tests notice what must not happen: small wrong changes, each made in a scratch copy and tested there.

python benchmarks/mutations.py               # all of them
python benchmarks/mutations.py slip double   # those whose names hold one of these words

A change is caught when a test fails, not when nothing can be imported. Exit status 1 where one is not caught, where its
text is no longer found exactly once, or where the tests fail without any change.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter


@dataclass(frozen=True)
class Change:
    """One wrong change.

    :param name: what is wrong then
    :param file: where, below the top of the checkout
    :param old: text that stands there exactly once
    :param new: what takes its place
    :param tests: what has to notice, as pytest takes it
    """

    name: str
    file: str
    old: str
    new: str
    tests: str


CHANGES = (
    # ---------------------------------------------------------------------------------------------- functional
    Change(
        "reward to go has one γ too many",
        "sb3_course/functional/returns.py",
        "return gae(rewards, np.zeros_like(rewards)",
        "return gamma * gae(rewards, np.zeros_like(rewards)",
        "tests/functional/test_functional_returns.py",
    ),
    Change(
        "GAE flows back across the end of an episode",
        "sb3_course/functional/returns.py",
        "carries = gamma * gae_lambda * ~np.asarray(ends, dtype=bool)",
        "carries = gamma * gae_lambda * np.ones(np.shape(ends))",
        "tests/functional/test_functional_returns.py",
    ),
    Change(
        "the gradient of the Huber loss is clipped at 10",
        "sb3_course/functional/losses.py",
        "gradients = errors.clip(-1, 1)",
        "gradients = errors.clip(-10, 10)",
        "tests/functional/test_functional_losses.py",
    ),
    Change(
        "the gradient of a mean is divided by B, not multiplied by 1/B",
        "sb3_course/functional/losses.py",
        "gradients * weights * (1.0 / len(gradients))",
        "gradients * weights / len(gradients)",
        "tests/value/test_sb3_equality.py",
    ),
    Change(
        "the projection loses the mass of an integer b",
        "sb3_course/functional/categorical.py",
        "_deposit(lower, next_probabilities - to_upper, to_upper)",
        "_deposit(lower, (xp.ceil(position) - position) * next_probabilities, to_upper)",
        "tests/functional/test_functional_projection.py",
    ),
    # ------------------------------------------------------------------------------------------------ networks
    Change(
        "advantages are not centred",
        "sb3_course/networks/heads.py",
        "value + advantage - advantage.mean(dim=1, keepdim=True)",
        "value + advantage",
        "tests/networks/test_networks_dueling.py",
    ),
    Change(
        "factorised noise has no sign",
        "sb3_course/networks/noisy.py",
        "noise = np.copysign(np.sqrt(np.abs(noise)), noise)",
        "noise = np.sqrt(np.abs(noise))",
        "tests/networks/test_networks_noisy.py",
    ),
    # --------------------------------------------------------------------------------------- value and replay
    Change(
        "the target comes from the online network",
        "sb3_course/backends/torch_backend.py",
        'self.online if net == "online" else self.target',
        'self.online if net == "online" else self.online',
        "tests/value/test_sb3_equality.py",
    ),
    Change(
        "β stays where it began",
        "sb3_course/replay/proportional.py",
        "self.beta = 1 - (1 - self.beta0) * remaining",
        "self.beta = self.beta0",
        "tests/value/test_family_reductions.py",
    ),
    Change(
        "a truncated episode counts as terminated",
        "sb3_course/replay/rows.py",
        'ends["dones"] * (1 - ends["timeouts"])',
        'ends["dones"] * 1',
        "tests/replay/test_replay_windows.py",
    ),
    Change(
        "priorities have no ε",
        "sb3_course/replay/proportional.py",
        "(priorities + self.priority_eps) ** self.alpha",
        "priorities**self.alpha",
        "tests/replay/test_replay_prioritized.py",
    ),
    Change(
        "importance weights are not divided by their maximum",
        "sb3_course/replay/proportional.py",
        "(leaves.min() / leaves)",
        "(leaves.mean() / leaves)",
        "tests/replay/test_replay_prioritized.py",
    ),
    Change(
        "a new transition gets the first priority, not the largest",
        "sb3_course/replay/proportional.py",
        "self.max_priority = max(self.max_priority, largest + self.priority_eps)",
        "self.max_priority = FIRST_PRIORITY",
        "tests/replay/test_replay_prioritized.py",
    ),
    Change(
        "Double DQN's next action is chosen by the target network",
        "sb3_course/value/learning.py",
        "return outputs, next_outputs, selector\n        selector = next_outputs",
        "return outputs, next_outputs, next_outputs\n        selector = next_outputs",
        "tests/value/test_family_reductions.py",
    ),
    Change(
        "the quantile loss is symmetric",
        "sb3_course/value/estimates/quantile_return.py",
        "xp.where(errors < 0, 1 - levels, levels)",
        "xp.where(errors < 0, levels, levels)",
        "tests/value/test_family_quantile.py",
    ),
    Change(
        "a loss that the compiled room does not know is taken for another",
        "sb3_course/backends/compiled/batch_errors.py",
        "kind = KINDS.get(loss)",
        "kind = KINDS.get(loss, L2)",
        "tests/backends/test_twins.py",
    ),
    Change(
        "a hindsight reward is that of the goal that was meant",
        "sb3_course/replay/hindsight.py",
        "rewards[inside] = found.reshape(-1)",
        "rewards[inside] = rewards[inside]",
        "tests/replay/test_hindsight.py",
    ),
    # ------------------------------------------------------------------------------------------ policy gradient
    Change(
        "a mean over steps, not over episodes",
        "sb3_course/policy_gradient/gradient_learner.py",
        "len(psi) if self.n_steps is not None else batch.n_episodes",
        "len(psi)",
        "tests/policy_gradient/test_policy_gradient_rules.py",
    ),
    Change(
        "a piece of an episode counts its steps from 0",
        "sb3_course/replay/episodes.py",
        "before = np.array([piece.offset for piece in pieces]) + lengths - 1 - last",
        "before = lengths - 1 - last",
        "tests/policy_gradient/test_episodes.py",
    ),
    Change(
        "A3C's workers never take over the shared parameters",
        "sb3_course/policy_gradient/a3c_workers.py",
        "            optimizer.pull()\n",
        "",
        "tests/policy_gradient/test_a3c.py::test_one_worker_equals_the_synchronous_rule",
    ),
    # ------------------------------------------------------------------------------------------- envs and tuning
    Change(
        "a slip to the left of left goes back",
        "envs/grid_map.py",
        "SIDES = ((UP, DOWN), (UP, DOWN)",
        "SIDES = ((RIGHT, DOWN), (UP, DOWN)",
        "tests/envs/test_envs_grid_world.py",
    ),
    Change(
        "the bootstrap's interval has one side",
        "tuning/statistics.py",
        "[(1 - level) / 2, (1 + level) / 2]",
        "[0.0, level]",
        "tests/tuning/test_statistics.py",
    ),
)

ROOT = Path(__file__).resolve().parents[1]


def scratch_copy(folder: Path) -> None:
    """Copy what git knows of the checkout as it lies there, links as links."""
    words = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(words, capture_output=True, text=True, check=True).stdout.split("\0"):
        if name and os.path.lexists(ROOT / name):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)


def run_tests(folder: Path, tests: list[str]) -> subprocess.CompletedProcess[str]:
    """Run tests in the copy, on its own code and on no bytecode of an older one."""
    settings = {
        **os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    words = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--tb=no", *tests]
    return subprocess.run(words, cwd=folder, env=settings, capture_output=True, text=True, check=False)


def first_failure(output: str) -> str:
    """Return the name of the test that noticed."""
    lines = [line.removeprefix("FAILED ").partition(" - ")[0] for line in output.splitlines() if "FAILED " in line]
    return lines[0].rpartition("::")[2] if lines else ""


def judge(change: Change, folder: Path) -> tuple[bool, str]:
    """Make a change in the copy, run its tests and take it back; return whether it was caught, and the words."""
    path = folder / change.file
    if not path.is_file():
        return False, "there is no such file"
    text = path.read_text(encoding="utf-8")
    if text.count(change.old) != 1:
        return False, f"its text is there {text.count(change.old)} times"
    path.write_text(text.replace(change.old, change.new), encoding="utf-8")
    try:
        done = run_tests(folder, change.tests.split())
    finally:
        path.write_text(text, encoding="utf-8")
    if done.returncode == 1:
        return True, f"caught by {first_failure(done.stdout)}"
    if done.returncode == 0:
        return False, "NOT CAUGHT"
    return False, f"pytest ended with status {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"


def main(words: list[str]) -> int:
    """Judge the changes whose names hold one of `words`, or all; return the exit status."""
    changes = [change for change in CHANGES if not words or any(word in change.name for word in words)]
    if not changes:
        print(f"error: no change is called like {' or '.join(words)}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="mutations-") as name:
        folder = Path(name)
        scratch_copy(folder)
        begun = perf_counter()
        whole = run_tests(folder, sorted({test for change in changes for test in change.tests.split()}))
        print(f"{'without any change':62s} {perf_counter() - begun:4.0f} s  status {whole.returncode}", flush=True)
        if whole.returncode != 0:
            print(whole.stdout[-3000:], whole.stderr[-3000:])
            return 1
        missed = 0
        for change in changes:
            begun = perf_counter()
            caught, said = judge(change, folder)
            missed += not caught
            print(f"{change.name:62s} {perf_counter() - begun:4.0f} s  {said}", flush=True)
    print(f"{len(changes) - missed} of {len(changes)} caught")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
