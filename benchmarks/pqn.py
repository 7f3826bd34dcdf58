"""PQN on CartPole: our steps per second beside a plain torch loop with the settings of CleanRL's pqn.py, in turns.

Ours three times: with the same settings, as the preset has it, and as the preset has it on Gymnasium's own batched
CartPole, which steps all 32 environments at once, behind `sb3_course.to_sb3`.

    OMP_NUM_THREADS=1 python benchmarks/pqn.py --steps 50000 --turns 3
    OMP_NUM_THREADS=1 python benchmarks/pqn.py --seeds 100-109 [--batched]

The torch loop is written here, from what CleanRL's pqn.py (commit fe8d8a0) says of itself: 4 envs in a SyncVectorEnv,
128 steps of each, orthogonal layers 120 and 84 with layer norm, RAdam 2.5e-4 that falls, 4 passes in 4 minibatches,
lambda 0.65, gradients clipped at 10. Steps per second are of processor time, which other programs do not take.
With --seeds the preset is trained and its final score is printed instead: the last model, 20 greedy episodes.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings

import gymnasium as gym
import numpy as np
import torch as th
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecMonitor
from torch import nn

from sb3_course import PQN, to_sb3
from sb3_course.config.text import LinearRate
from sb3_course.sb3.vec_env import LeanVecEnv

ENV, N_ENVS, N_STEPS, RATE, GAMMA, TRACE, EPOCHS, MINIBATCHES = "CartPole-v1", 4, 128, 2.5e-4, 0.99, 0.65, 4, 4


def network(n_inputs: int, n_actions: int) -> nn.Module:
    """Return the network: orthogonal weights, no bias at the start, layer norm before each activation."""
    layers: list[nn.Module] = []
    for inputs, outputs in ((n_inputs, 120), (120, 84), (84, n_actions)):
        linear = nn.Linear(inputs, outputs)
        nn.init.orthogonal_(linear.weight, 2**0.5)
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.LayerNorm(outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-2])


def torch_loop(total: int, seed: int) -> float:
    """Train in plain torch and return the steps per second."""
    th.manual_seed(seed)
    rng = np.random.default_rng(seed)
    envs = gym.vector.SyncVectorEnv(
        [lambda: gym.wrappers.RecordEpisodeStatistics(gym.make(ENV))] * N_ENVS,
        autoreset_mode=gym.vector.AutoresetMode.SAME_STEP,
    )
    net = network(4, 2)
    optimizer = th.optim.RAdam(net.parameters(), lr=RATE)
    seen = th.zeros(N_STEPS, N_ENVS, 4)
    actions = th.zeros(N_STEPS, N_ENVS, dtype=th.long)
    rewards, values, goes_on = (th.zeros(N_STEPS, N_ENVS) for _ in range(3))
    start, step = time.process_time(), 0
    observation = th.as_tensor(envs.reset(seed=seed)[0])
    n_updates = total // (N_ENVS * N_STEPS)
    for update in range(n_updates):
        optimizer.param_groups[0]["lr"] = RATE * (1 - update / n_updates)
        for t in range(N_STEPS):
            step += N_ENVS
            epsilon = max(1 - 0.95 * step / (total / 2), 0.05)
            seen[t] = observation
            with th.no_grad():
                values[t], best = net(observation).max(dim=1)
            explore = th.rand(N_ENVS) < epsilon
            actions[t] = th.where(explore, th.randint(0, 2, (N_ENVS,)), best)
            after, reward, terminated, truncated, _ = envs.step(actions[t].numpy())
            rewards[t], goes_on[t] = th.as_tensor(reward), th.as_tensor(~(terminated | truncated)).float()
            observation = th.as_tensor(after)
        with th.no_grad():
            following, returns = net(observation).max(dim=1).values, th.zeros(N_STEPS, N_ENVS)
            returns[-1] = rewards[-1] + GAMMA * goes_on[-1] * following
            for t in reversed(range(N_STEPS - 1)):
                mixed = TRACE * returns[t + 1] + (1 - TRACE) * values[t + 1]
                returns[t] = rewards[t] + GAMMA * goes_on[t] * mixed
        inputs, taken, targets = seen.reshape(-1, 4), actions.reshape(-1, 1), returns.reshape(-1)
        for _ in range(EPOCHS):
            for rows in np.split(rng.permutation(len(targets)), MINIBATCHES):
                index = th.as_tensor(rows)
                predicted = net(inputs[index]).gather(1, taken[index])[:, 0]
                loss = nn.functional.mse_loss(predicted, targets[index])
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(net.parameters(), 10.0)
                optimizer.step()
    return step / (time.process_time() - start)


def ours(total: int, seed: int, backend: str = "numpy") -> float:
    """Train ours with the same settings and return the steps per second."""
    kwargs = {"net_arch": [120, 84]}
    envs = make_vec_env(ENV, N_ENVS, vec_env_cls=LeanVecEnv)  # without needless copies
    model = PQN(
        "MlpPolicy",
        envs,
        seed=seed,
        device="cpu",
        backend=backend,
        learning_rate=LinearRate(RATE),
        policy_kwargs=kwargs,
    )
    return steps_per_second(model, total)


def from_preset(total: int, seed: int) -> float:
    """Train the preset, 32 envs of 64 steps, and return the steps per second."""
    return steps_per_second(PQN.from_preset(ENV, seed=seed, device="cpu"), total)


def on_batched(total: int, seed: int) -> float:
    """Train the preset on the batched environment and return the steps per second."""
    return steps_per_second(batched(seed), total)


def batched(seed: int) -> PQN:
    """Return the preset's model with Gymnasium's batched CartPole in place of as many single ones."""
    model = PQN.from_preset(ENV, seed=seed, device="cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a reset takes a step there, which the adapter marks
        envs = to_sb3(gym.make_vec(ENV, model.n_envs, vectorization_mode="vector_entry_point"))
    envs.seed(seed)
    model.set_env(VecMonitor(envs))
    return model


def steps_per_second(model: PQN, total: int) -> float:
    """Train a model twice and return the steps per second of the second time."""
    model.learn(2048)  # what is compiled at its first use
    start = time.process_time()
    model.learn(total)
    return model.num_timesteps / (time.process_time() - start)


def score_of_the_preset(seed: int, on_batch: bool) -> None:
    """Train one seed of the preset and print its score of 20 greedy episodes."""
    start = time.process_time()
    model = batched(seed) if on_batch else PQN.from_preset(ENV, seed=seed, device="cpu")
    model.learn(model.preset.n_timesteps)
    seconds = time.process_time() - start
    score, _ = evaluate_policy(model, make_vec_env(ENV, 1, seed=10_000 + seed), 20)
    print(f"seed {seed}: {score:.1f} after {model.num_timesteps:,} steps, {seconds:.1f} processor seconds", flush=True)


def main() -> None:
    """Print steps per second of both, or the scores of seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=50_000)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--seeds", help="first-last: train the preset instead")
    parser.add_argument("--batched", action="store_true", help="with --seeds, on the batched environment")
    args = parser.parse_args()
    th.set_num_threads(1)
    if args.seeds:
        first, last = map(int, args.seeds.split("-"))
        for seed in range(first, last + 1):
            score_of_the_preset(seed, args.batched)
        return
    names = "equal settings", "the preset", "the preset on the batched environment"
    ratios: list[list[float]] = []
    for turn in range(args.turns):
        plain, *mine = (train(args.steps, turn) for train in (torch_loop, ours, from_preset, on_batched))
        ratios.append([each / plain for each in mine])
        rates = ", ".join(f"{name} {rate:,.0f}" for name, rate in zip(names, mine, strict=True))
        times = " ".join(f"{ratio:.2f}" for ratio in ratios[-1])
        print(f"steps/s: torch loop {plain:,.0f}, {rates}: {times}", flush=True)
    medians = [statistics.median(each) for each in zip(*ratios, strict=True)]
    print(f"medians of {len(ratios)}: " + ", ".join(f"{name} {m:.2f}" for name, m in zip(names, medians, strict=True)))


if __name__ == "__main__":
    main()
