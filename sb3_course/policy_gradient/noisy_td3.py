"""Noisy actors for SB3's ``TD3`` and ``DDPG``: ``DDPG("NoisyMlpPolicy", env)`` explores without action noise."""

from __future__ import annotations

from stable_baselines3.td3.policies import CnnPolicy, MultiInputPolicy, TD3Policy

from sb3_course.policy_gradient.noisy_policies import NoisyActorPolicy


class NoisyMlpPolicy(NoisyActorPolicy, TD3Policy):
    """For vectors; see `NoisyActorPolicy`."""


class NoisyCnnPolicy(NoisyActorPolicy, CnnPolicy):
    """For images; see `NoisyActorPolicy`."""


class NoisyMultiInputPolicy(NoisyActorPolicy, MultiInputPolicy):
    """For Dict observations; see `NoisyActorPolicy`."""
