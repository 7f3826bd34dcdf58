"""The average sampled gradient is the gradient of the expected return, or the expectation that theory has for it.

100,000 episodes of a frozen policy, collected and weighed by the learner itself. The policy is a table of logits
θ[s, a], so that a gradient is a table too, and every entry of it gets a z-test; all entries of a case together have a
chance of 1e-4 to fail by bad luck (Bonferroni), and seeds are fixed.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from scipy.integrate import quad
from scipy.stats import norm
from stable_baselines3.common.callbacks import ConvertCallback

from sb3_course import REINFORCE, VPG, ReinforceBaseline

N_EPISODES = 100_000
N_ENVS = 400  # few of the many episodes, so that those still open at the end do not matter
GAMMA = 0.9
LOGITS = np.array([[0.3, -0.2], [-0.5, 0.4], [0.1, 0.2]])  # of the three states
LOST = 0.0001  # chance to fail although everything is right

# name: (class, arguments, whether γ^t is on, which values the critic is given)
CASES: dict[str, tuple[type, dict[str, Any], str, str | None]] = {
    "vpg": (VPG, {}, "gradient", None),
    "vpg, constant": (VPG, {"baseline": 0.7}, "gradient", None),
    "vpg with the factor": (VPG, {"discount_states": True}, "gradient", None),
    "reinforce": (REINFORCE, {"discount_states": True}, "gradient", None),
    "reinforce without the factor": (REINFORCE, {}, "without_factor", None),
    "constant baseline": (REINFORCE, {"discount_states": True, "baseline": -1.5}, "gradient", None),
    "running mean": (REINFORCE, {"discount_states": True, "baseline": "mean"}, "gradient", None),
    "value baseline": (ReinforceBaseline, {"discount_states": True}, "gradient", "exact"),
    "a wrong value baseline": (ReinforceBaseline, {"discount_states": True}, "gradient", "wrong"),
    "value baseline without the factor": (ReinforceBaseline, {}, "without_factor", "exact"),
    "TD residual": (ReinforceBaseline, {"psi": "gae", "gae_lambda": 0.0, "discount_states": True}, "gradient", "exact"),
    "TD residual without the factor": (ReinforceBaseline, {"psi": "gae", "gae_lambda": 0.0}, "without_factor", "exact"),
    "gae": (ReinforceBaseline, {"psi": "gae", "gae_lambda": 0.5, "discount_states": True}, "gradient", "exact"),
    "gae(1), wrong values": (ReinforceBaseline, {"psi": "gae", "discount_states": True}, "gradient", "wrong"),
}  # fmt: skip


def collect(env: Any, logits: np.ndarray) -> Any:
    """Return the episodes of one update, collected by the learner's own loop."""
    model = frozen(REINFORCE, env, logits, None)
    _, callback = model._setup_learn(1, ConvertCallback(None))
    model._endless = 10**9
    assert model.collect_rollouts(model.env, callback, model.rollout_buffer, None)
    return model.rollout_buffer.take_episodes()


def episode_gradients(model: Any, batch: Any) -> np.ndarray:
    """Return every episode's gradient of J with respect to the logits, (K, S·A)."""
    _, grad_outputs, _ = model._gradient(batch)
    grad_logits = -np.asarray(grad_outputs)[:, : model.action_space.n].astype(np.float64) * batch.n_episodes
    episode = np.append(0, np.cumsum(batch.ends)[:-1])
    n_states = model.observation_space.n
    cells, n = episode * n_states + batch.observations, batch.n_episodes * n_states
    columns = [np.bincount(cells, weights=column, minlength=n) for column in grad_logits.T]
    return np.stack(columns, axis=1).reshape(batch.n_episodes, -1)


def frozen(cls: type, env: Any, logits: np.ndarray, values: np.ndarray | None, **arguments: Any) -> Any:
    """Return a model whose policy is exactly the table `logits` and whose critic, if any, says `values`."""
    model: Any = cls(
        "MlpPolicy", env, gamma=GAMMA, seed=0, device="cpu", policy_kwargs={"net_arch": []},
        episodes_per_update=N_EPISODES, **arguments,
    )  # fmt: skip
    with th.no_grad():
        model.policy.action_net.weight.copy_(th.from_numpy(logits.T))
        model.policy.action_net.bias.zero_()
        if values is not None:
            model.policy.value_net.weight.copy_(th.from_numpy(values)[None])
            model.policy.value_net.bias.zero_()
    return model


def assert_mean(samples: np.ndarray, expected: np.ndarray) -> None:
    """Every column's mean agrees with what is expected of it, by a z-test."""
    error = samples.std(axis=0, ddof=1) / np.sqrt(len(samples))
    assert (np.abs(samples.mean(axis=0) - expected)[error == 0] < 1e-6).all()
    z = np.abs(samples.mean(axis=0) - expected)[error > 0] / error[error > 0]
    assert z.max() < norm.isf(LOST / 2 / len(z))


@pytest.fixture(scope="module")
def episodes(three_states: Any, tabular_vec_env: Any) -> Any:
    return collect(tabular_vec_env(*three_states, N_ENVS, seed=1), LOGITS)


@pytest.mark.parametrize("name", CASES)
def test_three_states(name: str, episodes: Any, three_states: Any, tabular_vec_env: Any, exact_gradient: Any) -> None:
    P, start = three_states
    cls, arguments, which, critic = CASES[name]
    truth = exact_gradient(P, start, LOGITS, GAMMA)
    values = {None: None, "exact": truth.values, "wrong": truth.values[::-1] + 1}[critic]
    model = frozen(cls, tabular_vec_env(P, start, 1, seed=1), LOGITS, values, **arguments)
    model._return_mean = 0.4  # of the running mean: what earlier updates left
    samples = episode_gradients(model, episodes)
    assert_mean(samples, getattr(truth, which).ravel())
    other = truth.without_factor if which == "gradient" else truth.gradient
    with pytest.raises(AssertionError):  # the test can tell the two apart
        assert_mean(samples, other.ravel())


def test_grid_world(tabular_vec_env: Any, exact_gradient: Any) -> None:
    anywhere = ["SSSG", "S#SB", "SSSS"]  # starts everywhere: shorter episodes, and no state that is seldom seen
    grid: Any = gym.make("sb3_course/GridWorld-v0", slip=0.2, map=anywhere).unwrapped
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=0.3, size=(len(grid.P), 4)) + np.array([-1.0, 1.2, 1.2, -1.0])  # right and up
    truth = exact_gradient(grid.P, grid.initial_state_distrib, logits, GAMMA)
    env = tabular_vec_env(grid.P, grid.initial_state_distrib, N_ENVS, seed=2)
    episodes = collect(env, logits)
    for name in ("vpg", "reinforce without the factor", "TD residual"):  # the others weigh as on three states
        cls, arguments, which, critic = CASES[name]
        model = frozen(cls, env, logits, truth.values if critic else None, **arguments)
        assert_mean(episode_gradients(model, episodes), getattr(truth, which).ravel())


def test_the_factor_on_a_chain_of_two_steps(tabular_vec_env: Any, exact_gradient: Any) -> None:
    """By hand: action 1 pays 1 in the second state only, γ = 0.9, π = ½: 0.225 with the factor, 0.25 without."""
    P = {0: {a: [(1.0, 1, 0.0, False)] for a in (0, 1)}, 1: {a: [(1.0, 1, float(a), True)] for a in (0, 1)}}
    truth = exact_gradient(P, [1.0, 0.0], np.zeros((2, 2)), GAMMA)
    assert truth.gradient[1, 1] == pytest.approx(0.225)
    assert truth.without_factor[1, 1] == pytest.approx(0.25)
    env = tabular_vec_env(P, [1.0, 0.0], N_ENVS, seed=3)
    episodes = collect(env, np.zeros((2, 2)))
    for factor, expected in ((True, truth.gradient), (False, truth.without_factor)):
        model = frozen(REINFORCE, env, np.zeros((2, 2)), None, discount_states=factor)
        assert_mean(episode_gradients(model, episodes), expected.ravel())


@pytest.mark.parametrize("baseline", ["none", "mean", 0.5])
def test_one_shot_by_quadrature(baseline: Any) -> None:
    """∇_μ J and ∇_log σ J of R = ζβ / max(ζ, |τ − a|) under N(μ, σ²)."""
    mu, sigma, env = 2.0, 1.5, gym.make("sb3_course/OneShot-v0")
    shot: Any = env.unwrapped

    def reward(a: float) -> float:
        return shot.zeta * shot.beta / max(shot.zeta, abs(shot.tau - a))

    def expectation(score: Any) -> float:
        kinks = [shot.tau - shot.zeta, shot.tau, shot.tau + shot.zeta]
        value, _ = quad(
            lambda a: reward(a) * score(a) * norm.pdf(a, mu, sigma), mu - 12, mu + 12, points=kinks, limit=500
        )
        return float(value)

    expected = [expectation(lambda a: (a - mu) / sigma**2), expectation(lambda a: ((a - mu) / sigma) ** 2 - 1)]
    model: Any = REINFORCE("MlpPolicy", env, seed=0, device="cpu", baseline=baseline, policy_kwargs={"net_arch": []})
    model._return_mean = 0.3
    rng = np.random.default_rng(4)
    outputs = np.tile(np.array([mu, np.log(sigma)]), (N_EPISODES, 1))
    actions = model._distribution.sample(outputs, rng.standard_normal((N_EPISODES, 1)))
    rewards = np.array([reward(float(a)) for a in actions[:, 0]])
    psi = rewards - model._baseline(rewards, None)
    samples = model._distribution.log_prob(outputs, actions).gradients * psi[:, None]
    assert_mean(samples, np.array(expected))
