"""The NumPy backend computes what torch computes, on torch's own memory, and stays correct whatever is done to it."""

from __future__ import annotations

import copy
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike
from torch import nn

from sb3_course import ActorCritic, DoubleDQN, Rainbow, ReinforceBaseline
from sb3_course.backends import make_backend
from sb3_course.backends.numpy_layers import SETTLED, Linear
from sb3_course.backends.numpy_optimizers import BLOCK, NumpyOptimizer
from sb3_course.backends.numpy_parameters import FlatParameters
from sb3_course.config.errors import InputError
from sb3_course.registry import ALGORITHMS
from sb3_course.value.q_network import QNetwork
from sb3_course.value.q_policies import MlpPolicy

# A3C has tests of its own.
OWN = [name for name, row in ALGORITHMS.items() if row.source == "sb3_course" and name != "a3c"]
OPTIMIZERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "Adam": (th.optim.Adam, {}),
    "AdamW": (th.optim.AdamW, {"weight_decay": 0.1}),
    "RAdam": (th.optim.RAdam, {"betas": (0.9, 0.99)}),  # rectified from the sixth step on
    "SGD": (th.optim.SGD, {}),
    "RMSprop": (th.optim.RMSprop, {"alpha": 0.9, "eps": 1e-5}),
    "RMSpropTFLike": (RMSpropTFLike, {"alpha": 0.9, "eps": 1e-5}),
    "momentum": (th.optim.SGD, {"momentum": 0.9}),  # not in NumPy: torch steps on NumPy's gradients
    "Adamax": (th.optim.Adamax, {}),
}


def make(name: str, backend: str, **changes: Any) -> Any:
    settings: dict[str, Any] = {"seed": 0, "device": "cpu", "learning_rate": 1e-2}
    env = gym.make("sb3_course/GridWorld-v0" if name == "q_table" else "CartPole-v1")
    if ALGORITHMS[name].family == "value":
        settings |= {"learning_starts": 10, "train_freq": 1, "target_update_interval": 20}
        settings |= {"v_min": -10.0, "v_max": 10.0}  # a wider support makes rounding larger
        settings |= {} if name in ("q_table", "neural_q") else {"batch_size": 16, "buffer_size": 500}
    if name == "pqn":  # which has no replay
        settings = {"seed": 0, "device": "cpu", "learning_rate": 1e-2, "batch_size": 32, "n_steps": 32, "n_epochs": 1}
        changes.pop("learning_starts", None)
    if name != "q_table":
        settings["policy_kwargs"] = {"net_arch": [12, 9], **changes.pop("policy_kwargs", {})}
    return ALGORITHMS[name].load()("MlpPolicy", env, backend=backend, **(settings | changes))


def parameters(model: Any) -> np.ndarray:
    return np.concatenate([value.detach().numpy().ravel() for value in model.policy.state_dict().values()])


def assert_close(one: Any, two: Any) -> None:
    np.testing.assert_allclose(parameters(one), parameters(two), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", OWN)
def test_both_backends_learn_the_same(name: str) -> None:
    """The same actions, and weights that agree to rounding; in the long run rounding decides which row is replayed."""
    changes = {"gradient_steps": 4} if name == "numpy_dqn" else {}  # of 20
    torch, numpy = (make(name, backend, **changes).learn(40) for backend in ("torch", "numpy"))
    assert numpy._backend.name == "numpy"
    assert_close(torch, numpy)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", OWN)
def test_one_update_agrees_to_a_millionth(name: str, optimizer: str) -> None:
    """From one state and batch: the first update of one seed, relative to the norm of all parameters."""
    cls, kwargs = OPTIMIZERS[optimizer]
    changes: dict[str, Any] = {"policy_kwargs": {"optimizer_class": cls, "optimizer_kwargs": kwargs}}
    if ALGORITHMS[name].family == "value":
        changes["learning_starts"] = 30
    models = [make(name, each, **changes) for each in ("torch", "numpy")]
    for model in models:
        model.learn(31 if ALGORITHMS[name].family == "value" else 1)
        assert model._n_updates == (20 if name == "numpy_dqn" else 1)
    torch, numpy = map(parameters, models)
    assert np.linalg.norm(torch - numpy) <= 1e-6 * np.linalg.norm(torch)


@pytest.mark.parametrize("name", OWN)
def test_the_first_five_hundred_actions_are_the_same(name: str) -> None:
    taken = []
    for backend in ("torch", "numpy"):
        changes = {"learning_starts": 32} if ALGORITHMS[name].family == "value" else {}
        changes |= {"train_freq": 2} if changes.keys() and name not in ("q_table", "neural_q", "pqn") else {}
        changes |= {"gradient_steps": 2} if name == "numpy_dqn" else {}  # of 20
        model, actions = make(name, backend, learning_rate=1e-4, **changes), []
        for each in model.get_env().envs:
            step = each.step
            each.step = lambda action, step=step, actions=actions: actions.append(int(action)) or step(action)
        model.learn(500)
        taken.append(actions[:500])
    assert taken[0] == taken[1]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", ["double_dqn", "reinforce_baseline"])
def test_every_optimizer_steps_as_torchs(name: str, optimizer: str) -> None:
    cls, kwargs = OPTIMIZERS[optimizer]
    policy = {"optimizer_class": cls, "optimizer_kwargs": kwargs}
    torch, numpy = (
        make(name, each, policy_kwargs=policy, learning_rate=1e-3).learn(100) for each in ("torch", "numpy")
    )
    assert_close(torch, numpy)
    states = [model.policy.optimizer.state_dict()["state"] for model in (torch, numpy)]
    for number, statistics in states[0].items():
        assert states[1][number].keys() == statistics.keys()
        for key, value in statistics.items():
            np.testing.assert_allclose(states[1][number][key], value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.Sigmoid, nn.LeakyReLU, nn.ELU, nn.Softplus, nn.Identity])
@pytest.mark.parametrize(
    "policy",
    [
        {}, {"head": "dueling"}, {"head": "dueling", "rescale_gradient": True}, {"head": "state_action"},
        {"n_atoms": 5}, {"head": "dueling", "n_atoms": 5, "net_arch": {"value": [6], "advantage": [7]}},
        {"noisy": True}, {"noisy": True, "noisy_kwargs": {"kind": "independent"}, "head": "dueling"},
        {"noisy": True, "noisy_kwargs": {"noise": "activations"}}, {"net_arch": []}, {"bias": False},
        {"noisy": True, "noisy_streams": ["advantage"], "head": "dueling"},
    ],
    ids=str,
)  # fmt: skip
def test_forward_and_backward_are_autograds(activation: type, policy: dict[str, Any]) -> None:
    from sb3_course.value.q_policies import MlpPolicy

    env, rng = gym.make("CartPole-v1"), np.random.default_rng(0)
    th.manual_seed(0)
    arguments = {"activation_fn": activation, "net_arch": [8, 6], **policy}
    own = MlpPolicy(env.observation_space, env.action_space, lambda _: 1e-3, **arguments)
    torch, numpy = make_backend("torch", own), make_backend("numpy", own)
    for which in ("online", "target"):
        numpy.reset_noise(which, rng.standard_normal)
    for n_batch in (1, 5, 32):
        observations = rng.normal(size=(n_batch, 4)).astype(np.float32)
        others = rng.normal(size=(n_batch, 4)).astype(np.float32)
        expected, found = torch.forward(th.from_numpy(observations)), numpy.forward(observations)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
        found, chooser = numpy.forward_and_select(observations, others)  # which the gradients below go back through
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(chooser, torch.evaluate(th.from_numpy(others)), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(numpy.evaluate(observations), expected, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(
            numpy.evaluate(observations, net="target"),
            torch.evaluate(th.from_numpy(observations), net="target"),
            rtol=1e-4,
            atol=1e-6,
        )
        grad = rng.normal(size=found.shape).astype(np.float32)
        torch.backward(th.from_numpy(grad))
        numpy.backward(grad)
        for tensor, view in zip(numpy._online.flat.tensors, numpy._online.flat.grad_views, strict=True):
            np.testing.assert_allclose(view, tensor.grad, rtol=1e-3, atol=1e-5)


def test_noise_is_drawn_as_torchs() -> None:
    models = [make("rainbow", backend) for backend in ("torch", "numpy")]
    for model in models:
        model._backend.reset_noise("online", np.random.default_rng(3).standard_normal)
    assert th.equal(*(model.q_net.q_net.shared[0].noise for model in models))


@pytest.mark.parametrize("name", ["rainbow", "double_dqn", "btr", "reinforce_baseline"])
@pytest.mark.parametrize(("first", "then"), [("numpy", "torch"), ("torch", "numpy")])
def test_a_model_saved_by_one_backend_learns_on_with_the_other(name: str, first: str, then: str, tmp_path: Any) -> None:
    model = make(name, first).learn(100)
    model.save(tmp_path / "model")
    same, other = (
        type(model).load(tmp_path / "model", env=gym.make("CartPole-v1"), device="cpu", backend=each)
        for each in (first, then)
    )
    assert_close(same, other)
    for each in (same, other):
        each.learn(30, reset_num_timesteps=False)
    assert_close(same, other)


BREAKING = {
    "assign": lambda policy: policy.load_state_dict(copy.deepcopy(policy.state_dict()), assign=True),
    "double and back": lambda policy: policy.double().float(),
    "share_memory": lambda policy: policy.share_memory(),
    "load_from_vector": lambda policy: policy.load_from_vector(policy.parameters_to_vector() * 1.5),
    "in place": lambda policy: [parameter.data.mul_(1.5) for parameter in policy.parameters()],
    "optimizer state": lambda policy: policy.optimizer.load_state_dict(copy.deepcopy(policy.optimizer.state_dict())),
}


@pytest.mark.parametrize("name", ["rainbow", "double_dqn", "reinforce_baseline", "q_table"])
@pytest.mark.parametrize("what", BREAKING)
def test_what_breaks_sharing_is_noticed(name: str, what: str) -> None:
    models = [make(name, backend).learn(40) for backend in ("torch", "numpy")]
    for model in models:
        BREAKING[what](model.policy)
    observations = models[0].env.observation_space
    observations.seed(0)
    batch = np.stack([observations.sample() for _ in range(9)])
    actions = [model.predict(batch, deterministic=True)[0] for model in models]
    assert (actions[0] == actions[1]).all()
    for model in models:
        model.learn(30)
    assert_close(*models)


def test_a_copy_has_memory_of_its_own() -> None:
    model = make("double_dqn", "numpy").learn(40)
    copied = copy.deepcopy(model.policy)
    before = parameters(model)
    model.learn(40)
    assert not np.allclose(before, parameters(model))
    assert np.array_equal(before, np.concatenate([value.numpy().ravel() for value in copied.state_dict().values()]))


@pytest.mark.parametrize("name", ["double_dqn", "rainbow", "reinforce_baseline"])
def test_a_copied_model_learns_and_acts_with_its_own_weights(name: str) -> None:
    """From one state, the copy takes the same steps as the model it is a copy of, which it leaves alone."""
    model = make(name, "numpy").learn(40)
    other = make(name, "numpy", seed=1).learn(40)
    copied = copy.deepcopy(model)
    before = parameters(model)
    copied.learn(40)
    learned = parameters(copied)
    assert not np.allclose(before, learned)
    assert np.array_equal(before, parameters(model))
    model.learn(40)
    assert_close(model, copied)
    copied.set_parameters(other.get_parameters())
    batch = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)
    assert (copied.predict(batch, deterministic=True)[0] == other.predict(batch, deterministic=True)[0]).all()


def test_numbers_are_flushed_only_inside_however_often() -> None:
    tiny, one = np.float32(1e-40), np.float32(1)
    first, second = (make("double_dqn", "numpy")._backend for _ in range(2))
    with first.updating():
        with second.updating():
            assert tiny * one == 0
        assert tiny * one == 0
    assert tiny * one != 0


@pytest.mark.parametrize("shape", [(1, 1), ()])
def test_what_ended_an_episode_may_have_a_shape_that_sb3_broadcasts(shape: tuple[int, ...]) -> None:
    class Odd(gym.Env[Any, Any]):
        observation_space = gym.spaces.Box(-1, 1, (1,))
        action_space = gym.spaces.Discrete(2)

        def observation(self) -> Any:
            return np.full(shape, 0.5, np.float32)

        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            return self.observation(), {}

        def step(self, action: Any) -> Any:
            return self.observation(), 1.0, False, bool(self.np_random.random() < 0.2), {}

    model = ActorCritic("MlpPolicy", Odd(), n_steps=7, backend="numpy", seed=0)
    before = parameters(model)
    model.learn(70)
    assert not np.array_equal(before, parameters(model))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"activation_fn": nn.Softsign}, "Softsign"),
        ({"features_extractor_class": None}, None),
    ],
)
def test_what_it_cannot_do_is_refused_with_the_reason(changes: dict[str, Any], reason: str | None) -> None:
    if reason is None:
        env: Any = gym.make("sb3_course/GridWorld-v0", observation="image")
        with pytest.raises(InputError, match=r"^backend: NumPy cannot serve this policy, because it has no NatureCNN"):
            DoubleDQN("CnnPolicy", env, backend="numpy", buffer_size=100)
        return
    for cls in (DoubleDQN, Rainbow, ReinforceBaseline):
        with pytest.raises(InputError, match=rf"^backend: .* because it has no {reason} layer"):
            cls("MlpPolicy", "CartPole-v1", backend="numpy", policy_kwargs=changes)


class OwnNetwork(QNetwork):
    """A user's own way from observations to outputs."""

    def outputs(self, obs: Any) -> th.Tensor:
        return super().outputs(obs) * 2


class OwnPolicy(MlpPolicy):
    def make_q_net(self) -> Any:
        net = super().make_q_net()
        net.__class__ = OwnNetwork
        return net


class OwnSequence(nn.Sequential):
    """A sequence that does more than its layers."""

    def forward(self, x: th.Tensor) -> th.Tensor:
        return super().forward(x) + 1


def test_auto_takes_torch_for_what_numpy_cannot_do_and_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    DoubleDQN("MlpPolicy", "CartPole-v1", verbose=1)
    assert "Using the numpy backend, because it is the fastest" in capsys.readouterr().out
    model = DoubleDQN("MlpPolicy", "CartPole-v1", verbose=1, policy_kwargs={"activation_fn": nn.Softsign})
    assert capsys.readouterr().out.count("Using the torch backend, because NumPy cannot serve the policy: ") == 1
    assert model._backend.why.endswith("it has no Softsign layer")
    own = DoubleDQN(OwnPolicy, "CartPole-v1")
    assert own._backend.name == "torch"
    assert "in a way of its own" in own._backend.why


def test_a_layer_that_computes_something_else_is_noticed() -> None:
    model = DoubleDQN("MlpPolicy", "CartPole-v1", learning_starts=10)
    assert model._backend.name == "numpy"
    for net in (model.q_net, model.q_net_target):
        net.q_net = OwnSequence(*net.q_net)
        for parameter in net.parameters():
            parameter.data = parameter.data.clone()
    model.policy.optimizer = th.optim.Adam(list(model.q_net.parameters()))
    fresh = make_backend("auto", model.policy)
    assert fresh.name == "torch"
    assert "OwnSequence" in fresh.why


@pytest.mark.parametrize("cls", [DoubleDQN, ReinforceBaseline])
def test_frozen_parameters_stay_as_they_are(cls: Any) -> None:
    model = cls("MlpPolicy", "CartPole-v1", seed=0)
    frozen = next(iter(model.policy.networks[0].parameters()))
    frozen.requires_grad_(False)
    before, rest = frozen.clone(), parameters(model)
    model.learn(200)
    assert model._backend.name == "torch"
    assert th.equal(before, frozen)
    assert not np.array_equal(rest, parameters(model))


@pytest.mark.parametrize("n_outputs", [50, 150])  # below and above the size that is transposed at once
def test_a_weight_that_changes_is_never_multiplied_as_it_was(n_outputs: int) -> None:
    """Neither at its first product, nor when it is transposed, nor afterwards."""
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(n_outputs, 200)).astype(np.float32)
    bias = np.zeros(n_outputs, np.float32)
    layer = Linear(weight, bias, np.empty_like(weight), np.empty_like(bias))
    for n_products in (1, SETTLED - 1, SETTLED, SETTLED + 2):
        weight += 1
        layer.refresh(weights=True)
        for _ in range(n_products):
            x = rng.normal(size=(16, 200)).astype(np.float32)
            np.testing.assert_allclose(layer.forward(x, remember=0), x @ weight.T, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("optimizer", ["Adam", "AdamW", "SGD", "RMSprop", "RMSpropTFLike"])
def test_more_parameters_than_a_block_are_all_stepped_as_torch_steps_them(optimizer: str) -> None:
    """Two blocks and a rest, in two tensors that share the second block."""
    cls, options = OPTIMIZERS[optimizer]
    rng = np.random.default_rng(0)
    starts = [rng.normal(size=n).astype(np.float32) for n in (BLOCK + 1000, BLOCK + 77)]
    theirs, mine = ([nn.Parameter(th.tensor(start)) for start in starts] for _ in range(2))
    flat = FlatParameters(mine)
    steps = cls(theirs, lr=1e-2, **options), NumpyOptimizer(cls(mine, lr=1e-2, **options), flat)
    for _ in range(3):
        for tensor, view in zip(theirs, flat.grad_views, strict=True):
            view[...] = rng.normal(size=len(view))
            tensor.grad = th.tensor(view)
        for step in steps:
            step.step()
    for one, two in zip(theirs, mine, strict=True):
        np.testing.assert_allclose(two.detach(), one.detach(), rtol=1e-5, atol=1e-6)
