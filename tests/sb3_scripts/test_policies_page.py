"""The pages "Policy Networks", of sb3-contrib's algorithms and of pre-training: networks of one's own."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.envs import FakeImageEnv, SimpleMultiObsEnv
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn

from sb3_course import REINFORCE, ActorCritic, DoubleDQN, QuantileDQN, Rainbow, ReinforceBaseline
from sb3_course.policy_gradient.actor_policies import MlpPolicy

CRITICS = pytest.mark.parametrize("cls", [ActorCritic, ReinforceBaseline])
FOUR = pytest.mark.parametrize("cls", [DoubleDQN, Rainbow, REINFORCE, ActorCritic])


@CRITICS
def test_widths_of_actor_and_critic_come_back_with_the_file(cls: Any, quick: Any) -> None:
    policy_kwargs = {"activation_fn": th.nn.ReLU, "net_arch": {"pi": [32, 32], "vf": [16, 16]}}
    model = quick(cls, "MlpPolicy", "CartPole-v1", policy_kwargs=policy_kwargs, verbose=1)
    env = model.get_env()
    model.learn(total_timesteps=60)
    model.save("model")
    del model
    model = cls.load("model", env=env)
    widths = [layer.out_features for layer in model.policy.modules() if isinstance(layer, nn.Linear)]
    assert widths == [32, 32, 16, 16, 2, 1]
    assert model.policy_kwargs == policy_kwargs


class SmallCnn(BaseFeaturesExtractor):
    """Two convolutions and a linear layer."""

    def __init__(self, observation_space: spaces.Box, features_dim: int = 256) -> None:
        super().__init__(observation_space, features_dim)
        channels = observation_space.shape[0]
        self.cnn = nn.Sequential(
            nn.Conv2d(channels, 8, kernel_size=8, stride=4), nn.ReLU(), nn.Conv2d(8, 16, kernel_size=4, stride=2),
            nn.ReLU(), nn.Flatten(),
        )  # fmt: skip
        with th.no_grad():
            n_flatten = self.cnn(th.as_tensor(observation_space.sample()[None]).float()).shape[1]
        self.linear = nn.Sequential(nn.Linear(n_flatten, features_dim), nn.ReLU())

    def forward(self, observations: th.Tensor) -> th.Tensor:
        features: th.Tensor = self.linear(self.cnn(observations))
        return features


@FOUR
def test_convolutions_of_ones_own(cls: Any, quick: Any) -> None:
    policy_kwargs = {"features_extractor_class": SmallCnn, "features_extractor_kwargs": {"features_dim": 12}}
    env = gym.wrappers.TransformReward(FakeImageEnv(screen_height=40, screen_width=40), lambda _: 1.0)
    model = quick(cls, "CnnPolicy", env, policy_kwargs=policy_kwargs, verbose=1)
    before = [parameter.clone() for parameter in model.policy.parameters()]
    model.learn(30)
    assert any(not th.equal(*pair) for pair in zip(before, model.policy.parameters(), strict=True))


class Combined(BaseFeaturesExtractor):
    """A picture made smaller and a vector through a layer, one after the other."""

    def __init__(self, observation_space: spaces.Dict) -> None:
        super().__init__(observation_space, features_dim=1)  # not known yet
        extractors, total = {}, 0
        for key, subspace in observation_space.spaces.items():
            if key == "img":
                extractors[key] = nn.Sequential(nn.MaxPool2d(4), nn.Flatten())
                total += subspace.shape[0] * (subspace.shape[1] // 4) * (subspace.shape[2] // 4)
            else:
                extractors[key] = nn.Linear(subspace.shape[0], 16)
                total += 16
        self.extractors = nn.ModuleDict(extractors)
        self._features_dim = total

    def forward(self, observations: dict[str, th.Tensor]) -> th.Tensor:
        return th.cat([extractor(observations[key]) for key, extractor in self.extractors.items()], dim=1)


@FOUR
def test_an_extractor_for_dict_observations(cls: Any, quick: Any) -> None:
    env = SimpleMultiObsEnv(random_start=False)
    model = quick(cls, "MultiInputPolicy", env, policy_kwargs={"features_extractor_class": Combined})
    model.learn(30)
    model.save("model")
    with pytest.raises(ValueError, match=r"model: policy_kwargs names a class of another package .*Combined"):
        cls.load("model", env=env)  # a file of ours runs no code that the loader has not named
    cls.load("model", env=env, custom_objects={"Combined": Combined}).learn(30)
    cls.load("model", env=env, trust_pickle=True).learn(30)


class TwoNetworks(nn.Module):
    """Networks of actor and critic, in place of the usual ones."""

    def __init__(self, feature_dim: int, latent_dim_pi: int = 64, latent_dim_vf: int = 64) -> None:
        super().__init__()
        self.latent_dim_pi, self.latent_dim_vf = latent_dim_pi, latent_dim_vf
        self.policy_net = nn.Sequential(nn.Linear(feature_dim, latent_dim_pi), nn.ReLU())
        self.value_net = nn.Sequential(nn.Linear(feature_dim, latent_dim_vf), nn.ReLU())

    def forward(self, features: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
        return self.forward_actor(features), self.forward_critic(features)

    def forward_actor(self, features: th.Tensor) -> th.Tensor:
        return self.policy_net(features)

    def forward_critic(self, features: th.Tensor) -> th.Tensor:
        return self.value_net(features)


class OwnPolicy(MlpPolicy):
    """An actor-critic policy with networks of its own."""

    def __init__(self, observation_space: Any, action_space: Any, lr_schedule: Any, *args: Any, **kwargs: Any) -> None:
        kwargs["ortho_init"] = False
        super().__init__(observation_space, action_space, lr_schedule, *args, **kwargs)

    def _build_mlp_extractor(self) -> None:
        self.mlp_extractor = TwoNetworks(self.features_dim)


@pytest.mark.parametrize("cls", [ActorCritic, ReinforceBaseline, REINFORCE])
def test_a_policy_of_ones_own(cls: Any, quick: Any) -> None:
    model = quick(cls, OwnPolicy, "CartPole-v1", verbose=1)
    before = [parameter.clone() for parameter in model.policy.mlp_extractor.policy_net.parameters()]
    model.learn(100)
    assert isinstance(model.policy.mlp_extractor, TwoNetworks)
    after = model.policy.mlp_extractor.policy_net.parameters()
    assert all(not th.equal(*pair) for pair in zip(before, after, strict=True))


def test_quantiles_as_sb3_contrib_asks_for_them(quick: Any) -> None:
    model = quick(QuantileDQN, "MlpPolicy", "CartPole-v1", policy_kwargs={"n_quantiles": 50}, verbose=1)
    model.learn(total_timesteps=60, log_interval=4)
    model.save("model")
    assert QuantileDQN.load("model").n_quantiles == 50
    assert model.q_net.outputs(th.zeros(1, 4)).shape == (1, 2, 50)


@CRITICS
def test_a_policy_is_taught_by_an_expert_first(cls: Any, quick: Any) -> None:
    """Behaviour cloning by torch, then reinforcement learning from there."""
    model = quick(cls, "MlpPolicy", gym.make("CartPole-v1"))
    observations = th.tensor(np.random.default_rng(0).normal(size=(256, 4)), dtype=th.float32)
    expert = (observations[:, 2] + 0.5 * observations[:, 3] > 0).long()
    optimizer = th.optim.Adam(model.policy.parameters(), lr=0.01)
    for _ in range(60):
        loss = -model.policy.evaluate_actions(observations, expert)[1].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    agree = (model.predict(observations.numpy(), deterministic=True)[0] == expert.numpy()).mean()
    assert agree > 0.95
    taught = [parameter.detach().clone() for parameter in model.policy.parameters()]
    model.learn(50)
    moved = max((now - then).abs().max().item() for now, then in zip(model.policy.parameters(), taught, strict=True))
    assert 0 < moved < 0.3  # learned on from there
