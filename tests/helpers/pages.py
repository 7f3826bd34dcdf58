"""The blocks of the README's and the documentation's pages, and how tests run them with small budgets.

Budgets are cut in one way: `BUDGET` says what a number of that name is cut down to in Python (keyword arguments, and
the first argument of `learn`), `FLAGS` what stands at the end of a command.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

#: By the name of an argument.
BUDGET = {"total_timesteps": 150, "n_timesteps": 150, "n_trials": 1, "n_eval_episodes": 1, "workers": 1}
#: What a command of ours gets at its end, by its door.
FLAGS = {
    "train": "-n 1200 --eval-freq 600 --eval-episodes 1 --final-episodes 1 --no-progress",
    "resume": "-n 1500",
    "enjoy": "--episodes 1",
    "tune": "--trials 1 --seeds 1 -n 200 --eval-freq 100 --eval-episodes 1 --final-episodes 1 --workers 1",
    "compare": "--trials 1 --seeds 1 -n 64 --eval-freq 32 --eval-episodes 1 --final-episodes 1 --workers 1 "
    "--fresh-seeds 2 --top 1 --algos reinforce a2c",  # one of ours, and one of SB3's
    "zoo train": "-n 300 --eval-freq 100 --eval-episodes 2 --num-threads 1",
    "zoo -optimize": "--n-trials 2 --n-evaluations 1 --no-optim-plots",
    "zoo all_plots": "--no-display",
}

#: Commands that only their parsers look at, by a text in them.
PARSED_ONLY = {
    "ALE/": "a network for images; tests/runs/test_atari.py trains one",
    "MinAtar/": "a network for images; tests/envs/test_envs_minatar.py plays them",
    "--seeds": "workers are processes; tests/tuning/test_seed_runs.py starts them",
    "--track": "asks the network",
    "--import mymod": "a module of the reader's own",
    "-conf hyperparams": "a file of rl_zoo3's; tests/runs/test_zoo_files.py reads all of them",
    "-conf mine.yml": "a file of the reader's own",
    "--config logs/": "the file of a study that has not run here",
    "--preset": "articles at full length; tests/value/test_articles_learn.py trains each",
}
#: A word that the reader is to replace.
PLACEHOLDER = r"(?<=\s)(?:[A-Z]+|\.\.\.)(?=\s|$)"
#: Programs of others, by their first words.
NOT_OURS = {
    "python3 -m venv": "the machine's own Python",
    ". .venv/": "an environment that no test makes",
    "git clone": "asks the network",
    "mkdir -p ": "a folder that the command below it writes to",
    "cd ": "a folder of the reader's",
    "export ": "the shell's",
    "createuser": "a PostgreSQL server; tests/tuning/test_postgres.py starts one",
    "optuna-dashboard": "a server",
    "optuna.": "a function of Optuna's, named in a sentence",
    "tensorboard --logdir": "a server",
    "wandb login": "asks the network",
    "exec srun": "Slurm",
    "#": "a comment",
}


@dataclass(frozen=True)
class Block:
    """A block of code.

    :param page: from the top of the repository
    :param line: of its first line of code, from 1
    :param language: what stands behind its fence; nothing: a shell's
    """

    page: str
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        """Where it stands."""
        return f"{self.page}:{self.line}"


def every_page() -> list[Path]:
    """Return all pages, those that commands have written among them."""
    found = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    for folder, inside, names in os.walk(ROOT / "docs"):
        inside[:] = sorted({*inside} - {"_build"})  # not looked into: `make docs` may be at work there
        found += [Path(folder, name) for name in sorted(names) if name.endswith(".md")]
    return found


def pages() -> list[Path]:
    """Return every page written by hand, the README first; the changelog tells of commands that are gone."""
    return [page for page in every_page() if page.name not in ("report.md", "CHANGELOG.md")]


def prose(page: Path) -> str:
    """Return a page without its blocks of code."""
    return re.sub(r"^ *(`{3,}).*?^ *\1`*$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page, top to bottom; a directive's body is looked into where it holds text."""
    found, name = [], page.relative_to(ROOT).as_posix()
    lines = page.read_text("utf-8").splitlines()
    index = 0
    while index < len(lines):
        fence = re.match(r"\s*(`{3,})(.*)$", lines[index])
        index += 1
        if fence is None:
            continue
        start = index
        while not re.match(rf"\s*{fence[1]}`*\s*$", lines[index]):
            index += 1
        found.append(Block(name, start + 1, fence[2].strip(), "\n".join(lines[start:index]) + "\n"))
        index += 1
    return found


class _Cut(ast.NodeTransformer):
    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        for keyword in node.keywords:
            if keyword.arg in BUDGET:
                keyword.value = _least(keyword.value, BUDGET[keyword.arg])
        if isinstance(node.func, ast.Attribute) and node.func.attr == "learn" and node.args:
            node.args[0] = _least(node.args[0], BUDGET["total_timesteps"])
        return node


def _least(value: ast.expr, most: int) -> ast.expr:
    call = ast.Call(ast.Name("min", ast.Load()), [value, ast.Constant(most)], [])
    return ast.copy_location(call, value)


def shortened(block: Block) -> ast.Module:
    """Return a block of Python with its budgets cut."""
    tree = ast.parse("\n" * (block.line - 1) + block.text, block.page)
    return ast.fix_missing_locations(_Cut().visit(tree))


def printed(block: Block) -> list[str]:
    """Return what comments behind `print(...)` say is printed."""
    return re.findall(r"^print\(.*\)  # (\S.*)$", block.text, re.MULTILINE)


def commands(page: Path) -> Iterator[tuple[str, str, bool]]:
    """Yield each command of a page: where it stands, the command, and whether it stands in a block of its own."""
    for block in blocks(page):
        if block.language in ("", "bash", "sh", "console", "shell"):
            joined = block.text.replace("\\\n", " ")
            for line in joined.splitlines():
                if line.strip():
                    yield block.place, line.strip(), True
    for words in re.findall(r"`((?:python|sb3-course|make) [^`]+)`", prose(page)):
        yield page.relative_to(ROOT).as_posix(), " ".join(words.split()), False
