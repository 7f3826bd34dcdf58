"""The details of the course's articles: when they learn, what falls how fast, what an end is worth."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th

from sb3_course import DoubleDQN, NoDoneMask, NumpyDQN
from sb3_course.runs import Settings, presets
from sb3_course.runs.environment import training_env
from sb3_course.runs.model import build_model

FREE = {"exploration_initial_eps": 0.0, "exploration_final_eps": 0.0}


def article(name: str, **changes: Any) -> Any:
    """Return an article's model in its environment, ready to learn."""
    settings = Settings.from_config({**presets.article(name), "seed": 0, **changes})
    return build_model(settings, training_env(settings))


def ended(model: Any) -> np.ndarray:
    """Return the flat indices of the transitions that ended an episode."""
    return np.flatnonzero(model.replay_buffer.dones[: model.replay_buffer.pos].reshape(-1))


def test_in_the_numpy_dqn_epsilon_falls_by_transition_and_the_learning_rate_by_replay() -> None:
    model = article("numpy-dqn")
    epsilons, rates = [], []
    act, train = model._epsilon, model.train
    model._epsilon = lambda n_envs: epsilons.append(act(n_envs)) or epsilons[-1]

    def replay(**kwargs: Any) -> None:
        train(**kwargs)
        rates.append((model.num_timesteps, model.policy.optimizer.param_groups[0]["lr"]))

    model.train = replay
    model.learn(80)
    # As the article's loops do it: a replay of 20 after every step from the 20th on.
    epsilon, rate, expected_epsilons, expected_rates = 1.0, 1e-3, [], []
    for step in range(1, 81):
        expected_epsilons.append(max(epsilon, 0.01))
        if step >= 20:
            expected_rates.append((step, pytest.approx(rate, rel=1e-12)))
            epsilon, rate = epsilon * 0.995**20, rate * 0.995
    np.testing.assert_allclose(epsilons, expected_epsilons, rtol=1e-12)
    assert rates == expected_rates


def test_the_learning_rate_of_the_numpy_dqn_has_its_floor() -> None:
    model = article("numpy-dqn").learn(20)
    for n_updates, rate in ((20 * 459, 1e-3 * 0.995**459), (20 * 460, 1e-4), (20 * 10_000, 1e-4)):
        model._n_updates = n_updates
        model._update_learning_rate(model.policy.optimizer)
        assert model.policy.optimizer.param_groups[0]["lr"] == pytest.approx(rate, rel=1e-12)


def test_a_replay_is_counted_whole_whatever_its_length() -> None:
    model = NumpyDQN("MlpPolicy", "CartPole-v1", gradient_steps=49, decay_unit="replay", seed=0).learn(21)
    assert model._n_updates == 49
    assert model.exploration_rate == 0.995


def test_an_end_of_the_numpy_dqn_is_worth_minus_one_whatever_ended_it() -> None:
    """Fallen or out of time: y = −1; elsewhere r = 1 and y = r + γ·max Q."""
    model = article("numpy-dqn", env_kwargs={"max_episode_steps": 12}).learn(200)
    batch = model.replay_buffer.gather(np.arange(200))
    ends = ended(model)
    fallen = model.replay_buffer.next_observations[ends, 0]
    out_of_time = np.abs(fallen[:, 2]) < 0.2095  # CartPole's limit of the angle, 12 degrees
    assert 0 < out_of_time.sum() < len(ends)
    others = np.setdiff1d(np.arange(200), ends)
    assert (batch.rewards[ends] == -1).all()
    assert (batch.discounts[ends] == 0).all()
    assert (batch.rewards[others] == 1).all()
    np.testing.assert_array_equal(batch.discounts[others], np.float32(0.95))


def test_the_numpy_dqn_steps_on_half_the_squared_error_without_a_target_network() -> None:
    """One plain SGD step for a transition: θ ← θ − lr·δ·∇Q(s, a), both networks the same."""
    model = article("numpy-dqn").learn(19)
    before = [parameter.detach().clone() for parameter in model.q_net.parameters()]
    batch = model.replay_buffer.gather(np.array([3]))
    loss = model._update(batch)
    net = model.q_net.q_net
    with th.no_grad():
        after = [parameter.detach().clone() for parameter in net.parameters()]
        for parameter, value in zip(net.parameters(), before, strict=True):
            parameter.copy_(value)
        y = batch.rewards[0] + batch.discounts[0] * net(th.tensor(batch.next_observations)).max()
    error = net(th.tensor(batch.observations))[0, int(batch.actions.item())] - y
    assert loss == pytest.approx(0.5 * error.item() ** 2, rel=1e-5)
    error.square().mul(0.5).backward()
    for parameter, stepped in zip(net.parameters(), after, strict=True):
        th.testing.assert_close(parameter - 1e-3 * parameter.grad, stepped, rtol=1e-5, atol=1e-8)


def test_the_weights_and_biases_of_the_numpy_dqn_are_uniform() -> None:
    net = article("numpy-dqn").q_net.q_net
    values = th.cat([parameter.detach().flatten() for parameter in net.parameters()])
    assert values.abs().max() <= 0.5
    assert len(values) == 5 * 24 + 25 * 24 + 25 * 2
    # The standard deviation of U(−½, ½) is 1/√12 = 0.289; 770 draws are within 4 % of it.
    assert values.std().item() == pytest.approx(12**-0.5, rel=0.04)
    assert th.cat([layer.bias.detach() for layer in net[::2]]).std().item() == pytest.approx(12**-0.5, rel=0.2)


def test_deep_q_learning_draws_64_of_the_last_100_000_at_every_step() -> None:
    model = article("deep-q-learning", learning_starts=70)
    sizes = []
    update = model._update
    model._update = lambda batch: sizes.append(len(batch.rewards)) or update(batch)
    model.learn(100)
    assert sizes == [64] * 30
    assert model.replay_buffer.buffer_size == 100_000


def test_the_tutorial_has_no_done_mask_and_explores_by_its_policy_while_its_memory_fills() -> None:
    model = article("pytorch-dqn-tutorial", **FREE)
    start = [parameter.detach().clone() for parameter in model.q_net.parameters()]
    model.learn(300)
    stored = model.replay_buffer
    greedy = model.predict(stored.observations[:300, 0], deterministic=True)[0]
    np.testing.assert_array_equal(stored.actions[:300].reshape(-1), greedy)
    assert len(ended(model)) > 10
    np.testing.assert_array_equal(stored.gather(ended(model)).discounts, np.float32(0.9))
    assert all(th.equal(*pair) for pair in zip(model.q_net.parameters(), start, strict=True))  # nothing was learnt yet


def test_warming_up_at_random_is_still_the_default() -> None:
    model = DoubleDQN("MlpPolicy", "CartPole-v1", learning_starts=200, seed=0, **FREE).learn(200)
    stored = model.replay_buffer
    greedy = model.predict(stored.observations[:200, 0], deterministic=True)[0]
    assert 0.3 < (stored.actions[:200].reshape(-1) == greedy).mean() < 0.7
    assert model.warmup == "random"


@pytest.mark.parametrize("truncated", [True, False])
def test_an_end_without_a_mask_is_a_truncation(truncated: bool) -> None:
    env = NoDoneMask(gym.make("CartPole-v1", max_episode_steps=5 if truncated else 500))
    env.reset(seed=0)
    steps = [env.step(1) for _ in range(5)]
    while not steps[-1][3]:
        steps.append(env.step(1))
    assert not any(terminated for _, _, terminated, *_ in steps)
    assert [step[3] for step in steps] == [False] * (len(steps) - 1) + [True]
    assert {reward for _, reward, *_ in steps} == {1.0}


def test_the_notes_dqn_synchronises_after_the_first_episode_and_every_twentieth_from_there() -> None:
    model = article("notes-dqn")
    learnt, synced = [], []
    train, update_target = model.train, model._backend.update_target
    model.train = lambda **kwargs: learnt.append(model.num_timesteps) or train(**kwargs)
    model._backend.update_target = lambda tau: synced.append(model._n_finished) or update_target(tau)
    model.learn(1_200)
    assert model._n_finished > 41
    assert synced == list(range(1, model._n_finished + 1, 20))
    assert learnt == list(range(32, 1_201))  # from the first full batch on


def test_the_notes_actor_critic_learns_at_every_step() -> None:
    assert article("notes-actor-critic").learn(50)._n_updates == 50
    assert article("notes-reinforce").learn(50)._n_updates < 5
