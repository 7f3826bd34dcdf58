"""Runs: from settings to a folder of results, the same from the command line and from Python.

For example::

    from sb3_course.runs import Settings, execute

    result = execute(Settings.resolve("dqn", "CartPole-v1", {"n_timesteps": 20_000, "seed": 1}), "runs/first")
    print(result.mean, result.std)
"""

from typing import TYPE_CHECKING

from sb3_course._lazy import lazy

# At their first use: settings and folders are checked before torch is loaded.
if TYPE_CHECKING:
    from sb3_course.runs.evaluation import Evaluation as Evaluation
    from sb3_course.runs.evaluation import evaluate as evaluate
    from sb3_course.runs.folder import RunFolder as RunFolder
    from sb3_course.runs.result import Result as Result
    from sb3_course.runs.result import Watch as Watch
    from sb3_course.runs.settings import Settings as Settings
    from sb3_course.runs.training import execute as execute
    from sb3_course.runs.training import resume as resume
else:
    __getattr__, __dir__, __all__ = lazy(globals(), {
        "sb3_course.runs.evaluation": "Evaluation evaluate",
        "sb3_course.runs.folder": "RunFolder",
        "sb3_course.runs.result": "Result Watch",
        "sb3_course.runs.settings": "Settings",
        "sb3_course.runs.training": "execute resume",
    })  # fmt: skip
