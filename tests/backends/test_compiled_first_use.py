"""What makes a first use quicker changes nothing else: ways that a type rules out, and garbage while it compiles."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

numba = pytest.importorskip("numba")

from sb3_course.backends.compiled import cache  # noqa: E402
from sb3_course.backends.compiled import jit as compiling  # noqa: E402

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
