"""Pure maths of the ladder: arrays in, arrays out, for NumPy arrays and torch tensors alike.

Nothing here knows an environment, a space or a network, and nothing draws a random number.
Legend of the shape comments: B batch, A actions, N atoms or quantiles, M quantiles of a target, T time, E envs,
F features, K numbers in an action, D outputs that say an action's distribution.
"""

from sb3_course.functional.categorical import (
    clipped_mass,
    cross_entropy,
    entropy,
    expectation,
    expectations,
    kl_of_loss,
    log_softmax,
    project,
    softmax,
)
from sb3_course.functional.losses import LOSSES, Loss, huber, l2, mean_gradient, mse, policy_gradient
from sb3_course.functional.returns import discount_factors, gae, q_lambda, reward_to_go, total_return
from sb3_course.functional.risk import CPW, RISKS, CVaR, Mean, MeanVariance, Risk, UpperCVaR, Wang
from sb3_course.functional.targets import greedy, select, td_target, valid
from sb3_course.functional.td import Errors, categorical_errors, errors_at_actions, td_errors

__all__ = [
    "CPW", "LOSSES", "RISKS", "CVaR", "Errors", "Loss", "Mean", "MeanVariance", "Risk", "UpperCVaR", "Wang",
    "categorical_errors", "clipped_mass", "cross_entropy", "discount_factors", "entropy", "errors_at_actions",
    "expectation", "expectations", "gae", "greedy", "huber", "kl_of_loss", "l2", "log_softmax", "mean_gradient", "mse",
    "policy_gradient", "project", "q_lambda", "reward_to_go", "select", "softmax", "td_errors", "td_target",
    "total_return", "valid",
]  # fmt: skip
