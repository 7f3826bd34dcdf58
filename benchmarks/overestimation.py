"""How far a maximum over estimates lies above the truth, with one network and with two, as a page of docs/results.

    OMP_NUM_THREADS=1 python benchmarks/overestimation.py         # some minutes
    OMP_NUM_THREADS=1 python benchmarks/overestimation.py --page  # the page again, of overestimation.json

``DoubleDQN`` with ``double=False`` and ``double=True`` on a slippery GridWorld with noisy rewards, whose exact values
are known. Everything else is equal.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch as th
from kept_page import table, write_tables
from stable_baselines3.common.callbacks import BaseCallback

from sb3_course import DoubleDQN
from sb3_course.envs import reachable_states, value_iteration
from sb3_course.saving.files import atomic_path, atomic_write
from sb3_course.tuning.statistics import stratified_bootstrap

ROOT = Path(__file__).resolve().parents[1]
KINDS = {"one network": False, "two networks": True}
STEPS, EVERY, LAST = 10_000, 500, 2_000  # of a run, between two looks, of the table's mean


class NoisyReward(gym.RewardWrapper[Any, Any]):
    """Adds a standard normal number to each reward."""

    def __init__(self, env: gym.Env[Any, Any], seed: int) -> None:
        super().__init__(env)
        self._rng = np.random.default_rng(seed)

    def reward(self, reward: Any) -> float:
        """Return it."""
        return float(reward) + float(self._rng.standard_normal())


class Surplus(BaseCallback):
    """Looks every so often how far max Q lies above its exact value, in the mean over the states."""

    def __init__(self, grid: Any, exact: np.ndarray) -> None:
        super().__init__()
        self.seen = np.flatnonzero(reachable_states(grid.P, grid.initial_state_distrib))
        self.exact, self.curve = exact[self.seen].max(axis=1).mean(), []
        self.observations = np.eye(len(exact), dtype=np.float32)[self.seen]

    def _on_step(self) -> bool:
        if self.num_timesteps % EVERY == 0:
            tensors = self.model.policy.obs_to_tensor(self.observations)[0]
            values = self.model.policy.q_net(tensors).detach().numpy()
            self.curve.append(round(float(values.max(axis=1).mean() - self.exact), 3))
        return True


def surplus(double: bool, seed: int) -> list[float]:
    """Train once and return what is too much at each look."""
    env = gym.make("sb3_course/GridWorld-v0", slip=0.2, observation="onehot")
    grid: Any = env.unwrapped
    looks = Surplus(grid, value_iteration(grid.P, gamma=0.9))
    model = DoubleDQN(
        "MlpPolicy", NoisyReward(env, seed), double=double, gamma=0.9, learning_rate=1e-3, buffer_size=STEPS,
        learning_starts=500, batch_size=32, train_freq=1, target_update_interval=200, tau=1.0, seed=seed,
        exploration_fraction=0.1, exploration_final_eps=0.3, policy_kwargs={"net_arch": [64]}, device="cpu",
    )  # fmt: skip
    model.learn(STEPS, callback=looks)
    return looks.curve


def ends(curves: Sequence[Sequence[float]]) -> np.ndarray:
    """Return the mean of the last looks of each seed."""
    return np.array(curves)[:, -LAST // EVERY :].mean(axis=1)


def lines(kept: dict[str, list[list[float]]]) -> list[list[str]]:
    """Return the rows of the table."""
    found = {name: ends(curves) for name, curves in kept.items()}
    found["one less two, seed by seed"] = found["one network"] - found["two networks"]
    rows = []
    for name, each in found.items():
        middle = stratified_bootstrap([each.tolist()], lambda x: x.mean(axis=-1), seed=0)
        interval = f"{middle.value:+.3f} [{middle.low:+.3f}, {middle.high:+.3f}]"
        rows.append([name, interval, f"{(each > 0).sum()} of {len(each)}", ", ".join(f"{one:+.2f}" for one in each)])
    return rows


def draw(kept: dict[str, list[list[float]]], out: Path) -> None:
    """Draw every seed as a thin line, and the mean as the thick one."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 3.2), layout="constrained")
    steps = EVERY * np.arange(1, STEPS // EVERY + 1)
    for (name, curves), colour in zip(kept.items(), ("#999999", "#0072b2"), strict=True):
        axes.plot(steps, np.array(curves).T, color=colour, linewidth=0.5, alpha=0.6)
        axes.plot(steps, np.mean(curves, axis=0), color=colour, linewidth=2.2, label=name)
    axes.axhline(0, color="black", linestyle="--", linewidth=1)
    axes.set(xlim=(0, STEPS), xlabel="environment steps", ylabel="max Q, less the truth")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper left", frameon=False)
    with atomic_path(out) as temporary:
        figure.savefig(temporary, format="png", dpi=110, metadata={"Software": None})


TEXT = f"""# Overestimation

`DoubleDQN` with `double=False` (one network) and with `double=True` (two networks), all else equal, on GridWorld with
slip 0.2 and onehot observations. Standard normal noise is added to each reward; γ = 0.9; seeds 0-9. Every {EVERY} of
{STEPS:,} steps the largest Q value of each reachable state is compared with the exact one, by value iteration; the
difference is averaged over the states.

```
OMP_NUM_THREADS=1 python benchmarks/overestimation.py
```

The difference in the last {LAST:,} steps: the mean over the seeds with its 95 % interval (bootstrap over the seeds):
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Train and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", action="store_true", help="train nothing")
    options = parser.parse_args(argv)
    th.set_num_threads(1)
    results, began = ROOT / "docs" / "results", time.process_time()
    if not options.page:
        made: dict[str, list[list[float]]] = {name: [] for name in KINDS}
        for seed in range(10):
            for name, double in KINDS.items():
                made[name].append(surplus(double, seed))
            print(f"seed {seed}: {time.process_time() - began:.0f} s of processor time so far", flush=True)
        atomic_write(results / "overestimation.json", json.dumps(made, separators=(",", ":")) + "\n")
    kept = json.loads((results / "overestimation.json").read_text(encoding="utf-8"))
    draw(kept, ROOT / "docs" / "images" / "course" / "overestimation.png")
    picture = "![Mean of max Q less the exact value, over training](../images/course/overestimation.png)"
    head = ["", "max Q less the truth", "above 0", "each seed"]
    write_tables(results / "overestimation.md", [TEXT, table(head, lines(kept)), picture])


if __name__ == "__main__":
    main()
