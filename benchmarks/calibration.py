"""How often the verdict of a comparison is false, and how often it finds a difference that is there.

    OMP_NUM_THREADS=1 python benchmarks/calibration.py           # from the recorded pool, under a minute
    OMP_NUM_THREADS=1 python benchmarks/calibration.py --real    # 400 fresh runs besides, a few minutes
    OMP_NUM_THREADS=1 python benchmarks/calibration.py --record  # trains the pool anew, two minutes

The pool is REINFORCE on CartPole-v1 for 4,000 steps, 240 seeds: one configuration, hence every verdict on two samples
of it is false, unless an effect was planted in one of them.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from worker_pool import worker_pool

from sb3_course.tuning.statistics import probability_of_improvement
from sb3_course.tuning.verdicts import judge, rank_test

POOL = Path(__file__).parents[1] / "docs" / "results" / "calibration.csv"
ALGO, ENV = "reinforce", "CartPole-v1"
SETTINGS = {"n_timesteps": 4_000, "eval_freq": 0, "save_freq": 0, "final_episodes": 10, "device": "cpu"}
POOL_SEED, FRESH_SEED = 10_000, 20_000  # of the first run of the pool, and of --real
ALPHA, RUNS, RESAMPLINGS = 0.05, 20, 2_000
#: The planted effect, in interquartile ranges of the pool.
SHIFT = 0.9
REPEATS, REAL_RUNS, ALLOWED = 20, 10, 3

Test = Callable[[np.ndarray, np.ndarray], float]


def train(seed: int) -> float:
    """Return the score of one real run."""
    import torch as th

    from sb3_course.runs import Settings, execute

    th.set_num_threads(1)
    return execute(Settings.resolve(ALGO, ENV, {**SETTINGS, "seed": seed})).mean


def train_all(seeds: range, jobs: int) -> list[float]:
    """Return the scores of the runs with these seeds."""
    with worker_pool(jobs) as pool:
        return list(pool.map(train, seeds))


def read_pool(path: Path = POOL) -> np.ndarray:
    """Return the recorded scores."""
    with path.open(encoding="utf-8", newline="") as file:
        return np.array([float(row["score"]) for row in csv.DictReader(file)])


def ties(pool: np.ndarray) -> np.ndarray:
    """Return the pool with everything above its median cut down to it: half of the runs are tied."""
    return np.where(pool > np.median(pool), np.median(pool), pool)


def two_values(pool: np.ndarray) -> np.ndarray:
    """Return 1 for the upper eighth of the pool and 0 for the others: a task that is solved or not."""
    return np.where(pool > np.quantile(pool, 7 / 8), 1.0, 0.0)


def planted(pool: np.ndarray) -> float:
    """Return the shift in units of the score."""
    low, high = np.quantile(pool, [0.25, 0.75])
    return float(SHIFT * (high - low))


def share_of_verdicts(pool: np.ndarray, shift: float = 0.0, test: Test = rank_test, seed: int = 0) -> float:
    """Return the share of resamplings with ``p ≤ α``: two disjoint samples of the pool, one of them shifted.

    :param pool: scores of one configuration
    :param shift: added to the first sample; 0: every verdict is false
    :param test: gives the p-value
    :param seed: of the samples
    """
    rng = np.random.default_rng(seed)
    drawn = (rng.choice(pool, 2 * RUNS, replace=False) for _ in range(RESAMPLINGS))
    return float(np.mean([test(both[:RUNS] + shift, both[RUNS:]) <= ALPHA for both in drawn]))


def bound() -> float:
    """Return α and three standard errors of a rate of α: more false verdicts than this are no bad luck."""
    return float(ALPHA + 3 * np.sqrt(ALPHA * (1 - ALPHA) / RESAMPLINGS))


def normal(x: np.ndarray, y: np.ndarray) -> float:
    """Return the p-value of the normal approximation, SciPy's where there are ties; no verdict here rests on it."""
    from scipy import stats

    return float(stats.mannwhitneyu(x, y, method="asymptotic").pvalue)


def show_rates(pool: np.ndarray) -> None:
    """Print how often A against A gets a verdict."""
    print(f"| A against A, {RUNS} runs a side | verdict by | false | standard error | at most |")
    print("|---|---|---:|---:|---:|")
    kinds: dict[str, Any] = {"as recorded": pool, "upper half tied": ties(pool), "1 in 8 solved": two_values(pool)}
    words: dict[str, Test] = {"rank test": rank_test, "normal approximation": normal}
    for name, scores in kinds.items():
        for word, test in words.items():
            rate = share_of_verdicts(scores, test=test)
            error = np.sqrt(rate * (1 - rate) / RESAMPLINGS)
            print(f"| {name} | {word} | {rate:.4f} | {error:.4f} | {bound():.4f} |", flush=True)


def show_power(pool: np.ndarray) -> None:
    """Print how often the planted effect gets a verdict."""
    shift = planted(pool)
    chance = probability_of_improvement(pool + shift, pool)
    power = share_of_verdicts(pool, shift)
    print("\n| planted | P(X > Y) | found | wanted |\n|---|---:|---:|---:|")
    print(f"| {SHIFT} IQR = {shift:.1f} points | {chance:.3f} | {power:.4f} | 0.9 |")


def show_real(jobs: int) -> None:
    """Train A against A on fresh seeds, judge each pair, print the words."""
    scores = np.reshape(
        train_all(range(FRESH_SEED, FRESH_SEED + REPEATS * 2 * REAL_RUNS), jobs), (REPEATS, 2, REAL_RUNS)
    )
    verdicts = [judge(x, y, alpha=ALPHA) for x, y in scores]
    print(f"\n| A against A, {REAL_RUNS} fresh runs a side | verdict | p | P(X > Y) |\n|---:|---|---:|---|")
    for number, each in enumerate(verdicts, start=1):
        print(f"| {number} | {each.word} | {each.p_value:.3f} | {each.probability} |")
    false = sum(each.word != "not shown" for each in verdicts)
    print(f"\n{false} of {REPEATS} false, at most {ALLOWED} wanted.")


def main() -> None:
    """Record, or read and judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", type=int, nargs="?", const=240, metavar="N", help="train a pool of N runs, 240")
    parser.add_argument("--real", action="store_true", help="train A against A as well")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    if arguments.record is not None:
        seeds = range(POOL_SEED, POOL_SEED + arguments.record)
        rows = zip(seeds, train_all(seeds, arguments.jobs), strict=True)
        lines = ["seed,score", *(f"{seed},{score!r}" for seed, score in rows)]
        POOL.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return
    pool = read_pool()
    low, middle, high = np.quantile(pool, [0.25, 0.5, 0.75])
    print(
        f"{len(pool)} runs, median {middle:.1f}, quartiles {low:.1f} and {high:.1f}, from {pool.min()} to {pool.max()}"
    )
    print()
    show_rates(pool)
    show_power(pool)
    if arguments.real:
        show_real(arguments.jobs)


if __name__ == "__main__":
    main()
