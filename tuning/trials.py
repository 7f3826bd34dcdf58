"""Which trials of a study count for what, and which parameters mattered."""

from __future__ import annotations

import math
import warnings

from optuna.distributions import BaseDistribution
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from sb3_course.tuning.study import ranked

#: Fewer scored trials say nothing of what mattered.
MIN_TRIALS = 10


def score_of(trial: FrozenTrial) -> float:
    """Return the score of a trial; NaN where it has none."""
    return math.nan if trial.value is None else float(trial.value)


def scored(study: Study, early: bool = True) -> list[FrozenTrial]:
    """Return the complete trials that have a finite score, in their order.

    :param study: one that maximises its score
    :param early: whether those count that were ended before their last seed
    """
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    trials = [trial for trial in trials if math.isfinite(score_of(trial))]
    return trials if early else [trial for trial in trials if "pruned_after" not in trial.user_attrs]


def best_first(study: Study) -> list[FrozenTrial]:
    """Return the trials with a finite score on every seed, best first."""
    return [trial for trial in ranked(study) if math.isfinite(score_of(trial))]


def ended_early(study: Study) -> list[FrozenTrial]:
    """Return the trials that a pruner ended, whichever state it left them in."""
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    return [trial for trial in trials if trial.state == TrialState.PRUNED or "pruned_after" in trial.user_attrs]


def failed(study: Study) -> list[FrozenTrial]:
    """Return the trials that failed, and those whose score is no finite number."""
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.FAIL))
    good = {trial.number for trial in scored(study)}
    return [trial for trial in trials if trial.number not in good]


def searched(study: Study) -> dict[str, BaseDistribution]:
    """Return the distribution of each parameter that a scored trial has, in the order of their first appearance."""
    found: dict[str, BaseDistribution] = {}
    for trial in scored(study):
        found.update(trial.distributions)
    return found


def importances(study: Study) -> dict[str, float]:
    """Return the share of each parameter in what parts the best trials from the rest, largest first.

    PED-ANOVA, after Watanabe et al. (2023); five trials at least count as the best. Nothing is returned where there
    are too few trials, or where they all score the same.
    """
    trials = scored(study)
    if len(trials) < MIN_TRIALS or not searched(study):
        return {}
    evaluator = PedAnovaImportanceEvaluator(target_quantile=max(0.1, 5 / len(trials)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a choice that only one trial has
        found = get_param_importances(study, evaluator=evaluator, params=sorted(searched(study)), normalize=False)
    total = math.fsum(found.values())
    if not (math.isfinite(total) and total > 0):
        return {}
    return {name: found[name] / total for name in sorted(found, key=lambda name: (-round(found[name], 12), name))}
