"""The guide's lists of what one touches, done: in a copy of the tree each addition is made, and learns."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

HEAD = '"""Made by a test that follows the guide."""\n\nfrom __future__ import annotations\n\n'


@dataclass(frozen=True)
class Row:
    """A line that goes into a table, before another one."""

    text: str
    before: str


#: Section of the guide -> name -> file -> the new file's text, or rows of a table.
ADDITIONS: dict[str, tuple[str, dict[str, str | tuple[Row, ...]]]] = {
    "a return estimate": ("absolute", {
        "sb3_course/value/estimates/absolute.py": HEAD + '''
from sb3_course.config.argument import Argument
from sb3_course.config.argument_types import Positive
from sb3_course.functional import errors_at_actions
from sb3_course.functional.array_api import namespace
from sb3_course.value.estimates.estimate import ReturnEstimate


class AbsoluteReturn(ReturnEstimate):
    """The median, by the absolute error."""

    name = "absolute"
    arguments = (Argument("slope", Positive, "of the absolute error", 1.0, "a test"),)
    width = 1

    def __init__(self, slope=1.0):
        self._slope = slope

    def values(self, outputs, risk=None):
        return outputs[:, :, 0]

    def errors(self, outputs, actions, next_outputs, selector, batch):
        def targets(picked):
            return (batch.rewards + batch.discounts * picked[:, 0])[:, None]

        def loss(predictions, targets):
            xp, error = namespace(predictions), predictions - targets
            return self._slope * xp.abs(error)[:, 0], self._slope * xp.sign(error)

        return errors_at_actions(outputs, actions, next_outputs, self.values(selector), batch.weights, targets, loss)

    def priorities(self, errors):
        return errors.losses
''',
        "sb3_course/value/estimates/__init__.py": (
            Row("from sb3_course.value.estimates.absolute import AbsoluteReturn\n",
                before="from sb3_course.value.estimates.categorical_return import"),
            Row("ESTIMATES[AbsoluteReturn.name] = AbsoluteReturn\n", before="\nDISTRIBUTION = "),
        ),
        "sb3_course/value/value_family.py": (
            Row('class MedianDQN(ValueAlgorithm, distribution="absolute"):\n    """Medians."""\n\n\n',
                before="class Rainbow("),
        ),
        "sb3_course/registry.py": (
            Row('        _value("median_dqn", "MedianDQN", "medians in place of means"),\n',
                before='        _value("rainbow"'),
        ),
        "sb3_course/__init__.py": (Row("MedianDQN ", before="NeuralQ NoisyDQN"),),
        "tuning/spaces.py": (Row('        "median_dqn": f"{_VALUE} {_EPSILON}",\n', before='        "rainbow": f"'),),
        "sb3_course/presets/median_dqn.yml": "default:\n  n_timesteps: 1000\n  slope: 2.0\n",
    }),
    "a replay": ("newest", {
        "sb3_course/replay/newest.py": HEAD + '''
from sb3_course.replay.buffers import ReplayBuffer
from sb3_course.replay.uniform import UniformDraw


class NewestDraw(UniformDraw):
    """From the newest ten only."""

    def stored(self, first, count):
        self.end = first + count

    def draw(self, batch_size, rng, stored):
        return (self.end - 1 - rng.integers(min(stored, 10), size=batch_size)) % self.capacity


class NewestReplayBuffer(ReplayBuffer):
    """Learn from what has just been seen."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, draw=NewestDraw, **kwargs)
''',
    }),
    "a policy gradient": ("clipped", {
        "sb3_course/policy_gradient/clipped.py": HEAD + '''
from sb3_course.functional.array_api import namespace
from sb3_course.functional.losses import policy_gradient
from sb3_course.policy_gradient.gradient_learner import PolicyGradientLearner


def clipped_surrogate(log_prob, entropy, psi, ent_coef, before):
    """Return −min(ρΨ, clip(ρ, 1 − ε, 1 + ε)Ψ) − c·H (Schulman et al. 2017, Eq. 7), ρ the ratio to before."""
    xp = namespace(psi)
    ratio = xp.exp(log_prob.values - before)
    held = xp.where(psi > 0, ratio > 1.2, ratio < 0.8)
    _, gradients = policy_gradient(log_prob, entropy, xp.where(held, 0 * psi, ratio * psi), ent_coef)
    losses = -xp.minimum(ratio * psi, xp.clip(ratio, 0.8, 1.2) * psi) - ent_coef * entropy.values
    return losses, gradients


class Clipped(PolicyGradientLearner, n_steps=16, psi="gae", baseline="value", gae_lambda=0.95):
    """PPO's loss, on whole rollouts."""

    policy_loss = staticmethod(clipped_surrogate)
    n_passes = 4
''',
        "sb3_course/registry.py": (
            Row('        _gradient("clipped", "Clipped", "ratios that are clipped", "actor-critic", "clipped"),\n',
                before='        _sb3("a2c"'),
        ),
        "sb3_course/__init__.py": (
            Row('        "sb3_course.policy_gradient.clipped": "Clipped",\n',
                before='        "sb3_course.policy_gradient.gradient_family"'),
        ),
        "tuning/spaces.py": (Row('        "clipped": f"{_ON_POLICY} rollout",\n', before='        "a2c": f"'),),
        "sb3_course/presets/clipped.yml": "default:\n  n_timesteps: 1000\n  n_steps: 32\n",
    }),
    "an environment": ("coin", {
        "envs/coin.py": HEAD + '''
import gymnasium as gym
from gymnasium import spaces


class CoinEnv(gym.Env):
    """Guess a coin that always falls on 1."""

    observation_space = spaces.Discrete(1)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return 0, {}

    def step(self, action):
        return 0, float(action), True, False, {}
''',
        "envs/registration.py": (
            Row('    EnvEntry("sb3_course/Coin-v0", "sb3_course.envs.coin:CoinEnv"),\n',
                before='    EnvEntry("sb3_course/Bandit-v0"'),
        ),
        "envs/__init__.py": (
            Row("from sb3_course.envs.coin import CoinEnv as CoinEnv\n",
                before="from sb3_course.envs.grid_world import"),
        ),
    }),
}  # fmt: skip

USE = """
import gymnasium, numpy, sb3_course
from stable_baselines3 import DQN
from sb3_course import registry
from sb3_course.envs import CoinEnv
from sb3_course.replay.newest import NewestReplayBuffer
from sb3_course.runs import presets
from sb3_course.tuning.spaces import space_of

for name in ("median_dqn", "clipped"):
    preset = presets.load(name, "CartPole-v1")
    assert preset.pop("n_timesteps") == 1000
    assert registry.check_params(name, preset)
    assert space_of(name)

env = gymnasium.make("sb3_course/Coin-v0")
assert isinstance(env.unwrapped, CoinEnv)
quick = dict(learning_starts=10, train_freq=1, learning_rate=0.05, gamma=0.0, seed=0)
for backend in ("numpy", "torch"):
    model = sb3_course.MedianDQN("MlpPolicy", env, slope=2.0, backend=backend, **quick).learn(150)
    assert model.predict(0, deterministic=True)[0] == 1, backend
assert sb3_course.Rainbow("MlpPolicy", env, distribution="absolute", **quick).learn(40).q_net.n_atoms == 1

for cls in (sb3_course.DoubleDQN, DQN):
    model = cls("MlpPolicy", env, replay_buffer_class=NewestReplayBuffer, **quick).learn(60)
    assert type(model.replay_buffer) is NewestReplayBuffer
    buffer = model.replay_buffer
    assert set(buffer._draw.draw(200, numpy.random.default_rng(0), 60).tolist()) == set(range(50, 60))

model = sb3_course.Clipped("MlpPolicy", env, learning_rate=0.01, seed=0).learn(320)
assert model.predict(0, deterministic=True)[0] == 1
assert model._n_updates == 20
"""


def listed(guide: str, section: str) -> set[str]:
    """Return the files that a section of the guide lists."""
    text = guide.split(f"### Add {section}\n")[1].split("\n#")[0]
    return set(re.findall(r"^\* `([^`]+)`", text, flags=re.MULTILINE))


def named(path: str, name: str) -> str:
    """Return a path as the guide has it: NAME in place of the new thing's own."""
    folder, _, file = path.rpartition("/")
    stem, _, suffix = file.partition(".")
    return f"{folder}/NAME.{suffix}" if name in stem or suffix == "yml" else path


@pytest.mark.parametrize("section", ADDITIONS)
def test_the_guide_lists_what_is_touched(project_root: Path, section: str) -> None:
    name, changes = ADDITIONS[section]
    guide = (project_root / "docs" / "architecture.md").read_text("utf-8")
    assert {named(path, name) for path in changes} == listed(guide, section)


def apply(root: Path, path: str, change: str | tuple[Row, ...]) -> None:
    """Write a new file, or put rows into one that is there."""
    file = root / path
    if isinstance(change, str):
        assert not file.exists(), f"{path} is no new file"
        file.write_text(change)
        return
    text = file.read_text("utf-8")
    for row in change:
        assert text.count(row.before) == 1, f"{path}: {row.before!r} stands there {text.count(row.before)} times"
        text = text.replace(row.before, row.text + row.before)
    file.write_text(text)


def test_what_the_guide_lists_is_enough(project_root: Path, tmp_path: Path) -> None:
    for folder in ("sb3_course", "envs", "tuning"):
        shutil.copytree(
            project_root / folder, tmp_path / folder, symlinks=True, ignore=shutil.ignore_patterns("__pycache__")
        )
    for _, changes in ADDITIONS.values():
        for path, change in changes.items():
            apply(tmp_path, path, change)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "SB3_COURSE_COMPILED": "0", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-c", USE], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
