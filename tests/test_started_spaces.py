"""Spaces that do not start at 0: a run is, number for number, the run of the same env counted from 0."""

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.logger import configure

from sb3_course import A3C, REINFORCE, ActorCritic, DoubleDQN, NumpyDQN, PrioritizedDQN, QTable, Rainbow
from sb3_course.config.errors import InputError

SMALL = {"seed": 0, "device": "cpu"}
REPLAY = {"learning_starts": 20, "batch_size": 8, "buffer_size": 200, "policy_kwargs": {"net_arch": [8]}}
ROLLOUT = {"policy_kwargs": {"net_arch": [8]}}
# name: (class, its arguments)
RUNS = {
    "q_table": (QTable, {"exploration_initial_eps": 0.5}),
    "double_dqn": (DoubleDQN, REPLAY | {"backend": "torch"}),
    "per_dqn": (PrioritizedDQN, REPLAY | {"backend": "numpy"}),
    "numpy_dqn": (NumpyDQN, REPLAY | {"batch_size": 1, "exploration_decay": 0.999}),
    "rainbow": (Rainbow, REPLAY | {"n_atoms": 5, "v_min": -5.0, "v_max": 5.0}),
    "reinforce": (REINFORCE, ROLLOUT | {"backend": "numpy"}),
    "actor_critic": (ActorCritic, ROLLOUT | {"backend": "torch"}),
}


def grid(pairs_seen=False, pairs_done=False, starts=(0, 0, 0, 0), form=None):
    """Return the grid world with states and actions counted from elsewhere, singly or as pairs of numbers."""
    seen, seen_2, done, done_2 = starts
    env = gym.make("sb3_course/GridWorld-v0", max_episode_steps=15)
    n_states, n_actions = int(env.observation_space.n), int(env.action_space.n)
    if pairs_seen:
        look = spaces.MultiDiscrete([n_states, 3], start=[seen, seen_2])
        env = gym.wrappers.TransformObservation(env, lambda s: np.array([s + seen, s % 3 + seen_2]), look)
    else:
        env = gym.wrappers.TransformObservation(env, lambda s: s + seen, spaces.Discrete(n_states, start=seen))
    if form is not None:
        space = spaces.Dict(state=env.observation_space, rest=spaces.Box(-1, 1, (2,), np.float32))
        env = gym.wrappers.TransformObservation(env, lambda s: {"state": s, "rest": np.zeros(2, np.float32)}, space)
    if pairs_done:  # an action outside the space is a KeyError
        of = {(i + done, j + done_2): 2 * i + j for i in range(2) for j in range(2)}
        acts = spaces.MultiDiscrete([2, 2], start=[done, done_2])
        return gym.wrappers.TransformAction(env, lambda a: of[int(a[0]), int(a[1])], acts)
    of = {i + done: i for i in range(n_actions)}
    return gym.wrappers.TransformAction(env, lambda a: of[int(a)], spaces.Discrete(n_actions, start=done))


STARTS = (5, -1, -2, 7)
# Whether observations are pairs; a table has one row a state.
CASES = [(name, pairs_seen) for name in RUNS for pairs_seen in (False, True) if (name, pairs_seen) != ("q_table", True)]


def assert_same_run(one, two, shift):
    """Compare weights to the bit, and predictions less their start."""
    for mine, other in zip(one.policy.parameters(), two.policy.parameters(), strict=True):
        assert th.equal(mine, other)
    for deterministic in (True, False):
        actions, counted = (predictions(model, deterministic) for model in (one, two))
        np.testing.assert_array_equal(actions - np.array(shift), counted)
        assert all(one.action_space.contains(action.astype(one.action_space.dtype)[()]) for action in actions)


def predictions(model, deterministic):
    model.set_random_seed(4)
    model.observation_space.seed(3)
    seen = [model.observation_space.sample() for _ in range(8)]
    return np.array([model.predict(observation, deterministic=deterministic)[0] for observation in seen])


@pytest.mark.parametrize(("name", "pairs_seen"), CASES)
def test_a_run_is_that_of_the_env_counted_from_0(name, pairs_seen):
    cls, settings = RUNS[name]
    pairs_done = issubclass(cls, REINFORCE | ActorCritic)
    runs = [
        cls("MlpPolicy", grid(pairs_seen, pairs_done, starts), **(SMALL | settings)).learn(120)
        for starts in (STARTS, (0, 0, 0, 0))
    ]
    assert runs[0]._n_updates == runs[1]._n_updates > 0
    assert_same_run(*runs, shift=[-2, 7] if pairs_done else -2)
    if not pairs_done:
        stored = [model.replay_buffer.actions for model in runs]
        filled = slice(0, runs[0].replay_buffer.size())
        np.testing.assert_array_equal(stored[0][filled], stored[1][filled] - 2)  # replay keeps the env's own


def test_a_table_has_its_first_row_for_the_first_state():
    """One step with α = ½: Q[s − start, a − start] = r/2, and nothing else."""
    model = QTable("MlpPolicy", grid(starts=STARTS), learning_rate=0.5, **SMALL)
    model.replay_buffer.add(np.array([7]), np.array([6]), np.array([1]), np.array([3.0]), np.array([True]), [{}])
    model.set_logger(configure(None, []))
    model.train(1, batch_size=1)
    expected = np.zeros_like(model.q_table)
    expected[2, 3] = 1.5
    np.testing.assert_array_equal(model.q_table, expected)
    assert model.predict(np.array([7]), deterministic=True)[0].tolist() == [1]


def test_dict_observations_count_their_parts_from_0():
    runs = [
        DoubleDQN("MultiInputPolicy", grid(starts=starts, form="dict"), **SMALL, **REPLAY).learn(80)
        for starts in (STARTS, (0, 0, 0, 0))
    ]
    assert_same_run(*runs, shift=-2)


@pytest.mark.usefixtures("workers_from_one_server")
def test_a3cs_workers_count_as_their_envs_do():
    """One worker is the synchronous rule, which the tests above have for the env counted from 0."""
    started = A3C("MlpPolicy", grid(pairs_seen=True, starts=STARTS), n_workers=1, learning_rate=0.01, **SMALL)
    settings = SMALL | {"n_steps": 5, "gae_lambda": 1.0, "learning_rate": 0.01, "max_grad_norm": 0.5}
    counted = ActorCritic("MlpPolicy", grid(pairs_seen=True), policy_kwargs=started.policy_kwargs, **settings)
    assert_same_run(started.learn(40), counted.learn(40), shift=-2)


@pytest.mark.parametrize("pairs_done", [False, True], ids=["one number", "pairs"])
@pytest.mark.parametrize("cls", [A2C, PPO])
def test_our_policies_count_so_in_sb3s_actor_critics_too(cls, pairs_done):
    settings = {"n_steps": 32, "batch_size": 32} if cls is PPO else {}
    runs = [
        cls("NoisyMlpPolicy", grid(True, pairs_done, starts), **SMALL, **settings).learn(64)
        for starts in (STARTS, (0, 0, 0, 0))
    ]
    assert_same_run(*runs, shift=[-2, 7] if pairs_done else -2)
    observations = th.tensor(np.array([[5, -1], [8, 1]]))
    actions, values, log_prob = runs[0].policy(observations)
    again = runs[0].policy.evaluate_actions(observations, actions)
    assert th.equal(again[0], values)
    th.testing.assert_close(again[1], log_prob)


def test_sb3s_dqn_refuses_actions_that_it_cannot_count():
    with pytest.raises(InputError, match=r"^action_space: .*got Discrete\(4, start=-2\).*want start=0") as refusal:
        DQN("DuelingMlpPolicy", grid(starts=(0, 0, -2, 0)), **SMALL)
    assert isinstance(refusal.value, AssertionError)
    observed = DQN("DuelingMlpPolicy", grid(starts=(5, 0, 0, 0)), **SMALL)
    outputs = observed.q_net.outputs(th.tensor([5, 7]))
    first = observed.q_net.q_net(th.eye(int(observed.observation_space.n))[[0, 2]])
    th.testing.assert_close(outputs, first, rtol=0, atol=0)
