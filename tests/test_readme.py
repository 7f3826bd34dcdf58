"""What the README and the guide show and say is so: Python runs, and the ladder has every rung."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from stable_baselines3 import PPO

from sb3_course import DoubleDQN, NeuralQ, QTable, Rainbow
from sb3_course.registry import ALGORITHMS
from sb3_course.sb3.algorithm import PluginAlgorithm


@pytest.fixture
def readme(project_root: Path) -> str:
    return (project_root / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def guide(project_root: Path) -> str:
    return (project_root / "docs" / "guide.md").read_text(encoding="utf-8")


def test_its_python_runs(readme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[type, int]] = []
    learn = PluginAlgorithm.learn

    def short(self: Any, total_timesteps: int, *args: Any, **kwargs: Any) -> Any:
        asked.append((type(self), total_timesteps))
        return learn(self, 150, *args, **kwargs)

    monkeypatch.setattr(PluginAlgorithm, "learn", short)
    names: dict[str, Any] = {}
    for block in re.findall(r"^```python\n(.*?)^```", readme, re.MULTILINE | re.DOTALL):
        exec(block, names)
    assert asked == [(DoubleDQN, 5_000), (Rainbow, 50_000)]
    assert names["model"].preset.n_timesteps == 50_000
    baseline = names["baseline"]
    assert type(baseline) is PPO
    assert (baseline.n_envs, baseline.lr_schedule(0.5)) == (4, 0.5e-3)


def test_the_guide_says_how_the_online_rungs_explore(guide: str) -> None:
    said = re.search(r"`QTable` and `NeuralQ` explore with ε = ([\d.]+) throughout", " ".join(guide.split()))
    assert said is not None
    for cls in (QTable, NeuralQ):
        model = cls("MlpPolicy", "sb3_course/GridWorld-v0", device="cpu")
        assert {model.exploration_schedule(left) for left in (1.0, 0.5, 0.0)} == {float(said[1])}


def test_it_is_short_and_shows_its_three_doors(readme: str) -> None:
    lines = readme.splitlines()
    assert len(lines) <= 150
    doors = readme[readme.index("## Three doors") : readme.index("## The ladder")]
    assert doors.count("```") == 6
    rungs = re.findall(r"^\| (`.*?) \|", readme[readme.index("## The ladder") : readme.index("## Speed")], re.MULTILINE)
    own = [name for name, row in ALGORITHMS.items() if row.source == "sb3_course" or name == "dqn"]
    assert [name for rung in rungs for name in re.findall(r"`(\w+)`", rung)] == own
