"""Replay buffers saved by version 0.1, when storage and draw were no parts yet, load and go on bit for bit.

The files in `tests/old_files/replay` were written by that version (commit ea33da3), with `make_files` below::

    PYTHONPATH=<checkout of ea33da3> python tests/replay/test_old_buffers.py tests/old_files/replay
"""

import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.save_util import load_from_pkl, save_to_pkl

from sb3_course.replay import PrioritizedReplayBuffer, ReplayBuffer

OLD = Path(__file__).parents[1] / "old_files" / "replay"
BOX = spaces.Box(-1, 1, (2,))
KINDS = {
    "uniform": (ReplayBuffer, BOX, 2, {}),
    "uniform_windows": (ReplayBuffer, spaces.Dict({"x": BOX, "n": spaces.Discrete(4)}), 1, {"n_steps": 3}),
    "prioritized": (PrioritizedReplayBuffer, spaces.Dict({"x": BOX}), 1, {"alpha": 0.7, "beta": 0.5}),
    "prioritized_windows": (PrioritizedReplayBuffer, BOX, 2, {"n_steps": 3, "gamma": 0.9, "priority_eps": 1e-3}),
}


def make(kind):
    cls, space, n_envs, options = KINDS[kind]
    return cls(24, space, spaces.Discrete(3), "cpu", n_envs=n_envs, rng=np.random.default_rng(5), **options)


def fill(buffer, steps, seed):
    generator = np.random.default_rng(seed)
    n_envs = buffer.n_envs

    def observe():
        x = generator.random((n_envs, 2), np.float32)
        space = buffer.observation_space
        if not isinstance(space, spaces.Dict):
            return x
        return {key: x if key == "x" else generator.integers(4, size=n_envs) for key in space.spaces}

    for _ in range(steps):
        dones = generator.random(n_envs) < 0.3
        infos = [{"TimeLimit.truncated": bool(done and generator.random() < 0.5)} for done in dones]
        actions = generator.integers(3, size=n_envs)
        buffer.add(observe(), observe(), actions, generator.normal(size=n_envs), dones, infos)


def arrays(batch):
    """Return all arrays of a batch, flat, one after the other."""
    parts = [part for field in batch for part in (field.values() if isinstance(field, dict) else [field])]
    return np.concatenate([np.asarray(part, np.float64).ravel() for part in parts])


def go_on(buffer):
    """Draw, update and store, three times, and return all that was drawn."""
    drawn = []
    for turn in range(3):
        batch = buffer.sample_batch(8)
        drawn.append(arrays(batch))
        buffer.update(batch.indices, np.abs(batch.rewards))
        fill(buffer, 2, seed=turn)
    return np.stack(drawn)


@pytest.mark.parametrize("kind", KINDS)
def test_a_buffer_pickled_by_the_old_version_goes_on_bit_for_bit(kind):
    buffer = load_from_pkl(OLD / f"{kind}.pkl")
    assert type(buffer) is KINDS[kind][0]
    again = pickle.loads(pickle.dumps(buffer))
    for each in (buffer, again):
        np.testing.assert_array_equal(go_on(each), np.load(OLD / f"{kind}.npy"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_of_the_old_version_is_taken_and_goes_on_bit_for_bit(kind):
    from sb3_course.saving.arrays import load_state

    buffer = make(kind)
    fill(buffer, 7, seed=1)
    buffer.set_state(load_state(OLD / f"{kind}.npz"))
    np.testing.assert_array_equal(go_on(buffer), np.load(OLD / f"{kind}.npy"))


def test_what_users_read_of_an_old_prioritized_buffer_is_there():
    buffer = load_from_pkl(OLD / "prioritized.pkl")
    assert (buffer.alpha, buffer.beta, buffer.priority_eps, buffer.pos, buffer.full) == (0.7, 0.6, 1e-6, 20, False)
    assert buffer.max_priority > 1
    assert buffer.tree[np.arange(24)].nonzero()[0].tolist() == list(range(20))
    assert buffer.observations["x"].shape == (24, 1, 2)
    buffer.connect(beta0=0.5)  # that of the model which loads it
    buffer.progress(0.5)
    assert buffer.beta == 0.75


def make_files(folder):
    """Write a replay buffer as `save_replay_buffer` does, its state as a checkpoint does, and what comes after."""
    from sb3_course.runs.state import save_state  # where it was in that version

    for kind in KINDS:
        buffer = make(kind)
        fill(buffer, 20, seed=9)
        buffer.update(np.arange(20), np.random.default_rng(0).exponential(size=20))
        if isinstance(buffer, PrioritizedReplayBuffer):
            buffer.beta = 0.6
        save_to_pkl(folder / f"{kind}.pkl", buffer)
        save_state(folder / f"{kind}.npz", buffer.get_state())
        np.save(folder / f"{kind}.npy", go_on(buffer))


if __name__ == "__main__":
    make_files(Path(sys.argv[1]))
