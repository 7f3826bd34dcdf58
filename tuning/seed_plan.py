"""One configuration on many seeds, each in a run folder of its own: what is queued, and what is found there.

Legend: R runs (one seed each), E evaluations of a run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sb3_course.runs.folder import RunFolder
from sb3_course.runs.known_envs import longest_episode
from sb3_course.runs.settings import Settings
from sb3_course.runs.tables import read_table
from sb3_course.tuning.plan import Plan, Point
from sb3_course.tuning.results import Run


def seed_plan(settings: Settings, seeds: Sequence[int], folder: Path, plugins: Sequence[str] = ()) -> Plan:
    """Return the plan of the runs: a study of one point, a ticket for each seed.

    :param settings: of every run, its seed left out
    :param seeds: of the runs
    :param folder: where their folders lie
    :param plugins: modules that a worker imports first
    :raises InputError: for seeds that collide, or are out of bounds
    """
    budget = settings.n_timesteps or (settings.n_episodes or 1) * longest_episode(settings)
    config = settings.to_config()
    base = {key: config[key] for key in config if key not in ("algo", "env", "seed")}
    return Plan(
        algo=settings.algo, env=settings.env, n_timesteps=budget, n_trials=len(seeds), seeds=tuple(seeds),
        score="final", pruner="none", eval_freq=min(settings.eval_freq or 0, budget), base=base,
        points=(Point("run"),), spread=True, plugins=tuple(plugins), folder=str(folder.absolute()),
    )  # fmt: skip


def digest_of(plan: Plan) -> str:
    """Return a short name of all that a plan says but where its folders lie: they may be moved."""
    words = json.dumps(replace(plan, folder=None).to_json(), sort_keys=True)
    return hashlib.sha256(words.encode()).hexdigest()[:8]


def seed_folder(folder: Path, seed: int) -> Path:
    """Return where the run of a seed lies."""
    return folder / f"seed_{seed}"


def run_found(path: Path, seed: int) -> Run:
    """Return a run as its folder tells of it; its seconds are wall time, evaluations included.

    :param path: of a run that has ended
    :param seed: of the run
    """
    folder = RunFolder(path)
    rows, status = read_table(folder.evaluations), folder.status()
    steps = tuple(int(row["timesteps"]) for row in rows)
    means, seconds = (tuple(float(row[name]) for row in rows) for name in ("mean", "seconds"))
    if status.get("state") == "finished":
        return Run(seed, steps, means, seconds, status.get("mean"))
    return Run(seed, steps, means, seconds, None, str(status.get("reason", "it has not ended")))
