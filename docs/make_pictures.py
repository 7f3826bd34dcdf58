"""Draw the pictures of the documentation: `python docs/make_pictures.py`."""

from pathlib import Path

import gymnasium as gym
from matplotlib.image import imsave

import sb3_course  # noqa: F401 (registers the environments)
from sb3_course.envs.planning import value_iteration

IMAGES = Path(__file__).with_name("images")


def grid_world() -> None:
    """Draw the exact action values of the slippery grid world."""
    env = gym.make("sb3_course/GridWorld-v0", slip=0.2, render_mode="rgb_array")
    env.reset(seed=0)
    grid = env.unwrapped
    grid.q_values = value_iteration(grid.P, gamma=0.9)
    imsave(IMAGES / "grid_world.png", env.render())


if __name__ == "__main__":
    IMAGES.mkdir(exist_ok=True)
    grid_world()
