"""All gradient steps of a call of ``train`` in one compiled call: the same as one by one, or not done at all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch as th
from walking_models import Walk, assert_alike, held, made

from sb3_course import DoubleDQN
from sb3_course.backends.numpy_backend import NumpyBackend
from sb3_course.functional import Errors
from sb3_course.registry import ALGORITHMS, find
from sb3_course.replay import Batch, ReplayBuffer
from sb3_course.value.estimates.mean_return import MeanReturn
from sb3_course.value.value_algorithm import ValueAlgorithm

pytest.importorskip("numba")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

#: Rows of the family whose steps are not one call: other losses, other returns, other optimizers, no replay.
ONE_BY_ONE = {"quantile_dqn", "iqn", "btr", "munchausen_dqn", "q_table"}
FAMILY = [
    name for name, row in ALGORITHMS.items() if row.family == "value" and row.source == "sb3_course" and name != "pqn"
]
#: Variants of rows besides: the name, the constructor's arguments, the policy's.
VARIANTS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "off": ("double_dqn", {"double": False}, {}),
    "state_action": ("double_dqn", {}, {"head": "state_action", "layer_norm": True}),
    "noisy state_action": ("noisy_dqn", {}, {"head": "state_action"}),
    "streams": ("dueling_dqn", {}, {"net_arch": {"value": [9], "advantage": [7]}}),
    "shared streams": ("dueling_dqn", {"double": True}, {"net_arch": [12, 10], "rescale_gradient": True}),
    "one noisy stream": ("rainbow", {}, {"noisy_streams": ["advantage"], "net_arch": [8, 8]}),
    "updates": ("per_dqn", {"target_update_interval": (3, "update"), "tau": 0.3, "batch_size": 7}, {}),
    "tanh": ("per_dqn", {"n_steps": 3}, {"activation_fn": th.nn.Tanh}),
    "rainbow, few": ("rainbow", {"batch_size": 5, "dueling": False, "loss": "l2", "n_atoms": 1}, {}),
}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Keep how many steps were taken in each call."""
    found: list[int] = []
    plain = NumpyBackend.replay_steps

    def counted(self: NumpyBackend, *asked: Any) -> Any:
        made = plain(self, *asked)
        found.extend([] if made is None else [len(made.losses)])
        return made

    monkeypatch.setattr(NumpyBackend, "replay_steps", counted)
    return found


@pytest.mark.parametrize("name", [name for name in FAMILY if name not in ("q_table",)])
def test_one_call_is_one_step_after_the_other(name: str, calls: list[int]) -> None:
    at_once = made(name, one_by_one=False)
    assert bool(calls) == (name not in ONE_BY_ONE)
    if calls:
        assert_alike(held(made(name, one_by_one=True)), held(at_once))


@pytest.mark.parametrize("variant", VARIANTS)
def test_so_it_is_with_every_head_and_switch(variant: str, calls: list[int]) -> None:
    name, arguments, policy = VARIANTS[variant]
    at_once = made(name, False, policy, **arguments)
    assert calls
    assert_alike(held(made(name, True, policy, **arguments)), held(at_once))


def test_several_environments_share_the_buffer(calls: list[int]) -> None:
    from stable_baselines3.common.env_util import make_vec_env

    found = []
    for one_by_one in (True, False):
        with pytest.MonkeyPatch.context() as patch:
            if one_by_one:
                patch.setattr(NumpyBackend, "replay_steps", lambda *asked: None)
            cls: Any = find("rainbow").load()
            model = cls(
                "MlpPolicy", make_vec_env(Walk, 3, seed=1), seed=0, learning_starts=30, buffer_size=90, backend="numpy"
            )
            model.learn(120)
        found.append(held(model))
    assert calls
    assert_alike(*found)


def test_many_steps_are_one_call(calls: list[int]) -> None:
    model = made("c51", one_by_one=False)
    calls.clear()
    model.train(gradient_steps=128, batch_size=16)
    assert calls == [128]
    assert model.logger.name_to_value["train/n_updates"] == model._n_updates


@pytest.mark.parametrize(
    ("name", "spoil"), [("double_dqn", "weights"), ("double_dqn", "rewards"), ("rainbow", "weights")]
)
def test_what_is_not_finite_ends_training_in_the_same_words(name: str, spoil: str) -> None:
    said = []
    for one_by_one in (True, False):
        model = made(name, one_by_one=False)
        if spoil == "weights":
            th.nn.init.constant_(next(model.q_net.parameters()), float("nan"))
        else:
            model.replay_buffer.rewards[:] = np.inf
        with pytest.MonkeyPatch.context() as patch:
            if one_by_one:
                patch.setattr(NumpyBackend, "replay_steps", lambda *asked: None)
            with pytest.raises(FloatingPointError) as error:
                model.train(gradient_steps=3, batch_size=8)
        said.append((str(error.value), model._n_updates))
    assert said[0] == said[1]


@pytest.mark.parametrize("left_over", [0.0, float("nan")])
def test_the_steps_before_the_one_that_is_not_finite_count(left_over: float) -> None:
    """A loss alone is infinite: the Huber loss of an infinite reward, which few batches hold, has a finite slope."""
    said = []
    for one_by_one in (True, False):
        model = made("double_dqn", one_by_one=False)
        model.train(gradient_steps=60, batch_size=2)
        model._backend._updates._room.norms.fill(left_over)  # of a call before: nobody may read them
        model.replay_buffer.rewards[[7, 21]] = np.inf
        before = model._n_updates
        with pytest.MonkeyPatch.context() as patch:
            if one_by_one:
                patch.setattr(NumpyBackend, "replay_steps", lambda *asked: None)
            with pytest.raises(FloatingPointError, match="loss") as error:
                model.train(gradient_steps=60, batch_size=2)
        steps = float(model._backend._optimizer._moments.arrays["step"][0])
        said.append((str(error.value), model._n_updates - before, steps))
    assert said[0] == said[1]
    assert said[0][1] > 0


class Halved(MeanReturn):
    """Errors of a user's own."""

    def errors(self, *asked: Any) -> Errors:
        found = super().errors(*asked)
        return found._replace(grad_outputs=found.grad_outputs / 2)


class Own(ReplayBuffer):
    """A buffer of a user's own, whose rewards are others."""

    def gather(self, indices: np.ndarray, env: Any = None) -> Batch:
        batch = super().gather(indices, env)
        return batch._replace(rewards=batch.rewards + 1)


class Watched(ValueAlgorithm):
    """An algorithm of a user's own, that looks at each batch."""

    seen = 0

    def _update(self, batch: Batch) -> float:
        type(self).seen += 1
        return super()._update(batch)


def test_what_users_have_changed_is_asked(calls: list[int]) -> None:
    model = made("double_dqn", one_by_one=False, replay_buffer_class=Own)
    assert calls == []
    model = made("double_dqn", one_by_one=False)
    calls.clear()
    model._learner.estimate.__class__ = Halved
    model.train(2, 4)
    model = made("double_dqn", one_by_one=False)
    calls.clear()
    update, batches = model._update, []
    model._update = lambda batch: batches.append(batch) or update(batch)
    model.train(2, 4)
    assert len(batches) == 2
    Watched("MlpPolicy", Walk(), seed=0, learning_starts=5, backend="numpy").learn(12)
    assert calls == []
    assert Watched.seen > 0


def test_another_optimizer_steps_by_itself(calls: list[int]) -> None:
    made("double_dqn", False, {"optimizer_class": th.optim.SGD})
    assert calls == []


def test_weights_that_were_moved_are_found(calls: list[int]) -> None:
    """Python looks once in each call of ``train``, whatever has been done to the tensors."""
    model = made("double_dqn", one_by_one=False)
    calls.clear()
    before = th.nn.utils.parameters_to_vector(model.q_net.parameters()).detach().clone()
    for parameter in model.q_net.parameters():
        parameter.data = parameter.data.clone()
    model.train(1, 8)
    assert calls == [1]
    after = th.nn.utils.parameters_to_vector(model.q_net.parameters()).detach()
    assert 0 < float((after - before).abs().max()) < 1e-2


def test_a_target_of_other_layers_is_left_to_single_steps(calls: list[int]) -> None:
    """Who puts layers into the online network alone meets no memory of other arrays."""
    model = made("double_dqn", one_by_one=False, target_update_interval=1000)
    layers = model.q_net.q_net
    layers[0], layers[2] = th.nn.Linear(6, 40), th.nn.Linear(40, 8)
    model.policy.optimizer = th.optim.Adam(model.q_net.parameters(), lr=1e-3)
    model._bind()
    calls.clear()
    model.train(2, 8)
    assert calls == []


def test_a_model_that_nothing_was_stored_for_says_so() -> None:
    model = DoubleDQN("MlpPolicy", Walk(), backend="numpy")
    model.set_logger(made("double_dqn", one_by_one=True).logger)
    with pytest.raises(ValueError, match="nothing to sample from"):
        model.train(1, 8)
