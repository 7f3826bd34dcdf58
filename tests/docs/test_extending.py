"""`docs/extending.md`, followed: in a copy of the tree each addition is made, learns, and passes the tests."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

#: Section of the page -> what NAME is in its files.
SECTIONS = {
    "a rung": "d3qn",
    "a return estimate": "absolute",
    "a policy gradient": "clipped_pg",
    "a replay": "newest",
    "an environment": "coin",
}
#: Files of a rung that the page does not show: what begins as a copy of a neighbour's, and what a command makes.
COPIED = ("sb3_course/presets/NAME.yml", "docs/course/NAME.md")
MADE = (
    "docs/images/course/NAME.png",
    "docs/images/course/curves.json",
    "docs/results/ladder.md",
    "docs/results/runs/",
)


@dataclass(frozen=True)
class Block:
    """A block of the page: a new file's text, or a diff of one that is there."""

    path: str
    diff: bool
    text: str

    def apply(self, root: Path) -> None:
        """Write the file, or change it where the lines of a hunk stand, which is at one place."""
        file = root / self.path
        if not self.diff:
            assert not file.exists(), f"{self.path} is no new file"
            file.write_text(self.text, "utf-8")
            return
        text = "\n" + file.read_text("utf-8")
        for hunk in self.text.split("@@\n"):
            lines = hunk.splitlines(keepends=True)
            before, after = ("\n" + "".join(x[1:] for x in lines if x[0] in signs) for signs in (" -", " +"))
            before, after = before.removesuffix("…\n"), after.removesuffix("…\n")
            assert text.count(before) == 1, f"{self.path}: {before!r} stands there {text.count(before)} times"
            text = text.replace(before, after)
        file.write_text(text[1:], "utf-8")

    def renamed(self, words: dict[str, str]) -> Block:
        """Return the same change with other words."""
        text = self.text
        for old, new in words.items():
            text = text.replace(old, new)
        return Block(self.path, self.diff, text)


def section(root: Path, name: str) -> str:
    """Return a section of the page."""
    page = (root / "docs" / "extending.md").read_text("utf-8")
    return page.split(f"\n## Add {name}\n")[1].split("\n## Add ")[0]


def shown(text: str) -> dict[str, Block]:
    """Return the blocks of a section by their paths."""
    found = re.findall(r"^```\{code-block\} (\w+)\n:caption: (\S+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert len(found) == text.count("```{code-block}")
    return {path: Block(path, language == "diff", body) for language, path, body in found}


def listed(text: str) -> set[str]:
    """Return the files that a section lists."""
    return set(re.findall(r"^\* `([^`]+)`", text, re.MULTILINE))


@pytest.mark.parametrize("name", SECTIONS)
def test_a_section_lists_what_it_changes(project_root: Path, name: str) -> None:
    text = section(project_root, name)
    changed = {re.sub(rf"\b{SECTIONS[name]}\b", "NAME", path) for path in shown(text)}
    if name == "a rung":
        changed |= {*COPIED, *MADE}
    if name == "a policy gradient":  # the other files are the rung's
        changed -= listed(section(project_root, "a rung"))
    assert changed == listed(text)


# ------------------------------------------------------------------------------------------------ what is added

#: A rung's name -> its class, and the rung whose preset and page its own begin with.
RUNGS = {
    "d3qn": ("D3QN", "dueling_dqn", "DuelingDQN"),
    "median_dqn": ("MedianDQN", "quantile_dqn", "QuantileDQN"),
    "clipped_pg": ("ClippedPG", "actor_critic", "ActorCritic"),
}
#: The rung of the page -> one that is named after the estimate of the page.
MEDIAN = {
    "d3qn": "median_dqn",
    "D3QN": "MedianDQN",
    "double=True, dueling=True, n_steps=3": 'distribution="absolute"',
    "Wang et al. 2016": "Dabney et al. 2018",  # as on the page that its own begins with
    "import IQN as IQN": "import MunchausenDQN as MunchausenDQN",  # which it stands before in the alphabet
}
#: Where the policy gradient's row stands in tables whose order is the ladder's, and what is searched for it.
GRADIENT = {
    "README.md": "+| `clipped_pg` | clipped ratios | Sutton & Barto 2018 | the loss | SCORE |\n | `a3c` | workers …\n",
    "tuning/spaces.py": '+        "clipped_pg": f"{_ON_POLICY} policy vf_coef max_grad_norm",\n         "a2c": …\n',
}


def changes_of(root: Path) -> list[Block]:
    """Return all changes: those that the page shows, and the rung's for the other two new names."""
    blocks = {name: shown(section(root, name)) for name in SECTIONS}
    rung = blocks["a rung"].values()
    median = [block.renamed(MEDIAN) for block in rung]
    gradient = [
        Block(block.path, True, GRADIENT[block.path])
        if block.path in GRADIENT
        else block.renamed({"d3qn": "clipped_pg", "D3QN": "ClippedPG"})
        for block in rung
        if block.path not in blocks["a policy gradient"] and not block.path.endswith("value_family.py")
    ]
    return [*(block for each in blocks.values() for block in each.values()), *median, *gradient]


#: Short runs, drawn as `docs/make_course_pictures.py` draws them; the script itself trains at full length.
DRAW = """
import json, runpy
script = runpy.run_path("docs/make_course_pictures.py")
script["RUNGS"].update({name: (600, script["RUNGS"][name][1]) for name in NAMES})
curves = json.loads(script["CURVES"].read_text())
script["train"](list(NAMES), curves)
for name in NAMES:
    script["draw_curve"](name, curves)
"""

USE = """
import gymnasium, numpy, sb3_course
from stable_baselines3 import DQN
from sb3_course.envs import CoinEnv
from sb3_course.replay.newest import NewestReplayBuffer

env = gymnasium.make("sb3_course/Coin-v0")
assert isinstance(env.unwrapped, CoinEnv)
quick = dict(learning_starts=10, train_freq=1, learning_rate=0.05, gamma=0.0, seed=0)
for backend in ("numpy", "torch"):
    for cls, given in ((sb3_course.D3QN, {}), (sb3_course.MedianDQN, {"slope": 2.0})):
        model = cls("MlpPolicy", env, backend=backend, **given, **quick).learn(150)
        assert model.predict(0, deterministic=True)[0] == 1, (cls, backend)
assert sb3_course.D3QN("MlpPolicy", env).n_steps == 3
assert sb3_course.Rainbow("MlpPolicy", env, distribution="absolute", **quick).learn(40).q_net.n_atoms == 1

for cls in (sb3_course.DoubleDQN, DQN):
    model = cls("MlpPolicy", env, replay_buffer_class=NewestReplayBuffer, **quick).learn(60)
    assert type(model.replay_buffer) is NewestReplayBuffer
    buffer = model.replay_buffer
    assert set(buffer._draw.draw(200, numpy.random.default_rng(0), 60).tolist()) == set(range(50, 60))

model = sb3_course.ClippedPG("MlpPolicy", env, learning_rate=0.01, seed=0).learn(320)
assert model.predict(0, deterministic=True)[0] == 1
assert model._n_updates == 20
"""


#: Files whose tests go through the registry, but for those that take long: other processes, rl_zoo3, every preset.
DRIVEN = re.compile(r"sb3_course(\.registry| import .*registry)|^    registry,$|import ENVIRONMENTS", re.MULTILINE)
DEAR = {"test_value_saving.py", "test_zoo_door.py", "test_results_pages.py"}
#: Tests that go through it in one piece.
WHOLE = {
    "test_each_of_our_environments_has_a_preset_for_each_algorithm_that_fits": "tests/test_presets.py",
    "test_it_is_short_and_shows_its_three_doors": "tests/test_readme.py",
    "test_scores_of_the_readmes_ladder_are_those_of_their_rows": "tests/docs/test_numbers.py",
    "test_the_ladders_papers_are_those_of_the_course": "tests/docs/test_numbers.py",
    "test_every_public_name_is_on_a_page": "tests/docs/test_public_docstrings.py",
    "test_registration_is_idempotent_and_respects_what_is_there": "tests/envs/test_envs_contract.py",
    "test_list_shows_algorithms_environments_and_presets": "tests/runs/test_commands.py",
    "test_every_algorithm_has_a_space": "tests/tuning/test_spaces.py",
}
#: It asks for what is compiled, and nothing is in the copy, which saves ten seconds.
COMPILED = "tests/value/test_one_call.py::test_one_call_is_one_step_after_the_other[d3qn]"


def run(root: Path, *arguments: str) -> str:
    """Run Python on the copy, by itself, and return what it says."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    environment = {**kept, "PYTHONPATH": str(root), "SB3_COURSE_COMPILED": "0", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def score_like(root: Path, name: str, neighbour: str) -> None:
    """Give a rung the scores of another one: what `benchmarks/results.py` makes is ten runs at full length."""
    page, readme = root / "docs" / "results" / "ladder.md", root / "README.md"
    text, row = page.read_text("utf-8"), re.compile(rf"^\| `{neighbour}` \|.*\n", re.MULTILINE)
    page.write_text(row.sub(lambda line: line[0] + line[0].replace(neighbour, name), text), "utf-8")
    score = re.search(rf"^\| `{neighbour}` \|.* \| (.+?) \|$", readme.read_text("utf-8"), re.MULTILINE)
    assert score is not None
    changed = re.sub(rf"^(\| `{name}` \|.*) SCORE ", rf"\1 {score[1]} ", readme.read_text("utf-8"), flags=re.MULTILINE)
    readme.write_text(changed, "utf-8")


@pytest.fixture(scope="module")
def extended(project_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the tree in which everything on the page is done."""
    root = tmp_path_factory.mktemp("extended") / "tree"
    tree = ("sb3_course", "envs", "tuning", "tests", "docs", "benchmarks")
    for folder in tree:
        left_out = shutil.ignore_patterns("__pycache__", "_build", "runs" if folder == "docs" else "")
        shutil.copytree(project_root / folder, root / folder, symlinks=True, ignore=left_out)
    for file in (*project_root.glob("*.md"), project_root / "pyproject.toml"):
        shutil.copy(file, root)
    for block in changes_of(project_root):
        block.apply(root)
    for name, (cls, neighbour, its_class) in RUNGS.items():
        for path in COPIED:
            text = (root / path.replace("NAME", neighbour)).read_text("utf-8")
            mine = text.replace(neighbour, name).replace(its_class, cls)
            (root / path.replace("NAME", name)).write_text(mine, "utf-8")
        score_like(root, name, neighbour)
    readme = (root / "README.md").read_text("utf-8").splitlines(keepends=True)
    (root / "README.md").write_text("".join(readme[:150]), "utf-8")  # "make room for it"
    run(root, "-c", f"NAMES = {(*RUNGS,)}\n{DRAW}")
    return root


def test_what_the_page_adds_learns(extended: Path) -> None:
    run(extended, "-c", USE)


def test_what_the_page_adds_is_in_style(extended: Path) -> None:
    files = sorted({block.path for block in changes_of(extended) if block.path.endswith(".py")})
    run(extended, "-m", "ruff", "check", "--no-cache", *files)
    run(extended, "-m", "ruff", "format", "--no-cache", "--check", *files)


def test_what_the_page_adds_passes_the_tests_that_the_registry_drives(extended: Path) -> None:
    texts = {
        path.relative_to(extended).as_posix(): path.read_text("utf-8") for path in extended.glob("tests/**/test_*.py")
    }
    files = {path for path, text in texts.items() if DRIVEN.search(text)} | {*WHOLE.values()}
    names = [*RUNGS, *(cls for cls, *_ in RUNGS.values()), "AbsoluteReturn", "Coin-v0", "CoinEnv", *WHOLE]
    assert {Path(path).name for path in files} >= DEAR
    chosen = sorted(path for path in files if Path(path).name not in DEAR)
    options = ("-v", "-p", "no:cacheprovider", "-m", "not learning", "-k", " or ".join(names), "--deselect", COMPILED)
    said = run(extended, "-m", "pytest", *options, *chosen)
    passed = re.findall(r"::(\w+)(?:\[(\S+)\])? PASSED", said)
    assert {*WHOLE} <= {test for test, _ in passed}
    assert "AbsoluteReturn" in {case for _, case in passed}  # which has an entry in the reference
    for name in RUNGS:
        assert ("test_a_rung_has_a_page_with_every_part", name) in passed
        assert ("test_what_it_is_and_takes", f"sb3_course.{RUNGS[name][0]}") in passed
