"""The sum tree against a plain list, at the edges of rounding, and over a million updates."""

import copy
import math
import pickle
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from scipy import stats

from sb3_course.config.text import InputError
from sb3_course.replay import SumTree, sum_tree

VALUES = st.one_of(
    st.just(0.0), st.floats(1e-4, 1e4), st.sampled_from([5e-324, 1e-300, 2.0**-1022, 0.1, 1.0, 1e9]), st.floats(0, 1)
)


def assert_consistent(tree):
    """Assert that every level holds exactly the sums that a new tree of the same leaves would hold."""
    fresh = SumTree(tree.capacity)
    fresh.set_state(tree.get_state())
    for mine, theirs in zip(tree._levels, fresh._levels, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert tree.total == fresh.total


def assert_found(leaves, targets, found):
    """Assert that no found leaf is empty and that each holds its target, up to the rounding of sums."""
    ends = np.cumsum(leaves, dtype=np.longdouble)
    slack = 1e-12 * ends[-1]
    assert (leaves[found] > 0).all()
    assert (ends[found] >= targets - slack).all()
    assert (ends[found] - leaves[found] <= targets + slack).all()


class TreeMachine(RuleBasedStateMachine):
    """The tree and a plain list that is told the same."""

    @initialize(capacity=st.sampled_from([1, 3, 5, 1000]), root=st.sampled_from([sum_tree.WIDEST_ROOT, 1, 7]))
    def start(self, capacity, root):
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(sum_tree, "WIDEST_ROOT", root)  # a narrow root makes small trees deep
        self.tree, self.leaves = SumTree(capacity), [0.0] * capacity
        self.position = 0

    def teardown(self):
        if hasattr(self, "patch"):
            self.patch.undo()

    @rule(data=st.data())
    def set_some(self, data):
        indices = data.draw(st.lists(st.integers(0, len(self.leaves) - 1), max_size=40))
        values = data.draw(st.lists(VALUES, min_size=len(indices), max_size=len(indices)))
        self.tree.set(indices, values)
        for index, value in zip(indices, values, strict=True):  # the last value of a repeated index stays
            self.leaves[index] = value

    @rule(value=VALUES, seed=st.integers(0, 99))
    def set_all(self, value, seed):
        values = np.random.default_rng(seed).random(len(self.leaves)) * value
        self.tree.set(np.arange(len(self.leaves)), values)
        self.leaves = values.tolist()

    @rule(value=VALUES, count=st.integers(1, 400))
    def write_on_around_the_ring(self, value, count):
        for _ in range(count):
            self.tree.fill(self.position, self.position + 1, value)
            self.leaves[self.position] = value
            self.position = (self.position + 1) % len(self.leaves)

    @rule(data=st.data(), value=VALUES)
    def fill_some(self, data, value):
        stop = data.draw(st.integers(1, len(self.leaves)))
        start = data.draw(st.integers(0, stop - 1))
        self.tree.fill(start, stop, value)
        self.leaves[start:stop] = [value] * (stop - start)

    @rule(shares=st.lists(st.floats(0, 1), min_size=1, max_size=40))
    def find(self, shares):
        targets = np.array(shares) * self.tree.total
        if self.tree.total == 0:
            with pytest.raises(InputError, match="nothing to draw from"):
                self.tree.find(targets)
        else:
            assert_found(np.array(self.leaves), targets, self.tree.find(targets))

    @rule(how=st.sampled_from(["state", "pickle", "copy"]))
    def save_and_restore(self, how):
        old = self.tree
        if how == "state":
            self.tree = SumTree(old.capacity)
            self.tree.set(np.arange(old.capacity), 3.0)
            self.tree.set_state(old.get_state())
        else:
            self.tree = copy.deepcopy(old) if how == "copy" else pickle.loads(pickle.dumps(old))
        old.set(0, 77.0)  # nothing is shared with what it was restored from

    @rule(bad=st.sampled_from([np.nan, -1e-9, np.inf, -np.inf, 1e308]))
    def refuse(self, bad):
        with pytest.raises(InputError, match=r"^values: .*want finite numbers"):
            self.tree.set(np.zeros(3, dtype=int), [1.0, bad, 2.0])
        with pytest.raises(InputError, match=r"^values: .*want finite numbers"):
            self.tree.fill(0, 1, bad)

    @invariant()
    def same_leaves_and_sum(self):
        if hasattr(self, "tree"):
            assert self.tree[np.arange(len(self.leaves))].tolist() == self.leaves
            assert math.isclose(self.tree.total, float(sum(map(Fraction, self.leaves))), rel_tol=1e-12)
            assert_consistent(self.tree)


TestTree = TreeMachine.TestCase
TestTree.settings = settings(max_examples=40, stateful_step_count=15, deadline=None)


@pytest.mark.parametrize("capacity", [1, 31, 32, 33, 1024, 1025, 100_000, 131_073])
def test_every_leaf_of_a_tree_of_any_capacity_is_found_in_the_middle_of_its_share(capacity):
    tree, values = SumTree(capacity), np.random.default_rng(0).uniform(0.5, 1, capacity)
    tree.set(np.arange(capacity), values)
    middles = np.cumsum(values, dtype=np.longdouble) - values / 2
    np.testing.assert_array_equal(tree.find(middles.astype(float)), np.arange(capacity))
    assert_consistent(tree)


@given(st.lists(VALUES, min_size=1, max_size=70).filter(any), st.sampled_from([1, 4096]))
@settings(max_examples=150, deadline=None)
def test_no_rounding_at_an_edge_leads_to_an_empty_leaf(leaves, root):
    """Targets on every prefix sum, one float beside it, at 0, at the very top and at the total itself."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(sum_tree, "WIDEST_ROOT", root)
        tree, leaves = SumTree(len(leaves)), np.array(leaves)
    tree.set(np.arange(len(leaves)), leaves)
    edges = np.concatenate([[0.0, tree.total], np.cumsum(leaves)])
    targets = np.concatenate([edges, np.nextafter(edges, 0), np.nextafter(edges, np.inf)])
    targets = targets[targets <= tree.total]
    assert_found(leaves, targets, tree.find(targets))
    assert tree.find(np.array([tree.total])) == tree.find(np.array([np.nextafter(tree.total, 0)]))
    assert tree.find(np.array([0.0])) == np.flatnonzero(leaves)[0]


def test_the_top_of_the_range_is_found_before_empty_leaves():
    """0.1 thirty times: the prefix sums and the sums of blocks are rounded differently."""
    tree = SumTree(10_000)
    tree.set(np.arange(100, 5_000, 3), 0.1)
    targets = tree.total * (1 - np.arange(50) * 2.0**-53)
    assert (tree.find(targets) == np.arange(100, 5_000, 3)[-1]).all()


@pytest.mark.parametrize("capacity", [5, 1000, 40_000])
def test_leaves_are_drawn_in_proportion_to_their_values(capacity):
    generator = np.random.default_rng(1)
    values = generator.random(capacity) ** 3 * (generator.random(capacity) < 0.7)
    values[0] = 0.5
    tree = SumTree(capacity)
    tree.set(np.arange(capacity), values)
    found = tree.find(generator.random(400_000) * tree.total)
    counts = np.bincount(found, minlength=capacity)
    assert counts[values == 0].sum() == 0
    # leaves in groups of at least 20 expected draws, as the chi-square test wants
    groups = (np.cumsum(values) / values.sum() * min(capacity, 2_000)).astype(int)
    observed, expected = np.bincount(groups, counts), np.bincount(groups, values) * len(found) / values.sum()
    kept = expected > 20
    observed = np.append(observed[kept], observed[~kept].sum())
    expected = np.append(expected[kept], expected[~kept].sum())
    assert stats.chisquare(observed[expected > 0], expected[expected > 0]).pvalue > 1e-3


def test_a_million_updates_from_1e4_down_to_1e_4_never_draw_an_empty_or_a_wrong_leaf():
    """Sums that are kept by adding differences fail here: the rounding errors of 1e4 outweigh leaves of 1e-4."""
    generator = np.random.default_rng(2)
    capacity, batch, rounds = 3_000, 100, 10_000
    tree, leaves = SumTree(capacity), np.zeros(capacity)
    stored = np.flatnonzero(np.arange(capacity) % 3 > 0)  # every third leaf stays empty
    leaves[stored] = 1e4
    tree.set(stored, leaves[stored])
    for count in range(rounds):
        targets = (np.arange(batch) + generator.random(batch)) / batch * tree.total
        found = tree.find(targets)
        assert (leaves[found] > 0).all()
        if count % 10 == 0:
            np.testing.assert_array_equal(found, np.cumsum(leaves, dtype=np.longdouble).searchsorted(targets, "right"))
        chosen = stored[generator.integers(len(stored), size=batch)]
        values = 10 ** (4 - 8 * count / rounds) * generator.uniform(0.5, 1.5, batch)
        leaves[chosen] = values
        tree.set(chosen, values)
    assert leaves.max() < 1
    np.testing.assert_array_equal(tree[np.arange(capacity)], leaves)
    assert math.isclose(tree.total, math.fsum(leaves), rel_tol=1e-14)
    assert_consistent(tree)


@pytest.mark.parametrize("indices", [[5], [-1], [0, -7, 2], [2**63], np.array([0.0]), [True], np.array([-1], np.int8)])
def test_indices_outside_of_the_tree_are_refused_and_nothing_changes(indices):
    tree = SumTree(5)
    tree.set([0, 1], 2.0)
    for call in (lambda: tree.set(indices, 1.0), lambda: tree[indices]):
        with pytest.raises(InputError, match=r"^indices: .*\(got .*, want .*\)$"):
            call()
    assert tree[range(5)].tolist() == [2, 2, 0, 0, 0]
    assert tree.total == 4


def test_other_mistakes_are_refused_in_one_line():
    tree = SumTree(5)
    tree.set([1, 3], [1.0, 2.0])
    for targets in ([-1e-9], [np.nan], [0, 3.1], [np.inf]):
        with pytest.raises(InputError, match=r"^targets: .*want 0 to 3"):
            tree.find(np.array(targets))
    with pytest.raises(InputError, match=r"^values: there must be one for each index .*got 2, want 3"):
        tree.set([0, 1, 2], [1.0, 2.0])
    for start, stop in ((-1, 2), (2, 2), (3, 2), (4, 6)):
        with pytest.raises(InputError, match=r"^indices: .*want 0 <= start < stop <= 5"):
            tree.fill(start, stop, 1.0)
    with pytest.raises(InputError, match=r"^capacity: .*got 0"):
        SumTree(0)
    with pytest.raises(InputError, match=r"^sum tree: the state is of another tree"):
        tree.set_state(SumTree(6).get_state())
    with pytest.raises(InputError, match=r"^values: .*got nan"):
        tree.set_state({"leaves": np.full(5, np.nan)})
    assert tree.total == 3


def test_indices_and_targets_of_no_entries_are_fine():
    tree = SumTree(5)
    tree.set([], [])
    assert tree.total == 0
    tree.set(2, 1.0)
    assert tree[2] == 1
    assert tree.find(np.array([])).shape == tree[[]].shape == (0,)


def test_the_state_is_a_copy():
    tree = SumTree(5)
    tree.set(0, 1.0)
    state = tree.get_state()
    tree.set(0, 2.0)
    assert state["leaves"].tolist() == [1, 0, 0, 0, 0]
