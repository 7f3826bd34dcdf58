"""Wrappers that change the reward an agent learns from, never the score it is judged by.

Scores are the reward of the unwrapped environment. SB3's ``Monitor`` records the reward that passes *it*, so it must
sit inside::

    env = TerminalReward(Monitor(gym.make("CartPole-v1")))  # info["episode"]["r"] counts +1 a step

SB3's ``make_vec_env(..., wrapper_class=TerminalReward)`` does it in this order, and ``evaluate_policy`` reports the
monitor's scores. The other order, ``Monitor(TerminalReward(env))``, would report the shaped reward.
"""

from __future__ import annotations

from typing import Any, SupportsFloat, TypeVar

import gymnasium as gym
from gymnasium.utils import RecordConstructorArgs

from sb3_course.envs._checks import flag, real, refusal

ObsType = TypeVar("ObsType")
ActType = TypeVar("ActType")


class ShapedCartPole(gym.Wrapper[ObsType, ActType, ObsType, ActType], RecordConstructorArgs):
    """Reward CartPole for keeping the cart in the middle and the pole upright.

    ``r1 = (x_threshold - |x|) / x_threshold - 0.8``, ``r2 = (theta_threshold - |theta|) / theta_threshold - 0.5``,
    ``reward = r1 + r2``, in (-1.3 - overshoot, 0.7]; x in metres, theta in radians.
    x and theta are those of the state just entered, read with both thresholds from the unwrapped environment, so
    wrappers of the observation may lie between. Put ``Monitor`` inside (see the module's text).
    Source: the shaped CartPole of many DQN tutorials, such as M. Zhou's PyTorch-Tutorial, number 405.

    :param env: CartPole, wrapped or not
    :raises ValueError: an environment without CartPole's thresholds
    """

    def __init__(self, env: gym.Env[ObsType, ActType]) -> None:
        RecordConstructorArgs.__init__(self)
        super().__init__(env)
        inner: Any = env.unwrapped
        if not (hasattr(inner, "x_threshold") and hasattr(inner, "theta_threshold_radians")):
            raise refusal("env", "has no x_threshold and theta_threshold_radians", type(inner).__name__, "CartPole")
        self._x_threshold = float(inner.x_threshold)
        self._theta_threshold = float(inner.theta_threshold_radians)

    def step(self, action: ActType) -> tuple[ObsType, SupportsFloat, bool, bool, dict[str, Any]]:
        """Step and replace the reward."""
        observation, _, terminated, truncated, info = self.env.step(action)
        inner: Any = self.env.unwrapped
        x, _, theta, _ = inner.state
        r1 = (self._x_threshold - abs(x)) / self._x_threshold - 0.8
        r2 = (self._theta_threshold - abs(theta)) / self._theta_threshold - 0.5
        return observation, float(r1 + r2), terminated, truncated, info


class TerminalReward(gym.Wrapper[ObsType, ActType, ObsType, ActType], RecordConstructorArgs):
    """Replace the reward of a step that terminates the episode; truncation, as by a time limit, changes nothing.

    Put ``Monitor`` inside (see the module's text).
    Source: the course's DQN with only NumPy, where any end of an episode is paid with -1.

    :param env: any environment
    :param reward: the reward of termination
    :param truncation: whether it is the reward of truncation too, as in code that knows only one kind of end
    :raises ValueError: a reward that is not a finite number
    """

    def __init__(self, env: gym.Env[ObsType, ActType], reward: float = -1.0, truncation: bool = False) -> None:
        self._reward, self._truncation = real("reward", reward), flag("truncation", truncation)
        RecordConstructorArgs.__init__(self, reward=self._reward, truncation=self._truncation)
        super().__init__(env)

    def step(self, action: ActType) -> tuple[ObsType, SupportsFloat, bool, bool, dict[str, Any]]:
        """Step and replace the reward if the episode ended."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        ended = terminated or (truncated and self._truncation)
        return observation, self._reward if ended else reward, terminated, truncated, info


class NoDoneMask(gym.Wrapper[ObsType, ActType, ObsType, ActType], RecordConstructorArgs):
    """Let every end of an episode count as a truncation: ``y = r + γ · max_a' Q(s', a')`` after the last step too.

    A learner that tells the two apart multiplies the second part by ``1 − terminated``; many a tutorial has no such
    mask. Put ``Monitor`` inside (see the module's text).
    Source: the DQN tutorials that `ShapedCartPole` is from.

    :param env: any environment
    """

    def __init__(self, env: gym.Env[ObsType, ActType]) -> None:
        RecordConstructorArgs.__init__(self)
        super().__init__(env)

    def step(self, action: ActType) -> tuple[ObsType, SupportsFloat, bool, bool, dict[str, Any]]:
        """Step and call a termination a truncation."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, reward, False, terminated or truncated, info
