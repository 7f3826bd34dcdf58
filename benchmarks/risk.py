"""Risk preference where it matters: one model a seed, read averse, neutral and seeking, as a page of docs/results.

    OMP_NUM_THREADS=1 python benchmarks/risk.py         # two minutes
    OMP_NUM_THREADS=1 python benchmarks/risk.py --page  # the page again, of the actions that are kept in risk.json

GridWorld with slip and two bombs beside the short way. QR-DQN learns the distribution of the return under the policy
that is best on average; then a risk measure chooses actions by the same distributions, without learning anything anew.
Here a return follows from the length of an episode and from whether it ended at the goal or on a bomb. So the
distribution of a policy's return is computed exactly, for learned policies as for planned ones.

Legend: S states, A actions, H the longest episode that is counted, K = 2 kinds of ends.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch as th
from kept_page import table, write_tables
from stable_baselines3.common.utils import LinearSchedule

from sb3_course import QuantileDQN
from sb3_course.envs import value_iteration
from sb3_course.functional import CVaR, Mean, Risk, UpperCVaR
from sb3_course.saving.files import atomic_write

ROOT = Path(__file__).resolve().parents[1]
MAP = [".....", ".....", "..B..", "S...G", "..B.."]
BETWEEN = 17  # the cell between the two bombs
STEP, GAMMA, LONGEST = -0.04, 0.99, 200
READINGS: dict[str, Risk] = {"averse": CVaR(0.25), "neutral": Mean(), "seeking": UpperCVaR(0.25)}
SETTINGS: dict[str, Any] = {
    "n_quantiles": 50, "kappa": 0.0, "gamma": GAMMA, "learning_rate": LinearSchedule(1e-3, 0.0, 1.0),
    "buffer_size": 50_000, "learning_starts": 1_000, "batch_size": 64, "train_freq": 1, "target_update_interval": 500,
    "exploration_fraction": 0.5, "exploration_final_eps": 0.2, "policy_kwargs": {"net_arch": [64]},
}  # fmt: skip


def make_env() -> Any:
    """Return the environment: a step costs 0.04, the goal pays 1, a bomb −1, and both end the episode."""
    arguments: dict[str, Any] = {"map": MAP, "slip": 0.2, "step_reward": STEP, "end_on_bomb": True}
    return gym.make("sb3_course/GridWorld-v0", observation="onehot", **arguments)


class Outcomes:
    """What episodes come to, exactly.

    :param P: the model
    """

    def __init__(self, P: Any) -> None:
        self.P, self.start = P, "".join(MAP).index("S")
        lengths = np.arange(LONGEST)  # steps before the last one
        paid = STEP * (1 - GAMMA**lengths) / (1 - GAMMA)
        returns = np.stack([paid + GAMMA**lengths, paid - GAMMA**lengths])  # (K, H): goal, bomb
        self.order = returns.ravel().argsort()
        self.support = returns.ravel()[self.order]  # ascending, (K·H,)

    def after(self, following: np.ndarray) -> np.ndarray:
        """Return the probability of ends and lengths after each action, (S, A, K, H), from that of states (S, K, H)."""
        result = np.zeros((len(self.P), 4, 2, LONGEST))
        for state, actions in self.P.items():
            for action, outcomes in actions.items():
                for chance, entered, reward, ended in outcomes:
                    if ended:
                        result[state, action, 0 if reward > 0 else 1, 0] += chance
                    else:
                        result[state, action, :, 1:] += chance * following[entered, :, :-1]
        return result

    def of(self, policy: np.ndarray) -> np.ndarray:
        """Return the distribution of the return after each action, the policy (S,) choosing after it, (S, A, K·H)."""
        states, whole = np.arange(len(policy)), np.zeros((len(policy), 2, LONGEST))
        for _ in range(LONGEST):
            whole = self.after(whole)[states, policy]
        return self.after(whole).reshape(len(policy), 4, -1)[..., self.order]

    def visits(self, policy: np.ndarray) -> np.ndarray:
        """Return the probability of entering each state in an episode, (S,)."""
        every = np.zeros(len(policy))
        for target in range(len(policy)):
            here = np.eye(len(policy))[self.start]
            for _ in range(LONGEST):
                every[target] += here[target]
                here[target] = 0  # counted once
                gone = np.zeros(len(policy))
                for state in np.flatnonzero(here):
                    if "".join(MAP)[state] not in "GB":
                        for chance, entered, _, _ in self.P[state][policy[state]]:
                            gone[entered] += here[state] * chance
                here = gone
                if here.sum() < 1e-9:
                    break
        return every


def planned(outcomes: Outcomes) -> dict[str, np.ndarray]:
    """Return the actions (S,) that each measure chooses by the exact distributions of the policy best on average."""
    distributions = outcomes.of(value_iteration(outcomes.P, GAMMA).argmax(axis=1))
    return {name: risk(distributions, outcomes.support).argmax(axis=1) for name, risk in READINGS.items()}


def learned(seed: int, steps: int) -> dict[str, np.ndarray]:
    """Return the actions (S,) that each measure chooses by a model's learned distributions."""
    model = QuantileDQN("MlpPolicy", make_env(), seed=seed, device="cpu", **SETTINGS)
    model.learn(steps)
    states = np.eye(len(MAP) * len(MAP[0]), dtype=np.float32)
    return {name: model.predict(states, deterministic=True, risk=str(risk))[0] for name, risk in READINGS.items()}


def measures(outcomes: Outcomes, policy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean, deviation, CVaR at 10 % and 25 %, best quarter, how often between the bombs; and the cdf (K·H,)."""
    chances, support = outcomes.of(policy)[outcomes.start, policy[outcomes.start]], outcomes.support
    mean = float(chances @ support)
    spread = float(np.sqrt(chances @ (support - mean) ** 2))
    tails = [float(risk(chances, support)) for risk in (CVaR(0.1), CVaR(0.25), UpperCVaR(0.25))]
    return np.array([mean, spread, *tails, 100 * outcomes.visits(policy)[BETWEEN]]), chances.cumsum()


# ------------------------------------------------------------------------------------------------------------ page


def draw(outcomes: Outcomes, plans: dict[str, np.ndarray], seeds: dict[str, list[np.ndarray]], out: Path) -> None:
    """Draw where each reading goes, and the distributions of the return."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    from sb3_course.saving.files import atomic_path

    figure = plt.figure(figsize=(6.4, 5.2), layout="constrained")
    grid = figure.add_gridspec(2, 3, height_ratios=[1, 1.3])
    curves = figure.add_subplot(grid[1, :])
    for column, (name, colour) in enumerate(zip(READINGS, ("#0072b2", "#555555", "#d55e00"), strict=True)):
        axes = figure.add_subplot(grid[0, column])
        seen = np.mean([outcomes.visits(policy) for policy in seeds[name]], axis=0).reshape(len(MAP), -1)
        axes.imshow(seen, cmap="Blues", vmin=0, vmax=1.3)
        for (row, place), cell in np.ndenumerate(np.array([list(line) for line in MAP])):
            text = {"B": "bomb", "G": "goal", "S": "start"}.get(cell, f"{100 * seen[row, place]:.0f}")
            axes.text(place, row, text, ha="center", va="center", fontsize=7)
        axes.set(title=name, xticks=[], yticks=[])
        for policy in seeds[name]:
            curves.step(outcomes.support, measures(outcomes, policy)[1], color=colour, linewidth=0.6, where="post")
        exact = measures(outcomes, plans[name])[1]
        curves.step(outcomes.support, exact, color=colour, linewidth=2, where="post", label=f"{name}, planned")
    curves.set(xlabel="return", ylabel="probability of at most so much", xlim=(-1.4, 1.0))
    curves.spines[["top", "right"]].set_visible(False)
    curves.legend(loc="upper left", frameon=False, fontsize="small")
    with atomic_path(out) as temporary:
        figure.savefig(temporary, format="png", dpi=110, metadata={"Software": None})


def cells(values: np.ndarray) -> list[str]:
    """Return the numbers of a row."""
    return [*(f"{value:.3f}" for value in values[:-1]), f"{values[-1]:.1f} %"]


TEXT = """# Risk preference: averse, neutral, seeking

A model that has learned the distribution of the return can be asked for more than its mean
([risk](../notes/risk.md)). Here it is asked on a grid world with slip 0.2, where the short way leads between two bombs:

```text
{map}
```

A step costs 0.04, the goal pays 1, a bomb −1; both end the episode; γ = 0.99. `QuantileDQN` with 50 quantiles learns
for {steps:,} steps (seeds {first}-{last}), without any preference. Then the *same* model chooses by `cvar:0.25`
(averse), by `mean` (neutral) and by `cvar_seeking:0.25` (seeking).

```
{command}
```

"Planned" does the same with exact distributions in place of learned ones: those of the policy that is best on average.
All numbers are computed from the model of the environment, none from played episodes: a return follows from the length
of an episode and from where it ended. CVaR 10 %: the mean of the worst tenth of the returns. Worst and best quarter:
the means of these. "Between the bombs": the share of episodes that enter that cell.
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Train the seeds and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=40_000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=200)
    parser.add_argument("--out", type=Path, default=ROOT / "docs")
    parser.add_argument("--page", action="store_true", help="train nothing")
    options = parser.parse_args(argv)
    th.set_num_threads(1)
    outcomes = Outcomes(make_env().unwrapped.P)
    numbers, file = range(options.first_seed, options.first_seed + options.seeds), options.out / "results" / "risk.json"
    if not options.page:
        began, actions = time.process_time(), {}
        for seed in numbers:
            actions[str(seed)] = {name: each.tolist() for name, each in learned(seed, options.steps).items()}
            print(f"seed {seed}: {time.process_time() - began:.0f} s of processor time so far", flush=True)
        atomic_write(file, json.dumps(actions, separators=(",", ":")) + "\n")
    actions = json.loads(file.read_text(encoding="utf-8"))
    seeds = {name: [np.array(actions[str(seed)][name]) for seed in numbers] for name in READINGS}
    plans = planned(outcomes)
    write_page(options, outcomes, plans, seeds, numbers)


def write_page(
    options: argparse.Namespace,
    outcomes: Outcomes,
    plans: dict[str, np.ndarray],
    seeds: dict[str, list[np.ndarray]],
    numbers: Sequence[int],
) -> None:
    """Write docs/results/risk.md and its picture."""
    head = ["", "mean", "standard deviation", "CVaR 10 %", "worst quarter", "best quarter", "between the bombs"]
    rows = []
    for name in READINGS:
        every = [measures(outcomes, policy)[0] for policy in seeds[name]]
        rows += [[f"{name}, planned", *cells(measures(outcomes, plans[name])[0])]]
        rows += [[f"{name}, learned: mean of the seeds", *cells(np.mean(every, axis=0))]]
        rows += [[f"{name}, seed {seed}", *cells(values)] for seed, values in zip(numbers, every, strict=True)]
    draw(outcomes, plans, seeds, options.out / "images" / "risk.png")
    text = TEXT.format(map="\n".join(MAP), steps=options.steps, first=numbers[0], last=numbers[-1],
                       command="OMP_NUM_THREADS=1 python benchmarks/risk.py")  # fmt: skip
    short = [row for row in rows if "seed " not in row[0]]
    picture = "![Per cent of episodes that enter each cell, and the distribution of the return](../images/risk.png)"
    each = ["## Each seed", table(head, [row for row in rows if "seed " in row[0]])]
    write_tables(options.out / "results" / "risk.md", [text, table(head, short), picture, *each])


if __name__ == "__main__":
    main()
