"""Optuna studies that tune an algorithm, and compare it with others on fresh seeds.

For example::

    from sb3_course.tuning import Objective, create_study

    study = create_study("rainbow", "CartPole-v1", n_timesteps=20_000, storage="sqlite:///studies.db")
    study.optimize(Objective.of(study), n_trials=20)
"""

from typing import TYPE_CHECKING

from sb3_course._lazy import lazy

# At their first use: Optuna is an extra, and `--help` needs none of it.
if TYPE_CHECKING:
    from sb3_course.tuning.comparison import Contest as Contest
    from sb3_course.tuning.comparison import compare as compare
    from sb3_course.tuning.crew import run_study as run_study
    from sb3_course.tuning.dimension import Dimension as Dimension
    from sb3_course.tuning.objective import Objective as Objective
    from sb3_course.tuning.plan import Plan as Plan
    from sb3_course.tuning.planner import plan_for as plan_for
    from sb3_course.tuning.report import read_comparison as read_comparison
    from sb3_course.tuning.report import write_comparison as write_comparison
    from sb3_course.tuning.report import write_study_report as write_study_report
    from sb3_course.tuning.results import Comparison as Comparison
    from sb3_course.tuning.results import Configuration as Configuration
    from sb3_course.tuning.results import Run as Run
    from sb3_course.tuning.results import Task as Task
    from sb3_course.tuning.spaces import SPACES as SPACES
    from sb3_course.tuning.storage import open_storage as open_storage
    from sb3_course.tuning.study import create_study as create_study
    from sb3_course.tuning.zoo_entries import enter_algorithms as enter_algorithms
else:
    __getattr__, __dir__, __all__ = lazy(globals(), {
        "sb3_course.tuning.comparison": "Contest compare",
        "sb3_course.tuning.dimension": "Dimension",
        "sb3_course.tuning.objective": "Objective",
        "sb3_course.tuning.plan": "Plan",
        "sb3_course.tuning.planner": "plan_for",
        "sb3_course.tuning.report": "read_comparison write_comparison write_study_report",
        "sb3_course.tuning.results": "Comparison Configuration Run Task",
        "sb3_course.tuning.spaces": "SPACES",
        "sb3_course.tuning.storage": "open_storage",
        "sb3_course.tuning.study": "create_study",
        "sb3_course.tuning.crew": "run_study",
        "sb3_course.tuning.zoo_entries": "enter_algorithms",
    })  # fmt: skip

if __name__ == "tuning":  # imported by its short name in a checkout
    from sb3_course._alias import alias

    alias("tuning", "sb3_course.tuning")
