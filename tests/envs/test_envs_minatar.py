"""MinAtar's games: the package's dynamics, Gymnasium's rules, exact states, pictures by NumPy."""

import copy
import importlib
import subprocess
import sys
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env
from stable_baselines3.common.preprocessing import is_image_space, is_image_space_channels_first

from sb3_course.envs import MINATAR, minatar
from sb3_course.envs.minatar import CELL, COLOURS, GAMES, MinAtarEnv

pytest.importorskip("minatar")
IDS = [entry.id for entry in MINATAR]


def play(env, steps, seed=None, actions=0):
    """Return what `steps` random actions lead to."""
    rng = np.random.default_rng(actions)
    seen = [] if seed is None else [env.reset(seed=seed)[0]]
    for _ in range(steps):
        observation, reward, terminated, _, _ = env.step(rng.integers(env.action_space.n))
        seen += [observation, np.array([reward, terminated])]
        if terminated:
            seen.append(env.reset()[0])
    return seen


def same(one, other):
    return len(one) == len(other) and all(map(np.array_equal, one, other))


@pytest.mark.parametrize("name", IDS)
def test_both_checkers_pass(name):
    env = gym.make(name, render_mode="rgb_array").unwrapped
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*minimal resolution for an image is 36x36.*")
        check_env(env)
        sb3_check_env(env)
    assert is_image_space(env.observation_space)
    assert is_image_space_channels_first(env.observation_space)
    assert env.action_space.n == (6 if name.endswith("v0") else len(env.game.minimal_action_set()))


@pytest.mark.parametrize("game", GAMES)
def test_a_game_is_the_packages_with_our_draws(game):
    theirs = importlib.import_module(f"minatar.environments.{game}").Env(ramping=True)
    env = MinAtarEnv(game, minimal_actions=False)
    first, _ = env.reset(seed=3)
    twin = MinAtarEnv(game)
    twin.reset(seed=3)
    twin.np_random.bit_generator.state = np.random.default_rng(3).bit_generator.state
    theirs.random = minatar._Draws(twin)
    theirs.reset()
    assert np.array_equal(first, np.moveaxis(theirs.state(), 2, 0) * 255)
    before, actions = 0, np.random.default_rng(0)
    for _ in range(400):
        action = actions.integers(6)
        observation, reward, terminated, truncated, _ = env.step(action)
        if twin.np_random.random() >= 0.1:
            before = action
        assert (reward, terminated, truncated) == (*map(float, theirs.act(before)[:1]), theirs.terminal, False)
        assert np.array_equal(observation, np.moveaxis(theirs.state(), 2, 0) * 255)
        if terminated:
            env.reset(), theirs.reset()
            before = 0


@pytest.mark.parametrize("game", GAMES)
def test_seeds_and_states_say_everything(game):
    env, other = MinAtarEnv(game), MinAtarEnv(game)
    play(other, 300, seed=9)
    other.reset(seed=5)  # nothing is left of what was played before
    assert same(play(env, 200, seed=5), play(other, 200, seed=5))
    state = copy.deepcopy(env.get_state())
    later = play(env, 200, actions=1)
    other.reset(seed=1)
    other.set_state(state)
    assert same(later, play(other, 200, actions=1))
    env.set_state(state)
    assert same(later, play(env, 200, actions=1))
    with pytest.raises(ValueError, match="state: is of another game"):
        MinAtarEnv("breakout" if game != "breakout" else "freeway").set_state(state)


def test_a_sticky_action_is_repeated_as_often_as_said():
    for probability, share in ((0.0, 0.0), (1.0, 1.0)):
        env = MinAtarEnv("breakout", sticky_action_prob=probability)
        env.reset(seed=0)
        env.step(np.int64(1))
        assert (env.last_action == 0) == bool(share)


def test_channels_may_be_last_and_the_picture_has_a_colour_for_each():
    first, last = MinAtarEnv("seaquest", render_mode="rgb_array"), MinAtarEnv("seaquest", channels="last")
    for one, other in zip(play(first, 100, seed=0), play(last, 100, seed=0), strict=True):
        assert np.array_equal(one if one.ndim < 3 else np.moveaxis(one, 0, 2), other)
    cells = first.game.state()
    picture = first.render()
    assert picture.shape == (10 * CELL, 10 * CELL, 3)
    assert picture.dtype == np.uint8
    for row, column in np.ndindex(10, 10):
        channels = np.flatnonzero(cells[row, column])
        colour = COLOURS[channels[-1] + 1 if len(channels) else 0]
        assert (picture[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL] == colour).all()
    assert len(np.unique(COLOURS, axis=0)) == 11
    first.render_mode = "ansi"
    assert first.render().count("\n") == 9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"game": "pong"}, "game: is not a known choice"),
        ({"sticky_action_prob": 1.5}, "sticky_action_prob: is out of bounds"),
        ({"channels": "middle"}, "channels: is not a known choice"),
        ({"minimal_actions": 1}, "minimal_actions: is not a switch"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        MinAtarEnv(**options)


def test_playing_imports_none_of_the_packages_pictures():
    script = (
        "import sys, gymnasium as gym, sb3_course.envs\n"
        "gym.make('MinAtar/Breakout-v1', render_mode='rgb_array').reset(seed=0)\n"
        "print([name for name in ('seaborn', 'pandas', 'matplotlib', 'torch') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "[]\n"
