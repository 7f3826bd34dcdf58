"""Updates from replay that are one compiled call, on memory that is allocated once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sb3_course.backends.compiled import replay_draws as draws
from sb3_course.backends.compiled import replay_steps as steps
from sb3_course.backends.compiled.batch_errors import KINDS
from sb3_course.backends.compiled.optimizers import NUMBERS
from sb3_course.backends.compiled.regression import planned
from sb3_course.backends.numpy_layers import Array
from sb3_course.backends.numpy_whole import NOTHING, drawn_by
from sb3_course.backends.protocol import Rule, Steps
from sb3_course.replay.lending import LentBuffer
from sb3_course.replay.parts import LentPriorities

#: Where nothing is asked for, or nothing is to be had.
_NO_PRIORITIES = LentPriorities(np.empty(0), np.empty(0, np.int64), 0.0, 0.0, 0.0, np.empty(3))
_NO_DRAWS = np.empty((0, 0))


class ReplayUpdates:
    """What updates of one network from one buffer by one rule have in common: where everything lies, and scratch.

    :param online: the network, as `NumpyBackend` has it
    :param target: likewise
    """

    def __init__(self, online: Any, target: Any, rule: Rule, lent: LentBuffer) -> None:
        self._online, self._target, self._rule = online, target, _kind(rule)
        self._rows, self._uniform = lent.rows, lent.priorities is None
        whole, columns, formula = online.double.whole, columns_of(lent.rows.dtype), rule.formula
        known = formula.name in steps.ESTIMATES and (formula.name != "mean" or formula.loss in KINDS)
        noise = online.samples.all_factorised or not rule.noisy
        self.possible = known and noise and columns is not None and columns[1] == whole.n_inputs
        if not self.possible:
            return
        assert columns is not None
        self._net, self._columns = whole, columns[0]
        self._words, self._wide = (lent.rows.view(kind).reshape(len(lent.rows), -1) for kind in (np.float32, np.int64))
        self._whole, self._real = np.zeros(steps.N_WHOLE, np.int64), np.zeros(steps.N_REAL)
        self._whole[[draws.INPUTS, draws.FIRST_ACTION, draws.N_ENVS]] = columns[1], rule.first_action, lent.n_envs
        self._whole[[steps.DOUBLE, steps.NOISY, steps.PRIORITIZED]] = rule.double, rule.noisy, not self._uniform
        self._whole[steps.ESTIMATE] = steps.ESTIMATES.index(formula.name)
        self._whole[steps.LOSS] = KINDS.get(formula.loss, 0)
        self._real[[steps.FACTOR, steps.KAPPA]] = whole.factor, formula.kappa
        self._real[steps.LIMIT] = -1.0 if rule.max_grad_norm is None else rule.max_grad_norm
        self._n_noise = [len(online.samples.values)] * (2 + rule.double) if rule.noisy else []
        self._n_kept = whole.n_kept * (2 if rule.double and not rule.noisy else 1)
        self._scratch, self._outputs = np.empty(whole.n_scratch, np.float32), NOTHING

    def serve(self, rule: Rule, lent: LentBuffer) -> bool:
        """Tell whether these are updates by this rule from this buffer."""
        same = lent.rows is self._rows and (lent.priorities is None) == self._uniform
        return same and _kind(rule) == self._rule

    def take(
        self, rule: Rule, lent: LentBuffer, due: Sequence[bool], counted: Sequence[bool], tau: float, optimizer: Any
    ) -> tuple[int, Steps] | None:
        """Take the steps; return how many were taken, and what they say of themselves.

        :param optimizer: what `NumpyOptimizer.at_once` says
        :return: None, and nothing done, for an optimizer that is not compiled
        """
        step, group, statistics, n_before = optimizer
        if not self.possible or step not in NUMBERS:
            return None
        n_steps, whole, real, online, target = len(due), self._whole, self._real, self._online, self._target
        numbers, normal = self._drawn(rule, lent, n_steps)
        priorities = lent.priorities or _NO_PRIORITIES
        found, quantiles = (numbers, _NO_DRAWS) if self._uniform else (np.empty(numbers.shape, np.int64), numbers)
        whole[draws.NEWEST], real[steps.TAU] = lent.newest, tau
        real[steps.ALPHA], real[steps.BETA], real[steps.EPS] = priorities.alpha, priorities.beta, priorities.eps
        if len(self._outputs) != found.shape[1] * self._n_kept:
            self._outputs = np.empty(found.shape[1] * self._n_kept, np.float32)
        losses, norms, clipped = np.zeros(n_steps), np.zeros(n_steps), np.where(counted, 0.0, np.nan)
        support, net = NOTHING if rule.formula.support is None else rule.formula.support, self._net
        n_taken, predictions = steps.replay_steps(
            self._words, self._wide, self._columns, lent.powers, found, quantiles, priorities.tree, priorities.levels,
            priorities.bounds, normal, net.numbers, net.table, net.shapes, online.flat.values, target.flat.values,
            online.flat.grads, online.samples.values, target.samples.values, self._scratch, self._outputs, *statistics,
            planned(group, NUMBERS[step], n_before + 1, n_steps), np.array(due), support, whole, real, losses, norms,
            clipped,
        )  # fmt: skip
        n_done = n_taken + (n_taken < n_steps and not np.isfinite(norms[n_taken]))
        return n_taken, Steps(losses[:n_done], norms[:n_done], predictions, found, clipped[:n_done])

    def _drawn(self, rule: Rule, lent: LentBuffer, n_steps: int) -> tuple[Array, Array]:
        """Draw all that the steps need, in the order of steps one by one: numbers of the batches, and for the noise."""
        numbers, normal = [], []
        for _ in range(n_steps):
            numbers.append(lent.numbers())
            normal += [drawn_by(rule.draw, size) for size in self._n_noise]
        kind = np.int64 if lent.priorities is None else np.float64
        noise = np.concatenate(normal).reshape(n_steps, -1) if normal else np.empty((n_steps, 0))
        return np.array(numbers, kind), noise


def _kind(rule: Rule) -> tuple[Any, ...]:
    """Return what makes updates others; the support may be replaced by another one of as many atoms."""
    formula = rule.formula
    rest = rule.double, rule.noisy, rule.first_action, rule.max_grad_norm
    return formula.name, formula.loss, formula.kappa, *rest


def columns_of(row: np.dtype[Any]) -> tuple[Array, int] | None:
    """Return where things lie in a row, and how many numbers an observation has; None where they are of other types."""
    fields = row.fields
    assert fields is not None
    observation, action = fields["observations"][0], fields["actions"][0]
    if observation.base != np.float32 or action.base != np.int64 or row.itemsize % 8:
        return None
    names = "observations", "next_observations", "actions", "rewards", "dones", "timeouts"
    places = [fields[name][1] // (8 if name == "actions" else 4) for name in names]
    return np.array(places, np.int64), observation.itemsize // 4
