"""What constructor defaults learn: 50,000 steps of CartPole-v1, mean of 20 episodes at the end, a seed a column.

    OMP_NUM_THREADS=1 python benchmarks/defaults.py
    OMP_NUM_THREADS=1 python benchmarks/defaults.py --algos rainbow --params learning_rate:1e-3

With `--params` other arguments are tried; nothing but the seed is given otherwise.
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

import numpy as np
from worker_pool import worker_pool

ALGOS = (
    "double_dqn", "dueling_dqn", "per_dqn", "nstep_dqn", "noisy_dqn", "c51", "quantile_dqn", "rainbow",
    "vpg", "reinforce", "reinforce_baseline", "actor_critic", "dqn", "qrdqn", "a2c",
)  # fmt: skip


def score(job: tuple[str, int], env: str, n_timesteps: int, params: dict[str, Any]) -> float:
    """Train one seed of an algorithm and return the final model's mean over 20 episodes."""
    import gymnasium as gym
    import torch as th
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.evaluation import evaluate_policy

    import sb3_course  # noqa: F401
    from sb3_course import registry

    th.set_num_threads(1)
    algo, seed = job
    model: Any = registry.find(algo).load()("MlpPolicy", gym.make(env), seed=seed, **params)
    model.learn(n_timesteps)
    evaluation = make_vec_env(env, seed=10_000 + seed)
    mean, _ = evaluate_policy(model, evaluation, n_eval_episodes=20)
    print(f"{algo} {seed}: {mean:.1f}", flush=True)
    return float(mean)  # type: ignore[arg-type]


def main() -> None:
    """Train all, print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--algos", nargs="+", default=ALGOS)
    parser.add_argument("--env", default="CartPole-v1")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("-n", "--n-timesteps", type=int, default=50_000)
    parser.add_argument("--params", nargs="*", default=[], metavar="KEY:VALUE")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    from sb3_course.config.text import read_value, resolve

    words = dict(word.split(":", 1) for word in arguments.params)
    params = {key: resolve(read_value(value)) for key, value in words.items()}
    jobs = [(algo, seed) for algo in arguments.algos for seed in arguments.seeds]
    run = partial(score, env=arguments.env, n_timesteps=arguments.n_timesteps, params=params)
    with worker_pool(arguments.jobs) as pool:
        scores = dict(zip(jobs, pool.map(run, jobs), strict=True))
    print("| constructor defaults | " + " | ".join(f"seed {seed}" for seed in arguments.seeds) + " | mean |")
    print("|---|" + "---:|" * (len(arguments.seeds) + 1))
    for algo in arguments.algos:
        row = [scores[algo, seed] for seed in arguments.seeds]
        print(f"| `{algo}` | " + " | ".join(f"{value:.0f}" for value in row) + f" | **{np.mean(row):.0f}** |")


if __name__ == "__main__":
    main()
