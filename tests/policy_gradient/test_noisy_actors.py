"""Noisy actors in SB3's DDPG, TD3 and SAC: how long a sample lives, and what stays plain."""

from itertools import pairwise

import numpy as np
import pytest
import torch as th
from stable_baselines3 import DDPG, SAC, TD3
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.envs import FakeImageEnv
from torch import nn

from sb3_course.networks import make_noisy, noisy_layers

ALGORITHMS = [DDPG, TD3, SAC]


def make(algorithm, alias="NoisyMlpPolicy", env="Pendulum-v1", policy_kwargs=None, **kwargs):
    policy_kwargs = {"net_arch": [8]} | (policy_kwargs or {})
    settings = {"learning_starts": 16, "batch_size": 8, "buffer_size": 500, "train_freq": 4, "gradient_steps": 2}
    return algorithm(alias, env, seed=0, device="cpu", policy_kwargs=policy_kwargs, **(settings | kwargs))


def samples(network):
    return th.cat([layer.noise for layer in noisy_layers(network)])


class Each(BaseCallback):
    """Calls a function on the model after every step."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def _on_step(self):
        self.function(self.model)
        return True


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_no_two_passes_of_an_actor_in_training_share_noise(algorithm):
    model, seen = make(algorithm).learn(20), []
    for network in {model.actor, getattr(model, "actor_target", model.actor)}:
        first = noisy_layers(network)[0]
        first.register_forward_hook(lambda layer, *_: seen.append(tuple(layer.noise.tolist())))
    model.train(gradient_steps=4, batch_size=8)
    # A gradient step passes the target once, and the actor once unless it is delayed; SAC has one actor for both.
    assert len(seen) == len(set(seen)) == (6 if algorithm is TD3 else 8)


@pytest.mark.parametrize("algorithm", [DDPG, TD3])
def test_the_target_has_a_sample_of_its_own_and_follows_mean_and_spread(algorithm):
    model = make(algorithm, tau=1.0).learn(40)
    for online, target in zip(noisy_layers(model.actor), noisy_layers(model.actor_target), strict=True):
        assert not (online.noise == target.noise).any()
        assert not target.training
        for name, parameter in online.named_parameters():
            assert th.equal(parameter, target.get_parameter(name))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_collection_holds_the_sample_of_the_last_gradient_step(algorithm):
    held = []
    note = Each(lambda model: held.append((model._n_updates, samples(model.actor))))
    make(algorithm, train_freq=5).learn(60, callback=note)
    first = dict(reversed(held))
    assert len(first) > 5
    assert all(th.equal(sample, first[n_updates]) for n_updates, sample in held)
    drawn = list(first.values())
    for one, two in pairwise(drawn):
        assert not (one == two).any()


@pytest.mark.parametrize("algorithm", [DDPG, TD3])
@pytest.mark.parametrize("alias", ["NoisyMlpPolicy", "MlpPolicy"])
def test_a_noisy_actor_explores_and_a_plain_one_does_not(algorithm, alias):
    chosen = []
    note = Each(lambda model: chosen.append(model.predict(np.ones((1, 3), np.float32))[0].item()))
    make(algorithm, alias, train_freq=1, gradient_steps=1, learning_rate=0.0).learn(60, callback=note)
    spread = np.std(chosen[20:])
    assert spread > 0.1 if alias == "NoisyMlpPolicy" else spread == 0


@pytest.mark.parametrize("algorithm", [TD3, SAC])
def test_an_extractor_that_the_critics_share_stays_plain(algorithm):
    env = FakeImageEnv(screen_height=36, screen_width=36, discrete=False)
    model = make(algorithm, "NoisyCnnPolicy", env, policy_kwargs={"share_features_extractor": True}).learn(24)
    assert noisy_layers(model.actor)
    assert not noisy_layers(model.actor.features_extractor)
    assert not noisy_layers(model.critic)


def test_layers_made_noisy_take_over_their_weights_and_draw_none():
    class Special(nn.Linear):
        pass

    tied, special, kept = nn.Linear(3, 3, dtype=th.float64), Special(3, 3), nn.Sequential(nn.Linear(3, 3))
    net = nn.Sequential(tied, nn.Sequential(tied, nn.Linear(3, 2, bias=False)), special, kept)
    weight, state = tied.weight, th.get_rng_state()
    make_noisy(net, keep=kept, kind="independent")
    assert th.equal(th.get_rng_state(), state)
    assert net[0] is net[1][0]  # a layer in two places is still one
    assert net[0].weight is weight
    assert net[0].weight_sigma.dtype == th.float64
    assert (net[0].kind, net[1][1].bias) == ("independent", None)
    assert noisy_layers(net) == [net[0], net[1][1]]
    assert (net[2], net[3]) == (special, kept)
