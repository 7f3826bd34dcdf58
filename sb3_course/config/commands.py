"""The table of commands: what each one is for, and the examples that its `--help` ends with.

Importing it imports nothing else, so that `sb3-course --help` is quick.
"""

from __future__ import annotations

import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

SCRIPT = "sb3-course"
#: Commands of rl_zoo3 that `zoo` has, with their examples.
_ZOO: dict[str, tuple[tuple[str, str], ...]] = {
    "train": (
        ("--algo rainbow --env CartPole-v1 -f logs", "a run, with our preset"),
        ("--algo rainbow --env CartPole-v1 -optimize --n-trials 20 --storage sqlite:///s.db", "a search"),
    ),
    "enjoy": (("--algo rainbow --env CartPole-v1 -f logs --no-render -n 1000", "a thousand steps, and the returns"),),
    "plot_train": (("-a rainbow -e CartPole-v1 -f logs", "the returns of training"),),
    "all_plots": (("-a rainbow reinforce -e CartPole-v1 -f logs -o out", "evaluations compared, kept in out.pkl"),),
    "plot_from_file": (("-i out.pkl --rliable", "those kept, with rliable's intervals"),),
}


@dataclass(frozen=True)
class Command:
    """One row of the table.

    :param name: of the command and of its module
    :param idea: one line
    :param examples: the words after the command, and what they do
    """

    name: str
    idea: str
    examples: tuple[tuple[str, str], ...]


COMMANDS: dict[str, Command] = {
    row.name: row
    for row in (
        Command(
            "train",
            "train any algorithm on any environment, once or on many seeds",
            (
                ("", "the headline: Rainbow on CartPole-v1"),
                ("--algo q_table --env sb3_course/GridWorld-v0", "a table in the grid world"),
                ("--algo double_dqn -params learning_rate:lin_1e-3 gamma:0.98 --seed 1", "other hyperparameters"),
                ("--algo vpg --seeds 10 --workers 2", "ten seeds, a curve with its band"),
                ("--resume logs/rainbow/CartPole-v1_1", "go on with a run that was stopped"),
            ),
        ),
        Command(
            "enjoy",
            "play with what a run learnt, print its returns, write GIF, MP4 or PNG",
            (
                ("logs/rainbow/CartPole-v1_1", "five episodes and their returns"),
                ("logs/rainbow/CartPole-v1_1 --best --gif best.gif --episodes 1", "the best model, as a picture"),
                ("logs/c51/CartPole-v1_1 --risk cvar:0.25", "a careful reading of the learnt distribution"),
            ),
        ),
        Command(
            "tune",
            "search the hyperparameters of an algorithm with several seeds a trial",
            (
                ("--algo rainbow --env CartPole-v1 --trials 50 --seeds 5 --workers 2", "a study of 50 trials"),
                ("--algo dqn --trials 20 --storage studies.db --study-name dqn", "in a file; the same words go on"),
            ),
        ),
        Command(
            "tune worker",
            "lend a hand to a study that another command has begun",
            (("--storage studies.db --study dqn", "take trials until none is left"),),
        ),
        Command(
            "compare",
            "tune algorithms on the same terms, run the best on fresh seeds, say which is better",
            (
                ("--algos rainbow double_dqn dqn --env CartPole-v1 --workers 2", "ours against SB3's"),
                ("--algos c51 dqn --env CartPole-v1 Acrobot-v1", "two environments, each and together"),
            ),
        ),
        Command(
            "plot",
            "draw curves with bands, values, visits, return distributions or a policy over time",
            (
                ("logs/dqn/CartPole-v1_1 logs/rainbow/CartPole-v1_1 -o curves.svg", "compare the curves of runs"),
                ("logs/vpg/CartPole-v1_seeds", "many seeds: IQM and 95 % interval"),
                ("values logs/q_table/sb3_course-GridWorld-v0_1 -o values.gif", "values and greedy arrows, moving"),
                ("visits logs/q_table/sb3_course-GridWorld-v0_1 --episodes 50", "where each checkpoint's policy goes"),
                ("distribution logs/c51/CartPole-v1_1", "the return of each action along an episode"),
                ("policy logs/vpg/sb3_course-OneShot-v0_1 -o policy.gif", "mean and spread over training, moving"),
            ),
        ),
        Command(
            "inspect",
            "say what a model, a buffer, a state or a run folder is without loading it",
            (("model.zip logs/rainbow/CartPole-v1_1", "a model's manifest and a run's state"),),
        ),
        Command(
            "list",
            "show algorithms, environments and presets",
            (("", "all three"), ("envs", "environments alone"), ("presets rainbow", "the presets of one algorithm")),
        ),
        Command(
            "zoo",
            "the commands of rl-baselines3-zoo, which know our algorithms",
            tuple((f"{name} {words}", idea) for name, rows in _ZOO.items() for words, idea in rows),
        ),
        *(Command(f"zoo {name}", f"rl_zoo3's {name}", rows) for name, rows in _ZOO.items()),
    )
}
#: Those that are typed after `sb3-course`; the others belong to one of them.
NAMES = tuple(name for name in COMMANDS if " " not in name)


def called(name: str = "") -> str:
    """Return how a command was called, for usages and examples: `sb3-course train` or `python -m sb3_course.train`."""
    program = Path(sys.argv[0]) if sys.argv else Path()
    if program.stem.removesuffix("-script") == SCRIPT:
        return f"{SCRIPT} {name}".rstrip()
    if not name or program.parts[-2:] == ("sb3_course", "__main__.py"):
        return f"python -m sb3_course {name}".rstrip()
    return f"python -m sb3_course.{name}"


def examples(name: str) -> str:
    """Return the examples of a command as lines of its help."""
    width = max(len(words) for words, _ in COMMANDS[name].examples)
    if width > 60:  # beside each other they would be too wide
        lines = [f"  {called(name)} {words}".rstrip() + f"\n      {idea}" for words, idea in COMMANDS[name].examples]
    else:
        lines = [f"  {called(name)} {words.ljust(width)}  {idea}" for words, idea in COMMANDS[name].examples]
    return "\n".join(["examples:", *lines, ""])


def overview() -> str:
    """Return the help of the command that has all others: one line for each."""
    width = max(map(len, NAMES)) + 2
    lines = [
        textwrap.fill(COMMANDS[name].idea, 100, initial_indent=f"  {name.ljust(width)}", subsequent_indent=" " * 13)
        for name in NAMES
    ]
    own = called()
    return "\n".join([
        f"usage: {own} COMMAND ...", "", "Rainbow, REINFORCE and everything between, for Stable-Baselines3.", "",
        "commands:", *lines, "", f"{own} COMMAND --help lists the flags of a command and shows examples.",
        f"{own} --version says which version this is.", "", "examples:", f"  {own} train",
        f"  {own} enjoy logs/rainbow/CartPole-v1_1", f"  {own} list algos", "",
    ])  # fmt: skip
