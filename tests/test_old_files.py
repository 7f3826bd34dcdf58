"""Models and runs that version 0.1 wrote, before its modules moved, load, act as they did and go on.

`old_files/` was written by that version; what it predicted then stands in `expected.json`.
"""

import importlib
import json
import shutil
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th

import sb3_course.config.errors
import sb3_course.runs
from sb3_course._old_names import MOVED
from sb3_course.runs import RunFolder
from sb3_course.saving import attributes_of, read_manifest

OLD = Path(__file__).parent / "old_files"
EXPECTED: dict[str, Any] = json.loads((OLD / "expected.json").read_text())
MODELS = sorted(set(EXPECTED) - {"run"})


def load(name: str, **arguments: Any) -> Any:
    module, _, cls = EXPECTED[name]["class"].partition(":")
    return getattr(importlib.import_module(module), cls).load(OLD / f"{name}.zip", device="cpu", **arguments)


@pytest.mark.parametrize("old", MOVED)
def test_an_old_name_is_the_module_itself(old: str) -> None:
    assert importlib.import_module(old) is importlib.import_module(MOVED[old])


def test_what_users_imported_from_text_is_there() -> None:
    text: Any = importlib.import_module("sb3_course.text")
    assert text.InputError is sb3_course.config.errors.InputError
    assert text.LinearRate(2.0)(0.5) == 1.0


@pytest.mark.parametrize("name", MODELS)
def test_an_old_model_acts_as_it_did_and_learns_on(name: str) -> None:
    was = EXPECTED[name]
    model = load(name, env=gym.make(was["env"]))
    space = model.observation_space
    observations = np.array(was["observations"], space.dtype)
    np.testing.assert_allclose(model.predict(observations, deterministic=True)[0], was["actions"], rtol=1e-5)
    if "values" in was:
        ask = model.policy.q_net if hasattr(model.policy, "q_net") else model.policy.predict_values
        with th.no_grad():
            values = ask(th.as_tensor(observations))
        np.testing.assert_allclose(values.numpy(), was["values"], atol=2e-5)
    assert model.lr_schedule(0.5) == was["learning_rate_at_half"]
    assert (model.num_timesteps, model._n_updates) == (was["timesteps"], was["updates"])
    before = [weight.clone() for weight in model.policy.parameters()]
    model.learn(200, reset_num_timesteps=False)
    assert model.num_timesteps >= was["timesteps"] + 200
    assert any(not th.equal(old, new) for old, new in zip(before, model.policy.parameters(), strict=True))


@pytest.mark.parametrize("name", sorted(set(MODELS) - {"dqn"}))  # SB3's own class writes no manifest
def test_the_manifest_of_an_old_model_is_read(name: str) -> None:
    attributes = attributes_of(read_manifest(OLD / f"{name}.zip"))
    assert attributes["num_timesteps"] == EXPECTED[name]["timesteps"]


@pytest.mark.filterwarnings("ignore:.*lies outside v_min")
def test_an_old_run_is_resumed_from_its_checkpoint(tmp_path: Path) -> None:
    shutil.copytree(OLD / "run", tmp_path / "run")
    result, lost = sb3_course.runs.resume(tmp_path / "run")
    assert result.finished
    assert result.timesteps == 200
    assert [score.timesteps for score in result.evaluations] == [50, 100, 150, 200]
    assert RunFolder(tmp_path / "run").status()["state"] == "finished"
    assert not any("replay" in what for what in lost)
