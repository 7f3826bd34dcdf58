"""Batch norm and dropout: only what is learned from is computed in training mode."""

from __future__ import annotations

import copy
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, FlattenExtractor, NatureCNN
from torch import nn

from sb3_course import ActorCritic, DoubleDQN, ReinforceBaseline
from sb3_course.backends.modes import has_modes
from sb3_course.networks import NoisyLinear
from sb3_course.policy_gradient.gradient_learner import PolicyGradientLearner


class Normalised(BaseFeaturesExtractor):
    def __init__(self, observation_space: Any) -> None:
        super().__init__(observation_space, features_dim=4)
        self.layers = nn.BatchNorm1d(4)

    def forward(self, observations: th.Tensor) -> th.Tensor:
        features: th.Tensor = self.layers(observations)
        return features


class Dropping(Normalised):
    def __init__(self, observation_space: Any) -> None:
        super().__init__(observation_space)
        self.layers = nn.Dropout(0.5)  # type: ignore[assignment]


EXTRACTORS = pytest.mark.parametrize("extractor", [Normalised, Dropping])


def make(cls: Any, extractor: type = Normalised, **settings: Any) -> Any:
    policy = {"net_arch": [16], "features_extractor_class": extractor}
    return cls("MlpPolicy", gym.make("CartPole-v1"), seed=0, device="cpu", policy_kwargs=policy, **settings)


def value_model(extractor: type = Normalised, **settings: Any) -> Any:
    settings = {"learning_starts": 20, "buffer_size": 500, "batch_size": 16, "train_freq": 1} | settings
    return make(DoubleDQN, extractor, **settings)


def statistics(network: nn.Module) -> dict[str, th.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items() if "layers" in name}


def assert_equal(one: dict[str, th.Tensor], two: dict[str, th.Tensor]) -> None:
    assert one.keys() == two.keys()
    assert all(th.equal(one[name], two[name]) for name in one)


def in_evaluation(network: nn.Module) -> Any:
    """Return what the network computes in evaluation mode, from a copy."""
    frozen: Any = copy.deepcopy(network)
    frozen.train(False)
    return lambda observations: frozen.outputs(observations).detach()


@EXTRACTORS
def test_targets_and_choices_are_those_of_evaluation(extractor: type) -> None:
    model = value_model(extractor, target_update_interval=10).learn(60)
    batch = model._backend.array(model._replay.sample_batch(16))
    expected = [in_evaluation(net)(batch.next_observations) for net in (model.q_net_target, model.q_net)]
    kept, before = statistics(model.q_net_target), statistics(model.q_net)
    with model._backend.updating():
        outputs, target, selector = model._learner.outputs(batch)
        assert model.q_net.training  # what `backward` goes back through
    th.testing.assert_close(target, expected[0])
    th.testing.assert_close(selector, expected[1])
    assert not th.allclose(outputs, in_evaluation(model.q_net)(batch.observations), rtol=1e-3)
    assert_equal(kept, statistics(model.q_net_target))
    if extractor is Normalised:  # moved once, by the observations alone (torch's momentum is 0.1)
        after = statistics(model.q_net)["features_extractor.layers.running_mean"]
        mean = before["features_extractor.layers.running_mean"]
        th.testing.assert_close(after, 0.9 * mean + 0.1 * batch.observations.mean(0))


@EXTRACTORS
def test_acting_is_evaluation_whatever_mode_the_policy_is_in(extractor: type) -> None:
    model = value_model(extractor).learn(40)
    observations = th.randn(5, 4)
    expected, before = in_evaluation(model.q_net)(observations), statistics(model.q_net)
    model.policy.set_training_mode(True)
    th.testing.assert_close(model._backend.act(observations), expected)
    assert_equal(before, statistics(model.q_net))
    assert all(module.training for module in model.q_net.modules())  # each as it was


@EXTRACTORS
@pytest.mark.parametrize("cls", [ActorCritic, ReinforceBaseline])
def test_what_weighs_an_action_is_evaluated(extractor: type, cls: Any) -> None:
    """Ψ and the critic's targets; one row follows the rollout, for which batch norm has no variance."""
    size = {"n_steps": 6} if cls is ActorCritic else {}
    model = make(cls, extractor, **size).learn(30)
    model.collect_rollouts(model.env, model._init_callback(None), model.rollout_buffer, model.n_steps)
    buffer = model.rollout_buffer
    batch = buffer.take_all(model._last_obs) if cls is ActorCritic else buffer.take_episodes()
    observations, rewards = th.as_tensor(batch.observations), batch.rewards
    value = in_evaluation(model.policy)
    v = value(observations)[:, -1].numpy().astype(float)
    if cls is ActorCritic:
        assert len(batch.open_observations) == 1
        following = np.append(v[1:], 0.0)
        following[batch.ends] = 0.0
        following[batch.open_rows] = float(value(th.as_tensor(batch.open_observations))[0, -1])
        expected = rewards + model.gamma * following - v
    else:
        returns, total = np.zeros(len(v)), 0.0
        for t in reversed(range(len(v))):
            total = returns[t] = rewards[t] + model.gamma * total
        expected = returns - v
    with model._backend.updating():
        passes = model._outputs(batch)
        psi = model._weighed(batch, passes, model._scores(passes.outputs, batch)[0]).psi
    np.testing.assert_allclose(psi, expected, rtol=1e-5, atol=1e-5)
    assert not th.allclose(passes.outputs, passes.settled, rtol=1e-3)


class TwoPasses(PolicyGradientLearner):
    n_passes = 2


def test_what_was_true_before_several_passes_moves_no_statistics() -> None:
    model = make(TwoPasses, n_steps=6, psi="gae", baseline="value").learn(12)
    model.collect_rollouts(model.env, model._init_callback(None), model.rollout_buffer, 6)
    batch = model.rollout_buffer.take_all(model._last_obs)
    before = statistics(model.policy)
    with model._backend.updating():
        passes = model._outputs(batch, learning=False)
    th.testing.assert_close(passes.outputs, in_evaluation(model.policy)(th.as_tensor(batch.observations)))
    assert_equal(before, statistics(model.policy))


@pytest.mark.parametrize("family", ["value", "policy gradient"])
def test_a_batch_of_one_row_is_learned_from_with_running_statistics(family: str) -> None:
    model = value_model(batch_size=1) if family == "value" else make(ActorCritic, n_steps=1)
    network = model.q_net if family == "value" else model.policy
    before, layer = statistics(network), network.features_extractor.layers
    weight = layer.weight.detach().clone()
    model.learn(40)
    for name in ("running_mean", "running_var"):
        assert th.equal(before[f"features_extractor.layers.{name}"], getattr(layer, name))
    assert not th.equal(weight, layer.weight)


def test_which_networks_have_two_modes() -> None:
    box = gym.spaces.Box(0, 255, (3, 36, 36), np.uint8)
    alike = nn.Sequential(FlattenExtractor(box), NatureCNN(box), NoisyLinear(2, 2), nn.Linear(2, 2), nn.GELU())
    assert not has_modes(alike)
    for layer in (nn.Dropout(), nn.BatchNorm1d(2), nn.BatchNorm2d(2), nn.RReLU(), nn.AlphaDropout(), nn.GRU(2, 2)):
        assert has_modes(nn.Sequential(nn.Linear(2, 2), layer))
    assert has_modes(Normalised(gym.spaces.Box(-1, 1, (4,))))  # a user's own module, whatever is in it
