"""Risk-sensitive choice in the engine: which arm of a bandit is learned, and which is asked for later."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.vec_env import DummyVecEnv

from sb3_course import CategoricalDQN, DoubleDQN, DuelingDQN, Rainbow
from sb3_course.config.text import InputError

SAFE, RISKY = 0, 1
SEEDS = range(10)


def bandit() -> gym.Env[Any, Any]:
    """Return two arms of the same mean: who looks at nothing else cannot tell them apart."""
    return gym.make("sb3_course/Bandit-v0", means=[1.0, 1.0], stds=[0.1, 1.0])


def make(cls: type = CategoricalDQN, seed: int = 0, **kwargs: Any) -> Any:
    settings: dict[str, Any] = {
        "gamma": 0.0, "v_min": -3.0, "v_max": 5.0, "learning_rate": 0.03, "learning_starts": 50, "batch_size": 64,
        "buffer_size": 1_000, "train_freq": 4, "gradient_steps": 2, "exploration_final_eps": 1.0,
        "policy_kwargs": {"net_arch": []}, "seed": seed, "device": "cpu",
    }  # fmt: skip
    return cls("MlpPolicy", kwargs.pop("env", None) or bandit(), **(settings | kwargs))


@pytest.fixture(scope="module")
def trained() -> Any:
    """A model that learned with the mean: the law it knows is the same."""
    return make().learn(600)


@pytest.mark.parametrize(("risk", "arm"), [("cvar:0.25", SAFE), ("cvar_seeking:0.25", RISKY)])
def test_averse_takes_the_safe_arm_and_seeking_the_risky_one(risk: str, arm: int) -> None:
    """10 of 10 seeds, from 600 pulls each, four at a time."""
    many = {"risk": risk, "train_freq": 1}
    models = [make(seed=seed, env=DummyVecEnv([bandit] * 4), **many).learn(600) for seed in SEEDS]
    arms = [int(model.predict(0, deterministic=True)[0]) for model in models]
    assert arms == [arm] * len(SEEDS)


def test_acting_while_learning_follows_the_risk() -> None:
    """Without exploration every pull behind the warm-up and the first updates is the averse choice."""
    model = make(risk="cvar:0.25", exploration_initial_eps=0.0, exploration_final_eps=0.0, learning_starts=300)
    model.learn(500)
    assert (model.replay_buffer.actions[400:500] == SAFE).all()


@pytest.mark.parametrize(
    ("risk", "arm"),
    [
        ("cvar:0.25", SAFE), ("cvar_seeking:0.25", RISKY), ("wang:-0.75", SAFE), ("wang:0.75", RISKY),
        ("mean_variance:0.5", SAFE), ("mean_variance:-0.5", RISKY),
    ],
)  # fmt: skip
def test_a_trained_model_is_asked_with_another_risk(trained: Any, risk: str, arm: int) -> None:
    before = trained.predict(0, deterministic=True)[0]
    chosen, state = trained.predict(0, deterministic=True, risk=risk)
    assert (chosen, chosen.shape, state) == (arm, (), None)
    np.testing.assert_array_equal(trained.predict(np.zeros(3, dtype=int), deterministic=True, risk=risk)[0], [arm] * 3)
    assert trained.predict(0, deterministic=True)[0] == before  # asking once changes nothing


def test_exploration_goes_with_a_risk_asked_for(trained: Any) -> None:
    """Half the coins of ε = 0.5 fall on a random arm, half of those on the risky one."""
    rate, trained.exploration_rate = trained.exploration_rate, 0.5
    arms = trained.predict(np.zeros(2_000, dtype=int), risk="cvar:0.25")[0]
    trained.exploration_rate = rate
    assert 0.2 < (arms == RISKY).mean() < 0.3


def test_the_models_own_risk_is_what_predict_means_and_it_is_saved(tmp_path: Any, trained: Any) -> None:
    for risk, arm in (("cvar:0.25", SAFE), ("cvar_seeking:0.25", RISKY)):
        model = make(risk=risk)
        model.set_parameters(trained.get_parameters())
        assert model.predict(0, deterministic=True)[0] == arm
        model.save(tmp_path / "model")
        loaded = CategoricalDQN.load(tmp_path / "model", env=bandit(), device="cpu")
        assert loaded.risk == risk
        assert loaded.predict(0, deterministic=True)[0] == arm
        assert str(loaded._learner.estimate.risk) == risk
        other = CategoricalDQN.load(tmp_path / "model", env=bandit(), device="cpu", risk="cvar:0.25")
        assert other.predict(0, deterministic=True)[0] == SAFE
        assert str(other._learner.estimate.risk) == "cvar:0.25"


def test_rainbow_serves_every_risk() -> None:
    model = make(Rainbow, policy_kwargs={"net_arch": [8]}, risk="wang:-0.75").learn(80)
    for risk in (None, "mean", "cvar:0.1", "cvar_seeking:0.1", "wang", "cpw", "mean_variance:0.1"):
        assert model.predict(0, deterministic=True, risk=risk)[0] in (SAFE, RISKY)


@pytest.mark.parametrize(
    ("cls", "switches"),
    [(DoubleDQN, {}), (DuelingDQN, {}), (Rainbow, {"n_atoms": 1}), (CategoricalDQN, {"n_atoms": 1})],
)
def test_a_number_an_action_has_no_risk(cls: type, switches: dict[str, Any]) -> None:
    switches = {"policy_kwargs": {"net_arch": [8]}, **switches}
    with pytest.raises(InputError, match=r"^risk: one number an action has no risk") as refusal:
        make(cls, risk="cvar:0.25", **switches)
    assert "\n" not in str(refusal.value)
    model = make(cls, **switches)
    with pytest.raises(InputError, match=r"^risk: one number an action has no risk") as refusal:
        model.predict(0, deterministic=True, risk="cvar:0.25")
    assert "\n" not in str(refusal.value)
    assert model.predict(0, deterministic=True, risk="mean")[0] in (SAFE, RISKY)


@pytest.mark.parametrize("bad", ["cvra:0.25", "cvar:0", "", 0.25])
def test_a_bad_word_is_refused_in_one_line(trained: Any, bad: Any) -> None:
    for ask in (lambda: trained.predict(0, deterministic=True, risk=bad), lambda: make(risk=bad)):
        with pytest.raises(InputError, match=r"^risk: ") as refusal:
            ask()
        assert "\n" not in str(refusal.value)
