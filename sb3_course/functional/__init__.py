"""Pure maths of the ladder: arrays in, arrays out, for NumPy arrays and torch tensors alike.

Nothing here knows an environment, a space or a network, and nothing draws a random number.
Legend of the shape comments: B batch, A actions, N atoms, T time, E envs, F features.
"""

from sb3_course.functional.losses import LOSSES, Loss, huber, l2, mean_gradient, mse
from sb3_course.functional.targets import select, td_target

__all__ = ["LOSSES", "Loss", "huber", "l2", "mean_gradient", "mse", "select", "td_target"]
