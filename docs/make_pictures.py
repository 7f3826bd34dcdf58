"""Draw the pictures of the documentation: `python docs/make_pictures.py [grid_world] [learning] [plots]`."""

import sys
import tempfile
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imsave
from stable_baselines3.common.callbacks import BaseCallback

from sb3_course import CategoricalDQN, plot, train
from sb3_course.envs.grid_map import ACTION_NAMES
from sb3_course.envs.planning import value_iteration
from sb3_course.pictures.picture import write_gif
from sb3_course.pictures.return_distributions import distributions
from sb3_course.runs.learned_picture import return_distribution
from sb3_course.tuning.plots import house_style

IMAGES = Path(__file__).with_name("images")
STEPS, EVERY = 12_000, 300


def grid_world() -> None:
    """Draw the exact action values of the slippery grid world."""
    env = gym.make("sb3_course/GridWorld-v0", slip=0.2, render_mode="rgb_array")
    env.reset(seed=0)
    grid = env.unwrapped
    grid.q_values = value_iteration(grid.P, gamma=0.9)
    imsave(IMAGES / "grid_world.png", env.render())


class Film(BaseCallback):
    """Takes what a distributional model has learned of every cell, every so many steps."""

    def __init__(self, cells: int) -> None:
        super().__init__()
        self.cells, self.moments = cells, []

    def _on_step(self) -> bool:
        if self.num_timesteps % EVERY == 0:
            self.moments.append((self.num_timesteps, *return_distribution(self.model, np.arange(self.cells))))
        return True


def learning() -> None:
    """Film C51 in the slippery grid world: its values and arrows, and the return of each action at the start."""
    env = gym.make("sb3_course/GridWorld-v0", slip=0.2, render_mode="rgb_array")
    grid: Any = env.unwrapped
    film = Film(grid.rows * grid.columns)
    model = CategoricalDQN(
        "MlpPolicy", gym.make("sb3_course/GridWorld-v0", slip=0.2), gamma=0.9, seed=0, n_atoms=41,
        v_min=-1.5, v_max=1.25, learning_starts=EVERY, train_freq=1, buffer_size=STEPS, learning_rate=1e-3,
        target_update_interval=200, exploration_fraction=0.5, exploration_final_eps=0.1,
        policy_kwargs={"net_arch": [64, 64]},
    )  # fmt: skip
    model.learn(STEPS, callback=film)
    start = "".join(grid.map).index("S")
    frames = []
    for steps, returns, shares in film.moments:
        grid.q_values, grid.state = (returns * shares).sum(axis=2), None
        frames.append(frame(grid.render(), returns[start], shares[start], f"C51 after {steps:,} steps"))
    write_gif(frames, IMAGES / "learning.gif", moment=160, end=2_500)


def frame(grid: np.ndarray, returns: np.ndarray, shares: np.ndarray, title: str) -> np.ndarray:
    """Return the grid and the distributions of the start beside each other, (H, W, 3)."""
    with house_style():
        figure = Figure(figsize=(7.8, 3.3), dpi=84, facecolor="white")
        canvas = FigureCanvasAgg(figure)
        left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
        left.imshow(grid, interpolation="antialiased")
        left.set_axis_off()
        left.set_title(title)
        best = int((returns * shares).sum(axis=1).argmax())
        distributions(returns, shares, (-1.2, 1.2), ACTION_NAMES, best, legend=False)(right)
        right.set_ylim(0, 0.4)
        right.set_title("return of each action at the start, S")
        right.legend(loc="upper left", fontsize=10)
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()


def plots() -> None:
    """Draw what `plot visits` and `plot distribution` show of C51 in the slippery grid world."""
    with tempfile.TemporaryDirectory() as folder:
        run = f"{folder}/run"
        words = "--algo c51 --env sb3_course/GridWorld-v0 --env-kwargs slip:0.2 --save-freq 4000 --no-progress"
        train.main([*words.split(), "--run-dir", run])
        for kind in ("visits", "distribution"):
            plot.main([kind, run, "-o", str(IMAGES / f"plot_{kind}.png")])


if __name__ == "__main__":
    IMAGES.mkdir(exist_ok=True)
    known = {"grid_world": grid_world, "learning": learning, "plots": plots}
    for name in sys.argv[1:] or known:
        known[name]()
