"""What the value family logs of its latest update: β and clipped mass; the mean Q value when a row is written."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch as th

from sb3_course import CategoricalDQN, DoubleDQN, PrioritizedDQN, QuantileDQN, Rainbow
from sb3_course.runs import Settings, execute
from sb3_course.runs.tables import read_table

SMALL: dict[str, Any] = {
    "learning_starts": 30, "batch_size": 16, "buffer_size": 200, "policy_kwargs": {"net_arch": [16]}, "seed": 0,
    "device": "cpu",
}  # fmt: skip


@pytest.mark.parametrize("backend", ["torch", "numpy"])
@pytest.mark.parametrize("cls", [DoubleDQN, CategoricalDQN, QuantileDQN])
def test_the_mean_value_is_that_of_the_actions_in_the_latest_batch(cls: Any, backend: str) -> None:
    model = cls("MlpPolicy", "CartPole-v1", backend=backend, **SMALL).learn(40)
    batches = []
    sample = model.replay_buffer.sample_batch
    model.replay_buffer.sample_batch = lambda *args: batches.append(sample(*args)) or batches[-1]
    observations = None
    for _ in range(2):  # the latest is logged, not the first
        weights = {name: value.clone() for name, value in model.policy.q_net.state_dict().items()}
        model.train(1, 16)
        observations = th.as_tensor(batches[-1].observations)
    assert "train/q_mean" not in model.logger.name_to_value
    model.log_latest()
    logged = model.logger.name_to_value["train/q_mean"]
    model.policy.q_net.load_state_dict(weights)  # as they were when the batch was seen
    with th.no_grad():
        values = model.policy.q_net(observations).numpy()
    expected = values[np.arange(16), batches[-1].actions.reshape(-1).astype(int)].mean()
    assert logged == pytest.approx(expected, rel=1e-4, abs=1e-6)
    assert abs(logged) > 1e-3


def test_beta_rises_to_one_and_is_logged_where_there_are_priorities() -> None:
    model = PrioritizedDQN("MlpPolicy", "CartPole-v1", beta0=0.4, **SMALL).learn(40)
    for remaining, beta in ((1.0, 0.4), (0.5, 0.7), (0.0, 1.0)):
        model._current_progress_remaining = remaining
        model.train(1, 16)
        assert model.logger.name_to_value["train/beta"] == pytest.approx(beta)
    plain = DoubleDQN("MlpPolicy", "CartPole-v1", **SMALL).learn(40)
    plain.log_latest()
    assert "train/beta" not in plain.logger.name_to_value
    assert "train/q_mean" in plain.logger.name_to_value


def test_the_clipped_mass_is_there_after_every_update_for_whoever_writes_the_row() -> None:
    """Rewards of 1 lie beyond ±0.5 for certain."""
    model = CategoricalDQN("MlpPolicy", "CartPole-v1", v_min=-0.5, v_max=0.5, **SMALL).learn(40)
    model.logger.name_to_value.clear()  # as a callback's own `dump` does
    model.train(1, 16)
    assert 0.4 < model.logger.name_to_value["train/clipped_mass"] == model._learner.estimate.clipped <= 1


def test_a_run_writes_both(tmp_path: Path) -> None:
    small = {name: value for name, value in SMALL.items() if name not in ("seed", "device")}
    hyperparameters = {**small, "n_atoms": 11, "v_max": 30.0, "beta0": 0.5}
    execute(
        Settings(algo="rainbow", env="CartPole-v1", n_timesteps=150, hyperparameters=hyperparameters, eval_freq=0,
                 final_episodes=1), tmp_path / "run",
    )  # fmt: skip
    rows = read_table(tmp_path / "run" / "progress.csv")
    assert float(rows[-1]["train/beta"]) == pytest.approx(1.0, abs=0.02)
    assert 0 < float(rows[-1]["train/q_mean"]) < 30


def test_before_the_first_update_there_is_nothing_to_log() -> None:
    model = Rainbow("MlpPolicy", "CartPole-v1", **SMALL)
    assert model._learner.logs() == {}
