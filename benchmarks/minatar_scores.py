"""MinAtar, five algorithms beside each other: equal networks, memories, batches and updates, scores with intervals.

    OMP_NUM_THREADS=1 python benchmarks/minatar_scores.py --workers 2            # what is missing, then the page
    OMP_NUM_THREADS=1 python benchmarks/minatar_scores.py --estimate             # seconds of each and of all
    OMP_NUM_THREADS=1 python benchmarks/minatar_scores.py --page                 # the page of what there is

Every run is one file below --folder and counts once: called again, the finished ones are read, and one that was
stopped begins again. The files stand beside the page, so that whoever has time can add seeds to it. The score is
MinAtar's own (Young & Tian 2019): the mean return of the last 100 games of training, with what explores left on, sticky
actions and ramping difficulty included.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from worker_pool import worker_pool

GAMES = ("Breakout", "SpaceInvaders")
ALGOS = ("rainbow", "btr", "double_dqn", "dqn", "qrdqn")
N_ENVS, WINDOWS, GAMES_SCORED = 16, 20, 100
#: The same for all. One update a step of all environments: one for 16 steps, where Young & Tian have one for each.
COMMON: dict[str, Any] = {
    "learning_rate": 2.5e-4, "buffer_size": 100_000, "learning_starts": 1_000, "batch_size": 32, "gamma": 0.99,
    "train_freq": 1, "gradient_steps": 1, "target_update_interval": 1_600,
}  # fmt: skip
EPSILON: dict[str, Any] = {"exploration_fraction": 1 / 3, "exploration_final_eps": 0.01}
#: What an algorithm is: n-step returns, noise, priorities and support of the packaged presets.
OWN: dict[str, dict[str, Any]] = {
    "rainbow": {"v_min": 0.0, "v_max": 100.0, "exploration_fraction": 0.0},
    "btr": {"exploration_fraction": 0.04, "exploration_final_eps": 0.01, "exploration_end": 0.5},
    "double_dqn": EPSILON,
    "dqn": EPSILON,
    "qrdqn": {**EPSILON, "n_steps": 3},
}
#: Adam in one pass (PyTorch's ``fused``), with the ε of revisiting Rainbow's MinAtar (Obando-Ceron & Castro 2021).
OPTIMIZER: dict[str, Any] = {"eps": 3.125e-4, "fused": True}


def model_of(algo: str, game: str, seed: int) -> Any:
    """Return a new model in its environments."""
    from stable_baselines3.common.env_util import make_vec_env

    from sb3_course.networks.images import MinAtarCnn
    from sb3_course.registry import find
    from sb3_course.runs.known_envs import find_env
    from sb3_course.sb3.vec_env import LeanVecEnv

    env_id = f"MinAtar/{game}-v1"
    find_env(env_id)  # which registers it
    policy: dict[str, Any] = {"optimizer_kwargs": OPTIMIZER, "features_extractor_class": MinAtarCnn}
    if find(algo).source != "sb3_course" or algo == "double_dqn":
        policy["net_arch"] = []  # the 128 units are the extractor's; dueling and noisy heads build them in each stream
    if algo == "qrdqn":
        policy["n_quantiles"] = 51
    envs = make_vec_env(env_id, N_ENVS, seed=seed * 1_000, vec_env_cls=LeanVecEnv)
    arguments = {**COMMON, **OWN[algo], "policy_kwargs": policy, "seed": seed, "device": "cpu"}
    return find(algo).load()("CnnPolicy", envs, **arguments)


def games_played(n_timesteps: int) -> Any:
    """Return a callback that notes each finished game: after how many steps, and its return."""
    from stable_baselines3.common.callbacks import BaseCallback

    class Games(BaseCallback):
        def __init__(self) -> None:
            super().__init__()
            self.steps: list[int] = []
            self.returns: list[float] = []

        def _on_step(self) -> bool:
            for info in self.locals["infos"]:
                if "episode" in info:
                    self.steps.append(self.num_timesteps)
                    self.returns.append(float(info["episode"]["r"]))
            return self.num_timesteps < n_timesteps

    return Games()


def curve(steps: Sequence[int], returns: Sequence[float], total: int) -> tuple[list[int], list[float]]:
    """Return the ends of `WINDOWS` equal parts of training and the mean return of the games that ended in each.

    A part without one has the mean of the part before.
    """
    ends = [total * (index + 1) // WINDOWS for index in range(WINDOWS)]
    part = np.searchsorted(ends, np.minimum(steps, total))
    means: list[float] = []
    for index in range(WINDOWS):
        own = np.asarray(returns)[part == index]
        means.append(float(own.mean()) if own.size else means[-1] if means else 0.0)
    return ends, means


def train(algo: str, game: str, seed: int, n_timesteps: int, folder: Path) -> dict[str, Any]:
    """Train one seed, or read what came of it."""
    path = folder / f"{game}-{algo}-{seed}.json"
    if path.exists():
        known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if known["n_timesteps"] != n_timesteps:
            raise SystemExit(f"{path} has {known['n_timesteps']:,} steps, not {n_timesteps:,}: take another --folder")
        return known
    import torch as th

    from sb3_course.saving.files import atomic_write

    th.set_num_threads(1)
    started, processor = time.perf_counter(), time.process_time()
    model, games = model_of(algo, game, seed), games_played(n_timesteps)
    model.learn(n_timesteps, callback=games)
    timesteps, means = curve(games.steps, games.returns, n_timesteps)
    run = {
        "algo": algo, "game": game, "seed": seed, "n_timesteps": n_timesteps, "games": len(games.returns),
        "score": float(np.mean(games.returns[-GAMES_SCORED:])), "timesteps": timesteps, "means": means,
        "updates": model._n_updates, "seconds": round(time.perf_counter() - started, 1),
        "processor_seconds": round(time.process_time() - processor, 1),
    }  # fmt: skip
    atomic_write(path, json.dumps(run))
    print(f"{algo} {game} {seed}: {run['score']:.2f} ({run['games']} games, {run['seconds']:.0f} s)", flush=True)
    return run


def estimate(n_timesteps: int, seeds: int, workers: int) -> None:
    """Measure 3,200 steps of each algorithm and print what all runs will take."""
    import torch as th

    th.set_num_threads(1)
    total = 0.0
    for algo in ALGOS:
        for game in GAMES:
            model = model_of(algo, game, 0)
            model.learn(1_280)  # past the first updates
            started = time.process_time()
            model.learn(3_200, reset_num_timesteps=False)
            seconds = (time.process_time() - started) / 3_200
            total += seconds * n_timesteps * seeds
            print(f"{algo} {game}: {seconds * 1e4:.1f} s per 10,000 steps", flush=True)
    print(f"all: {total / 60:.0f} minutes of one core, {total / 60 / workers:.0f} with {workers} workers")


def page(runs: Sequence[dict[str, Any]], n_timesteps: int, path: Path) -> None:
    """Write the table, the settings and the curves."""
    from sb3_course.saving.files import atomic_write
    from sb3_course.tuning.results import Run
    from sb3_course.tuning.statistics import iqm, stratified_bootstrap

    found = {(game, algo): [each for each in runs if (each["game"], each["algo"]) == (game, algo)]
             for game in GAMES for algo in ALGOS}  # fmt: skip
    lines = ["| | " + " | ".join(f"{game}, IQM [95 %] | seeds" for game in GAMES) + " | processor seconds a run |"]
    lines += ["|---|" + "---:|" * (2 * len(GAMES) + 1)]
    for algo in ALGOS:
        cells, seconds = [], []
        for game in GAMES:
            scores = [each["score"] for each in found[game, algo]]
            seconds += [each["processor_seconds"] for each in found[game, algo]]
            score: Any = f"{scores[0]:.1f}" if scores else "-"
            if len(scores) > 1:  # of one seed there is no interval
                score = stratified_bootstrap([scores], lambda x: iqm(x, -1), seed=0)
            cells += [str(score), ", ".join(f"{each:.1f}" for each in scores) or "-"]
        lines.append(f"| `{algo}` | " + " | ".join(cells) + f" | {np.median(seconds) if seconds else 0:.0f} |")
    for game in GAMES:
        curves = [
            (algo, [Run(each["seed"], tuple(each["timesteps"]), tuple(each["means"])) for each in found[game, algo]])
            for algo in ALGOS
        ]
        draw(curves, path.parent / f"minatar-{game.lower()}.png")
    atomic_write(
        path,
        TEXT.format(
            steps=n_timesteps,
            table="\n".join(lines),
            runs=said_of(runs),
            **described(),
        ),
    )


def said_of(runs: Sequence[dict[str, Any]], planned: int = 5 * len(ALGOS) * len(GAMES)) -> str:
    """Return what there is to say of these runs; what was read from some is not said of others."""
    if len(runs) < planned:
        return (
            f"Five seeds are planned; {len(runs)} runs of {planned} are there, seed by seed, and "
            "`benchmarks/minatar_scores.py` goes on with those that are missing."
        )
    scores = sorted((each["game"], each["algo"], each["seed"], each["score"]) for each in runs)
    known = hashlib.sha256(json.dumps(scores).encode()).hexdigest().startswith(READ_FROM)
    return READ if known else "Five algorithms, five seeds each."


def described() -> dict[str, str]:
    """Return the settings in words, from where they are."""
    common = ", ".join(f"`{name}` {value:,}" for name, value in COMMON.items())
    own = "\n".join(f"* `{algo}`: " + ", ".join(f"`{k}` {v:.3g}" for k, v in OWN[algo].items()) for algo in ALGOS)
    return {"common": common, "own": own, "envs": str(N_ENVS), "scored": str(GAMES_SCORED)}


def draw(curves: Sequence[tuple[str, Any]], path: Path) -> None:
    """Save the curves of one game."""
    from sb3_course.saving.files import atomic_path
    from sb3_course.tuning import plots

    figure = plots.drawing(lambda axes: plots.draw_curves(axes, curves))
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


#: What was read from the runs whose scores have this hash.
READ_FROM = "236c9036e17e"
READ = """Five algorithms, five seeds each. So early Rainbow is not ahead: Double DQN and QR-DQN (with three steps) are
above it on Breakout, and all four on Space Invaders, with intervals that do not meet. QR-DQN has the highest score on
both games; on Space Invaders its interval lies above those of Rainbow, Double DQN and DQN. `btr` is level with Rainbow
on Breakout and with DQN on Space Invaders, at six and a half times DQN's time."""

TEXT = """# MinAtar, {steps:,} steps

{runs}

Breakout and Space Invaders (Young & Tian 2019), {steps:,} steps of the environment for every algorithm;
sticky actions and ramping difficulty on, as in the paper. The score is the paper's: the mean return of the last
{scored} games of training, with what explores left on. IQM: interquartile mean over the seeds, with its 95 % interval
(bootstrap). Steps, networks, memories, batches and updates are equal, so that a difference is the algorithms'. With one
update for {envs} steps and a seventeenth of the paper's 5 million steps none is near its end: this says who is ahead
early, not who is ahead.

```
OMP_NUM_THREADS=1 python benchmarks/minatar_scores.py --workers 2
```

{table}

![Breakout](minatar-breakout.png)

![Space Invaders](minatar-spaceinvaders.png)

The bands are 95 % intervals of the IQM; a point is the mean return of the games that ended in a twentieth of training.
Nothing here was chosen on these runs, nor tried out before: the hyperparameters are those below.

## Settings

The same for all: {envs} environments, {common}; the network of Young & Tian (16 filters of 3 x 3, 128 units; in
dueling networks each stream has 128); Adam with ε 3.125e-4 (Obando-Ceron & Castro 2021; `fused`, which is quicker). The
paper's DQN has a memory of 100,000, batches of 32 and a target that follows each 1,000 updates, but an update each
step. To be done in an hour or two on two cores there is one for each step of all {envs} environments; the target
follows every 100 updates.

Each its own, from the packaged presets; what is not named is the class's default:

{own}
* `rainbow`: Double, dueling, noise, priorities, 3 steps, 51 atoms.
* `btr`, small: 3 steps, 8 levels, dueling, noise beside ε, priorities, Munchausen's targets, this network in place of
  Impala's, and this discount and rate.
* `dqn` is SB3's, `qrdqn` sb3-contrib's with 51 quantiles.
"""


def main() -> None:
    """Train what is missing and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=300_000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--algos", nargs="+", default=list(ALGOS), choices=ALGOS)
    parser.add_argument("--games", nargs="+", default=list(GAMES), choices=GAMES)
    parser.add_argument("--folder", type=Path, default=Path("docs/results/minatar"))
    parser.add_argument("--out", type=Path, default=Path("docs/results/minatar.md"))
    parser.add_argument("--estimate", action="store_true")
    parser.add_argument("--page", action="store_true", help="train nothing")
    options = parser.parse_args()
    if options.estimate:
        estimate(options.steps, options.seeds, options.workers)
        return
    options.folder.mkdir(parents=True, exist_ok=True)
    # Seed by seed, the slowest first: whatever is done when it is stopped is a whole table.
    jobs = [(algo, game, seed) for seed in range(options.seeds) for algo in ("btr", *ALGOS) for game in options.games]
    jobs = [job for job in dict.fromkeys(jobs) if job[0] in options.algos]
    if not options.page:
        with worker_pool(options.workers) as pool:
            run = partial(train, n_timesteps=options.steps, folder=options.folder)
            list(pool.map(run, *zip(*jobs, strict=True)))
    runs = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(options.folder.glob("*.json"))]
    page([each for each in runs if each["n_timesteps"] == options.steps], options.steps, options.out)


if __name__ == "__main__":
    main()
