"""What makes a first use quicker changes nothing else: ways that a type rules out, and garbage while it compiles."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

numba = pytest.importorskip("numba")

from sb3_course.backends.compiled import cache, chain  # noqa: E402
from sb3_course.backends.compiled import jit as compiling  # noqa: E402
from sb3_course.backends.numpy_chain import tables_of  # noqa: E402

tried = pytest.mark.skipif(not compiling._COMPILERS, reason="another version of Numba, with which nothing is changed")


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compile these functions anew: the cache knows them by their names."""
    monkeypatch.setattr(cache, "FOLDER", None)


@pytest.fixture
def collecting() -> Iterator[None]:
    """Put the garbage collector back as it was."""
    enabled = gc.isenabled()
    yield
    (gc.enable if enabled else gc.disable)()


@tried
def test_the_way_for_none_is_not_compiled_for_an_array_and_the_other_not_for_none() -> None:
    def total(values: Any) -> Any:
        if values is None:
            return values.of_none_alone
        return values.sum()

    def size(values: Any) -> Any:
        if values is not None:
            return values.size
        return -1

    assert compiling.exact(total)(np.arange(4.0)) == 6.0
    with pytest.raises(numba.TypingError, match="of_none_alone"):
        compiling.exact(total)(None)
    both = compiling.exact(size)
    assert (both(np.arange(4.0)), both(None)) == (4, -1)


@tried
def test_an_argument_that_was_given_another_value_is_asked() -> None:
    def last(values: Any, other: Any) -> Any:
        if other.size > 2:
            values = None
        if values is None:
            return 0.0
        return other[0]

    compiled = compiling.exact(last)
    assert compiled(np.ones(1), np.full(3, 5.0)) == 0.0
    assert compiled(np.ones(1), np.full(2, 5.0)) == 5.0


@pytest.mark.usefixtures("collecting")
@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_is_collected_after_compiling_as_before(enabled: bool) -> None:
    (gc.enable if enabled else gc.disable)()
    assert compiling.exact(lambda x: x + 1)(1) == 2
    assert gc.isenabled() == enabled
    with pytest.raises(numba.TypingError):
        compiling.exact(lambda x: x.nothing_of_the_kind)(1)
    assert gc.isenabled() == enabled


@tried
def test_compiled_callers_have_a_form_of_their_own_and_python_waits_for_its_own_alone() -> None:
    half: Any = compiling.exact(lambda x: x / 2)

    def sum_of_halves(values: Any) -> Any:
        total = 0.0
        for value in values:
            total += half(value)
        return total

    assert compiling.exact(sum_of_halves)(np.arange(4.0)) == 3.0
    assert (len(half.overloads), len(half.within.overloads)) == (0, 1)
    assert half(3.0) == 1.5
    assert (len(half.overloads), len(half.within.overloads)) == (1, 1)


@tried
def test_numba_is_told_of_llvm_s_calls_after_compiling_as_before() -> None:
    from numba.core import event

    with event.install_recorder("numba:llvm_lock") as recorded:
        assert compiling.exact(lambda x: x + 1)(1) == 2
        during = len(recorded.buffer)
        numba.njit(lambda x: x + 2)(1)
    assert len(recorded.buffer) - during > 100 > during


def test_another_version_of_numba_compiles_all_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "_COMPILERS", {})
    half, double = (compiling.inner(lambda x: x / 2), compiling.exact(lambda x: x * 2))
    both: Any = compiling.joint(lambda x: half(x) + double(x))
    assert compiling.jit(lambda x: both(x) + double(x))(2.0) == 9.0
    assert double(2.0) == 4.0


@pytest.mark.parametrize("untried", [pytest.param(False, marks=tried), True])
def test_rows_of_norms_are_none_where_there_are_none(untried: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if untried:
        monkeypatch.setattr(compiling, "_COMPILERS", {})
    between, norm_of = (compiling.inner(each.py_func) for each in (chain.between, chain.norm_of))
    two: Any = compiling.jit(lambda norms: (between(norms, 1, 3), norm_of(norms, 1)))
    rows, eps = two(np.arange(4, dtype=np.float32))
    assert (rows.tolist(), eps) == ([1, 2], 1)
    assert two(None) == (None, 0)


def test_a_network_without_norms_has_no_table_of_them() -> None:
    plain, normed = (([4, 2, *[0] * 7, -1, -1], [0.0, eps]) for eps in (0.0, 1e-5))
    assert tables_of([plain, plain])[2] is None
    norms = tables_of([plain, normed])[2]
    assert norms is not None
    np.testing.assert_array_equal(norms, np.array([0, 1e-5], np.float32))
