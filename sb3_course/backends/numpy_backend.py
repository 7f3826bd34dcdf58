"""The NumPy backend: our own forward and backward passes and optimizer steps, on the torch policy's own memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import chain
from math import isfinite, sqrt
from typing import Any

import numpy as np
import torch as th

from sb3_course import networks
from sb3_course.backends.denormals import FlushingToZero
from sb3_course.backends.numpy_layers import Array
from sb3_course.backends.numpy_networks import NumpyActorCritic, NumpyQNetwork, defined_here, n_rows
from sb3_course.backends.numpy_noise import Draw, NoiseSamples
from sb3_course.backends.numpy_optimizers import NumpyOptimizer
from sb3_course.backends.numpy_parameters import FlatParameters, Unsupported
from sb3_course.backends.protocol import Function, Regression, Rule, StepsTaken
from sb3_course.backends.torch_backend import TorchBackend
from sb3_course.backends.twins import best
from sb3_course.functional.td import Formula
from sb3_course.replay.lending import LentBuffer

#: A pass over up to so many rows, with no backward pass to follow, takes weights as they lie and makes nothing of them
#: that could grow old. Compiled passes never do.
AS_THEY_LIE = 2


class _Network:
    """A torch module and its double in NumPy."""

    def __init__(self, module: Any) -> None:
        if not defined_here(type(module).outputs):
            raise Unsupported("its network computes its outputs in a way of its own")
        self.module, self.samples = module, NoiseSamples(networks.noisy_layers(module))
        self.modules = list(module.modules())  # an activation has no parameters that would tell of another one
        self.flat = FlatParameters(module.parameters(), noise=self.samples)
        double = NumpyQNetwork if hasattr(module, "q_net") else NumpyActorCritic
        self.double: Any = double(module, self.flat)
        self.stale = self.stale_noise = True  # whether weights or noise have changed since the double last looked
        self._seen: tuple[bytearray, bytearray] | None = None  # weights and noise when somebody last looked
        # A head that is asked for each action, or at levels, has more rows than there are observations.
        many = isinstance(getattr(module, "q_net", None), networks.StateActionHead | networks.ImplicitHead)
        plain = self.samples.all_factorised and not many
        self._few = AS_THEY_LIE if plain else 0

    def changed(self, weights: bool = True) -> None:
        """Be told that the noise, or weights, were written to."""
        self.stale, self.stale_noise, self._seen = self.stale or weights, True, None

    def look(self, rows: int | None = None) -> None:
        """Notice every write to weights or noise, however it was made: contents are compared, not torch's counts.

        :param rows: of the one pass before the next look; None: there may be several, of any size
        """
        moved = self.flat.bind() | self.samples.bind()
        if moved or self.stale or self.stale_noise:  # all is made again from what is there now
            self.changed()
        elif self.double.keeps and (rows is None or rows > self._few):
            contents = self.flat.values, self.samples.values
            # A bytearray compares itself with any memory at once, and copies none of it.
            if self._seen is None or any(seen != now for seen, now in zip(self._seen, contents, strict=True)):
                self.stale, self._seen = True, (bytearray(contents[0]), bytearray(contents[1]))

    @contextmanager
    def without_noise(self) -> Iterator[None]:
        """Let noisy layers compute with their means; the sample comes back."""
        sample = self.samples.values.copy()
        self.samples.values[:] = 0
        self.changed(weights=False)
        try:
            yield
        finally:
            self.samples.values[:] = sample
            self.changed(weights=False)

    def forward(self, observations: Any, remember: int, acting: bool = False) -> Array:
        # What makes nothing of the weights leaves it to the next pass to notice that they have changed.
        if (self.stale or self.stale_noise) and (remember or n_rows(observations) > self._few):
            self.double.refresh(weights=self.stale)
            self.stale = self.stale_noise = False
        double = self.double
        outputs: Array = double.act(observations) if acting else double.forward(observations, remember)
        return outputs


class NumpyBackend:
    """NumPy's side of the interface; see `sb3_course.backends.protocol.Backend`.

    :param policy: as for `TorchBackend`
    :raises Unsupported: for a policy with a layer, an extractor or a space that has no counterpart here
    """

    name, quick, why = "numpy", True, "it is the fastest that can serve the policy"
    two_modes = False  # no layer here has a training mode

    def __init__(self, policy: Any) -> None:
        self.policy = policy
        self._torch = TorchBackend(policy)  # for the state, which is torch's own
        online, target = policy.networks
        self._online, self._target = _Network(online), None if target is None else _Network(target)
        self._optimizer = NumpyOptimizer(policy.optimizer, self._online.flat)
        self._updates: Any = None  # what takes several at once
        both = [network for network in (self._online, self._target) if network is not None]
        parts = [policy, *(part for network in both for part in network.modules)]
        holders = [held for part in parts for held in (part._parameters, part._modules)]
        # Apart, because it is quicker to tell that still nothing lies in an empty one.
        self._holders, self._empty = [held for held in holders if held], [held for held in holders if not held]
        self._tensors = [tensor for network in both for tensor in network.flat.tensors]
        self._known = self._parts()

    def __reduce__(self) -> Any:
        """Be made anew for the copy of the policy: copied arrays and views would no longer share their memory."""
        return NumpyBackend, (self.policy,)

    def bind(self) -> bool:
        """Look whether parameters or statistics were moved, replaced or written to, and trust no count of it.

        :return: False for other modules or parameters than those that were translated
        """
        if not (self.fits() and all(tensor.requires_grad for tensor in self._tensors)):
            return False
        self._look(certain=False)
        return True

    def fits(self) -> bool:
        """Tell whether modules and parameters are those that were translated; quick, because each ``train`` asks."""
        return not any(self._empty) and self._parts() == self._known

    def _parts(self) -> list[int]:
        """Return who modules and parameters are; those that are known live as long as this."""
        return list(map(id, chain.from_iterable(map(dict.values, self._holders))))

    def _look(self, certain: bool) -> None:
        """Look whether parameters or statistics were moved, replaced or written to.

        :param certain: statistics were not replaced, unless as a whole, which is how ``load_state_dict`` does it
        """
        for network in (self._online, self._target):
            if network is not None:
                if network.samples.values.size:  # made again for every new sample anyway
                    network.changed()
                network.look()
        if self.policy.optimizer is not self._optimizer.optimizer:
            self._optimizer = NumpyOptimizer(self.policy.optimizer, self._online.flat)
        self._optimizer.bind(certain)

    def updating(self) -> FlushingToZero:
        """Look at the weights again, and take numbers below the normal range of floats for zero.

        The processor takes up to 15 times as long with such numbers, and the gradients of dead units fade into that
        range within a few hundred steps of Adam.
        """
        self._look(certain=True)
        return FlushingToZero()

    def array(self, values: Any) -> Any:
        """Return `values` as they are, a copy of a tensor: torch may free its memory."""
        return values.detach().numpy().copy() if isinstance(values, th.Tensor) else values

    def to_numpy(self, array: Array) -> Array:
        """Return the array itself."""
        return array

    def act(self, observations: Any, trusted: bool = False, noise_free: bool = False) -> Array:
        """Return the actor's outputs where there is one, else the online outputs."""
        if not trusted:
            self._online.look(n_rows(observations))
        with self._online.without_noise() if noise_free else nullcontext():
            return self._online.forward(observations, remember=0, acting=True)

    def greedy(self, formula: Formula, observations: Any, draw: Draw | None, trusted: bool) -> Array | None:
        """Return the greedy actions in one call where network and estimate are compiled."""
        network, whole = self._online, self._online.double.whole
        if whole is None or not whole.serves(formula, observations, draw is None or network.samples.all_factorised):
            return None
        if not trusted:
            network.look(n_rows(observations))
        actions: Array = whole.greedy(formula, observations, network.flat.values, network.samples.values, draw)
        if draw is not None:
            network.changed(weights=False)
        return actions

    def forward(self, observations: Any) -> Array:
        """Return the online outputs and keep what `backward` needs."""
        return self._online.forward(observations, remember=n_rows(observations))

    def forward_and_select(self, observations: Any, others: Any) -> tuple[Array, Array]:
        """Return `forward` of `observations` and `evaluate` of `others`, in one pass over all rows."""
        n_batch = len(observations)
        outputs = self._online.forward(np.concatenate([observations, others]), remember=n_batch)
        return outputs[:n_batch], outputs[n_batch:]

    def evaluate(self, observations: Any, net: str = "online") -> Array:
        """Return a network's outputs."""
        return self._network(net).forward(observations, remember=0)

    def backward(self, grad_outputs: Array) -> None:
        """Write the parameters' gradients."""
        self._online.double.backward(grad_outputs)

    def step(self, max_grad_norm: float | None) -> float:
        """Clip, step and return the gradient's norm; a norm that is not finite takes no step."""
        grads = self._online.flat.grads
        norm = sqrt(float(np.dot(grads, grads)))
        if not isfinite(norm):
            return norm
        if max_grad_norm is not None and norm + 1e-6 > max_grad_norm:
            grads *= np.float32(max_grad_norm / (norm + 1e-6))
        self._optimizer.step()
        self._online.changed()
        return norm

    def regress(
        self,
        observations: Any,
        actions: Array,
        targets: Array,
        minibatches: Sequence[Array],
        loss: str,
        max_grad_norm: float | None,
    ) -> Regression | None:
        """Take gradient steps on minibatches in one call, where network, loss and optimizer are compiled."""
        steps = self._optimizer.at_once()
        asked = actions, targets, minibatches, loss, max_grad_norm, steps
        made = None if steps is None else self._online.double.regress(observations, *asked)
        if made is None:
            return None
        n_taken, regression = made
        self._optimizer.counted(n_taken)
        self._online.changed()
        return regression  # type: ignore[no-any-return]

    def replay_steps(
        self, rule: Rule, lent: LentBuffer, due: Sequence[bool], counted: Sequence[bool], tau: float
    ) -> StepsTaken | None:
        """Take gradient steps on batches from replay in one call, where all that they consist of is compiled."""
        if self._target is None or self._online.double.whole is None or (steps := self._optimizer.at_once()) is None:
            return None
        if self._updates is None or not self._updates.serve(rule, lent):
            self._updates = self._online.double.whole.updates(self._online, self._target, rule, lent)
        try:
            return self._updates.take(rule, lent, due, counted, tau, steps)  # type: ignore[no-any-return]
        finally:  # whatever has ended them
            self._optimizer.counted(self._updates.n_taken)
            if self._updates.n_begun:
                self._online.changed()
                self._target.changed()

    def update_target(self, tau: float) -> None:
        """Move the target network's parameters by τ; there is no batch norm here whose statistics would follow."""
        assert self._target is not None
        online, target = self._online.flat.values, self._target.flat.values
        if tau == 1:
            np.copyto(target, online)
        else:  # SB3's polyak_update: (1 − τ)·target, then + τ·online
            target *= np.float32(1 - tau)
            target += np.float32(tau) * online
        self._target.changed()

    def reset_noise(self, which: str, draw: Draw) -> None:
        """Draw a fresh sample for every noisy layer of the ``online`` or the ``target`` network."""
        network = self._network(which)
        network.samples.draw(draw)
        network.changed(weights=False)

    def _network(self, name: str) -> _Network:
        network = self._online if name == "online" else self._target
        assert network is not None
        return network

    def best(self, function: Function) -> Function:
        """Return the compiled twin of a function, where there is one and Numba is installed."""
        return best(function)

    def shared_step(self, optimizer: Any, private: Sequence[th.Tensor]) -> Callable[[], None]:
        """Return a step in NumPy on the memory that the parameters lie in."""
        shared = [tensor for group in optimizer.param_groups for tensor in group["params"]]
        flat = FlatParameters(shared, in_place=True)
        own = NumpyOptimizer(optimizer, flat)

        def step() -> None:
            for view, mine in zip(flat.grad_views, private, strict=True):
                np.copyto(view, mine.grad.numpy())  # type: ignore[union-attr]
            own.step()

        return step

    def get_state(self) -> dict[str, Any]:
        """Return both networks and the optimizer as arrays and numbers."""
        return self._torch.get_state()

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore both networks and the optimizer."""
        self._torch.set_state(state)
        self.bind()
