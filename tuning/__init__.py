"""Optuna studies that tune an algorithm, and compare it with others on fresh seeds.

```python
from sb3_course.tuning import Objective, create_study

study = create_study("rainbow", "CartPole-v1", n_timesteps=20_000, storage="sqlite:///studies.db")
study.optimize(Objective.of(study), n_trials=20)
```
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sb3_course.tuning.comparison import Contest, compare
    from sb3_course.tuning.dimension import Dimension
    from sb3_course.tuning.objective import Objective
    from sb3_course.tuning.plan import Plan, plan_for
    from sb3_course.tuning.report import write_comparison, write_study_report
    from sb3_course.tuning.results import Comparison, Configuration, Run
    from sb3_course.tuning.spaces import SPACES
    from sb3_course.tuning.storage import open_storage
    from sb3_course.tuning.study import create_study
    from sb3_course.tuning.workers import run_study

__all__ = [
    "SPACES", "Comparison", "Configuration", "Contest", "Dimension", "Objective", "Plan", "Run", "compare",
    "create_study", "open_storage", "plan_for", "run_study", "write_comparison", "write_study_report",
]  # fmt: skip

# Imported at first use: Optuna is an extra, and `--help` needs none of it.
_HOMES = {
    "SPACES": "spaces",
    "Comparison": "results",
    "Configuration": "results",
    "Contest": "comparison",
    "Dimension": "dimension",
    "Objective": "objective",
    "Plan": "plan",
    "Run": "results",
    "compare": "comparison",
    "create_study": "study",
    "open_storage": "storage",
    "plan_for": "plan",
    "run_study": "workers",
    "write_comparison": "report",
    "write_study_report": "report",
}


def __getattr__(name: str) -> Any:
    """Import a public name at its first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"sb3_course.tuning.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


if __name__ == "tuning":  # imported by its short name in a checkout
    from sb3_course._alias import alias

    alias("tuning", "sb3_course.tuning")
