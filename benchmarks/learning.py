"""How well the presets learn: every algorithm and seed through the same door, as one Markdown table.

    OMP_NUM_THREADS=1 python benchmarks/learning.py --algos double_dqn dqn --env CartPole-v1 --seeds 100-109

    OMP_NUM_THREADS=1 python benchmarks/learning.py --algos vpg --env Acrobot-v1 --seeds 0-1 --final-score-only

Every run is a run folder below --folder and counts once: called again, the finished ones are read, not repeated.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import trim_mean
from worker_pool import worker_pool

SCORE = "score.json"


def train(
    algo: str,
    seed: int,
    env: str,
    threshold: float,
    folder: Path,
    backend: str,
    final_only: bool,
    params: dict[str, Any],
) -> dict[str, Any]:
    """Train one seed with the algorithm's preset and return its final score and the steps to `threshold`."""
    path = folder / f"{algo}_{env.replace('/', '-')}_{seed}"
    if (path / SCORE).exists():
        score: dict[str, Any] = json.loads((path / SCORE).read_text())
        return score
    import torch as th

    from sb3_course import registry
    from sb3_course.runs import RunFolder, Settings, execute
    from sb3_course.runs.tables import read_table

    th.set_num_threads(1)
    changes: dict[str, Any] = {"seed": seed, "eval_episodes": 10, "final_episodes": 20, **params}
    if final_only:
        changes |= {"eval_freq": 0, "save_freq": 0}
    if registry.find(algo).source == "sb3_course":
        changes["backend"] = backend
    settings = Settings.resolve(algo, env, changes)
    result = execute(settings, RunFolder(path, overwrite=True))
    reached = [row for row in read_table(path / "evaluations.csv") if float(row["mean"]) >= threshold]
    score = {
        "algo": algo, "seed": seed, "mean": result.mean, "std": result.std, "steps": result.timesteps,
        "seconds": round(result.seconds, 1), "reached": int(reached[0]["timesteps"]) if reached else None,
        "seconds_to": float(reached[0]["seconds"]) if reached else None,
    }  # fmt: skip
    (path / SCORE).write_text(json.dumps(score))
    print(json.dumps(score), flush=True)
    return score


def table(scores: list[dict[str, Any]], algos: list[str], seeds: list[int], threshold: float) -> str:
    """Return one row a seed, the final score and in brackets the steps to `threshold`, and the summary rows."""
    by = {(score["algo"], score["seed"]): score for score in scores}
    final_only = all(score["reached"] is None for score in scores)
    lines = ["| seed | " + " | ".join(algos) + " |", "|---|" + "---:|" * len(algos)]
    for seed in seeds:
        cells = [f"{by[algo, seed]['mean']:.1f}" for algo in algos]
        if not final_only:
            steps = [by[algo, seed]["reached"] or "never" for algo in algos]
            cells = [f"{cell} ({step})" for cell, step in zip(cells, steps, strict=True)]
        lines.append(f"| {seed} | " + " | ".join(cells) + " |")
    means = {algo: np.array([by[algo, seed]["mean"] for seed in seeds]) for algo in algos}
    seconds = {algo: np.median([by[algo, seed]["seconds"] for seed in seeds]) for algo in algos}
    to_threshold = {algo: np.median([by[algo, seed]["seconds_to"] or np.inf for seed in seeds]) for algo in algos}
    summary = {
        "IQM": {algo: f"{trim_mean(means[algo], 0.25):.1f}" for algo in algos},
        "median": {algo: f"{np.median(means[algo]):.1f}" for algo in algos},
        f"seeds at {threshold:g}": {algo: f"{(means[algo] >= threshold).sum()} of {len(seeds)}" for algo in algos},
        f"median seconds to {threshold:g}": {algo: f"{to_threshold[algo]:.0f}" for algo in algos},
        "median seconds": {algo: f"{seconds[algo]:.0f}" for algo in algos},
    }
    if final_only:
        del summary[f"median seconds to {threshold:g}"]
    for name, row in summary.items():
        lines.append(f"| **{name}** | " + " | ".join(row[algo] for algo in algos) + " |")
    return "\n".join(lines)


def main() -> None:
    """Train what is missing, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--algos", nargs="+", default=["double_dqn", "dqn"])
    parser.add_argument("--env", default="CartPole-v1")
    parser.add_argument("--seeds", default="100-109", help="first-last")
    parser.add_argument("--threshold", type=float, default=475.0)
    parser.add_argument("--folder", type=Path, default=Path("runs/learning"))
    parser.add_argument("--backend", default="auto", help="who does the arithmetic of our own algorithms")
    parser.add_argument("--final-score-only", action="store_true", help="no evaluations on the way")
    parser.add_argument(
        "--params", nargs="+", default=[], metavar="K:V", help="beside the preset; take a --folder of its own"
    )
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    from sb3_course.runs.words import read_pairs

    first, last = map(int, arguments.seeds.split("-"))
    seeds = list(range(first, last + 1))
    jobs = [(algo, seed) for seed in seeds for algo in arguments.algos]
    run = partial(
        train, env=arguments.env, threshold=arguments.threshold, folder=arguments.folder, backend=arguments.backend,
        final_only=arguments.final_score_only, params=read_pairs(arguments.params, "--params"),
    )  # fmt: skip
    with worker_pool(arguments.jobs) as pool:
        scores = list(pool.map(run, *zip(*jobs, strict=True)))
    print(table(scores, arguments.algos, seeds, arguments.threshold))


if __name__ == "__main__":
    main()
