"""The torch backend's switches: off changes nothing, on what each says, elsewhere a refusal in one line."""

import copy

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces

from sb3_course import REINFORCE, DoubleDQN
from sb3_course.backends import make_backend
from sb3_course.backends.torch_backend import TorchBackend
from sb3_course.backends.torch_switches import TorchSwitches
from sb3_course.config.errors import InputError
from sb3_course.value.q_policies import CnnPolicy

IMAGE = spaces.Box(0, 255, (4, 36, 36), np.uint8)


def make_policy() -> CnnPolicy:
    th.manual_seed(0)
    return CnnPolicy(IMAGE, spaces.Discrete(3), lambda _: 1e-3)


def updated(**switches: object) -> tuple[th.Tensor, TorchBackend]:
    """Return the outputs before one gradient step, and the backend after it."""
    backend = TorchBackend(make_policy(), switches=TorchSwitches.read(switches))
    pixels = backend.array(np.random.default_rng(0).integers(0, 256, (5, *IMAGE.shape), dtype=np.uint8))
    with backend.updating():
        outputs = backend.forward(pixels)
        backend.backward(th.ones_like(outputs))
        backend.step(10.0)
    assert th.equal(backend.evaluate(pixels, "target"), backend.evaluate(pixels, "target"))
    return outputs.clone(), backend


def weights(backend: TorchBackend) -> th.Tensor:
    return th.cat([parameter.detach().reshape(-1) for parameter in backend.parameters])


def test_bfloat16_products_leave_single_precision_weights() -> None:
    plain, before = updated()
    outputs, after = updated(amp=True)
    assert outputs.dtype == th.float32
    assert 0 < (outputs - plain).abs().max() < 0.02  # bfloat16 has eight bits
    assert all(parameter.dtype == parameter.grad.dtype == th.float32 for parameter in after.parameters)
    assert 0 < (weights(after) - weights(before)).abs().max() <= 2.1e-3  # two steps of Adam's size at most


def test_channels_last_moves_weights_and_changes_no_number() -> None:
    plain, before = updated()
    outputs, after = updated(channels_last=True)
    first = after.parameters[0]
    assert first.is_contiguous(memory_format=th.channels_last)
    assert not before.parameters[0].is_contiguous(memory_format=th.channels_last)
    assert th.allclose(outputs, plain, atol=1e-5)
    assert set(after.get_state()["online"]) == set(before.get_state()["online"])


def test_a_fused_step_finds_the_statistics_of_its_own_weights_after_a_resume() -> None:
    def fresh() -> TorchBackend:
        th.manual_seed(0)
        fused = {"optimizer_kwargs": {"fused": True}}
        policy = CnnPolicy(IMAGE, spaces.Discrete(3), lambda _: 1e-3, **fused)
        return TorchBackend(policy, switches=TorchSwitches.read({"channels_last": True}))

    def learn(backend: TorchBackend, seed: int) -> None:
        pixels = backend.array(np.random.default_rng(seed).integers(0, 256, (5, *IMAGE.shape), dtype=np.uint8))
        with backend.updating():
            outputs = backend.forward(pixels)
            backend.backward(th.randn(outputs.shape, generator=th.Generator().manual_seed(seed)))
            backend.step(None)

    one, other = fresh(), fresh()
    for seed in range(3):
        learn(one, seed)
    other.set_state(one.get_state())
    for kept, now in zip(one.optimizer.state.values(), other.optimizer.state.values(), strict=True):
        assert all(kept[name].stride() == now[name].stride() for name in kept)
    for seed in range(3, 6):
        learn(one, seed)
        learn(other, seed)
    assert th.equal(weights(one), weights(other))


def test_compiled_passes_are_made_once_and_compute_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr(th, "compile", lambda function, backend: made.append(backend) or (lambda x: function(x) * 1.0))
    plain, before = updated()
    outputs, after = updated(compile=True)
    assert made == ["inductor"] * 2  # the online and the target network
    assert th.equal(outputs, plain)
    assert th.equal(weights(after), weights(before))
    after.bind()
    assert len(made) == 2
    after.policy.q_net = copy.deepcopy(after.policy.q_net)
    after.bind()
    assert len(made) == 3  # a network that is another is compiled anew


def test_torchs_own_compiler_is_what_is_asked() -> None:
    plain, _ = updated()
    outputs, _ = updated(compile="eager")
    assert th.allclose(outputs, plain, atol=1e-6)


def test_auto_is_torch_where_a_switch_is_on() -> None:
    env = gym.make("CartPole-v1")
    off, on = (DoubleDQN("MlpPolicy", env, backend_kwargs=each) for each in ({"amp": False}, {"amp": True}))
    assert (off._backend.name, on._backend.name) == ("numpy", "torch")
    assert on._backend.why == "its switches are on"
    on.learn(200)
    REINFORCE("MlpPolicy", env, backend_kwargs={"amp": True}).learn(100)


@pytest.mark.parametrize(
    ("backend", "switches", "message"),
    [
        ("numpy", {"amp": True}, "backend_kwargs: NumPy has no switches (got {'amp': True}, want backend='torch', "),
        ("torch", {"amb": True}, "backend_kwargs: unknown switch; did you mean 'amp'? (got 'amb', want amp, compile, "),
        ("torch", {"amp": "yes"}, "backend_kwargs.amp: is no switch (got 'yes', want True or False)"),
        ("auto", {"compile": "indctor"}, "backend_kwargs.compile: torch has no such compiler; did you mean 'induc"),
    ],
)  # fmt: skip
def test_what_does_not_apply_is_refused_in_one_line(backend: str, switches: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as error:
        make_backend(backend, make_policy(), switches)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_arrays_reach_a_gpu_from_pinned_memory_without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = TorchBackend(make_policy())
    calls = []
    monkeypatch.setattr(th.Tensor, "pin_memory", lambda self: calls.append(("pin", self.dtype)) or self)
    monkeypatch.setattr(th.Tensor, "to", lambda self, device, **how: calls.append((device, how)) or self)
    backend.device = th.device("cuda")
    pixels = np.zeros((2, 3), np.uint8)
    backend.array(pixels)
    # As bytes: they are made floats, and divided, where they arrive.
    assert calls == [("pin", th.uint8), (backend.device, {"non_blocking": True})]


def test_arrays_on_the_cpu_are_not_copied() -> None:
    pixels = np.zeros((2, 3), np.uint8)
    assert TorchBackend(make_policy()).array(pixels).data_ptr() == pixels.ctypes.data
