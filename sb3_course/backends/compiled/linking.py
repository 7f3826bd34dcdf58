"""Functions that only other compiled ones call: lowered and handed on, and no machine code is made of them alone.

Numba optimises each function and emits its machine code, and does both again inside of each caller, and inside of each
caller of that: of a deep tree of calls the inner ones are paid for many times. All this is Numba's inside: `jit`
imports it with the versions with which it has been tried.
"""

from __future__ import annotations

from typing import Any

from numba.core import codegen
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import AnalysisPass, register_pass
from numba.core.typed_passes import IRLegalization


class OptimisedLibrary(JITCodeLibrary):
    """The code of one function, optimised, for its callers: the form for loops, which are vectorised best alone."""

    def _optimize_functions(self, ll_module: Any) -> None:
        names = [variable.name for variable in ll_module.global_variables]
        self._own = [name for name in names if name.startswith("_ZN08NumbaEnv")]
        super()._optimize_functions(ll_module)

    def _finalize_final_module(self) -> None:
        """Make only the variable that Numba fills in: where the function's globals are."""
        self._finalize_dynamic_globals()
        empty = str(self._codegen._create_empty_module(f"{self.name} variables"))
        variables = (f"@{name} = common global ptr null" for name in self._own)
        module = codegen.ll.parse_assembly("\n".join([empty, *variables]))  # type: ignore[attr-defined]
        self._codegen._engine.add_module(module)
        self._codegen._engine.finalize_object()
        self._finalized = True


class LoweredLibrary(OptimisedLibrary):
    """The code of one function as it was lowered: the form for what mostly calls others."""

    def _optimize_final_module(self) -> None:
        """Leave it to the callers."""


@register_pass(mutates_CFG=False, analysis_only=True)
class ChooseLibrary(AnalysisPass):
    """Choose the library into which a function is lowered."""

    _name = "sb3_course_choose_library"

    def __init__(self) -> None:
        super().__init__()

    def run_pass(self, state: Any) -> bool:
        """Choose it; nothing of the function changes."""
        state.library = state.pipeline.library(state.targetctx.codegen(), state.func_id.func_qualname)
        return False


class OptimisedCompiler(CompilerBase):
    """Numba's own passes, with that choice before the last ones."""

    library: type[OptimisedLibrary] = OptimisedLibrary

    def define_pipelines(self) -> list[Any]:
        """Return the one list of passes."""
        passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes.add_pass_after(ChooseLibrary, IRLegalization)
        passes.finalize()
        return [passes]


class LoweringCompiler(OptimisedCompiler):
    """The same with the other library."""

    library = LoweredLibrary


#: Under the words by which `jit` asks for them.
COMPILERS = {"optimised": OptimisedCompiler, "lowered": LoweringCompiler}
