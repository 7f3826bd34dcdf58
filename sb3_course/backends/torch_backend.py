"""The torch backend: autograd and the policy's own torch optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from math import isfinite
from typing import Any

import numpy as np
import torch as th
from stable_baselines3.common.utils import get_parameters_by_name, polyak_update

from sb3_course.backends.modes import has_modes
from sb3_course.backends.protocol import Function, Regression
from sb3_course.backends.torch_switches import Passes, TorchSwitches
from sb3_course.networks import noise_free as without_noise
from sb3_course.networks import reset_noise


class TorchBackend:
    """Torch's side of the interface; see `sb3_course.backends.protocol.Backend`.

    :param policy: has ``optimizer`` and ``networks``: the online and the target module (or None), each with
        ``outputs(observations)``
    :param why: this backend, in words that follow "because"
    :param switches: see `sb3_course.backends.torch_switches`; all off
    """

    name, quick = "torch", False

    def __init__(self, policy: Any, why: str = "it was asked for", switches: TorchSwitches | None = None) -> None:
        self.policy, self.why = policy, why
        self._switches = TorchSwitches() if switches is None else switches
        self._passes: Passes = {}
        self.bind()

    def bind(self) -> bool:
        """Take modules and parameters from the policy anew; return True, because any others will do."""
        self.online, self.target = self.policy.networks
        self.optimizer: th.optim.Optimizer = self.policy.optimizer
        self.device: th.device = self.policy.device
        self.parameters: list[th.nn.Parameter] = list(self.online.parameters())
        self.two_modes = has_modes(self.online)
        self._passes = self._switches.passes((self.online, self.target), self._passes)
        if self._switches.channels_last:
            self._lay_statistics_as_weights()
        return True

    def _lay_statistics_as_weights(self) -> None:
        """Give the optimizer's statistics the weights' strides: a fused step walks all of them as they lie."""
        for parameter, kept in self.optimizer.state.items():
            for name, values in kept.items():
                if isinstance(values, th.Tensor) and values.shape == parameter.shape:
                    kept[name] = th.empty_like(parameter, requires_grad=False).copy_(values)

    def fits(self) -> bool:
        """Return True: `updating` takes any others."""
        return True

    def _outputs_of(self, network: Any, observations: Any) -> th.Tensor:
        """Return a network's outputs, computed as the switches say, and in no less than single precision."""
        # What is not compiled is looked up each time: a user may change a module's class or its method.
        run = self._passes[network] if self._switches.compile else network.outputs
        with self._switches.precision(self.device):
            outputs: th.Tensor = run(observations)
        return outputs.float() if self._switches.amp else outputs

    def updating(self) -> AbstractContextManager[Any]:
        """Switch batch norm and dropout on, and take modules and parameters from the policy anew."""
        self.policy.set_training_mode(True)
        self.bind()
        return nullcontext()

    def array(self, values: Any) -> Any:
        """Return `values` as tensors on the policy's device, sharing memory where they already are on it."""
        if isinstance(values, dict):
            return {key: self.array(value) for key, value in values.items()}
        if isinstance(values, tuple):
            return type(values)(*map(self.array, values))
        if values is None:
            return None
        tensor = th.as_tensor(values)
        if self.device.type == "cuda" and tensor.device.type == "cpu":
            # From pinned memory the copy goes on beside what is computed; torch keeps that memory until it is done.
            return tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor.to(self.device)

    def to_numpy(self, array: th.Tensor) -> np.ndarray:
        """Return a tensor as a NumPy array, sharing memory where it lies on the CPU."""
        values: np.ndarray = array.cpu().numpy()
        return values

    @th.no_grad()
    def act(self, observations: Any, trusted: bool = False, noise_free: bool = False) -> th.Tensor:
        """Return the actor's outputs where there is one, else the online outputs."""
        with self._evaluating(self.online), without_noise(self.online) if noise_free else nullcontext():
            actor = getattr(self.online, "actor_outputs", None)
            return self._outputs_of(self.online, observations) if actor is None else actor(observations)

    def forward(self, observations: Any) -> th.Tensor:
        """Return the online outputs, cut off from the graph that is kept for `backward`."""
        with self._lone_row(observations) if self.two_modes else nullcontext():
            outputs = self._outputs_of(self.online, observations)
        self._outputs = outputs
        return outputs.detach()

    def forward_and_select(self, observations: Any, others: Any) -> tuple[th.Tensor, th.Tensor]:
        """Return `forward` of `observations` and `evaluate` of `others`."""
        selector = self.evaluate(others)
        return self.forward(observations), selector

    @th.no_grad()
    def evaluate(self, observations: Any, net: str = "online") -> th.Tensor:
        """Return a network's outputs without a graph."""
        network = self.online if net == "online" else self.target
        with self._evaluating(network):
            return self._outputs_of(network, observations)

    def _evaluating(self, network: th.nn.Module) -> AbstractContextManager[Any]:
        """Return what a pass that nothing is learned from is computed in: batch norm and dropout as in prediction."""
        return without_training(list(network.modules())) if self.two_modes else nullcontext()

    def _lone_row(self, observations: Any) -> AbstractContextManager[Any]:
        """Let batch norm use its running statistics where one row has to do: it has no variance of its own."""
        first = observations[0] if isinstance(observations, tuple) else observations
        first = next(iter(first.values())) if isinstance(first, dict) else first
        alone = [module for module in self.online.modules() if isinstance(module, th.nn.BatchNorm1d)]
        return without_training(alone if first.shape[0] == 1 else [])

    def backward(self, grad_outputs: th.Tensor) -> None:
        """Fill the parameters' gradients from `grad_outputs`."""
        for parameter in self.parameters:  # a tenth of the time of optimizer.zero_grad()
            parameter.grad = None
        self._outputs.backward(grad_outputs)
        del self._outputs

    def step(self, max_grad_norm: float | None) -> float:
        """Clip, step and return the gradient's norm; a norm that is not finite takes no step."""
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        total_norm = th.nn.utils.get_total_norm(gradients)
        norm = float(total_norm)
        if not isfinite(norm):
            return norm
        # Well below the limit torch's clipping multiplies by exactly 1; the margin covers its 1e-6 and its rounding.
        if max_grad_norm is not None and norm * (1 + 1e-6) + 2e-6 > max_grad_norm:
            th.nn.utils.clip_grads_with_norm_(self.parameters, max_grad_norm, total_norm)
        self.optimizer.step()
        return norm

    def regress(self, *asked: Any) -> Regression | None:
        """Return None: each step is its own."""
        return None

    def update_target(self, tau: float) -> None:
        """Move the target network's parameters by τ and copy its running statistics."""
        polyak_update(self.online.parameters(), self.target.parameters(), tau)
        # Polyak averaging moves parameters only; batch norm's running statistics are copied (SB3 issue 996).
        if next(self.online.buffers(), None) is not None:
            online, target = (get_parameters_by_name(net, ["running_"]) for net in (self.online, self.target))
            polyak_update(online, target, 1.0)

    def greedy(self, *asked: Any) -> None:
        """Do nothing: the policy acts by itself."""

    def replay_steps(self, *asked: Any) -> None:
        """Do nothing: each step is one by itself."""

    def reset_noise(self, which: str, draw: Any) -> None:
        """Draw a fresh sample for every noisy layer of the ``online`` or the ``target`` network."""
        reset_noise(self.online if which == "online" else self.target, draw)

    def best(self, function: Function) -> Function:
        """Return the function itself."""
        return function

    def shared_step(self, optimizer: th.optim.Optimizer, private: Sequence[th.Tensor]) -> Callable[[], None]:
        """Return a step that hands the private gradients to the shared parameters."""
        shared = [tensor for group in optimizer.param_groups for tensor in group["params"]]

        def step() -> None:
            for ours, mine in zip(shared, private, strict=True):
                ours.grad = mine.grad
            optimizer.step()

        return step

    def get_state(self) -> dict[str, Any]:
        """Return both networks and the optimizer as arrays and numbers."""
        parts = {"online": self.online, "target": self.target, "optimizer": self.optimizer}
        return {name: _to_numpy(part.state_dict()) for name, part in parts.items() if part is not None}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore both networks and the optimizer."""
        self.online.load_state_dict(_to_torch(state["online"]))
        if self.target is not None:
            self.target.load_state_dict(_to_torch(state["target"]))
        optimizer = _to_torch(state["optimizer"])
        # Torch numbers the parameters; JSON, through which a checkpoint goes, makes words of the numbers.
        optimizer["state"] = {int(number): values for number, values in optimizer["state"].items()}
        self.optimizer.load_state_dict(optimizer)
        self.bind()


@contextmanager
def without_training(modules: Sequence[th.nn.Module]) -> Iterator[None]:
    """Switch off training mode of these modules, each by itself, and on again where it was on."""
    training = [module for module in modules if module.training]
    try:
        for module in training:
            module.training = False
        yield
    finally:
        for module in training:
            module.training = True


def _to_numpy(tree: Any) -> Any:
    """Replace every tensor of a nested structure by a NumPy copy."""
    if isinstance(tree, dict):
        return {key: _to_numpy(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(_to_numpy(value) for value in tree)
    return tree.detach().cpu().numpy().copy() if isinstance(tree, th.Tensor) else tree


def _to_torch(tree: Any) -> Any:
    """Replace every NumPy array of a nested structure by a tensor of its own."""
    if isinstance(tree, dict):
        return {key: _to_torch(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(_to_torch(value) for value in tree)
    return th.tensor(tree) if isinstance(tree, np.ndarray) else tree
