"""One module under two names: `import envs` in a checkout is `sb3_course.envs`, never a second set of classes."""

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


class _AliasFinder(MetaPathFinder, Loader):
    """Answers `import short.child` with the module `full.child`."""

    def __init__(self, short: str, full: str) -> None:
        self.short, self.full = short, full

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Claim `name` while its parent is our alias and the module of the full name exists."""
        # A user's own package of the same name may have taken the place of the alias in sys.modules.
        ours = name.startswith(f"{self.short}.") and sys.modules.get(self.short) is sys.modules.get(self.full)
        if not ours or importlib.util.find_spec(self._full_name(name)) is None:
            return None
        return ModuleSpec(name, self)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Let Python make a placeholder, so that the real module keeps its own `__spec__`."""
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Put the real module in the place of the placeholder, which the import system then returns."""
        sys.modules[module.__name__] = importlib.import_module(self._full_name(module.__name__))

    def _full_name(self, name: str) -> str:
        return self.full + name.removeprefix(self.short)


def alias(short: str, full: str) -> None:
    """Make `short` and all its submodules the modules of `full`; a package calls it when it is imported as `short`."""
    sys.modules[short] = importlib.import_module(full)
    sys.meta_path.insert(0, _AliasFinder(short, full))
