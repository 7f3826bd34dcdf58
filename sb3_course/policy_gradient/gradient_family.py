"""The policy-gradient family as a table: a named algorithm is a row of defaults and its idea."""

from __future__ import annotations

from typing import Any

from sb3_course.policy_gradient.gradient_learner import PolicyGradientLearner
from sb3_course.sb3.construction import with_defaults


class VPG(PolicyGradientLearner, psi="total_return"):
    """Vanilla policy gradient: every action is weighted by the return of the whole episode.

    ``∇J = E[(Σ_t ∇ log π(a_t|s_t)) · G(τ)]`` (Williams 1992, section 5): unbiased, and the noisiest of all, because
    rewards from before an action weigh it too. Arguments as in `PolicyGradientAlgorithm`.
    """


class REINFORCE(PolicyGradientLearner):
    """REINFORCE: an action is weighted by the rewards that follow it.

    ``∇J = E[Σ_t ∇ log π(a_t|s_t) · G_t]`` (Williams 1992; Sutton & Barto 2018, section 13.3; Eq. 13.8).
    Arguments as in `PolicyGradientAlgorithm`.
    """


class ReinforceBaseline(PolicyGradientLearner, baseline="value"):
    """REINFORCE with baseline: the reward to go less what was to be expected.

    ``∇J = E[Σ_t ∇ log π(a_t|s_t) · (G_t − b(s_t))]`` (Sutton & Barto 2018, Eq. 13.11), b a value network, the running
    mean of returns (``baseline="mean"``) or a number: no bias, because b does not depend on a_t. Arguments as in
    `PolicyGradientAlgorithm`.
    """


class ActorCritic(PolicyGradientLearner, n_steps=1, psi="gae", gae_lambda=0.0, baseline="value", max_grad_norm=0.5):
    """One-step actor-critic: the critic's surprise weighs the action, without waiting for the end.

    ``∇J ≈ E[∇ log π(a|s) · (r + γ·V(s') − V(s))]``, residual and target detached (Sutton & Barto 2018, section 13.5,
    Eq. 13.14). An update takes the mean over ``n_steps`` steps; with ``n_steps=1`` it is the book's, after every step,
    and with ``n_steps=5, gae_lambda=1`` the rule of A2C (Mnih et al. 2016). Where any of ``n_steps``, ``gae_lambda``,
    ``learning_rate`` and ``ent_coef`` is given, the defaults of the others are 1, 0, 1e-3 and 0. Arguments as in
    `PolicyGradientAlgorithm`.
    """


# One step an update leaves CartPole to luck (docs/results/defaults.md, where these were found); the bonus is Mnih et
# al.'s (2016, section 5). They belong together.
STEADY: dict[str, Any] = {"n_steps": 32, "learning_rate": 2e-3, "ent_coef": 0.01}
ActorCritic.__init__ = with_defaults(  # type: ignore[method-assign]
    ActorCritic.__init__, STEADY, lambda given: STEADY if {*STEADY, "gae_lambda"} & given.keys() else ()
)
