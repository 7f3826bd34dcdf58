"""How noisy each estimator of the policy gradient is: the trace of its covariance, as one Markdown table.

    OMP_NUM_THREADS=1 python benchmarks/variance.py --steps 0 5000 20000 50000 --episodes 1000

REINFORCE is trained on CartPole-v1 and frozen after each number of --steps. Each frozen policy plays --episodes
episodes, and every estimator makes its gradients, ``Σ_t ∇ log π(a_t|s_t) · Ψ_t``, of the same ones. The baselines that
are fitted are fitted to as many other episodes of the same policy.
"""

from __future__ import annotations

import argparse
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import torch as th
from torch import nn

from sb3_course import REINFORCE
from sb3_course.functional.distributions import CategoricalActions
from sb3_course.functional.returns import reward_to_go, total_return
from sb3_course.networks import mlp

LAW = CategoricalActions(2)
ESTIMATORS = ("VPG", "REINFORCE", "running mean", "constant", "value network")


class Episode(NamedTuple):
    """What one env saw and did until its first end, and what came of it."""

    observations: np.ndarray  # (T, 4)
    actions: np.ndarray  # (T, 1)
    returns: np.ndarray  # G_t, (T,)
    total: np.ndarray  # G(τ) at every step, (T,)


def play(policy: Any, n_episodes: int, gamma: float, rng: np.random.Generator) -> list[Episode]:
    """Let as many envs play one episode each: no episode is left out for being long."""
    env = gym.make_vec("CartPole-v1", num_envs=n_episodes, vectorization_mode="vector_entry_point")
    observations, _ = env.reset(seed=int(rng.integers(2**31)))
    rows, lengths = [], np.zeros(n_episodes, dtype=int)  # 0: not yet at its end
    while not lengths.all():
        with th.no_grad():
            outputs = policy.outputs(th.as_tensor(observations)).numpy()
        actions = LAW.sample(outputs, rng.random((n_episodes, 1)))
        following, rewards, terminated, truncated, _ = env.step(actions[:, 0])
        rows.append((observations.copy(), actions, rewards.copy()))
        lengths[(terminated | truncated) & (lengths == 0)] = len(rows)
        observations = following
    env.close()
    columns = [np.stack(column) for column in zip(*rows, strict=True)]
    episodes = []
    for i, length in enumerate(lengths):
        observed, done, rewards = (column[:length, i] for column in columns)
        ends = np.arange(length) == length - 1
        episodes.append(Episode(observed, done, reward_to_go(rewards, ends, gamma), total_return(rewards, ends, gamma)))
    return episodes


def fit_values(episodes: list[Episode], epochs: int = 30) -> nn.Module:
    """Return a network fitted to the returns of `episodes` by least squares."""
    inputs = th.as_tensor(np.concatenate([episode.observations for episode in episodes]), dtype=th.float32)
    returns = th.as_tensor(np.concatenate([episode.returns for episode in episodes]), dtype=th.float32)
    mean, std = returns.mean(), returns.std()
    network = nn.Sequential(*mlp([4, 64, 64, 1], nn.Tanh))
    optimizer = th.optim.Adam(network.parameters(), lr=3e-3)
    schedule = th.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, epochs)
    for _ in range(epochs):
        for rows in th.randperm(len(inputs)).split(256):
            optimizer.zero_grad()
            ((network(inputs[rows])[:, 0] - (returns[rows] - mean) / std) ** 2).mean().backward()
            optimizer.step()
        schedule.step()
    with th.no_grad():
        network[-1].weight *= std
        network[-1].bias.mul_(std).add_(mean)
    return network


def weights(episodes: list[Episode], others: list[Episode]) -> list[np.ndarray]:
    """Return Ψ of each episode by each estimator, (K, T)."""
    constant = np.concatenate([episode.returns for episode in others]).mean()
    values, seen, psi = fit_values(others), (0.0, 0), []
    for episode in episodes:
        returns = episode.returns
        running = seen[0] / max(seen[1], 1)  # of the returns before this episode, at the start 0
        seen = seen[0] + returns.sum(), seen[1] + len(returns)
        with th.no_grad():
            value = values(th.as_tensor(episode.observations))[:, 0].numpy()
        psi.append(np.stack([episode.total, returns, returns - running, returns - constant, returns - value]))
    return psi


def gradients(policy: Any, episodes: list[Episode], psi: list[np.ndarray]) -> np.ndarray:
    """Return every episode's gradient with respect to all parameters by each estimator, (K, episodes, P)."""
    parameters, result = list(policy.parameters()), []
    for episode, weight in zip(episodes, psi, strict=True):
        outputs = policy.outputs(th.as_tensor(episode.observations))
        scores = LAW.log_prob(outputs.detach(), th.as_tensor(episode.actions)).gradients  # (T, 2)
        directions = th.as_tensor(weight, dtype=th.float32)[:, :, None] * scores
        parts = th.autograd.grad(outputs, parameters, directions, is_grads_batched=True)
        result.append(th.cat([part.flatten(1) for part in parts], dim=1).numpy())
    return np.stack(result, axis=1).astype(np.float64)


def traces(samples: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the trace of the covariance of the samples, each taken so many times, (n, P), (B, n) -> (B,).

    ``(Σ_i ‖g_i‖² − ‖Σ_i g_i‖²/n) / (n − 1)``, from the products ``g_i·g_j`` alone.
    """
    n, products = len(samples), samples @ samples.T
    squared_sums = ((counts @ products) * counts).sum(1)
    result: np.ndarray = (counts @ products.diagonal() - squared_sums / n) / (n - 1)
    return result


def row(policy: Any, steps: int, n_episodes: int, gamma: float, rng: np.random.Generator) -> tuple[str, str]:
    """Return one policy's rows of both tables: the traces, and their ratios to REINFORCE's."""
    others, episodes = (play(policy, n_episodes, gamma, rng) for _ in range(2))
    samples = gradients(policy, episodes, weights(episodes, others))
    resampled = rng.multinomial(n_episodes, np.full(n_episodes, 1 / n_episodes), size=2000)
    counts = np.concatenate([np.ones((1, n_episodes)), resampled])  # the first: as they are
    values = np.stack([traces(sample, counts) for sample in samples])  # (K, 1 + B)
    head = f"| {steps:,} | {np.mean([len(episode.returns) for episode in episodes]):.1f} | "
    ratios = np.delete(values, 1, axis=0) / values[1]  # of the same resampled episodes
    traced, compared = (head + " | ".join(map(cell, table)) + " |" for table in (values, ratios))
    return traced, compared


def cell(values: np.ndarray) -> str:
    """Return a number and its bootstrap interval."""
    number, low, high = (f"{float(f'{x:.3g}'):,.10g}" for x in (values[0], *np.quantile(values[1:], [0.025, 0.975])))
    return f"{number} [{low}, {high}]"


def main() -> None:
    """Train, freeze, play, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, nargs="+", default=[0, 5_000, 20_000, 50_000])
    parser.add_argument("--episodes", type=int, default=1_000)
    parser.add_argument("--gamma", type=float, default=0.99)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    model = REINFORCE("MlpPolicy", "CartPole-v1", gamma=arguments.gamma, seed=arguments.seed, device="cpu")
    rng = np.random.default_rng(arguments.seed)
    rows = []
    for steps in sorted(arguments.steps):
        if steps > model.num_timesteps:
            model.learn(steps - model.num_timesteps, reset_num_timesteps=False)
        rows.append(row(model.policy, model.num_timesteps, arguments.episodes, arguments.gamma, rng))
        print(rows[-1][0], flush=True)
    for names, table in zip((ESTIMATORS, np.delete(ESTIMATORS, 1)), zip(*rows, strict=True), strict=True):
        print("\n| steps | mean return | " + " | ".join(names) + " |\n|---:|---:|" + "---:|" * len(names))
        print("\n".join(table))


if __name__ == "__main__":
    main()
