"""`benchmarks/qrdqn_loss.py` trains QR-DQN as sb3-contrib does, bit by bit: the results' row is theirs."""

from __future__ import annotations

from contextlib import nullcontext
from types import ModuleType

import pytest
import torch as th
from pages import ROOT
from sb3_contrib import QRDQN
from sb3_contrib.common.utils import quantile_huber_loss


@pytest.fixture
def ours(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the benchmark."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import qrdqn_loss

    return qrdqn_loss


@pytest.mark.parametrize(("batch", "number"), [(1, 1), (8, 25), (13, 170), (32, 51)])
def test_the_gradient_is_the_same_and_the_loss_is_near(ours: ModuleType, batch: int, number: int) -> None:
    current, targets = ours.example(th.Generator().manual_seed(batch), batch, number)
    losses, gradients = [], []
    for loss_of in (quantile_huber_loss, ours.quantile_huber_loss):
        loss = loss_of(current, targets, sum_over_quantiles=True)
        losses.append(loss.item())
        gradients.append(th.autograd.grad(loss, current)[0])
    assert th.equal(*gradients)
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


def test_a_training_ends_with_the_same_weights(ours: ModuleType) -> None:
    found = []
    for context in (nullcontext, ours.same_but_faster):
        model = QRDQN("MlpPolicy", "CartPole-v1", learning_starts=64, batch_size=20, train_freq=2, seed=0)
        with context():
            model.learn(160)
        found.append(th.nn.utils.parameters_to_vector(model.policy.parameters()))
    assert model.num_timesteps == 160
    assert th.equal(*found)


def test_a_quantile_that_is_no_number_makes_the_same_gradients_no_numbers(ours: ModuleType) -> None:
    current, targets = ours.example(th.Generator().manual_seed(0), 9, 5)
    targets[3, 2] = th.nan
    gradients = [
        th.autograd.grad(loss_of(current, targets, sum_over_quantiles=True), current)[0]
        for loss_of in (quantile_huber_loss, ours.quantile_huber_loss)
    ]
    assert gradients[0].isnan().sum() == 5
    th.testing.assert_close(*gradients, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize(("device", "summed"), [("cpu", False), ("meta", True)])
def test_what_it_does_not_compute_is_left_to_sb3_contrib(ours: ModuleType, device: str, summed: bool) -> None:
    current, targets = (each.to(device) for each in ours.example(th.Generator().manual_seed(0), 4, 5))
    own = ours.quantile_huber_loss(current, targets, sum_over_quantiles=summed)
    assert own.device.type == device
    if device == "cpu":
        assert th.equal(own, quantile_huber_loss(current, targets, sum_over_quantiles=summed))
