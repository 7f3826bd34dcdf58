"""n-step windows of the replay buffer against a plain Python loop and against SB3's own buffers."""

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3.common.buffers import NStepReplayBuffer
from stable_baselines3.common.buffers import ReplayBuffer as SB3ReplayBuffer

from sb3_course.config.errors import InputError
from sb3_course.replay import ReplayBuffer, as_batch

OBSERVATION, ACTION = spaces.Box(-1e6, 1e6, (2,)), spaces.Discrete(5)
END = {"running": (False, False), "terminated": (True, False), "truncated": (True, True)}


def record(seed, ends, n_envs):
    """Make up one transition a step and env; `ends[step][env]` says how it ended."""
    generator = np.random.default_rng(seed)
    for step, row in enumerate(ends):
        done, truncated = (np.array([END[end][i] for end in row]) for i in (0, 1))
        yield {
            "obs": np.array([[step, env] for env in range(n_envs)], np.float32),
            "next_obs": np.array([[step + 0.5, env] for env in range(n_envs)], np.float32),
            "action": generator.integers(5, size=n_envs),
            "reward": generator.normal(size=n_envs).astype(np.float32),
            "done": done,
            "infos": [{"TimeLimit.truncated": bool(flag)} for flag in truncated],
        }


def fill(buffer, transitions):
    for transition in transitions:
        buffer.add(*transition.values())


def by_hand(transitions, slot_of, start, env, n_steps, gamma, handle_timeouts):
    """Sum one window in plain Python, in time, not in slots."""
    total, discount, time = 0.0, 1.0, slot_of[start]
    for step in range(n_steps):
        row = transitions[time + step]
        total += discount * float(row["reward"][env])
        discount *= gamma
        if row["done"][env] or time + step + 1 == len(transitions):
            break
    timed_out = handle_timeouts and row["infos"][env]["TimeLimit.truncated"]
    terminated = bool(row["done"][env]) and not timed_out
    return total, discount, terminated, row["next_obs"][env]


@st.composite
def histories(draw):
    n_envs = draw(st.sampled_from([1, 3]))
    slots = draw(st.integers(1, 9))
    row = st.lists(st.sampled_from([*["running"] * 3, "terminated", "truncated"]), min_size=n_envs, max_size=n_envs)
    return {
        "n_envs": n_envs,
        "ends": draw(st.lists(row, min_size=1, max_size=20)),
        "slots": slots,
        "n_steps": draw(st.integers(1, min(slots, 5))),
        "gamma": draw(st.sampled_from([0.0, 0.5, 0.9, 1.0])),
        "handle_timeouts": draw(st.booleans()),
        "seed": draw(st.integers(0, 1000)),
    }


def make(cls, history, **kwargs):
    n_envs = history["n_envs"]
    buffer = cls(
        history["slots"] * n_envs + (n_envs - 1),  # a remainder that is no whole slot
        OBSERVATION,
        ACTION,
        device="cpu",
        n_envs=n_envs,
        handle_timeout_termination=history["handle_timeouts"],
        **kwargs,
    )
    transitions = list(record(history["seed"], history["ends"], n_envs))
    fill(buffer, transitions)
    return buffer, transitions


@settings(max_examples=150)
@given(history=histories())
def test_every_window_equals_a_plain_loop(history):
    buffer, transitions = make(ReplayBuffer, history, n_steps=history["n_steps"], gamma=history["gamma"])
    n_envs, slots = history["n_envs"], history["slots"]
    assert buffer.size() == min(len(transitions), slots)
    # the time of the transition that a slot holds, the latest that was written into it
    slot_of = {time % slots: time for time in range(len(transitions))}
    indices = np.arange(buffer.size() * n_envs)
    batch = buffer.gather(indices)
    np.testing.assert_array_equal(batch.indices, indices)
    np.testing.assert_array_equal(batch.weights, 1)
    for i in indices:
        slot, env = divmod(int(i), n_envs)
        first = transitions[slot_of[slot]]
        total, discount, terminated, last = by_hand(
            transitions, slot_of, slot, env, history["n_steps"], history["gamma"], history["handle_timeouts"]
        )
        np.testing.assert_array_equal(batch.observations[i], first["obs"][env])
        assert batch.actions[i, 0] == first["action"][env]
        np.testing.assert_array_equal(batch.next_observations[i], last)
        np.testing.assert_allclose(batch.rewards[i], total, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(batch.discounts[i], discount * (not terminated), rtol=1e-6)


def sb3_samples(buffer, slots, envs, monkeypatch):
    """Ask SB3's buffer for these slots and envs; it draws the envs itself."""
    monkeypatch.setattr(np.random, "randint", lambda *args, **kwargs: np.asarray(envs))
    return buffer._get_samples(np.asarray(slots))


def assert_equal_samples(mine, theirs):
    for name in ("observations", "actions", "next_observations", "dones", "rewards", "discounts"):
        ours, reference = getattr(mine, name), getattr(theirs, name)
        if reference is None:
            assert ours is None
            continue
        assert ours.shape == reference.shape, name
        assert ours.dtype == reference.dtype, name
        assert th.equal(ours, reference), name


@settings(max_examples=100)
@given(history=histories())
def test_samples_equal_those_of_sb3s_buffers_at_the_same_indices(history):
    """One step: SB3's ReplayBuffer; more: its NStepReplayBuffer. To the last bit, shapes and types included."""
    n_steps = history["n_steps"]
    window = {"n_steps": n_steps, "gamma": history["gamma"]}
    mine, _ = make(ReplayBuffer, history, **window)
    theirs, _ = make(SB3ReplayBuffer, history) if n_steps == 1 else make(NStepReplayBuffer, history, **window)
    indices = np.arange(mine.size() * history["n_envs"])
    slots, envs = np.divmod(indices, history["n_envs"])
    with pytest.MonkeyPatch.context() as monkeypatch:
        reference = sb3_samples(theirs, slots, envs, monkeypatch)
    assert_equal_samples(mine._samples(*mine._gather(indices, None)), reference)
    # and what our learner reads from SB3's buffer is what it reads from ours
    read, own = as_batch(reference, history["gamma"]), mine.gather(indices)
    for name in ("observations", "actions", "next_observations", "rewards", "discounts", "weights"):
        np.testing.assert_array_equal(getattr(read, name), getattr(own, name), err_msg=name)
    assert read.indices is None


def test_a_window_stops_at_the_newest_slot_and_not_at_the_oldest_beside_it():
    """After the ring has wrapped, the slot after the newest is the oldest: of another time."""
    buffer = ReplayBuffer(4, OBSERVATION, ACTION, device="cpu", n_steps=3, gamma=0.5)
    fill(buffer, record(0, [["running"]] * 6, 1))
    assert (buffer.pos, buffer.full) == (2, True)  # slots hold the times 4, 5, 2, 3; the newest slot is 1
    batch = buffer.gather(np.arange(4))
    np.testing.assert_array_equal(batch.observations[:, 0], [4, 5, 2, 3])
    np.testing.assert_array_equal(batch.next_observations[:, 0], [5.5, 5.5, 4.5, 5.5])
    np.testing.assert_allclose(batch.discounts, [0.25, 0.5, 0.125, 0.125])


def test_truncation_ends_a_window_and_bootstraps_and_termination_does_not():
    for end, discount in (("truncated", 0.25), ("terminated", 0.0)):
        buffer = ReplayBuffer(9, OBSERVATION, ACTION, device="cpu", n_steps=4, gamma=0.5)
        fill(buffer, record(0, [["running"], [end], ["running"], ["running"]], 1))
        batch = buffer.gather(np.array([0]))
        assert batch.discounts == [discount]
        assert batch.next_observations[0, 0] == 1.5


def test_without_timeout_handling_a_truncation_counts_as_a_termination():
    buffer = ReplayBuffer(9, OBSERVATION, ACTION, "cpu", n_steps=2, gamma=0.5, handle_timeout_termination=False)
    fill(buffer, record(0, [["running"], ["truncated"], ["running"]], 1))
    np.testing.assert_array_equal(buffer.gather(np.arange(3)).discounts, [0, 0, 0.5])
    assert not buffer.timeouts.any()


@pytest.mark.parametrize("handle_timeouts", [True, False])
def test_a_cut_ends_the_windows_of_running_episodes_and_no_others(handle_timeouts):
    """When the envs are reset in the middle of an episode, what comes next is no continuation."""
    buffer = ReplayBuffer(
        20, OBSERVATION, ACTION, "cpu", n_envs=2, n_steps=3, gamma=0.5, handle_timeout_termination=handle_timeouts
    )
    buffer.cut()  # nothing is stored yet
    transitions = list(record(0, [["running"] * 2, ["running", "terminated"], ["running"] * 2], 2))
    fill(buffer, transitions[:2])
    buffer.cut()
    fill(buffer, transitions[2:])
    batch = buffer.gather(np.arange(6))  # (step, env) = (0, 0), (0, 1), (1, 0), …
    np.testing.assert_array_equal(batch.discounts, [0.25, 0.0, 0.5, 0.0, 0.5, 0.5])
    np.testing.assert_array_equal(batch.next_observations[:, 0], [1.5, 1.5, 1.5, 1.5, 2.5, 2.5])


def test_reading_a_window_leaves_the_buffer_as_it_was():
    buffer = ReplayBuffer(9, OBSERVATION, ACTION, device="cpu", n_steps=3)
    fill(buffer, record(0, [["running"], ["truncated"], ["running"]], 1))
    before = buffer._storage.table.copy()
    batch = buffer.sample_batch(50)
    for array in (batch.observations, batch.next_observations, batch.rewards, batch.actions):
        array += 1  # what is handed out is the caller's
    buffer.sample(50).observations.add_(1)
    np.testing.assert_array_equal(buffer._storage.table, before)


def test_a_window_longer_than_the_buffer_is_refused():
    with pytest.raises(InputError, match=r"^n_steps: a window cannot be longer than the replay buffer \(got 3, want"):
        ReplayBuffer(4, OBSERVATION, ACTION, device="cpu", n_envs=2, n_steps=3)
