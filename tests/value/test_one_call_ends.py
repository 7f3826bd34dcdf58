"""One call that ends early, and what a user does between calls: all is as one step after the other leaves it."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch as th
from walking_models import Walk, assert_alike, held, made

from sb3_course import DoubleDQN
from sb3_course.backends import numpy_updates
from sb3_course.backends.numpy_backend import NumpyBackend
from sb3_course.config.errors import InputError

pytest.importorskip("numba")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def left_by(one_by_one: bool, model: Any, error: type[Exception], n_steps: int = 60) -> dict[str, Any]:
    """Return all that is left of a model whose ``train`` ends in an error."""
    with pytest.MonkeyPatch.context() as patch:
        if one_by_one:
            patch.setattr(NumpyBackend, "replay_steps", lambda *asked: None)
        with pytest.raises(error):
            model.train(n_steps, 2)
    model.replay_buffer.rewards[:] = 0  # a row with NaN is not the same as itself
    steps = float(model._backend._optimizer._moments.arrays["step"][0])
    return {**held(model), "steps": steps, "updates": model._n_updates}


@pytest.mark.parametrize("name", ["double_dqn", "per_dqn", "noisy_dqn", "c51", "rainbow"])
def test_generators_are_where_the_last_step_left_them(name: str) -> None:
    left, before = [], []
    for one_by_one in (True, False):
        model = made(name, one_by_one=False)
        before.append(model._n_updates)
        model.replay_buffer.rewards[[7, 21]] = np.nan if name in ("c51", "rainbow") else np.inf
        left.append(left_by(one_by_one, model, FloatingPointError))
    assert before[0] <= left[0]["updates"] < before[0] + 59
    assert_alike(*left)


def test_an_error_inside_of_the_call_leaves_what_the_steps_before_it_did(monkeypatch: pytest.MonkeyPatch) -> None:
    """A leaf of the tree that points behind all rows ends the fourth step; three have been taken."""
    compiled, model = numpy_updates.steps.replay_steps, made("rainbow", one_by_one=False)
    twin = copy.deepcopy(model.get_state())
    model.train(3, 2)
    (
        model.rng.random(2),
        model.rng.standard_normal(model._backend._updates._n_draws * model._backend._online.flat.noise.values.size),
    )
    want = {**model.get_state()["rng"]}, model._n_updates, model.replay_buffer._draw.max_priority
    model.set_state(twin)
    n_before = model._n_updates

    def spoiled(*asked: Any) -> Any:
        quantiles = next(
            each for each in asked if isinstance(each, np.ndarray) and each.shape == (60, 2) and each.dtype == float
        )
        quantiles[3] = 2.0  # beyond the priorities' sum
        return compiled(*asked)

    monkeypatch.setattr(numpy_updates.steps, "replay_steps", spoiled)
    count = float(model._backend._optimizer._moments.arrays["step"][0])
    with pytest.raises(ValueError, match="outside of the priorities"):
        model.train(60, 2)
    assert (model.get_state()["rng"], model._n_updates, model.replay_buffer._draw.max_priority) == want
    assert model._n_updates == n_before + 3
    assert float(model._backend._optimizer._moments.arrays["step"][0]) == count + 3


def test_ctrl_c_gives_the_buffer_back_and_counts_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """The signal's handler runs as soon as the compiled call is over."""
    compiled, model = numpy_updates.steps.replay_steps, made("per_dqn", one_by_one=False)
    largest, count = [], float(model._backend._optimizer._moments.arrays["step"][0])

    def stopped(*asked: Any) -> None:
        compiled(*asked)
        asked[8][2] = 17.0  # the largest priority, as if it had grown
        largest.append(asked[8][2])
        raise KeyboardInterrupt

    monkeypatch.setattr(numpy_updates.steps, "replay_steps", stopped)
    with pytest.raises(KeyboardInterrupt):
        model.train(5, 4)
    assert model.replay_buffer._draw.max_priority == largest[0] == 17.0
    assert float(model._backend._optimizer._moments.arrays["step"][0]) == count + 5


@pytest.mark.parametrize("n_steps", [1, 5])
def test_an_interrupt_before_the_first_step_is_what_is_raised(n_steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As while the call is compiled: nothing is counted, and of several steps nothing stays drawn."""
    model = made("per_dqn", one_by_one=False)
    count, drawn = model._n_updates, model.rng.bit_generator.state

    def stopped(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(numpy_updates.steps, "replay_steps", stopped)
    with pytest.raises(KeyboardInterrupt):
        model.train(n_steps, 4)
    assert model._n_updates == count
    assert n_steps == 1 or model.rng.bit_generator.state == drawn


class OwnRandom:
    """A generator of a user's own, that counts."""

    def __init__(self) -> None:
        self.inner, self.n = np.random.default_rng(0), 0

    def __getattr__(self, name: str) -> Any:
        if name not in ("random", "integers", "standard_normal"):
            raise AttributeError(name)

        def draw(*args: Any, **kwargs: Any) -> Any:
            self.n += 1
            return getattr(self.inner, name)(*args, **kwargs)

        return draw


def test_a_generator_that_cannot_be_put_back_draws_for_one_step_at_a_time() -> None:
    left = []
    for one_by_one in (True, False):
        model = made("double_dqn", one_by_one=False)
        model.set_rng(OwnRandom())
        model.replay_buffer.rewards[[7, 21]] = np.inf
        with pytest.MonkeyPatch.context() as patch:
            if one_by_one:
                patch.setattr(NumpyBackend, "replay_steps", lambda *asked: None)
            with pytest.raises(FloatingPointError):
                model.train(60, 2)
        left.append((model.rng.n, model._n_updates))
    assert left[0] == left[1]


def test_no_steps_are_no_fault() -> None:
    """SB3's DQN records the mean of nothing, NaN, and counts no update."""
    model = made("double_dqn", one_by_one=False)
    before, n_updates = th.nn.utils.parameters_to_vector(model.q_net.parameters()).clone(), model._n_updates
    model.train(gradient_steps=0)
    told = model.logger.name_to_value
    assert np.isnan(told["train/loss"])
    assert told["train/n_updates"] == model._n_updates == n_updates
    assert th.equal(before, th.nn.utils.parameters_to_vector(model.q_net.parameters()))


@pytest.mark.parametrize("where", ["learner", "draw"])
def test_what_the_learner_and_the_draw_were_given_is_asked(where: str) -> None:
    model, seen = made("double_dqn", one_by_one=False), []
    owner, name = (model._learner, "update") if where == "learner" else (model.replay_buffer._draw, "weights")
    plain = getattr(owner, name)
    setattr(owner, name, lambda *asked: seen.append(1) or plain(*asked))
    model.train(3, 4)
    assert len(seen) == 3


@pytest.mark.parametrize("how", ["assign", "data", "vector", "copy_", "layer"])
def test_parameters_replaced_between_calls_of_train_are_found(how: str) -> None:
    """The next steps are to the bit those of a model that had these parameters from the start."""
    found = []
    for way in (how, "copy_"):
        model = made("double_dqn", one_by_one=False, target_update_interval=1000)
        net = model.q_net
        new = {name: value.clone() * 0.5 for name, value in net.state_dict().items()}
        if way == "assign":
            net.load_state_dict(new, assign=True)
        elif way == "data":
            for name, parameter in net.named_parameters():
                parameter.data = new[name]
        elif way == "vector":
            th.nn.utils.vector_to_parameters(
                th.cat([new[name].flatten() for name, _ in net.named_parameters()]), net.parameters()
            )
        elif way == "layer":
            layers = net.q_net
            layers[0] = th.nn.Linear(6, 10)
            net.load_state_dict(new)
        else:
            net.load_state_dict(new)
        if way in ("assign", "layer"):  # as with SB3, the optimizer has to be told
            old = model.policy.optimizer.state_dict()
            model.policy.optimizer = th.optim.Adam(net.parameters(), lr=1e-3)
            model.policy.optimizer.load_state_dict(old)
        model.train(3, 8)
        found.append(th.nn.utils.parameters_to_vector(net.parameters()).detach())
    assert th.equal(*found)


def test_another_type_of_number_is_refused_and_not_undone() -> None:
    model = made("double_dqn", one_by_one=False)
    seen = np.zeros((2, 3), np.float32)
    model.policy.double()
    for call in (lambda: model.train(1, 4), lambda: model.learn(4), lambda: model.predict(seen, deterministic=True)):
        with pytest.raises(InputError, match=r"policy.*float64.*policy\.float\(\)"):
            call()
    assert next(model.q_net.parameters()).dtype == th.float64
    model.policy.float()
    model.train(1, 4)


def test_a_replaced_buffer_another_batch_size_and_another_generator_are_found() -> None:
    left = []
    for one_by_one in (True, False):
        model, other = made("per_dqn", one_by_one=False), made("per_dqn", one_by_one=False, seed=4)
        with pytest.MonkeyPatch.context() as patch:
            if one_by_one:
                patch.setattr(NumpyBackend, "replay_steps", lambda *asked: None)
            model.train(3, 8)
            model.replay_buffer = other.replay_buffer
            model.set_rng(np.random.default_rng(9))
            for n_batch in (8, 5, 1):
                model.train(2, n_batch)
        left.append(held(model))
    assert_alike(*left)


def test_a_policy_of_a_class_of_its_own_is_still_served() -> None:
    model = DoubleDQN("MlpPolicy", Walk(), backend="numpy", seed=0, learning_starts=5)
    model.learn(12)
    assert model._backend.fits()
