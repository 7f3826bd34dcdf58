"""Draw the pictures of the course: `python docs/make_course_pictures.py`; with `--train` the runs are made anew.

What the runs have shown is kept in `docs/images/course/curves.json`. Training all of them takes some minutes of
processor time; `--train rainbow pqn` trains these alone.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import deque
from pathlib import Path
from typing import Any

import gymnasium as gym
import matplotlib as mpl
import numpy as np
from stable_baselines3.common.callbacks import BaseCallback

mpl.use("Agg")
import matplotlib.pyplot as plt

from sb3_course import QTable, from_preset
from sb3_course.envs import value_iteration

IMAGES = Path(__file__).with_name("images") / "course"
CURVES = IMAGES / "curves.json"
SEEDS = range(3)
#: Points of a kept curve, and episodes that one of them is the mean of.
POINTS, WINDOW = 60, 20
#: Rung -> steps, and the rung that is drawn in grey behind it.
RUNGS: dict[str, tuple[int, str | None]] = {
    "neural_q": (20_000, None),
    "numpy_dqn": (12_000, "neural_q"),
    "dqn": (20_000, "numpy_dqn"),
    "double_dqn": (20_000, "dqn"),
    "dueling_dqn": (20_000, "double_dqn"),
    "per_dqn": (20_000, "double_dqn"),
    "nstep_dqn": (20_000, "double_dqn"),
    "noisy_dqn": (20_000, "double_dqn"),
    "c51": (20_000, "double_dqn"),
    "quantile_dqn": (20_000, "c51"),
    "iqn": (10_000, "quantile_dqn"),
    "munchausen_dqn": (20_000, "double_dqn"),
    "rainbow": (15_000, "double_dqn"),
    "btr": (6_000, "rainbow"),
    "pqn": (150_000, "neural_q"),
    "vpg": (60_000, None),
    "reinforce": (60_000, "vpg"),
    "reinforce_baseline": (60_000, "reinforce"),
    "actor_critic": (150_000, "reinforce_baseline"),
    "a3c": (150_000, "actor_critic"),
}
BLUE, GREY = "#0072b2", "#999999"


class Episodes(BaseCallback):
    """Keeps when episodes ended, and the mean return of the latest ones."""

    def __init__(self) -> None:
        super().__init__()
        self.latest: deque[float] = deque(maxlen=WINDOW)
        self.curve: list[tuple[int, float]] = []

    def _on_step(self) -> bool:
        for info in self.locals["infos"]:
            if "episode" in info:
                self.latest.append(float(info["episode"]["r"]))
                self.curve.append((self.num_timesteps, sum(self.latest) / len(self.latest)))
        return True


def learning_curve(name: str, steps: int, seed: int) -> list[list[float]]:
    """Train a rung on CartPole from its preset, and return steps and mean returns of its latest episodes."""
    model, episodes = from_preset(name, "CartPole-v1", seed=seed, device="cpu"), Episodes()
    model.learn(steps, callback=episodes)
    model.get_env().close()
    at, returns = np.array(episodes.curve).T
    wanted = np.linspace(steps / POINTS, steps, POINTS)
    return [wanted.round().tolist(), np.interp(wanted, at, returns).round(1).tolist()]


def draw_curve(name: str, curves: dict[str, Any]) -> None:
    """Draw a rung's curves, in front of those of the rung below."""
    below = RUNGS[name][1]
    figure, axes = plt.subplots(figsize=(6.4, 3.2), layout="constrained")
    for rung, colour in ((below, GREY), (name, BLUE)):
        if rung is None:
            continue
        for steps, returns in curves[rung]:
            axes.plot(steps, returns, color=colour, linewidth=0.7, alpha=0.6)
        steps = curves[rung][0][0]
        axes.plot(steps, np.mean([each[1] for each in curves[rung]], axis=0), color=colour, linewidth=2.2, label=rung)
    axes.set(xlim=(0, RUNGS[name][0]), ylim=(0, 510), xlabel="environment steps", ylabel="return, last 20 episodes")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper left", frameon=False)
    save(figure, name)


def save(figure: Any, name: str, dpi: int = 110) -> None:
    """Write a picture that does not change unless what it shows does."""
    figure.savefig(IMAGES / f"{name}.png", dpi=dpi, metadata={"Software": None})
    plt.close(figure)


def draw_table() -> None:
    """Draw what a Q table has learned after some steps, and the exact values."""
    model = QTable.from_preset("sb3_course/GridWorld-v0", seed=0)
    env = gym.make("sb3_course/GridWorld-v0", render_mode="rgb_array")
    env.reset(seed=0)
    grid: Any = env.unwrapped
    pictures, learned = [], 0
    for steps in (200, 1_000, 5_000, 20_000):
        model.learn(steps - learned, reset_num_timesteps=learned == 0)
        learned, grid.q_values = steps, model.q_table
        pictures.append((f"{steps:,} steps", env.render()))
    grid.q_values = value_iteration(grid.P, gamma=0.9)
    pictures.append(("exact", env.render()))
    figure, axes = plt.subplots(3, 2, figsize=(7.5, 8.5), layout="constrained")
    for place in axes.flat:
        place.axis("off")
    for place, (title, picture) in zip(axes.flat, pictures, strict=False):
        place.imshow(picture)
        place.set_title(title)
    save(figure, "q_table", dpi=80)


def train(names: list[str], curves: dict[str, Any]) -> None:
    """Make the runs of some rungs, one after the other, and keep what they have shown."""
    for name in names:
        began = time.process_time()
        curves[name] = [learning_curve(name, RUNGS[name][0], seed) for seed in SEEDS]
        CURVES.write_text(json.dumps(curves, separators=(",", ":")) + "\n")
        print(f"{name}: {time.process_time() - began:.0f} s", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", nargs="*", choices=RUNGS, help="train these, or all where none is named")
    asked = parser.parse_args().train
    IMAGES.mkdir(parents=True, exist_ok=True)
    kept: dict[str, Any] = json.loads(CURVES.read_text()) if CURVES.is_file() else {}
    if asked is not None:
        train(asked or list(RUNGS), kept)
    for rung in RUNGS:
        draw_curve(rung, kept)
    draw_table()
