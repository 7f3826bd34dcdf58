"""The torch backend against the four lines of torch that it stands for, bit for bit."""

import copy
import math
from functools import partial

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn

from sb3_course.backends import BACKENDS, make_backend
from sb3_course.backends.torch_backend import TorchBackend
from sb3_course.config.text import InputError
from sb3_course.value.q_policies import MlpPolicy

OPTIMIZERS = [th.optim.Adam, th.optim.SGD, th.optim.RMSprop, th.optim.AdamW]


class NormalisedExtractor(BaseFeaturesExtractor):
    """Features after a batch normalisation, whose running statistics are no parameters."""

    def __init__(self, observation_space):
        super().__init__(observation_space, features_dim=4)
        self.norm = nn.BatchNorm1d(4)

    def forward(self, observations):
        return self.norm(observations)


def make_policy(seed=0, **kwargs):
    th.manual_seed(seed)
    return MlpPolicy(spaces.Box(-1, 1, (4,)), spaces.Discrete(3), lambda _: 1e-2, net_arch=[16], **kwargs)


def make_batch(seed=0, n_batch=7, scale=1.0):
    generator = th.Generator().manual_seed(seed)
    return th.randn(n_batch, 4, generator=generator), scale * th.randn(n_batch, 3, 1, generator=generator)


def reference_step(policy, observations, grad_outputs, max_grad_norm):
    policy.optimizer.zero_grad()
    policy.q_net.outputs(observations).backward(grad_outputs)
    return clip_and_step(policy, max_grad_norm)


def clip_and_step(policy, max_grad_norm):
    norm = th.nn.utils.clip_grad_norm_(policy.parameters(), max_grad_norm)
    policy.optimizer.step()
    return float(norm)


def our_step(policy, observations, grad_outputs, max_grad_norm):
    backend = TorchBackend(policy)
    backend.forward(observations)
    backend.backward(grad_outputs)
    return backend.step(max_grad_norm)


def assert_same(tree, other):
    """Assert that two nested structures hold the same numbers, bit for bit."""
    if isinstance(tree, dict):
        assert tree.keys() == other.keys()
        for key in tree:
            assert_same(tree[key], other[key])
    elif isinstance(tree, list | tuple):
        assert len(tree) == len(other)
        for mine, theirs in zip(tree, other, strict=True):
            assert_same(mine, theirs)
    elif isinstance(tree, th.Tensor | np.ndarray):
        mine, theirs = (x.detach().numpy() if isinstance(x, th.Tensor) else x for x in (tree, other))
        np.testing.assert_array_equal(mine, theirs)
    else:
        assert tree == other


def assert_same_policies(policy, other):
    assert_same(policy.state_dict(), other.state_dict())
    assert_same(policy.optimizer.state_dict(), other.optimizer.state_dict())


@pytest.mark.parametrize("optimizer_class", OPTIMIZERS)
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_step_equals_zero_grad_backward_clip_and_step(optimizer_class, scale):
    mine, theirs = (make_policy(optimizer_class=optimizer_class) for _ in range(2))
    for seed in range(5):
        batch = make_batch(seed, scale=scale)
        assert our_step(mine, *batch, 10.0) == reference_step(theirs, *batch, 10.0)
    assert_same_policies(mine, theirs)


def assert_clips_as_torch(norm, max_grad_norm):
    """Compare one step of a gradient of exactly this norm, and what clipping left of the gradient."""
    mine, theirs = (make_policy(optimizer_class=th.optim.SGD) for _ in range(2))
    for policy in (mine, theirs):
        for parameter in policy.q_net.parameters():
            parameter.grad = th.zeros_like(parameter)
        next(policy.q_net.parameters()).grad.view(-1)[0] = float(norm)
    assert TorchBackend(mine).step(max_grad_norm) == clip_and_step(theirs, max_grad_norm)
    for ours, reference in zip(mine.q_net.parameters(), theirs.q_net.parameters(), strict=True):
        assert th.equal(ours.grad, reference.grad)
    assert_same_policies(mine, theirs)


@pytest.mark.parametrize("max_grad_norm", [10, 10.0, 0.5, 0.1, 1.0, 49.0, 1000.0, 12345.678, 1e-3, 1e6])
@pytest.mark.parametrize("ulps", [-200, -20, -3, -2, -1, 0, 1, 2, 3, 20, 200])
def test_clipping_is_torchs_on_both_sides_of_the_limit(max_grad_norm, ulps):
    """The gradient's norm lies a few units in the last place beside the limit."""
    limit = np.float32(max_grad_norm)
    assert_clips_as_torch(limit + np.float32(ulps) * np.spacing(limit), max_grad_norm)


@given(
    max_grad_norm=st.floats(1e-4, 1e4),
    shift=st.one_of(st.floats(-4e-6, 4e-6), st.floats(-1, 1)),
)
def test_clipping_is_torchs_for_any_limit(max_grad_norm, shift):
    assert_clips_as_torch(np.float32(max(max_grad_norm + shift, 0)), max_grad_norm)


@pytest.mark.parametrize("max_grad_norm", [None, math.inf])
def test_without_a_limit_the_gradient_is_taken_as_it_is(max_grad_norm):
    mine, theirs = make_policy(), make_policy()
    batch = make_batch(scale=1e6)
    assert our_step(mine, *batch, max_grad_norm) == reference_step(theirs, *batch, math.inf) > 1e5
    assert_same_policies(mine, theirs)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("max_grad_norm", [10.0, None, math.inf])
def test_a_gradient_that_is_not_finite_takes_no_step(bad, max_grad_norm):
    policy, untouched = make_policy(), make_policy()
    observations, grad_outputs = make_batch()
    our_step(policy, observations, grad_outputs, max_grad_norm)
    our_step(untouched, observations, grad_outputs, max_grad_norm)
    grad_outputs = grad_outputs.clone()
    grad_outputs[2, 1] = bad
    assert not math.isfinite(our_step(policy, observations, grad_outputs, max_grad_norm))
    assert_same_policies(policy, untouched)


def test_backward_forgets_the_gradient_before():
    backend = TorchBackend(make_policy())
    observations, grad_outputs = make_batch()
    gradients = []
    for _ in range(2):
        backend.forward(observations)
        backend.backward(grad_outputs)
        gradients.append([parameter.grad.clone() for parameter in backend.online.parameters()])
    assert_same(*gradients)


def test_only_the_online_network_takes_part_in_backward():
    policy = make_policy()
    our_step(policy, *make_batch(), 10.0)
    assert all(parameter.grad is None for parameter in policy.q_net_target.parameters())


def test_forwards_have_the_outputs_of_their_network_and_no_graph():
    policy = make_policy()
    with th.no_grad():
        policy.q_net_target.q_net[0].weight.add_(1)
    backend = TorchBackend(policy)
    observations, _ = make_batch()
    assert th.equal(backend.forward(observations), policy.q_net.outputs(observations))
    assert th.equal(backend.evaluate(observations), policy.q_net.outputs(observations))
    assert th.equal(backend.evaluate(observations, net="target"), policy.q_net_target.outputs(observations))
    for method in (backend.forward, backend.evaluate, partial(backend.evaluate, net="target")):
        assert method(observations).shape == (7, 3, 1)
        assert not method(observations).requires_grad


def test_other_forwards_do_not_disturb_what_backward_needs():
    observations, grad_outputs = make_batch()
    mine, theirs = make_policy(), make_policy()
    backend = TorchBackend(mine)
    backend.forward(observations)
    backend.evaluate(observations * 2)
    backend.evaluate(observations * 3, net="target")
    backend.backward(grad_outputs)
    backend.step(10.0)
    reference_step(theirs, observations, grad_outputs, 10.0)
    assert_same_policies(mine, theirs)


def test_array_shares_memory_with_numpy_and_keeps_none_and_mappings():
    backend = TorchBackend(make_policy())
    numbers = np.arange(3, dtype=np.float32)
    tensors = backend.array({"a": numbers, "b": {"c": np.array([1])}})
    numbers[0] = 7
    assert tensors["a"].tolist() == [7, 1, 2]
    assert tensors["b"]["c"].dtype == th.int64
    assert backend.array(None) is None


# -- target ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tau", [0.0, 0.005, 0.3, 1.0])
def test_update_target_is_polyak_averaging(tau):
    policy = make_policy()
    our_step(policy, *make_batch(), 10.0)
    online = [weight.clone() for weight in policy.q_net.parameters()]
    before = [weight.clone() for weight in policy.q_net_target.parameters()]
    TorchBackend(policy).update_target(tau)
    for mine, old, new in zip(policy.q_net_target.parameters(), before, online, strict=True):
        th.testing.assert_close(mine, tau * new + (1 - tau) * old, rtol=1e-6, atol=1e-7)
    if tau == 1:
        assert_same(policy.q_net_target.state_dict(), policy.q_net.state_dict())
    if tau == 0:
        assert_same(list(policy.q_net_target.parameters()), before)
    assert_same(list(policy.q_net.parameters()), online)


@pytest.mark.parametrize("tau", [0.0, 0.1, 1.0])
def test_update_target_copies_batch_norms_running_statistics(tau):
    policy = make_policy(features_extractor_class=NormalisedExtractor)
    policy.set_training_mode(True)
    backend = TorchBackend(policy)
    for seed in range(3):
        backend.forward(5 + make_batch(seed)[0])
    online, target = (net.features_extractor.norm for net in (policy.q_net, policy.q_net_target))
    assert not th.allclose(online.running_mean, target.running_mean)
    backend.update_target(tau)
    assert th.equal(online.running_mean, target.running_mean)
    assert th.equal(online.running_var, target.running_var)
    assert not policy.q_net_target.training


def test_a_target_forward_does_not_move_running_statistics():
    policy = make_policy(features_extractor_class=NormalisedExtractor)
    policy.set_training_mode(True)
    before = copy.deepcopy(policy.q_net_target.state_dict())
    TorchBackend(policy).evaluate(make_batch()[0], net="target")
    assert_same(policy.q_net_target.state_dict(), before)


# -- state ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer_class", OPTIMIZERS)
@pytest.mark.parametrize("extractor", [{}, {"features_extractor_class": NormalisedExtractor}])
def test_a_restored_backend_goes_on_bit_for_bit(optimizer_class, extractor):
    one, two = (make_policy(seed, optimizer_class=optimizer_class, **extractor) for seed in (0, 1))
    for policy in (one, two):
        policy.set_training_mode(True)
    our_step(one, *make_batch(0), 10.0)
    TorchBackend(one).update_target(0.5)
    state = TorchBackend(one).get_state()
    kept = copy.deepcopy(state)
    restored = TorchBackend(two)
    restored.set_state(state)
    assert_same_policies(one, two)
    for seed in range(1, 4):
        assert our_step(one, *make_batch(seed), 1.0) == our_step(two, *make_batch(seed), 1.0)
    assert_same_policies(one, two)
    assert_same(state, kept)  # learning on did not write through into the state


def test_the_state_holds_arrays_numbers_and_texts_only():
    policy = make_policy()
    our_step(policy, *make_batch(), 10.0)

    def check(tree):
        if isinstance(tree, dict):
            for value in tree.values():
                check(value)
        elif isinstance(tree, list | tuple):
            for value in tree:
                check(value)
        else:
            assert tree is None or isinstance(tree, np.ndarray | float | int | str)

    check(TorchBackend(policy).get_state())


def test_a_learning_rate_that_is_a_numpy_number_survives_the_state():
    """A schedule written with NumPy returns one, and torch's Adam takes no tensor in its place."""
    policy = make_policy()
    for group in policy.optimizer.param_groups:
        group["lr"] = np.float64(0.5)
    backend = TorchBackend(policy)
    backend.set_state(backend.get_state())
    assert isinstance(policy.optimizer.param_groups[0]["lr"], float)
    our_step(policy, *make_batch(), 10.0)


def test_bind_finds_modules_that_were_replaced():
    policy = make_policy()
    backend = TorchBackend(policy)
    policy.q_net = copy.deepcopy(policy.q_net)
    policy.optimizer = th.optim.SGD(policy.q_net.parameters(), lr=0.1)
    backend.bind()
    backend.bind()
    assert backend.online is policy.q_net
    assert backend.optimizer is policy.optimizer


# -- choice ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["auto", "torch"])
def test_every_name_has_its_backend(name):
    assert make_backend(name, make_policy()).name == ("torch" if name == "torch" else "numpy")


@pytest.mark.parametrize("name", ["cuda", "jax", "", "Torch"])
def test_other_backends_are_refused_in_one_line(name):
    with pytest.raises(InputError, match=r"^backend: .*want .*'torch'") as refusal:
        make_backend(name, make_policy())
    assert "\n" not in str(refusal.value)
    assert "auto" in BACKENDS
