"""Updates from replay that are one compiled call, on memory that is allocated once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from sb3_course.backends.compiled import replay_draws as draws
from sb3_course.backends.compiled import replay_steps as steps
from sb3_course.backends.compiled.batch_errors import KINDS
from sb3_course.backends.compiled.integers import Integers
from sb3_course.backends.compiled.optimizers import NUMBERS
from sb3_course.backends.numpy_layers import Array
from sb3_course.backends.protocol import Rule, StepsTaken
from sb3_course.replay.lending import LentBuffer
from sb3_course.replay.parts import LentPriorities
from sb3_course.replay.rows import columns_of

#: Where nothing is asked for, or nothing is to be had.
_NO_PRIORITIES = LentPriorities(np.empty(0), np.empty(0, np.int64), 0.0, 0.0, 0.0, np.empty(3))


class Room(NamedTuple):
    """Memory for K steps on batches of B."""

    found: Array  # flat indices, (K, B)
    quantiles: Array  # of the priorities' sum, (K, B), or (0, B)
    normal: Array  # for the noise, (K, draws · samples)
    due: Array  # whether the target is moved, (K,)
    plan: Array  # of Adam, (K, 6)
    losses: Array  # (K,)
    norms: Array  # (K,)
    clipped: Array  # (K,)
    outputs: Array  # of all layers


class ReplayUpdates:
    """What updates of one network from one buffer by one rule have in common: where everything lies, and scratch.

    :param online: the network, as `NumpyBackend` has it
    :param target: likewise
    """

    def __init__(self, online: Any, target: Any, rule: Rule, lent: LentBuffer) -> None:
        self._networks, self._rule = (online, target), _kind(rule)
        self._rows, self._uniform = lent.rows, lent.priorities is None
        whole, columns, formula = online.double.whole, columns_of(lent.rows.dtype), rule.formula
        known = formula.name in steps.LEARNED and (formula.name != "mean" or formula.loss in KINDS)
        noise = online.samples.all_factorised or not rule.noisy
        alike = whole.says_the_same_as(target.double.whole)  # one table is for both, and nothing checks an index
        self.possible = known and noise and alike and columns is not None and columns[1] == whole.n_inputs
        if not self.possible:
            return
        assert columns is not None
        self._net, self._columns = whole, columns[0]
        self._words, self._wide = (lent.rows.view(kind).reshape(len(lent.rows), -1) for kind in (np.float32, np.int64))
        self._whole, self._real = np.zeros(steps.N_WHOLE, np.int64), np.zeros(steps.N_REAL)
        self._whole[[draws.INPUTS, draws.FIRST_ACTION, draws.N_ENVS]] = columns[1], rule.first_action, lent.n_envs
        self._whole[[steps.DOUBLE, steps.NOISY, steps.PRIORITIZED]] = rule.double, rule.noisy, not self._uniform
        self._whole[steps.LOSS] = KINDS.get(formula.loss, 0)
        self._real[steps.FACTOR] = whole.factor
        self._real[steps.LIMIT] = -1.0 if rule.max_grad_norm is None else rule.max_grad_norm
        self._n_draws = 2 + rule.double if rule.noisy else 0
        self._n_kept = whole.n_kept * (2 if rule.double and not rule.noisy else 1)
        self._scratch = np.empty(whole.n_scratch, np.float32)
        self._integers = Integers(lent.rng if self._uniform else None)
        self._make_room(1, lent.n_batch)

    def serve(self, rule: Rule, lent: LentBuffer) -> bool:
        """Tell whether these are updates by this rule from this buffer."""
        same = lent.rows is self._rows and (lent.priorities is None) == self._uniform
        return same and _kind(rule) == self._rule

    def take(
        self, rule: Rule, lent: LentBuffer, due: Sequence[bool], counted: Sequence[bool], tau: float, optimizer: Any
    ) -> StepsTaken | None:
        """Take the steps; return what they say of themselves. `n_begun` and `n_taken` are how many, whatever ends them.

        :param optimizer: what `NumpyOptimizer.at_once` says
        :return: None, and nothing done, for an optimizer that is not compiled
        """
        self.n_taken = self.n_begun = 0
        step, group, statistics, n_before = optimizer
        if not self.possible or step not in NUMBERS:
            return None
        n_steps, net, whole, real, online, target = len(due), self._net, self._whole, self._real, *self._networks
        if (n_steps, lent.n_batch) != self._room.found.shape:
            self._make_room(n_steps, lent.n_batch)
        room, priorities, numbers_of = self._room, lent.priorities or _NO_PRIORITIES, NUMBERS[step]
        before = [each.bit_generator.state for each in lent.generators] if n_steps > 1 else []
        self._draw(rule, lent, n_steps)
        whole[draws.NEWEST], real[steps.TAU] = lent.newest, tau
        if lent.priorities is not None:
            real[steps.ALPHA], real[steps.BETA], real[steps.EPS] = priorities.alpha, priorities.beta, priorities.eps
        for k in range(n_steps):
            room.plan[k] = numbers_of(group, n_before + 1 + k)
            room.due[k], room.clipped[k] = due[k], 0.0 if counted[k] else np.nan
        predictions = error = None
        whole[steps.BEGUN] = whole[steps.TAKEN] = 0
        try:
            predictions = steps.replay_steps(
                self._words, self._wide, self._columns, lent.powers, room.found, room.quantiles, priorities.tree,
                priorities.levels, priorities.bounds, room.normal, net.numbers, net.table, net.shapes, net.norms,
                online.flat.values, target.flat.values, online.flat.grads, online.samples.values,
                target.samples.values, self._scratch, room.outputs, *statistics, room.plan, room.due,
                rule.formula.support, whole, real, room.losses, room.norms, room.clipped,
            )  # fmt: skip
        except Exception as raised:  # the caller's to raise, who first counts the steps before it
            error = raised
        finally:
            self.n_taken, self.n_begun = int(whole[steps.TAKEN]), int(whole[steps.BEGUN])
            if before and self.n_begun < n_steps:  # one by one, nothing would have been drawn for the others
                for each, state in zip(lent.generators, before, strict=True):
                    each.bit_generator.state = state
                self._draw(rule, lent, self.n_begun)
        n_done = max(self.n_begun - (error is not None), 0)  # what lies behind is of another call
        return StepsTaken(
            room.losses[:n_done], room.norms[:n_done], predictions, room.found, room.clipped[:n_done], error
        )

    def _make_room(self, n_steps: int, n_batch: int) -> None:
        """Allocate what so many steps need, for as long as calls ask for as many."""
        n_quantiles = 0 if self._uniform else n_steps
        self._room = Room(
            np.empty((n_steps, n_batch), np.int64),
            np.empty((n_quantiles, n_batch)),
            np.empty((n_steps, self._n_draws * len(self._networks[0].samples.values))),
            np.empty(n_steps, bool),
            np.empty((n_steps, 6), np.float32),
            np.empty(n_steps),
            np.empty(n_steps),
            np.empty(n_steps),
            np.empty(n_batch * self._n_kept, np.float32),
        )

    def _draw(self, rule: Rule, lent: LentBuffer, n_steps: int) -> None:
        """Draw all that so many steps need, in the order of steps one by one: numbers of batches, and for the noise."""
        places, normal = self._room.found if self._uniform else self._room.quantiles, self._room.normal
        n = normal.shape[1] // max(self._n_draws, 1)
        if self._uniform and self._integers.rng is not lent.rng:
            self._integers = Integers(lent.rng)
        for k in range(n_steps):
            if self._uniform:
                self._integers.fill(places[k], lent.stored)
            else:
                places[k] = lent.numbers()
            for start in range(0, normal.shape[1], n or 1):
                normal[k, start : start + n] = rule.draw(n)


def _kind(rule: Rule) -> tuple[Any, ...]:
    """Return what makes updates others; the support may be replaced by another one of as many atoms."""
    formula = rule.formula
    rest = rule.double, rule.noisy, rule.first_action, rule.max_grad_norm
    return formula.name, formula.loss, *rest
