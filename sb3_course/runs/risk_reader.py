"""A model that acts by a risk measure of the distribution of the return that it has learnt."""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any

from sb3_course.config.errors import InputError
from sb3_course.value.risk_words import risk_predict


class RiskReader:
    """Another reading of a model: its greedy choice compares a risk measure in place of the mean.

    Everything but `predict` is the model's own.

    :param model: ours with a return distribution, or sb3-contrib's QRDQN
    :param risk: the measure's word, such as ``cvar:0.25``
    :raises InputError: for a model that learns no distribution
    """

    def __init__(self, model: Any, risk: str) -> None:
        self._model = model
        if "risk" in inspect.signature(model.predict).parameters:
            self.predict: Any = partial(model.predict, risk=risk)
        elif hasattr(model.policy, "quantile_net"):
            self.predict = partial(_of_contrib, model, risk)
        else:
            name, want = type(model).__name__, "c51, quantile_dqn, iqn, rainbow, btr or qrdqn"
            raise InputError("--risk", "the model learns no distribution of the return", name, want)

    def __getattr__(self, name: str) -> Any:
        if name == "_model" or name.startswith("__"):  # asked for by whoever copies, before it is there
            raise AttributeError(name)
        return getattr(self._model, name)


def _of_contrib(
    model: Any, risk: str, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
) -> tuple[Any, Any]:
    return risk_predict(model, observation, risk, deterministic)
