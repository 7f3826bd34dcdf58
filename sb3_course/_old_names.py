"""Modules under the names they had before: files that users have pickled name classes by their module."""

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

#: Module as it was called up to version 0.1 -> as it is called now. What is pickled are models, buffers, schedules.
MOVED = {
    "sb3_course.adapters": "sb3_course.sb3.adapters",
    "sb3_course.callbacks": "sb3_course.sb3.callbacks",
    "sb3_course.common": "sb3_course.sb3.algorithm",
    "sb3_course.errors": "sb3_course.config.errors",
    "sb3_course.parameters": "sb3_course.config.parameters",
    "sb3_course.policy_gradient.algorithms": "sb3_course.policy_gradient.gradient_family",
    "sb3_course.policy_gradient.policies": "sb3_course.policy_gradient.actor_policies",
    "sb3_course.runs.callbacks": "sb3_course.runs.run_callbacks",
    "sb3_course.text": "sb3_course.config.text",
    "sb3_course.value.algorithms": "sb3_course.value.value_family",
    "sb3_course.value.policies": "sb3_course.value.q_policies",
    "sb3_course.value.risk": "sb3_course.value.risk_words",
    "sb3_course.vec_env": "sb3_course.sb3.vec_env",
}


class _OldNames(MetaPathFinder, Loader):
    """Answers an import of an old name with the module itself, so that no class exists twice."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Claim the names in the table and no other."""
        return ModuleSpec(name, self) if name in MOVED else None

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Let Python make a placeholder, so that the real module keeps its own `__spec__`."""
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Put the real module in the place of the placeholder, which the import system then returns."""
        sys.modules[module.__name__] = importlib.import_module(MOVED[module.__name__])


def keep_old_names() -> None:
    """Let old names be imported for as long as the process lives."""
    sys.meta_path.append(_OldNames())  # the last one asked: a module of that name, if there is one, goes first
