"""Which actions are valid while collecting: asked of the environments once a step."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv

from sb3_course.replay.masks import IN_INFO
from sb3_course.sb3.masking import current_masks, terminal_masks


class MaskedActions:
    """A mixin of algorithms; environments that have ``action_masks()`` are asked for them, the others for nothing."""

    env: VecEnv | None
    action_space: spaces.Space[Any]
    #: Whether the environments say which actions are valid.
    _masked = False
    #: Their masks now, (E, A); None until they are asked.
    _masks_now: np.ndarray | None = None

    def _valid_now(self) -> np.ndarray | None:
        """Return which actions are valid now, (E, A), or None where all always are."""
        if self._masked and self._masks_now is None:
            assert self.env is not None
            self._masks_now = current_masks(self.env, int(self.action_space.n))  # type: ignore[attr-defined]
        return self._masks_now

    def _note_masks(self, infos: list[dict[str, Any]], dones: np.ndarray) -> None:
        """Put the masks before and after a step into the infos, where the replay buffer finds them."""
        before = self._valid_now()
        assert before is not None
        self._masks_now = None
        after = self._valid_now()
        assert after is not None
        following = terminal_masks(infos, dones, before, after)
        for env, info in enumerate(infos):
            info[IN_INFO] = np.stack([before[env], following[env]])
