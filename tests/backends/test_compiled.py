"""Compiled loops compute what the functions in NumPy compute that they stand in for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch as th

from sb3_course import DoubleDQN, compiled
from sb3_course.backends import numpy_optimizers
from sb3_course.backends.numpy_optimizers import COMPILED

pytest.importorskip("numba")
GROUP = {"betas": (0.9, 0.999), "alpha": 0.99, "lr": 1e-3, "eps": 1e-5}


@pytest.mark.parametrize("step", COMPILED, ids=lambda step: step.__name__)
@pytest.mark.parametrize("size", [1, 7, 1_000, 70_001])
def test_a_compiled_step_is_the_step(step: Any, size: int) -> None:
    rng = np.random.default_rng(size)
    start = rng.standard_normal((4, size)).astype(np.float32)
    start[2:] **= 2
    both = []
    for function in (step, COMPILED[step]):
        values, grads, *statistics = start.copy()
        kept = (statistics[0], statistics[1]) if step is numpy_optimizers.adam else (statistics[1],)
        for n in range(1, 4):
            function(values, grads, kept, GROUP, float(n), np.empty(size, np.float32))
        both.append([values, *kept])
    for mine, theirs in zip(*both, strict=True):
        np.testing.assert_allclose(theirs, mine, rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize("step", COMPILED, ids=lambda step: step.__name__)
def test_what_is_no_number_stays_none(step: Any) -> None:
    values, grads, first, second = np.ones((4, 5), np.float32)
    grads[2] = np.nan
    kept = (first, second) if step is numpy_optimizers.adam else (second,)
    COMPILED[step](values, grads, kept, GROUP, 1.0, np.empty(5, np.float32))
    assert np.isnan(values).tolist() == [False, False, True, False, False]


def test_they_can_be_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = []
    for word in ("1", "0"):
        monkeypatch.setenv("SB3_COURSE_COMPILED", word)
        assert compiled.available() == (word == "1")
        model = DoubleDQN("MlpPolicy", "CartPole-v1", backend="numpy", learning_starts=10, seed=0)
        model.learn(20)
        steps.append(th.nn.utils.parameters_to_vector(model.q_net.parameters()).detach())
    th.testing.assert_close(steps[0], steps[1], rtol=1e-5, atol=1e-7)
