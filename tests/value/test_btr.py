"""Beyond the Rainbow: the paper's table, its network, and epsilon beside the noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env

from sb3_course import BTR, DoubleDQN
from sb3_course.networks.images import ImpalaCnn, MinAtarCnn
from sb3_course.networks.noisy import NoisyLinear
from sb3_course.networks.spectral import SpectralConv2d
from sb3_course.registry import constructor_arguments
from sb3_course.value.munchausen import Munchausen
from sb3_course.value.q_policies import BeyondCnnPolicy

#: Table D6 of Clark et al. (2024, arXiv 2411.03820v2), in our words.
TABLE = {
    "gamma": 0.997, "n_steps": 3, "n_levels": 8, "n_target_levels": 8, "n_choice_levels": 8, "n_cosines": 64,
    "kappa": 1.0, "max_grad_norm": 10, "gradient_steps": 1, "alpha": 0.2, "munchausen": True, "munchausen_tau": 0.03,
    "munchausen_alpha": 0.9, "munchausen_clip": -1.0, "exploration_initial_eps": 1.0, "exploration_final_eps": 0.01,
    "dueling": True, "noisy": True, "prioritized": True, "double": False, "distribution": "implicit",
    "exploration_fraction": 8 / 200, "exploration_end": 100 / 200,
}  # fmt: skip
#: What the small tasks' hyperparameters stand in front of with ``MlpPolicy``.
FOR_IMAGES = {
    "learning_rate": 1e-4, "batch_size": 256, "buffer_size": 2**20, "learning_starts": 200_000, "train_freq": 1,
    "target_update_interval": 500, "target_update_unit": "update", "tau": 1.0,
}  # fmt: skip


def policy(shape: tuple[int, ...] = (4, 84, 84), **arguments: Any) -> BeyondCnnPolicy:
    """Return the policy as the algorithm builds it, for 18 actions."""
    space = spaces.Box(0, 255, shape, np.uint8)
    switches: dict[str, Any] = {"noisy": True, "head": "dueling", "distribution": "implicit"}
    return BeyondCnnPolicy(space, spaces.Discrete(18), lambda _: 1e-4, **switches, **arguments)


def test_every_default_is_the_paper_s() -> None:
    shown = {name: row.default for name, row in constructor_arguments("btr").items()}
    assert {name: shown[name] for name in TABLE} == TABLE


def test_with_images_so_are_the_figures_that_small_tasks_have_others_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BTR, "_setup_model", lambda self: None)  # 2^20 transitions are not for a test
    image = make_vec_env("CartPole-v1")
    model: Any = BTR("CnnPolicy", image)
    model.target_update_interval, model.target_update_unit = model.target_update_interval
    assert {name: getattr(model, name) for name in FOR_IMAGES} == FOR_IMAGES
    assert model.policy_class is BeyondCnnPolicy


def test_the_network_is_the_paper_s() -> None:
    """Figure E7: 2.91 million parameters, counted with σ and for 18 actions apart; 12 normalised convolutions."""
    built = policy()
    net: Any = built.q_net
    extractor = net.features_extractor
    assert isinstance(extractor, ImpalaCnn)
    convolutions = [each for each in extractor.modules() if isinstance(each, th.nn.Conv2d)]
    assert [each.out_channels for each in convolutions] == [32] * 5 + [64] * 10
    assert [isinstance(each, SpectralConv2d) for each in convolutions] == [False, True, True, True, True] * 3
    assert extractor.features_dim == 32 * 2 * 6 * 6
    noisy = [each for each in net.q_net.modules() if isinstance(each, NoisyLinear)]
    assert [(each.in_features, each.out_features) for each in noisy] == [(2304, 512), (512, 1), (2304, 512), (512, 18)]
    linear = sum(each.weight.numel() + each.bias.numel() for each in noisy)
    linear += sum(each.numel() for each in net.q_net.embedding.parameters())
    assert linear == pytest.approx(2.52e6, rel=0.01)
    assert linear + sum(each.numel() for each in extractor.parameters()) == pytest.approx(2.91e6, rel=0.03)
    assert built.optimizer.defaults["eps"] == pytest.approx(1.95e-5, rel=0.002)


def test_a_small_image_has_a_small_network_and_what_is_given_stays() -> None:
    assert isinstance(policy((4, 10, 10)).q_net.features_extractor, MinAtarCnn)
    given = policy(features_extractor_kwargs={"width": 1}, net_arch=[32], optimizer_kwargs={"eps": 1e-3})
    assert given.q_net.features_extractor.features_dim == 32 * 6 * 6
    assert given.q_net.net_arch == [32]
    assert given.optimizer.defaults["eps"] == 1e-3
    assert policy(optimizer_class=th.optim.SGD, features_extractor_kwargs={"width": 1}).optimizer_kwargs == {}


@pytest.mark.parametrize("noisy", [True, False])
@pytest.mark.filterwarnings("ignore:total_timesteps")
def test_epsilon_falls_beside_the_noise_and_ends(noisy: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 200 steps: 1 to 0.2 in the first 50, 0.2 up to 100, 0 from there on; without an end: see `NoisyDQN`'s test."""
    seen: list[float] = []
    set_epsilon = DoubleDQN._set_epsilon
    monkeypatch.setattr(DoubleDQN, "_set_epsilon", lambda self: (set_epsilon(self), seen.append(self.exploration_rate)))
    schedule = {"exploration_fraction": 0.25, "exploration_final_eps": 0.2, "exploration_end": 0.5}
    DoubleDQN("MlpPolicy", make_vec_env("CartPole-v1", 2), noisy=noisy, learning_starts=1000, **schedule).learn(200)
    steps = np.arange(2, 201, 2)
    expected = np.where(steps < 100, np.maximum(1 - 0.8 * steps / 50, 0.2), 0.0)
    np.testing.assert_allclose(seen, expected, atol=1e-12)


def test_a_step_is_learned_from_once_by_the_rule() -> None:
    model = BTR("MlpPolicy", make_vec_env("CartPole-v1", 8), learning_starts=64, batch_size=16, seed=0).learn(160)
    assert model._n_updates == (160 - 64) // 8
    assert model._learner._munchausen == Munchausen(0.03, 0.9, -1.0)
    assert model.replay_buffer.n_steps == 3  # type: ignore[union-attr]
    assert 0 < model._actor._estimate.width == 8
