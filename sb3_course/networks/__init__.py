"""Torch modules the policies are built from."""

from sb3_course.networks.heads import StateActionHead
from sb3_course.networks.mlp import gaussian_init, mlp

__all__ = ["StateActionHead", "gaussian_init", "mlp"]
