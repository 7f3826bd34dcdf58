"""Noisy actors for SB3's ``SAC``: μ and log σ of its policy, besides the entropy that it explores by."""

from __future__ import annotations

from stable_baselines3.sac.policies import CnnPolicy, MultiInputPolicy, SACPolicy

from sb3_course.policy_gradient.noisy_policies import NoisyActorPolicy


class NoisyMlpPolicy(NoisyActorPolicy, SACPolicy):
    """For vectors; see `NoisyActorPolicy`."""


class NoisyCnnPolicy(NoisyActorPolicy, CnnPolicy):
    """For images; see `NoisyActorPolicy`."""


class NoisyMultiInputPolicy(NoisyActorPolicy, MultiInputPolicy):
    """For Dict observations; see `NoisyActorPolicy`."""
