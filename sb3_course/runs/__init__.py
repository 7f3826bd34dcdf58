"""Runs: from settings to a folder of results, the same from the command line and from Python.

```python
from sb3_course.runs import Settings, execute

result = execute(Settings.resolve("dqn", "CartPole-v1", {"n_timesteps": 20_000, "seed": 1}), "runs/first")
print(result.mean, result.std)
```
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sb3_course.runs.evaluation import Evaluation, evaluate
    from sb3_course.runs.folder import RunFolder
    from sb3_course.runs.result import Result, Watch
    from sb3_course.runs.settings import Settings
    from sb3_course.runs.training import execute, resume

__all__ = ["Evaluation", "Result", "RunFolder", "Settings", "Watch", "evaluate", "execute", "resume"]

# Imported at first use: settings and folders are checked before torch is loaded.
_HOMES = {
    "Evaluation": "evaluation",
    "Result": "result",
    "RunFolder": "folder",
    "Settings": "settings",
    "Watch": "result",
    "evaluate": "evaluation",
    "execute": "training",
    "resume": "training",
}


def __getattr__(name: str) -> Any:
    """Import a public name at its first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"sb3_course.runs.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
