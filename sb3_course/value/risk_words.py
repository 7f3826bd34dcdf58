"""The argument ``risk``: its words, and risk-sensitive actions of a quantile model that knows nothing of them."""

from __future__ import annotations

from dataclasses import MISSING, fields
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch as th

from sb3_course.config.text import InputError, did_you_mean
from sb3_course.functional.risk import RISKS, Risk
from sb3_course.value.exploration import epsilon_greedy

if TYPE_CHECKING:
    from sb3_contrib import QRDQN

__all__ = ["FORMS", "Risk", "parse", "risk_predict"]

#: What the argument accepts, for help texts and errors.
FORMS = "mean, cvar:0.25, cvar_seeking:0.25, wang:-0.75, cpw:0.71 or mean_variance:0.1"


def parse(risk: str | Risk, field: str = "risk") -> Risk:
    """Return the risk measure of a word such as ``mean``, ``cvar:0.25`` or ``wang:-0.75``.

    A word without number takes the paper's default where there is one; ``str`` of the result is the word again.

    :param risk: the word; a risk measure is returned as it is
    :param field: the name to report in the error
    :raises InputError: for an unknown word, or a number that is missing, unreadable or out of bounds
    """
    if isinstance(risk, Risk):
        return risk
    if not isinstance(risk, str):
        raise InputError(field, "not a risk measure", risk, FORMS)
    return _read(risk, field)


@lru_cache(maxsize=64)  # read anew at every step otherwise
def _read(risk: str, field: str) -> Risk:
    word, colon, text = (part.strip() for part in risk.partition(":"))
    word = word.lower().replace("-", "_")
    if word not in RISKS:
        raise InputError(field, f"unknown risk measure{did_you_mean(word, RISKS)}", risk, FORMS)
    kind = RISKS[word]
    parameters = fields(kind)
    if not colon and all(parameter.default is not MISSING for parameter in parameters):
        measure: Risk = kind()
        return measure
    if not parameters:
        raise InputError(field, f"{word} takes no number", risk, word)
    low, high = kind.bounds
    want = f"{word}:{parameters[0].name} with a number from {low:g} to {high:g}"
    try:
        measure = kind(float(text))
    except ValueError:
        raise InputError(field, f"{parameters[0].name} is wrong or missing", risk, want) from None
    return measure


def risk_predict(
    model: QRDQN,
    observation: np.ndarray | dict[str, np.ndarray],
    risk: str | Risk = "cvar:0.25",
    deterministic: bool = True,
) -> tuple[np.ndarray, None]:
    """Return ``argmax_a ρ(Z(x, a))``, the actions of sb3-contrib's QRDQN under a risk measure ρ, as ``predict`` does.

    The network is not changed: it learnt the distribution of the return, of which ``predict`` uses the mean alone.

    :param model: a QRDQN of sb3_contrib, trained or loaded
    :param observation: one observation, (…), or one of each env, (E, …), as for ``predict``
    :param risk: ρ, see `parse`
    :param deterministic: if not, ε-greedy with the model's ``exploration_rate``, one coin an env
    :return: the actions, () or (E,), and no state
    :raises InputError: when the model has no quantiles, or for a bad word
    """
    measure = parse(risk)
    policy = model.policy
    quantile_net = getattr(policy, "quantile_net", None)
    if quantile_net is None:
        raise InputError("model", "has no quantiles of the return", type(model).__name__, "a QRDQN of sb3_contrib")

    def greedy() -> np.ndarray:
        policy.set_training_mode(False)
        with th.no_grad():
            quantiles = quantile_net(policy.obs_to_tensor(observation)[0])  # (B, N, A)
            actions: np.ndarray = measure.of_quantiles(quantiles.transpose(1, 2)).argmax(1).cpu().numpy()
        return actions

    vectorized = policy.is_vectorized_observation(observation)
    if deterministic:
        actions = greedy()
    else:
        first = next(iter(observation.values())) if isinstance(observation, dict) else observation
        # The space's own generator, which `model.set_random_seed` seeds, draws the coins as well as the actions.
        coins = model.action_space.np_random
        actions = epsilon_greedy(
            coins, model.exploration_rate, greedy, model.action_space, len(first) if vectorized else 1
        )
    return (actions if vectorized else np.array(actions[0])), None
