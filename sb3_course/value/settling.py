"""Arguments that were left to the returns seen, settled once for a model and all its networks."""

from __future__ import annotations

from typing import Any

from sb3_course.value.estimates import ReturnEstimate


def settled(model: Any, returns: tuple[float, float] | None) -> ReturnEstimate:
    """Return the learner's estimate with its arguments settled; the model and its networks get the values, for good.

    :param returns: the least and the largest to expect; None where nobody can tell
    """
    estimate: ReturnEstimate = model._learner.estimate
    arguments = estimate.fit(returns)
    for network in model.policy.networks:
        for name, constant in estimate.constants().items():
            getattr(network, name).copy_(constant)
    for name, value in arguments.items():
        setattr(model, name, value)
    if model.verbose > 0:
        print("From the returns seen:", ", ".join(f"{name}={value:g}" for name, value in arguments.items()))
    return estimate
