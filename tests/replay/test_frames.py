"""Frame replay against the buffer of rows: whatever is stored, in any order, equal indices give equal batches."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sb3_course.config.errors import InputError
from sb3_course.replay import PrioritizedReplayBuffer, ReplayBuffer
from sb3_course.replay.frame_buffers import FrameReplayBuffer, PrioritizedFrameReplayBuffer
from sb3_course.replay.frame_pool import FramePool

SIDE, ACTIONS = 3, spaces.Discrete(3)


def image(n_channels: int, axis: int) -> spaces.Box:
    shape = (n_channels, SIDE, SIDE + 1) if axis == 0 else (SIDE + 4, SIDE + 5, n_channels)
    return spaces.Box(0, 255, shape, np.uint8)


#: Observation space, arguments of the buffer.
LAYOUTS: dict[str, tuple[spaces.Space[Any], dict[str, Any]]] = {
    "channels first": (image(4, 0), {"n_stack": 4}),
    "channels last": (image(4, -1), {}),
    "colours first": (image(6, 0), {"n_stack": 2}),
    "frames of channels last": (spaces.Box(0, 255, (3, SIDE, SIDE, 2), np.uint8), {"n_stack": 3, "stack_axis": 0}),
    "dict": (
        spaces.Dict({"speed": spaces.Box(-1, 1, (2,)), "view": image(4, -1), "way": spaces.Discrete(5)}),
        {"n_stack": {"view": 4}},
    ),
    "two views": (spaces.Dict({"a": image(2, 0), "b": image(3, -1)}), {}),
}


class Stacks:
    """Makes the observations of one env: stacks that move on by a frame, or whatever else may come."""

    def __init__(self, space: spaces.Space[Any], arguments: dict[str, Any], rng: np.random.Generator) -> None:
        self.space, self.rng = space, rng
        self.before = self.fresh("noise")
        self.arguments = arguments

    def fresh(self, kind: str) -> Any:
        return self._mapped(self.space, None, kind)

    def after(self, kind: str) -> Any:
        return self._mapped(self.space, self.before, kind)

    def _mapped(self, space: spaces.Space[Any], before: Any, kind: str) -> Any:
        if isinstance(space, spaces.Dict):
            return {name: self._mapped(part, before and before[name], kind) for name, part in space.spaces.items()}
        if len(space.shape or ()) < 3:
            return space.sample() if not isinstance(space, spaces.Discrete) else int(self.rng.integers(5))
        # Few values: frames are often equal by chance, and must not be taken for each other where they are not.
        noise = self.rng.integers(2, size=space.shape).astype(np.uint8)
        if kind == "same" and before is not None:
            return before.copy()
        if kind == "padded":
            noise[: len(noise) // 2] = 0
        if kind == "moved" and before is not None:
            return self._moved(space, before, noise)
        return noise

    def _moved(self, space: spaces.Space[Any], before: np.ndarray, noise: np.ndarray) -> np.ndarray:
        shape = space.shape or ()
        axis = -1 if len(shape) == 3 and shape[-1] < shape[0] else 0
        width = 3 if shape[0] == 6 else 1
        moved = np.roll(before, -width, axis)
        if axis == 0:
            moved[-width:] = noise[-width:]
        else:
            moved[..., -width:] = noise[..., -width:]
        return moved


def together(observations: list[Any]) -> Any:
    if isinstance(observations[0], dict):
        return {name: np.stack([each[name] for each in observations]) for name in observations[0]}
    return np.stack(observations)


def assert_equal(ours: Any, theirs: Any) -> None:
    if isinstance(theirs, dict):
        assert ours.keys() == theirs.keys()
        for name, array in theirs.items():
            assert_equal(ours[name], array)
    elif theirs is not None:
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        np.testing.assert_array_equal(ours, theirs)


class FramesAgainstRows(RuleBasedStateMachine):
    """Both buffers see the same."""

    @initialize(
        layout=st.sampled_from(sorted(LAYOUTS)), n_envs=st.integers(1, 3), slots=st.integers(1, 7),
        n_steps=st.integers(1, 5), prioritized=st.booleans(), seed=st.integers(0, 2**16),
    )  # fmt: skip
    def begin(self, layout: str, n_envs: int, slots: int, n_steps: int, prioritized: bool, seed: int) -> None:
        space, arguments = LAYOUTS[layout]
        slots, self.rng = max(slots, n_steps), np.random.default_rng(seed)
        space.seed(seed)
        common = (slots * n_envs, space, ACTIONS, "cpu")
        window: dict[str, Any] = {"n_envs": n_envs, "n_steps": n_steps, "gamma": 0.9}
        rows, frames = (
            (PrioritizedReplayBuffer, PrioritizedFrameReplayBuffer)
            if prioritized
            else (ReplayBuffer, FrameReplayBuffer)
        )
        self.rows: Any = rows(*common, **window, rng=np.random.default_rng(1))
        self.frames: Any = frames(*common, **window, **arguments, rng=np.random.default_rng(1))
        self.makers = [Stacks(space, arguments, self.rng) for _ in range(n_envs)]

    @rule(
        data=st.data(),
        kinds=st.lists(st.sampled_from(["moved"] * 4 + ["same", "noise", "padded"]), min_size=1, max_size=8),
    )
    def add(self, data: st.DataObject, kinds: list[str]) -> None:
        for kind in kinds:
            first = [maker.before for maker in self.makers]
            following = [maker.after(kind) for maker in self.makers]
            ends = self.rng.integers(4, size=len(self.makers))  # 0: terminated, 1: truncated
            infos = [{"TimeLimit.truncated": bool(end == 1)} for end in ends]
            rewards, actions = self.rng.normal(size=len(ends)), self.rng.integers(3, size=(len(ends), 1))
            for buffer in (self.rows, self.frames):
                buffer.add(together(first), together(following), actions, rewards, ends < 2, infos)
            for maker, end, stack in zip(self.makers, ends, following, strict=True):
                maker.before = stack if end >= 2 else maker.fresh("padded")

    @precondition(lambda self: hasattr(self, "rows") and self.rows.size() > 0)
    @rule(batch_size=st.integers(1, 9))
    def draw(self, batch_size: int) -> None:
        ours, theirs = self.frames.sample_batch(batch_size), self.rows.sample_batch(batch_size)
        for mine, other in zip(ours, theirs, strict=True):
            assert_equal(mine, other)
        self.frames.update(ours.indices, np.arange(1.0, 1 + batch_size))
        self.rows.update(theirs.indices, np.arange(1.0, 1 + batch_size))
        for mine, other in zip(self.frames.sample(batch_size), self.rows.sample(batch_size), strict=True):
            if other is not None:
                for one, two in (
                    zip(mine.values(), other.values(), strict=True) if isinstance(other, dict) else [(mine, other)]
                ):
                    assert (one == two).all()

    @precondition(lambda self: hasattr(self, "rows"))
    @rule(how=st.sampled_from(["state", "pickle", "cut"]))
    def save_and_load(self, how: str) -> None:
        if how == "cut":
            self.rows.cut()
            self.frames.cut()
        elif how == "pickle":
            self.frames = pickle.loads(pickle.dumps(self.frames))
        else:
            self.frames.set_state(self.frames.get_state())

    @invariant()
    def everything_is_equal(self) -> None:
        if not hasattr(self, "rows") or not self.rows.size():
            return
        size = self.rows.size()
        for name in ("observations", "next_observations"):
            ours, theirs = getattr(self.frames, name), getattr(self.rows, name)
            pairs = [(ours[key], theirs[key]) for key in theirs] if isinstance(theirs, dict) else [(ours, theirs)]
            for mine, other in pairs:
                np.testing.assert_array_equal(mine[:size], other[:size])

    @invariant()
    def no_frame_is_lost_or_kept_for_nothing(self) -> None:
        if not hasattr(self, "rows"):
            return
        for column in self.frames._storage.columns_of.values():
            held = np.concatenate([column.references.reshape(-1), column._tails.reshape(-1)])
            assert column.pool.kept == len(set(held[held >= 0].tolist()))


TestFramesAgainstRows = FramesAgainstRows.TestCase
TestFramesAgainstRows.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)


def test_a_transition_costs_a_frame() -> None:
    rng = np.random.default_rng(0)
    buffer = FrameReplayBuffer(100, image(4, 0), ACTIONS, "cpu")
    stack = np.zeros((4, SIDE, SIDE + 1), np.uint8)
    for step in range(300):
        following = np.concatenate([stack[1:], rng.integers(1, 255, (1, SIDE, SIDE + 1)).astype(np.uint8)])
        done = step % 50 == 49
        buffer.add(stack[None], following[None], np.zeros((1, 1)), np.zeros(1), np.array([done]), [{}])
        stack = np.concatenate([np.zeros((3, SIDE, SIDE + 1), np.uint8), following[-1:]]) if done else following
    assert buffer._storage.columns_of[""].pool.kept <= 100 + 4 + 2 * 3  # ends of episodes, and what came before


def test_a_pool_grows_where_episodes_are_short() -> None:
    pool = FramePool(16, (2,), np.uint8)
    numbers = np.array([pool.add(np.array([n, n])) for n in range(100)])
    pool.refer(numbers)
    np.testing.assert_array_equal(pool.take(numbers)[:, 0], np.arange(100))
    pool.let_go(numbers[::2])
    assert pool.kept == 50
    assert {pool.add(np.zeros(2)) for _ in range(50)} == set(range(0, 100, 2))


@pytest.mark.parametrize(
    ("space", "arguments"),
    [
        (image(4, 0), {"n_stack": 3}),
        (image(4, 0), {"n_stack": 0}),
        (spaces.Discrete(3), {}),
        (spaces.Box(0, 1, (2,)), {"n_stack": 4}),
    ],
)
def test_spaces_that_are_no_stacks_are_refused(space: Any, arguments: Any) -> None:
    with pytest.raises(InputError, match=r"^n_stack: "):
        FrameReplayBuffer(10, space, ACTIONS, **arguments)


def test_a_memory_that_does_not_fit_is_refused_with_both_sizes() -> None:
    space = spaces.Box(0, 255, (4, 84, 84), np.uint8)
    with pytest.raises(
        InputError,
        match=r"^buffer_size: .*\(got '100,000,000 transitions, 7\d\d\.\d GB', want at most the [\d.]+ GB free\)",
    ):
        FrameReplayBuffer(100_000_000, space, ACTIONS)
