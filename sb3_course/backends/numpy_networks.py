"""Our networks in NumPy: torch modules translated into layers on the same memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.lib.stride_tricks import sliding_window_view
from stable_baselines3.common.distributions import DiagGaussianDistribution
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import FlattenExtractor, MlpExtractor
from torch import nn

from sb3_course import networks
from sb3_course.backends.numpy_heads import NumpyGaussian, head_of
from sb3_course.backends.numpy_layers import Array, Chain
from sb3_course.backends.numpy_parameters import FlatParameters, Unsupported


def defined_here(function: Any) -> bool:
    """Tell whether a method is this package's own, and not that of a user's subclass."""
    return str(function.__module__).partition(".")[0] == __name__.partition(".")[0]


def n_rows(observations: Any) -> int:
    """Return how many observations these are, quantile levels behind them or not."""
    return len(observations[0] if isinstance(observations, tuple) else observations)


class NumpyQNetwork:
    """`sb3_course.value.q_network.QNetwork` in NumPy."""

    def __init__(self, network: Any, flat: FlatParameters) -> None:
        self._features = features_of(network)
        self._n_actions, self._n_atoms = int(network.action_space.n), network.n_atoms
        self._head = head_of(network.q_net, flat)
        self.keeps = self._head.keeps
        parts = getattr(self._head, "parts", (self._head,))
        #: the network as one compiled function, where there is nothing else to it than its head; else None
        self.whole: Any = None
        if self._features is _flattened:
            self.whole = parts[-1].whole(self._head, parts, self._n_actions)

    def refresh(self, weights: bool) -> None:
        """Refresh all layers."""
        self._head.refresh(weights)

    def forward(self, observations: Any, remember: int) -> Array:
        """Return (B, A, N), in memory of its own.

        :param observations: with the quantile levels behind them where the head is asked at levels
        """
        seen, *levels = observations if isinstance(observations, tuple) else (observations,)
        outputs: Array = self._head.forward(self._features(seen), remember, *levels)
        if self._head.reuses(remember):
            outputs = outputs.copy()
        return outputs.reshape(len(outputs), self._n_actions, -1)

    def act(self, observations: Any) -> Array:
        """Return (B, A, N)."""
        return self.forward(observations, remember=0)

    def regress(self, observations: Any, *asked: Any) -> Any:
        """Return what `CompiledChain.regress` does where one is the whole of the network, else None."""
        if self._n_atoms > 1 or not isinstance(self._head, Chain):
            return None
        return self._head.regress(self._features(observations), *asked)

    def backward(self, grad: Array) -> None:
        """Write the gradients of the parameters."""
        self._head.backward(grad.reshape(len(grad), -1), wanted=False)


class NumpyActorCritic:
    """`sb3_course.policy_gradient.actor_policies.PolicyOutputs` in NumPy."""

    def __init__(self, policy: Any, flat: FlatParameters) -> None:
        self._features = features_of(policy)
        extractor = policy.mlp_extractor
        if type(extractor) is not MlpExtractor and not defined_here(type(extractor).forward):
            raise Unsupported(f"it has no {type(extractor).__name__}")
        self._trunk = flat.chain(*([extractor.trunk] if policy.shared_layers else []))
        self._log_std = self._grad_log_std = None
        if not isinstance(policy.action_dist, DiagGaussianDistribution):
            self._actor: Any = flat.chain(extractor.policy_net, policy.action_net)
        elif isinstance(getattr(policy, "log_std", None), nn.Parameter):
            self._actor = flat.chain(extractor.policy_net, policy.action_net)
            self._log_std, self._grad_log_std = flat.find(policy.log_std)
        elif hasattr(policy, "sigma_net") and defined_here(type(policy)._get_action_dist_from_latent):
            self._actor = NumpyGaussian(policy, flat)
        else:
            raise Unsupported("the policy's spread depends on the state in a way of its own")
        self._critic = flat.chain(*([extractor.value_net, policy.value_net] if policy.critic else []))
        self._parts = self._trunk, self._actor, self._critic
        self.keeps = any(part.keeps for part in self._parts if part.layers)

    def refresh(self, weights: bool) -> None:
        """Refresh all layers."""
        for part in self._parts:
            part.refresh(weights)

    def forward(self, observations: Any, remember: int) -> Array:
        """Return (B, D), or (B, D + 1) with V in the last column, in memory of its own."""
        latent = self._trunk.forward(self._features(observations), remember)
        parts = self._actor_outputs(latent, remember)
        if self._critic.layers:
            parts.append(self._critic.forward(latent, remember))
        return np.concatenate(parts, axis=1)

    def act(self, observations: Any) -> Array:
        """Return (B, D), in memory of its own."""
        latent = self._features(observations)
        if self._trunk.layers:
            latent = self._trunk.forward(latent, remember=0)
        if self._log_std is not None:
            return np.concatenate(self._actor_outputs(latent, remember=0), axis=1)
        outputs: Array = self._actor.forward(latent, remember=0)
        return outputs.copy() if self._actor.reuses(remember=0) else outputs

    def _actor_outputs(self, latent: Array, remember: int) -> list[Array]:
        mean_or_logits = self._actor.forward(latent, remember)
        if self._log_std is None:
            return [mean_or_logits]
        return [mean_or_logits, np.broadcast_to(self._log_std, mean_or_logits.shape)]

    def backward(self, grad: Array) -> None:
        """Write the gradients of the parameters."""
        n_actor = grad.shape[1] - bool(self._critic.layers)
        actor = grad[:, :n_actor]
        if self._grad_log_std is not None:
            actor, spread = actor[:, : n_actor // 2], actor[:, n_actor // 2 :]
            np.sum(spread, axis=0, out=self._grad_log_std)
        below = bool(self._trunk.layers)
        back = self._actor.backward(np.ascontiguousarray(actor), below)
        if self._critic.layers:
            value = self._critic.backward(np.ascontiguousarray(grad[:, -1:]), below)
            back = back + value if below else back
        self._trunk.backward(back, wanted=False)


def features_of(network: Any) -> Callable[[Any], Array]:
    """Return what SB3's preprocessing and its ``FlattenExtractor`` make of observations, (B, …) -> (B, F).

    :raises Unsupported: for other extractors and for spaces they do not flatten
    """
    space = network.observation_space
    if type(network.features_extractor) is not FlattenExtractor:
        raise Unsupported(f"it has no {type(network.features_extractor).__name__}")
    image = is_image_space(space) and network.normalize_images
    if isinstance(space, spaces.MultiBinary) or (isinstance(space, spaces.Box) and not image):
        return _flattened
    numbers: Callable[[Any], Array] = np.asarray
    if networks.start_of(space) is not None:
        numbers = partial(networks.from_zero, space=space)
    if isinstance(space, spaces.Discrete):
        rows = identity(int(space.n))
        return lambda observations: rows[numbers(observations).reshape(-1)]
    if isinstance(space, spaces.MultiDiscrete) and space.nvec.ndim == 1:
        tables = [identity(int(n)) for n in space.nvec]

        def side_by_side(observations: Any) -> Array:
            columns = zip(tables, numbers(observations).T, strict=True)
            return np.concatenate([table[column] for table, column in columns], axis=1)

        return side_by_side
    raise Unsupported(f"it does not flatten {type(space).__name__} observations")


def identity(n: int) -> Array:
    """Return the (n, n) identity matrix in memory of 2n − 1 numbers: each row is a window into zeros around a one."""
    line = np.zeros(2 * n - 1, np.float32)
    line[n - 1] = 1
    return sliding_window_view(line, n)[::-1]


def _flattened(observations: Any) -> Array:
    array: Array = np.asarray(observations, np.float32)
    return array if array.ndim == 2 else array.reshape(len(array), -1)
