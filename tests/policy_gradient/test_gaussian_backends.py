"""Gaussian policies whose spread depends on the state, in NumPy and in torch: one outcome, whoever computes."""

from __future__ import annotations

from math import e, log
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from torch.nn import functional as F

import sb3_course
from sb3_course import REINFORCE, ActorCritic, registry
from sb3_course.backends import make_backend
from sb3_course.backends.twins import best
from sb3_course.config.errors import InputError
from sb3_course.functional.gaussians import log_spread
from sb3_course.policy_gradient.gaussian import GaussianMlpPolicy

ROWS = ["vpg", "reinforce", "reinforce_baseline", "actor_critic"]
SHAPES: dict[str, dict[str, Any]] = {
    "layers": {"net_arch": [8, 6]},
    "none": {"net_arch": []},
    "two streams": {"net_arch": {"pi": [8], "vf": [6, 5]}, "activation_fn": th.nn.ReLU},
    "trunk": {"shared_layers": [8, 7]},
    "trunk and streams": {"shared_layers": [8], "net_arch": {"pi": [5], "vf": [6]}},
}
SEEN, DONE = spaces.Box(-9, 9, (4,), np.float32), spaces.Box(-2, 2, (3,), np.float32)


class Choices(gym.Env[Any, Any]):
    """Observations at random; every episode is four steps, and the nearer the action is to 1, the better."""

    def __init__(self, action_space: Any = DONE) -> None:
        self.observation_space, self.action_space, self.t = spaces.Box(-1, 1, (4,), np.float32), action_space, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.t = 0
        return self.np_random.random(4, np.float32), {}

    def step(self, action: Any) -> Any:
        self.t += 1
        reward = -float(np.abs(np.asarray(action) - 1.0).sum())
        return self.np_random.random(4, np.float32), reward, self.t == 4, False, {}


def policy_of(critic: bool = True, **shape: Any) -> GaussianMlpPolicy:
    """Return a policy whose outputs differ from state to state, with one σ held at its least."""
    th.manual_seed(0)
    policy = GaussianMlpPolicy(SEEN, DONE, lambda _: 1e-3, critic=critic, sigma_min=0.05, **shape)
    with th.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.3 * th.randn(parameter.shape))
        policy.sigma_net.bias[1] = -50.0
    return policy


@pytest.mark.parametrize("compiled", ["0", "1"])
@pytest.mark.parametrize("critic", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_forward_and_backward_are_autograds(
    shape: str, critic: bool, compiled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SB3_COURSE_COMPILED", compiled)
    own, rng = policy_of(critic, **SHAPES[shape]), np.random.default_rng(0)
    torch, numpy = make_backend("torch", own), make_backend("auto", own)
    assert numpy.name == "numpy"
    for n_batch in (1, 5, 32):
        observations, others = rng.normal(size=(2, n_batch, 4)).astype(np.float32)
        expected = torch.forward(th.from_numpy(observations))
        np.testing.assert_allclose(numpy.forward(observations), expected, rtol=1e-4, atol=1e-6)
        found, after = numpy.forward_and_select(observations, others)  # which the gradients go back through
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(after, torch.evaluate(th.from_numpy(others)), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(numpy.act(observations), expected[:, :6], rtol=1e-4, atol=1e-6)
        assert (found[:, 4] == np.float32(log(0.05))).all()
        grad = rng.normal(size=found.shape).astype(np.float32)
        torch.backward(th.from_numpy(grad))
        numpy.backward(grad)
        for tensor, view in zip(numpy._online.flat.tensors, numpy._online.flat.grad_views, strict=True):
            np.testing.assert_allclose(view, tensor.grad, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("function", [log_spread, best(log_spread)])
def test_the_spread_and_its_derivative_are_autograds(function: Any) -> None:
    x = np.array([[-100.0, -20.0, -3.0, -1e-3, 0.0, 1e-3, log(e - 1), 3.0, 19.9, 25.0, 90.0, 1e4]], np.float32)
    for least in (1e-3, 0.5, 1.0):
        leaf = th.tensor(x, dtype=th.float64, requires_grad=True)
        expected = F.softplus(leaf).clamp(min=least).log()
        expected.sum().backward()
        values, slopes = function(x, least)
        np.testing.assert_allclose(values, expected.detach().numpy(), rtol=2e-6, atol=2e-7)
        inside = np.abs(F.softplus(leaf).detach().numpy() - least) > 1e-6  # at the least itself rounding decides
        np.testing.assert_allclose(slopes[inside], leaf.grad.numpy()[inside], rtol=2e-6, atol=1e-9)
        assert not slopes[0, 0]


def test_numpy_starts_at_mean_0_and_deviation_1_as_well() -> None:
    model = REINFORCE("GaussianMlpPolicy", Choices(), backend="numpy", device="cpu", seed=0)
    outputs = model._backend.act(np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32))
    assert not outputs[:, :3].any()
    assert (np.abs(outputs[:, 3:]) <= 6e-8).all()  # log σ, to the last bit of float32


def make(name: str, backend: str, env: Any = None, policy: str = "GaussianMlpPolicy", **more: Any) -> Any:
    """Return a small model."""
    shape = {"policy_kwargs": {"net_arch": [8, 6]}}
    options: dict[str, Any] = {"seed": 0, "device": "cpu", "learning_rate": 1e-2, **shape, **more}
    return registry.find(name).load()(policy, env or Choices(), backend=backend, **options)


def parameters(model: Any) -> np.ndarray:
    """Return all weights."""
    return np.concatenate([value.detach().numpy().ravel() for value in model.policy.state_dict().values()])


@pytest.mark.parametrize("shared", [None, [8]])
@pytest.mark.parametrize("name", ROWS)
def test_both_backends_learn_the_same(name: str, shared: Any) -> None:
    network = {"policy_kwargs": {"net_arch": [8, 6], "shared_layers": shared}}
    torch, numpy = (make(name, backend, ent_coef=0.01, **network).learn(60) for backend in ("torch", "auto"))
    assert numpy._backend.name == "numpy"
    np.testing.assert_allclose(parameters(numpy), parameters(torch), rtol=2e-5, atol=2e-6)
    assert numpy.logger.name_to_value.keys() == torch.logger.name_to_value.keys()


@pytest.mark.parametrize("name", ROWS)
def test_choices_side_by_side_are_learned_the_same(name: str) -> None:
    env = Choices(spaces.MultiDiscrete([2, 4, 3]))
    found = [make(name, each, env, "MlpPolicy", ent_coef=0.01).learn(60) for each in ("torch", "auto")]
    assert found[1]._backend.name == "numpy"
    np.testing.assert_allclose(parameters(found[1]), parameters(found[0]), rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize(("first", "then"), [("numpy", "torch"), ("torch", "numpy")])
def test_a_model_saved_by_one_backend_learns_on_with_the_other(first: str, then: str, tmp_path: Path) -> None:
    make("reinforce_baseline", first).learn(40).save(tmp_path / "model")
    found = []
    for backend in (first, then):
        model = sb3_course.ReinforceBaseline.load(tmp_path / "model", Choices(), device="cpu", backend=backend)
        assert model._backend.name == backend
        found.append(parameters(model.learn(40, reset_num_timesteps=False)))
    np.testing.assert_allclose(found[0], found[1], rtol=2e-5, atol=2e-6)


def test_a_run_goes_on_exactly(tmp_path: Path) -> None:
    whole = make("actor_critic", "numpy")
    whole.learn(240, callback=sb3_course.SaveCheckpoints(90, tmp_path, keep=1))
    (checkpoint,) = tmp_path.iterdir()
    resumed = ActorCritic.load_checkpoint(checkpoint, Choices())
    assert 0 < resumed.num_timesteps < 240
    resumed.learn(240 - resumed.num_timesteps, reset_num_timesteps=False)
    np.testing.assert_array_equal(parameters(resumed), parameters(whole))


@pytest.mark.usefixtures("workers_from_one_server")
@pytest.mark.parametrize("kind", ["Gaussian", "MultiDiscrete"])
def test_a3c_s_only_worker_is_the_actor_critic_in_numpy(kind: str) -> None:
    policy = "GaussianMlpPolicy" if kind == "Gaussian" else "MlpPolicy"
    env = Choices(DONE if kind == "Gaussian" else spaces.MultiDiscrete([2, 3]))
    parallel = make("a3c", "numpy", env, policy, n_workers=1, n_steps=4, policy_kwargs={"shared_layers": [8]})
    arguments = {"n_steps": 4, "gae_lambda": 1.0, "ent_coef": 0.0, "policy_kwargs": parallel.policy_kwargs}
    alone = make("actor_critic", "numpy", env, policy, **arguments)
    for model in (parallel, alone):
        assert model._backend.name == "numpy"
        model.learn(40)
    np.testing.assert_allclose(parameters(parallel), parameters(alone), rtol=1e-5, atol=1e-6)


def test_a_spread_of_the_user_s_own_is_torchs() -> None:
    class Wider(GaussianMlpPolicy):
        def _get_action_dist_from_latent(self, latent_pi: th.Tensor) -> Any:
            law = super()._get_action_dist_from_latent(latent_pi)
            law.distribution = th.distributions.Normal(law.distribution.mean, 2 * law.distribution.stddev)
            return law

    assert REINFORCE(Wider, Choices(), device="cpu")._backend.name == "torch"
    with pytest.raises(InputError, match=r"^backend: .*spread depends on the state in a way of its own"):
        REINFORCE(Wider, Choices(), device="cpu", backend="numpy")
