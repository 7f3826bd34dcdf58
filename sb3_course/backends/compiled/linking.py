"""What a first use need not wait for: machine code that nobody calls, ways that a type rules out, looks for garbage.

Numba optimises each function and emits its machine code, and does both again inside of each caller, and inside of each
caller of that: of a deep tree of calls the inner ones are paid for many times. So functions that only other compiled
ones call are lowered and handed on, and no machine code is made of them alone. All this is Numba's inside: `jit`
imports it with the versions with which it has been tried.
"""

from __future__ import annotations

import contextlib
import gc
import operator
from collections.abc import Iterator
from typing import Any

from numba.core import codegen, ir, types
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import AnalysisPass, FunctionPass, register_pass
from numba.core.ir_utils import get_definition, guard
from numba.core.registry import CPUDispatcher
from numba.core.typed_passes import IRLegalization
from numba.core.untyped_passes import RewriteSemanticConstants


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


class TwoForms(CPUDispatcher):
    """A compiled function that Python calls; compiled callers have a form of their own, without a way in from Python.

    So neither waits for what only the other needs.
    """

    within: Any

    @property
    def _numba_type_(self) -> types.Dispatcher:
        return types.Dispatcher(self.within)


@register_pass(mutates_CFG=False, analysis_only=True)
class ChooseLibrary(AnalysisPass):
    """Choose the library into which a function is lowered."""

    _name = "sb3_course_choose_library"

    def __init__(self) -> None:
        super().__init__()

    def run_pass(self, state: Any) -> bool:
        """Choose it; nothing of the function changes."""
        name = state.func_id.func_qualname
        state.library = library = state.pipeline.library(state.targetctx.codegen(), name)
        if state.pipeline.called_from_python:
            library.enable_object_caching()
        return False


@register_pass(mutates_CFG=False, analysis_only=False)
class AnswerByType(FunctionPass):
    """Answer whether an argument is None where its type says that it is not.

    Numba does so for those that are None alone, and would compile for others the way that is never taken.
    """

    _name = "sb3_course_answer_by_type"

    def __init__(self) -> None:
        super().__init__()

    def run_pass(self, state: Any) -> bool:
        """Put the answers where the questions are; the pass behind removes what is behind a No."""
        found, definitions = False, state.func_ir._definitions
        for block in state.func_ir.blocks.values():
            for line in block.body:
                answer = self._answer(state, line.value) if isinstance(line, ir.Assign) else None
                if answer is not None:
                    constant = ir.Const(answer, loc=line.loc)
                    known = definitions[line.target.name]
                    known[known.index(line.value)] = line.value = constant
                    found = True
        return found

    @staticmethod
    def _answer(state: Any, value: Any) -> bool | None:
        """Return what ``argument is None`` or ``argument is not None`` will be, None where that is not asked."""
        if not (isinstance(value, ir.Expr) and value.op == "binop" and value.fn in (operator.is_, operator.is_not)):
            return None
        # None for what is assigned to more than once.
        argument, nothing = (guard(get_definition, state.func_ir, side) for side in (value.lhs, value.rhs))
        if not (isinstance(argument, ir.Arg) and isinstance(nothing, ir.Const) and nothing.value is None):
            return None
        array = isinstance(state.args[argument.index], types.Array)
        return value.fn is operator.is_not if array else None


@contextlib.contextmanager
def no_garbage_looked_for() -> Iterator[None]:
    """Stop Python's looks for cycles of garbage: compiling leaves few, and much to look at."""
    if not gc.isenabled():
        yield
        return
    try:
        gc.disable()
        yield
    finally:
        gc.enable()


@contextlib.contextmanager
def no_call_of_llvm_told() -> Iterator[None]:
    """Stop Numba's two events for each of 70,000 calls of LLVM, of which hardly anybody but its own stopwatch hears."""
    told = codegen.ll.ffi.lib._lock._cblist  # type: ignore[attr-defined]
    kept = told[:]
    try:
        told.clear()
        yield
    finally:
        told[:0] = kept


class OwnCompiler(CompilerBase):
    """Numba's own passes, and those of this module among them."""

    library: type[JITCodeLibrary] = JITCodeLibrary
    called_from_python = True

    def compile_extra(self, function: Any) -> Any:
        """Compile a function; Numba holds its lock meanwhile."""
        with no_garbage_looked_for(), no_call_of_llvm_told():
            return super().compile_extra(function)

    def define_pipelines(self) -> list[Any]:
        """Return the one list of passes."""
        passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes.add_pass_after(AnswerByType, RewriteSemanticConstants)
        passes.add_pass_after(ChooseLibrary, IRLegalization)
        passes.finalize()
        return [passes]


class OptimisedCompiler(OwnCompiler):
    """The same for a function that only compiled ones call."""

    library, called_from_python = OptimisedLibrary, False


class LoweringCompiler(OptimisedCompiler):
    """The same for one that mostly calls others."""

    library = LoweredLibrary


#: Under the words by which `jit` asks for them.
COMPILERS = {"": OwnCompiler, "optimised": OptimisedCompiler, "lowered": LoweringCompiler}
