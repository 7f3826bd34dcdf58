"""Exploration in continuous control: noisy actors against action noise on Pendulum-v1, as a page of docs/results.

    OMP_NUM_THREADS=1 python benchmarks/noisy_pendulum.py             # what is missing, then the page
    OMP_NUM_THREADS=1 python benchmarks/noisy_pendulum.py --estimate  # minutes of processor, from a short piece of each
    OMP_NUM_THREADS=1 python benchmarks/noisy_pendulum.py --page      # the page of what there is

SB3's own classes with ``MlpPolicy`` or our ``NoisyMlpPolicy``, all else equal. A run is one JSON file below --folder,
written whole or not at all: called again, after Ctrl-C or a kill, finished runs are read. The files stand beside the
page, which a test holds to them. A file of other settings is not mixed in: delete it, or take another --folder. Runs
go seed by seed, so that what is done at any time is a table.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from kept_page import table, write_tables
from worker_pool import worker_pool

ROOT = Path(__file__).resolve().parents[1]
#: The same for every run; smaller and shorter than rl-baselines3-zoo's preset.
SETTINGS: dict[str, Any] = {
    "learning_rate": 1e-3, "learning_starts": 1_000, "batch_size": 128, "gamma": 0.98, "train_freq": 1,
    "policy_kwargs": {"net_arch": [64, 64]},
}  # fmt: skip
ACTION_NOISE = 0.1  # standard deviation, as rl-baselines3-zoo has it; actions are scaled to [-1, 1]
THRESHOLD = -250.0


@dataclass(frozen=True)
class Row:
    """A line of the table: an algorithm of SB3 and what explores in it."""

    algo: str
    explores: str
    policy: str = "MlpPolicy"
    noise: float = 0.0


ROWS = (
    Row("DDPG", "noisy actor", "NoisyMlpPolicy"),
    Row("DDPG", "action noise", noise=ACTION_NOISE),
    Row("DDPG", "nothing"),
    Row("TD3", "noisy actor", "NoisyMlpPolicy"),
    Row("TD3", "action noise", noise=ACTION_NOISE),
    Row("TD3", "nothing"),
    Row("SAC", "noisy actor and its entropy", "NoisyMlpPolicy"),
    Row("SAC", "its entropy"),
)


def make_model(row: Row, seed: int, steps: int) -> Any:
    """Return SB3's model, not trained yet."""
    import numpy as np
    import stable_baselines3 as sb3
    import torch as th
    from stable_baselines3.common.noise import NormalActionNoise

    import sb3_course

    assert sb3_course.__version__  # its import registers the policies
    th.set_num_threads(1)
    noise = NormalActionNoise(np.zeros(1), np.full(1, row.noise)) if row.noise else None
    own = {**SETTINGS, "policy_kwargs": dict(SETTINGS["policy_kwargs"]), "buffer_size": steps, "action_noise": noise}
    return getattr(sb3, row.algo)(row.policy, "Pendulum-v1", seed=seed, device="cpu", **own)


def sigma_of(model: Any) -> float | None:
    """Return the mean |σ| of the actor's last noisy layer, None where it has none."""
    from sb3_course.networks import noisy_layers

    layers = noisy_layers(model.policy.actor)
    return layers[-1].weight_sigma.abs().mean().item() if layers else None


def train(job: tuple[Row, int], steps: int, folder: Path) -> dict[str, Any]:
    """Train one seed, or read what came of it, and write its file whole."""
    import gymnasium as gym
    from stable_baselines3.common.evaluation import evaluate_policy
    from stable_baselines3.common.monitor import Monitor

    from sb3_course.runs.run_versions import run_versions
    from sb3_course.saving.files import atomic_write

    row, seed = job
    if (known := kept(job, steps, folder)) is not None:
        return known
    model = make_model(row, seed, steps)
    began, first = time.process_time(), sigma_of(model)
    model.learn(steps)
    spent = time.process_time() - began
    training = model.get_env().env_method("get_episode_rewards")[0]
    scores = []
    for deterministic in (True, False):
        env = Monitor(gym.make("Pendulum-v1"))
        env.reset(seed=10_000 + seed)  # starts that training has not seen
        scores.append(float(evaluate_policy(model, env, 20, deterministic)[0]))
    found = {"settings": settings_of(row, steps), "seed": seed, "score": scores[0], "noisy": scores[1],
             "sigma": [first, sigma_of(model)], "training": training, "processor_seconds": spent,
             "versions": run_versions()}  # fmt: skip
    atomic_write(path_of(job, folder), json.dumps(found))
    print(f"{row.algo}, {row.explores}, seed {seed}: {scores[0]:.0f}, {spent:.0f} s", flush=True)
    return found


def settings_of(row: Row, steps: int) -> dict[str, Any]:
    """Return what tells runs apart, as JSON has it."""
    settings: dict[str, Any] = json.loads(json.dumps({**asdict(row), **SETTINGS, "steps": steps}))
    return settings


def path_of(job: tuple[Row, int], folder: Path) -> Path:
    """Return the file of a run."""
    row, seed = job
    return folder / f"{row.algo}-{row.explores.replace(' ', '-')}-{seed}.json"


def kept(job: tuple[Row, int], steps: int, folder: Path) -> dict[str, Any] | None:
    """Return what came of a run, None where it has not been made.

    :raises SystemExit: for a file of other settings
    """
    path = path_of(job, folder)
    if not path.exists():
        return None
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if found["settings"] != settings_of(job[0], steps):
        raise SystemExit(f"{path} was made with other settings: delete it, or take another --folder")
    return found


def estimate(steps: int, seeds: int) -> None:
    """Print the minutes of processor that the whole takes."""
    total = 0.0
    for row in ROWS:
        model = make_model(row, 0, steps)
        model.learn(SETTINGS["learning_starts"])
        began, piece = time.process_time(), 300
        model.learn(piece, reset_num_timesteps=False)
        minutes = (time.process_time() - began) / piece * (steps - SETTINGS["learning_starts"]) * seeds / 60
        print(f"{row.algo}, {row.explores}: {minutes:.1f} minutes of one core", flush=True)
        total += minutes
    print(f"all: {total:.0f} minutes of one core, and two seconds a run to evaluate")


# ------------------------------------------------------------------------------------------------------------ page


def interval(scores: Sequence[float]) -> str:
    """Return the interquartile mean over the seeds with its 95 % interval."""
    from sb3_course.tuning.statistics import iqm, stratified_bootstrap

    low_high = stratified_bootstrap([list(scores)], lambda x: iqm(x, -1), seed=0)
    return f"{low_high.value:.0f} [{low_high.low:.0f}, {low_high.high:.0f}]"


def line(row: Row, runs: list[dict[str, Any]]) -> list[str]:
    """Return a row of the table."""
    scores = [run["score"] for run in runs]
    middle = len(runs) // 2
    sigmas = [sorted(each)[middle] for each in zip(*(run["sigma"] for run in runs), strict=True) if None not in each]
    change = " to ".join(f"{sigma:.3f}" for sigma in sigmas)
    reached = f"{sum(score >= THRESHOLD for score in scores)} of {len(runs)}"
    spent = sorted(run["processor_seconds"] for run in runs)[middle]
    each = ", ".join(f"{score:.0f}" for score in scores)
    exploring = f"{sorted(run['noisy'] for run in runs)[middle]:.0f}"
    return [f"{row.algo}: {row.explores}", interval(scores), each, reached, exploring, change, f"{spent:.0f}"]


def draw(every: dict[Row, list[dict[str, Any]]], out: Path) -> None:
    """Draw the returns of training, one panel an algorithm: a thin line a seed, the thick one their mean."""
    import matplotlib as mpl
    import numpy as np

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    from sb3_course.saving.files import atomic_path

    algos = list(dict.fromkeys(row.algo for row in every))
    figure, panels = plt.subplots(len(algos), figsize=(6.4, 2.5 * len(algos)), layout="constrained", sharex=True)
    colours = {"noisy": "#0072b2", "action": "#d55e00", "nothing": "#999999", "its": "#d55e00"}
    for axes, algo in zip(np.atleast_1d(panels), algos, strict=True):
        for row in (row for row in every if row.algo == algo):
            colour = colours[row.explores.split()[0]]
            curves = np.array([run["training"] for run in every[row]])
            steps = 200 * np.arange(1, curves.shape[1] + 1)
            axes.plot(steps, curves.T, color=colour, linewidth=0.5, alpha=0.4)
            axes.plot(steps, curves.mean(axis=0), color=colour, linewidth=2, label=row.explores)
        axes.set(title=algo, ylabel="return of an episode")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(loc="lower right", frameon=False, fontsize="small")
    axes.set_xlabel("environment steps")
    with atomic_path(out) as temporary:
        figure.savefig(temporary, format="png", dpi=110, metadata={"Software": None})


def jobs_of(options: argparse.Namespace) -> list[tuple[Row, int]]:
    """Return what is to be run, seed by seed."""
    return [(row, options.first_seed + index) for index in range(options.seeds) for row in ROWS]


def kept_runs(options: argparse.Namespace) -> dict[Row, list[dict[str, Any]]]:
    """Return what is there, row by row.

    :raises SystemExit: where nothing is
    """
    every: dict[Row, list[dict[str, Any]]] = {}
    for job in jobs_of(options):
        if (found := kept(job, options.steps, options.folder)) is not None:
            every.setdefault(job[0], []).append(found)
    if not every:
        raise SystemExit("no run is there yet")
    return every


def page_parts(options: argparse.Namespace, every: dict[Row, list[dict[str, Any]]]) -> list[str]:
    """Return the page's parts above what is written by hand."""
    head = ["what explores", "IQM [95 %]", "each seed", f"at {THRESHOLD:g}", "acting with noise", "σ", "seconds"]
    text = TEXT.format(steps=options.steps, first=options.first_seed, last=options.first_seed + options.seeds - 1,
                       noise=ACTION_NOISE, command=command_of(options))  # fmt: skip
    picture = "![Returns of training on Pendulum, five seeds a row](../images/noisy_pendulum.png)"
    return [text, table(head, [line(row, runs) for row, runs in every.items()]), SHARED, picture]


TEXT = """# Noisy exploration in continuous control

SB3's DDPG, TD3 and SAC on Pendulum-v1, {steps:,} steps, seeds {first}-{last}: with [noisy](../course/noisy_dqn.md)
actors (`NoisyMlpPolicy`), and with what SB3 explores by. For DDPG and TD3 that is Gaussian noise on the action, of
standard deviation {noise:g} with actions scaled to [-1, 1]. SAC has no action noise; its policy's entropy explores.
All else is equal: two layers of 64, a learning rate of 1e-3, batches of 128, γ = 0.98, and an update a step after
1,000 random steps. rl-baselines3-zoo's presets have larger networks and 20,000 steps. Nothing was tuned.

```
{command}
```
"""
SHARED = f"""* The score is the mean return of 20 episodes of the final model without noise, on starts that training has
  not seen. IQM: interquartile mean over the seeds, with its 95 % interval (bootstrap over the seeds).
* "At {THRESHOLD:g}": how many seeds score that much. Gymnasium states no threshold for Pendulum.
* "Acting with noise": the median over seeds of the same score with `deterministic=False`, so with noise on the weights
  and with SAC's samples. SB3 adds action noise in training only.
* σ: the mean |σ| of the actor's last noisy layer before and after training, each a median over seeds.
* Seconds: the median processor time of a training.
* "Nothing": 1,000 random steps, and no exploration after them."""


def make_parser() -> argparse.ArgumentParser:
    """Return the reader of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=7_000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=ROOT / "docs" / "results" / "noisy_pendulum")
    parser.add_argument("--out", type=Path, default=ROOT / "docs")
    parser.add_argument("--estimate", action="store_true", help="train little, write nothing")
    parser.add_argument("--page", action="store_true", help="train nothing")
    return parser


def command_of(options: argparse.Namespace) -> str:
    """Return the command that makes a page as these options do."""
    given = {name: getattr(options, name) for name in ("steps", "seeds", "first_seed")}
    changed = {name: value for name, value in given.items() if value != make_parser().get_default(name)}
    flags = "".join(f" --{name.replace('_', '-')} {value}" for name, value in changed.items())
    return f"OMP_NUM_THREADS=1 python benchmarks/noisy_pendulum.py{flags}"


def main(argv: Sequence[str] | None = None) -> None:
    """Train what is missing and write the page."""
    options = make_parser().parse_args(argv)
    if options.estimate:
        estimate(options.steps, options.seeds)
        return
    options.folder.mkdir(parents=True, exist_ok=True)
    if not options.page:
        run = partial(train, steps=options.steps, folder=options.folder)
        with worker_pool(options.workers) as pool:
            list(pool.map(run, jobs_of(options)))
    every = kept_runs(options)
    draw(every, options.out / "images" / "noisy_pendulum.png")
    write_tables(options.out / "results" / "noisy_pendulum.md", page_parts(options, every))


if __name__ == "__main__":
    main()
