"""Pictures: their form, that they show what changes, and the three render modes."""

import builtins
import copy
import pickle
import sys
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import DependencyNotInstalled

from sb3_course.envs import BanditEnv, GridWorldEnv, OneShotEnv, value_iteration
from sb3_course.envs._axes import nice_ticks, tick_text
from sb3_course.envs._base import CourseEnv
from sb3_course.envs.rendering import BLUE, Canvas, diverging, short_number

CLASSES = [GridWorldEnv, OneShotEnv, BanditEnv]
EXACT = value_iteration(GridWorldEnv().P, 0.9)


def step(env: Any) -> None:
    """Take one fixed step that every environment shows."""
    env.step(2 if not isinstance(env, OneShotEnv) else np.array([2.0], dtype=np.float32))


@pytest.mark.parametrize("kind", CLASSES)
def test_rgb_array(kind: type[Any]) -> None:
    env = kind(render_mode="rgb_array")
    env.reset(seed=0)
    first = env.render()
    assert (first.dtype, first.ndim, first.shape[2]) == (np.uint8, 3, 3)
    assert len(np.unique(first.reshape(-1, 3), axis=0)) > 10
    assert np.array_equal(first, env.render()), "drawing must change nothing"
    assert not np.shares_memory(first, env.render())
    step(env)
    second = env.render()
    assert second.shape == first.shape
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("kind", CLASSES)
def test_ansi(kind: type[Any]) -> None:
    env = kind(render_mode="ansi")
    env.reset(seed=0)
    first = env.render()
    assert isinstance(first, str)
    step(env)
    assert env.render() != first


def test_drawing_draws_no_random_numbers() -> None:
    for kind in CLASSES:
        env = kind(render_mode="rgb_array")
        env.reset(seed=0)
        before = env.get_state()
        env.render()
        assert env.get_state() == before


def test_grid_text() -> None:
    env = GridWorldEnv(render_mode="ansi")
    env.reset()
    assert env.render() == ". . . G\n. # . B\nA . . .\nlast action: none\n"
    env.step(2)
    assert env.render() == ". . . G\nA # . B\nS . . .\nlast action: up\n"
    env.q_values = EXACT
    lines = env.render().splitlines()
    assert lines[0].split()[4:] == ["+0.81→", "+0.90→", "+1.00→", "G"]
    assert lines[2].split()[4] == "+0.66→↑"


def test_grid_shows_values_and_greedy_arrows() -> None:
    env = GridWorldEnv(render_mode="rgb_array")
    env.reset()
    plain = env.render()
    env.q_values = EXACT
    valued = env.render()
    assert valued.shape == plain.shape
    side = plain.shape[0] // 3

    def changed(before: np.ndarray, after: np.ndarray) -> set[int]:
        different = (before != after).any(axis=2)
        return {
            4 * row + column
            for row in range(3)
            for column in range(4)
            if different[row * side + 2 : (row + 1) * side - 2, column * side + 2 : (column + 1) * side - 2].any()
        }

    assert changed(plain, valued) == set(range(12)) - {3, 5}, "the goal and the wall have no values"
    other = EXACT.copy()
    other[6] = other[6][::-1]
    env.q_values = other
    assert changed(valued, env.render()) == {6}
    env.q_values = None
    assert np.array_equal(env.render(), plain)


def test_grid_arrow_follows_the_greedy_action() -> None:
    env = GridWorldEnv(render_mode="rgb_array")
    env.reset()
    frames = []
    for action in range(4):
        # Too small a difference for colours and numbers: only the arrows can tell.
        values = np.full((12, 4), 0.5)
        values[0, action] += 1e-6
        env.q_values = values
        frames.append(env.render())
    assert len({frame.tobytes() for frame in frames}) == 4
    side = frames[0].shape[0] // 3
    centre = slice(side // 3, side - side // 3)
    ink = [(frame[centre, centre].sum(axis=2) < 300).astype(int) for frame in frames]
    assert all(dark.sum() > 50 for dark in ink)
    # Left is the mirror image of right, and up that of down, but for pixels on the edge.
    for one, other in ((ink[0], ink[1][:, ::-1]), (ink[2], ink[3][::-1]), (ink[0], ink[2].T)):
        assert (one != other).sum() <= 0.05 * one.sum()
    assert (ink[0] != ink[1]).sum() > 0.5 * ink[0].sum()


def test_bandit_shows_the_last_pull() -> None:
    frames = []
    for order in ((0, 1), (1, 0)):
        env = BanditEnv(means=[0.0, 1.0], stds=0, render_mode="rgb_array")
        env.reset(seed=0)
        for arm in order:
            env.step(arm)
        frames.append(env.render())
    assert not np.array_equal(*frames)


def test_grid_centre_of_the_agents_cell_is_blue() -> None:
    env = GridWorldEnv(render_mode="rgb_array")
    env.reset()
    frame = env.render()
    side = frame.shape[0] // 3
    assert tuple(frame[2 * side + side // 2, side // 2]) == BLUE
    assert tuple(frame[side // 2, side // 2]) != BLUE


@pytest.mark.parametrize("size", [1, 2, 7, 30])
def test_grid_of_any_size_is_drawn(size: int) -> None:
    env = GridWorldEnv(map=["S" + "." * size + "BG"] + ["#" * (size + 3)] * (size - 1), render_mode="rgb_array")
    env.reset()
    env.q_values = np.linspace(-200, 200, 4 * size * (size + 3)).reshape(-1, 4)
    height, width, _ = env.render().shape
    assert width <= 1008
    assert height / width == pytest.approx(size / (size + 3))


@pytest.mark.parametrize("mode", ["human", "rgb_array", "ansi"])
@pytest.mark.parametrize("kind", CLASSES)
def test_every_mode_before_reset(kind: type[Any], mode: str) -> None:
    env = kind(render_mode=mode)
    frame = env.render()
    assert (frame is None) == (mode == "human")
    env.close()


@pytest.mark.parametrize("kind", CLASSES)
def test_human_mode_shows_the_frame(kind: type[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    pygame = pytest.importorskip("pygame", exc_type=ImportError)
    monkeypatch.setitem(CourseEnv.metadata, "render_fps", 10_000)
    env = kind(render_mode="human")
    env.reset(seed=0)
    step(env)
    shown = pygame.surfarray.array3d(pygame.display.get_surface()).swapaxes(0, 1)
    assert np.array_equal(shown, env._frame())
    assert env.render() is None
    for clone in (pickle.loads(pickle.dumps(env)), copy.deepcopy(env)):
        assert clone.get_state() == env.get_state()
    env.close()
    env.close()
    assert not pygame.display.get_init()


def test_human_mode_without_pygame_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def without_pygame(name: str, *rest: Any) -> Any:
        if name == "pygame":
            raise ImportError("no pygame")
        return real_import(name, *rest)

    monkeypatch.delitem(sys.modules, "pygame", raising=False)
    monkeypatch.setattr(builtins, "__import__", without_pygame)
    env = GridWorldEnv(render_mode="human")
    with pytest.raises(DependencyNotInstalled, match="pip install pygame-ce"):
        env.reset()
    env.close()


@pytest.mark.parametrize("kind", CLASSES)
def test_render_without_a_mode_warns(kind: type[Any]) -> None:
    env = kind()
    env.reset()
    with pytest.warns(UserWarning, match="render_mode"):
        assert env.render() is None


def test_pictures_of_awkward_values() -> None:
    for env in (
        OneShotEnv(tau=1000, zeta=1e-3, beta=1e6, action_range=[-1e4, 1e4], render_mode="rgb_array"),
        BanditEnv(means=[0.0, 0.0], stds=0, render_mode="rgb_array"),
        BanditEnv(means=[1e6, -1e6], render_mode="rgb_array"),
        BanditEnv(arms=200, render_mode="rgb_array"),
    ):
        env.reset()
        env.step(np.array([5e4]) if isinstance(env, OneShotEnv) else 1)
        assert env.render().std() > 0


def test_recorded_video_frames() -> None:
    env = gym.wrappers.RenderCollection(gym.make("sb3_course/GridWorld-v0", render_mode="rgb_array"))
    env.reset(seed=0)
    for _ in range(3):
        env.step(0)
    frames = env.render()
    assert len(frames) == 4
    assert len({frame.shape for frame in frames}) == 1


def test_shapes_cover_their_area() -> None:
    def area(draw: Any) -> float:
        canvas = Canvas(60, 60, (0, 0, 0))
        draw(canvas)
        return float((canvas.to_array()[:, :, 0] / 255).sum())

    white = (255, 255, 255)
    assert area(lambda c: c.rectangle(10, 10, 20, 30, white)) == 600
    assert area(lambda c: c.disc((30, 30), 12, white)) == pytest.approx(np.pi * 144, rel=0.01)
    assert area(lambda c: c.ring((30, 30), 12, 4, white)) == pytest.approx(2 * np.pi * 12 * 4, rel=0.02)
    assert area(lambda c: c.line((10, 30), (50, 30), 6, white)) == pytest.approx(240 + np.pi * 9, rel=0.02)
    for corners in ([(5, 5), (45, 5), (5, 35)], [(5, 5), (5, 35), (45, 5)]):
        assert area(lambda c, corners=corners: c.polygon(corners, white)) == pytest.approx(600, rel=0.03)
    # Half outside on each side: cut off, never an error.
    assert area(lambda c: c.disc((0, 60), 12, white)) == pytest.approx(np.pi * 36, rel=0.03)
    assert area(lambda c: c.disc((-50, 30), 12, white)) == 0
    assert area(lambda c: c.text((0, 0), "888", 20, white)) > 0
    assert area(lambda c: c.text((200, 30), "888", 20, white)) == 0


def test_text_stands_where_it_should_and_grows_with_its_size() -> None:
    def ink(text: str, size: float, align: str = "centre") -> tuple[float, float, float, float]:
        canvas = Canvas(400, 100, (0, 0, 0))
        canvas.text((200, 50), text, size, (255, 255, 255), align)
        rows, columns = np.nonzero(canvas.to_array()[:, :, 0] > 60)
        return float(columns.min()), float(columns.max() + 1), float(rows.min()), float(rows.max() + 1)

    for size in (8, 20, 40):
        left, right, top, bottom = ink("H", size)
        assert (top, bottom) == pytest.approx((50 - size / 2, 50 + size / 2), abs=1)
        assert (left + right) / 2 == pytest.approx(200, abs=1)
    assert ink("10 arms", 20, "left")[0] == pytest.approx(201, abs=3)
    assert ink("10 arms", 20, "right")[1] == pytest.approx(199, abs=3)
    wide, narrow = ink("10 arms", 20), ink("10 arms", 10)
    assert wide[1] - wide[0] == pytest.approx(2 * (narrow[1] - narrow[0]), abs=2)


def test_what_the_pictures_write_can_be_told_apart() -> None:
    looks = set()
    characters = "0123456789.-=()acdeglmnoprstuwRS"
    for character in characters:
        canvas = Canvas(30, 30)
        canvas.text((15, 15), character, 12.0)
        looks.add(canvas.to_array().tobytes())
    assert len(looks) == len(characters)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.001, "0"),
        (0.81, ".81"),
        (-0.5, "-.50"),
        (0.999, "1.0"),
        (-1.0, "-1.0"),
        (99.6, "100"),
        (-1234.4, "-1234"),
    ],
)
def test_short_numbers(value: float, text: str) -> None:
    assert short_number(value) == text


def test_colours_tell_signs_apart() -> None:
    assert diverging(0.0, 1.0) == diverging(3.0, 0.0) == (250, 250, 250)
    red, green, _ = diverging(1.0, 1.0)
    assert green > red
    red, green, _ = diverging(-1.0, 1.0)
    assert red > green
    assert diverging(9.0, 1.0) == diverging(1.0, 1.0)


def test_ticks() -> None:
    assert nice_ticks(0.0, 1.08, 5) == pytest.approx([0.0, 0.5, 1.0])
    assert nice_ticks(-10.0, 10.0, 8) == [-10.0, -5.0, 0.0, 5.0, 10.0]
    assert nice_ticks(0.0, 1.0, 5) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert [tick_text(value) for value in (0.1 + 0.2, -0.0, 1e-17, 250000.0)] == ["0.3", "0", "0", "2.5e+05"]
