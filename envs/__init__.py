"""Environments with exact answers, two wrappers and the planning that gives the answers; NumPy and Gymnasium only.

Importing this module registers ``sb3_course/GridWorld-v0``, ``sb3_course/OneShot-v0`` and ``sb3_course/Bandit-v0``, and
``MinAtar/Breakout-v1`` and its siblings where the package `minatar` is installed::

    import gymnasium as gym
    import sb3_course.envs

    env = gym.make("sb3_course/GridWorld-v0", slip=0.2, render_mode="rgb_array")
    env.unwrapped.q_values = sb3_course.envs.value_iteration(env.unwrapped.P, gamma=0.9)
"""

if __name__ == "envs":  # imported by its short name in a checkout
    from sb3_course._alias import alias

    alias("envs", "sb3_course.envs")

from sb3_course.envs.bandit import BanditEnv
from sb3_course.envs.grid_world import GridWorldEnv
from sb3_course.envs.minatar import MinAtarEnv
from sb3_course.envs.one_shot import OneShotEnv
from sb3_course.envs.planning import (
    TransitionArrays,
    action_values,
    optimal_actions,
    policy_evaluation,
    policy_iteration,
    reachable_states,
    soft_value_iteration,
    to_arrays,
    value_iteration,
)
from sb3_course.envs.registration import ENVIRONMENTS, MINATAR, EnvEntry, register_envs
from sb3_course.envs.wrappers import NoDoneMask, ShapedCartPole, TerminalReward

__all__ = [
    "ENVIRONMENTS",
    "MINATAR",
    "BanditEnv",
    "EnvEntry",
    "GridWorldEnv",
    "MinAtarEnv",
    "NoDoneMask",
    "OneShotEnv",
    "ShapedCartPole",
    "TerminalReward",
    "TransitionArrays",
    "action_values",
    "optimal_actions",
    "policy_evaluation",
    "policy_iteration",
    "reachable_states",
    "register_envs",
    "soft_value_iteration",
    "to_arrays",
    "value_iteration",
]

register_envs()
