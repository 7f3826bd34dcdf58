"""Whatever is set on an optimizer after it was made counts in the next step, whoever takes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike
from torch import nn

from sb3_course.backends.numpy_optimizers import NumpyOptimizer
from sb3_course.backends.numpy_parameters import FlatParameters
from sb3_course.registry import find


def make(name: str, backend: str = "numpy") -> Any:
    settings: dict[str, Any] = {"seed": 0, "device": "cpu", "learning_rate": 1e-2, "policy_kwargs": {"net_arch": [24]}}
    if find(name).family == "value":
        settings |= {"learning_starts": 10, "train_freq": 1, "batch_size": 16, "buffer_size": 500}
    return find(name).load()("MlpPolicy", gym.make("CartPole-v1"), backend=backend, **settings)


Change = Callable[[Any], Any]


def option(**options: Any) -> Change:
    return lambda optimizer: optimizer.param_groups[0].update(options)


def halved(optimizer: Any) -> None:
    """Give the second tensor a group, and so a rate, of its own."""
    group = optimizer.param_groups[0]
    optimizer.add_param_group({"params": [group["params"].pop()], "lr": group["lr"] / 2})


# optimizer, what it is changed to before the first step, and between steps
CHANGES: dict[str, tuple[Any, Change, Change]] = {
    "Adam, decay": (th.optim.Adam, option(), option(weight_decay=0.5)),
    "Adam, decay that ends": (th.optim.Adam, option(weight_decay=0.5), option(weight_decay=0.0)),
    "Adam, amsgrad that ends": (th.optim.Adam, option(amsgrad=True), option(amsgrad=False)),
    "Adam, betas": (th.optim.Adam, option(), option(betas=(0.5, 0.9), eps=1e-2)),
    "AdamW, decay": (th.optim.AdamW, option(weight_decay=0.0), option(weight_decay=0.5)),
    "AdamW, upwards": (th.optim.AdamW, option(), option(maximize=True)),
    "RAdam, decay": (th.optim.RAdam, option(), option(weight_decay=0.5)),
    "RAdam, betas": (th.optim.RAdam, option(betas=(0.5, 0.9)), option(eps=1e-2)),
    "SGD, momentum": (th.optim.SGD, option(), option(momentum=0.9, nesterov=True)),
    "SGD, momentum that ends": (th.optim.SGD, option(momentum=0.9), option(momentum=0)),
    "RMSprop, decay": (th.optim.RMSprop, option(), option(weight_decay=0.5)),
    "RMSprop, momentum that ends": (th.optim.RMSprop, option(momentum=0.9), option(momentum=0)),
    "RMSpropTFLike, decay": (RMSpropTFLike, option(), option(weight_decay=0.5)),
    "a second group": (th.optim.Adam, option(), halved),
    "two groups": (th.optim.Adam, halved, option(weight_decay=0.5)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_step_goes_by_the_options_of_that_moment(change: str) -> None:
    cls, before, after = CHANGES[change]
    rng = np.random.default_rng(0)
    starts = [rng.normal(size=n).astype(np.float32) for n in (30, 7)]
    theirs, mine = ([nn.Parameter(th.tensor(start)) for start in starts] for _ in range(2))
    flat = FlatParameters(mine)
    torch, ours = cls(theirs, lr=1e-2), cls(mine, lr=1e-2)
    numpy = NumpyOptimizer(ours, flat)
    for n_step in range(6):
        for optimizer in (torch, ours):
            {0: before, 3: after}.get(n_step, option())(optimizer)
        for tensor, view in zip(theirs, flat.grad_views, strict=True):
            view[...] = rng.normal(size=len(view))
            tensor.grad = th.tensor(view)
        torch.step()
        numpy.step()
        for one, two in zip(theirs, mine, strict=True):
            np.testing.assert_allclose(two.detach(), one.detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["double_dqn", "actor_critic"])
def test_weight_decay_that_is_set_on_a_model_decays_its_weights(name: str) -> None:
    """A user's way to it: the constructor's options are those of the optimizer, and can be changed there."""
    found = []
    for backend in ("torch", "numpy"):
        model = make(name, backend)
        model.policy.optimizer.param_groups[0]["weight_decay"] = 0.3
        found.append(model.learn(60).policy.parameters_to_vector())
    np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-5)
    assert not np.allclose(found[1], make(name).learn(60).policy.parameters_to_vector(), atol=1e-3)
