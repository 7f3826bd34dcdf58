"""What `results.py` trains: a page of docs/results for each row of the table, and its text."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

GRID = "sb3_course/GridWorld-v0"
BASELINES = ("dqn", "qrdqn", "a2c", "ppo")  # their presets are rl-baselines3-zoo's hyperparameters, where it has any
FIRST_SEED = 200  # nothing was chosen on the seeds from here on
#: Of environments that state none: the best return there is.
THRESHOLDS = {GRID: 1.0}
SWITCHES = {
    "double": False, "dueling": False, "noisy": False, "prioritized": False, "n_steps": 1, "n_atoms": 1,
}  # fmt: skip
#: On top of DQN, in the words of double_dqn's preset, whose other hyperparameters stay.
ADDED: dict[str, dict[str, Any]] = {
    "double": {"double": True}, "dueling": {"dueling": True}, "noisy": {"noisy": True},
    "prioritized": {"prioritized": True}, "n_steps": {"n_steps": 5}, "n_atoms": {"n_atoms": 51},
}  # fmt: skip
CLEANRL: dict[str, Any] = {
    "n_timesteps": 500_000, "n_envs": 1, "learning_rate": 2.5e-4, "buffer_size": 10_000, "gamma": 0.99,
    "batch_size": 128,
    "learning_starts": 10_000, "train_freq": 10, "gradient_steps": 1, "target_update_interval": 500, "tau": 1.0,
    "exploration_initial_eps": 1.0, "exploration_final_eps": 0.05, "exploration_fraction": 0.5, "n_steps": 1,
    "policy_kwargs": "dict(net_arch=[120, 84])", "max_grad_norm": float("inf"),
}  # fmt: skip
#: What CleanRL's documentation publishes of them (at fe8d8a0), mean and standard deviation over three seeds.
CLEANRL_SCORES = {
    "CleanRL's dqn": {
        "CartPole-v1": "488.69 ± 16.11", "Acrobot-v1": "-91.54 ± 7.20", "MountainCar-v0": "-194.95 ± 8.48",
    },
    "CleanRL's c51": {
        "CartPole-v1": "481.20 ± 20.53", "Acrobot-v1": "-87.70 ± 5.52", "MountainCar-v0": "-166.38 ± 27.94",
    },
}  # fmt: skip


@dataclass(frozen=True, eq=False)  # each is itself: what was found out about one is kept under it
class Entry:
    """One row of a table: an algorithm, and what differs from its preset, or all there is (`alone`)."""

    label: str
    algo: str
    changes: dict[str, Any] = field(default_factory=dict)
    alone: bool = False


@dataclass(frozen=True)
class Page:
    """One page of docs/results: a table for each environment.

    :param title: of the page
    :param text: what stands before the tables
    :param envs: the environments
    :param entries: the rows; one is left out where the algorithm has no preset for an environment, or no actions
    :param seeds: of each row
    """

    title: str
    text: str
    envs: tuple[str, ...]
    entries: tuple[Entry, ...]
    seeds: int


def own_algorithms() -> tuple[str, ...]:
    """Return the algorithms of the course in the order of the ladder, SB3's DQN in its place not among them."""
    from sb3_course.registry import ALGORITHMS

    return tuple(name for name, row in ALGORITHMS.items() if row.source == "sb3_course")


def pages() -> dict[str, Page]:
    """Return the pages by their names."""
    plain = {**SWITCHES}
    minus = [Entry(f"rainbow without {name}", "rainbow", {name: off}) for name, off in SWITCHES.items()]
    plus = [Entry(f"DQN with {name}", "double_dqn", {**plain, **on}) for name, on in ADDED.items()]
    dqn = {**CLEANRL, "double": False, "loss": "mse"}
    c51 = {"n_atoms": 101, "v_min": -100.0, "v_max": 100.0}
    c51 |= {"policy_kwargs": "dict(net_arch=[120, 84], optimizer_kwargs=dict(eps=7.8125e-5))"}  # 0.01 / batch_size
    return {
        "ladder": Page(
            "The whole ladder, ten seeds", LADDER_TEXT, ("CartPole-v1", "Acrobot-v1", GRID),
            tuple(Entry(name, name) for name in (*own_algorithms(), *BASELINES)), 10,
        ),
        "hard": Page(
            "LunarLander and MountainCar, five seeds", HARD_TEXT, ("LunarLander-v3", "MountainCar-v0"),
            tuple(Entry(name, name) for name in ("rainbow", "double_dqn", "quantile_dqn", "pqn", "dqn", "qrdqn")), 5,
        ),
        "ablations": Page(
            "Rainbow minus one, DQN plus one", ABLATION_TEXT, ("CartPole-v1", "Acrobot-v1"),
            (Entry("rainbow", "rainbow"), *minus, Entry("DQN", "double_dqn", plain), *plus), 10,
        ),
        "cleanrl": Page(
            "CleanRL's rows with CleanRL's hyperparameters", CLEANRL_TEXT,
            ("CartPole-v1", "Acrobot-v1", "MountainCar-v0"),
            (
                Entry("CleanRL's dqn", "double_dqn", dqn, alone=True),
                Entry("CleanRL's c51", "c51", {**CLEANRL, **c51}, alone=True),
            ), 3,
        ),
    }  # fmt: skip


LADDER_TEXT = """
Every algorithm of the course and four of SB3's and sb3-contrib's, each with its packaged preset; `dqn`, `qrdqn`, `a2c`
and `ppo` have the tuned hyperparameters of rl-baselines3-zoo on CartPole and Acrobot. Presets differ in more than the
idea, the number of steps included: a row says what a preset is worth, not what an idea is worth. `q_table` needs
discrete observations and is in GridWorld's table only. An algorithm in several processes (`a3c`) has most of its
seconds in others, which are not counted. `qrdqn`'s loss is computed by `benchmarks/qrdqn_loss.py` in seven runs on
Acrobot: the same weights bit by bit, in less time than sb3-contrib's own takes. Runs of `iqn` and `btr` on CartPole and
GridWorld, and the first two on Acrobot, were made on the torch backend; NumPy's takes 0.6 of the time of an update.
`dqn`'s last model is a matter of luck: on [ten other seeds](cartpole.md#the-value-family-50000-steps) the same preset
ends at 212.4 on CartPole.
"""
HARD_TEXT = """
Four of ours with their packaged presets, and `dqn` and `qrdqn` with the tuned hyperparameters of rl-baselines3-zoo. The
presets of LunarLander were chosen on seed 0, `pqn`'s by studies on seeds 0 and 1
([which](presets.md#found-by-studies)). `qrdqn`'s loss is computed by `benchmarks/qrdqn_loss.py` on LunarLander: the
same weights bit by bit, in less time than sb3-contrib's own takes.
"""
ABLATION_TEXT = """
Rainbow's preset with one of its six ideas switched off, and Double DQN's preset with everything switched off but one
idea. All else stays as it is in the preset, which was chosen for the whole: a row that loses nothing shows that the
preset does not need the idea in this environment.
"""
CLEANRL_TEXT = """
The hyperparameters of CleanRL's [`dqn.py`](https://docs.cleanrl.dev/rl-algorithms/dqn/) and
[`c51.py`](https://docs.cleanrl.dev/rl-algorithms/c51/) in our engine, 500,000 steps. "CleanRL" is what these two pages
publish: mean ± standard deviation over three seeds. "Mean ± std" is the same of our scores, with the variance divided
by the number of seeds. Theirs are returns of training episodes, ε included; ours are the greedy policy's.
"""
SHARED_TEXT = """
## How to read the tables

* **Final score:** the mean return of the final model, never the best one on the way, over 20 greedy episodes. IQM is
  the interquartile mean over the seeds, with its 95 % interval (bootstrap over the runs).
* **At** the threshold: how many runs had an evaluation whose mean reached it. There is one after every twentieth of
  the budget, over 10 episodes. **Steps to it:** the median over the runs, where more than half of them reached it.
* **Seconds** are of a processor, evaluations included, the median over the runs; those to the threshold are the share
  that the steps to it are of all. Machines and their load differ from run to run: read them as orders of magnitude.
* **40,000 x 12:** 40,000 actions, each of which a wrapper holds for 12 steps of the environment or to the end of the
  episode. Pictures show the product.
"""
