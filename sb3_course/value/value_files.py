"""What comes back from files into a model of the value family, and has to fit it."""

from __future__ import annotations

import io
import pathlib
from typing import Any, Self

from stable_baselines3 import DQN

from sb3_course.config.errors import InputError
from sb3_course.replay.fitting import fitted
from sb3_course.sb3.algorithm import PluginAlgorithm
from sb3_course.value.estimates import ARGUMENTS

#: Arguments that the weights of a file were made with.
OF_THE_NETWORKS = ("dueling", "noisy", "distribution", *ARGUMENTS)


class ValueFiles(PluginAlgorithm, DQN):
    """Loading, with what does not fit converted or refused."""

    #: Whether the replay buffer is at least as long as a window of n steps, whatever `buffer_size` says.
    _room_for_a_window = False

    def _replay_arguments(self) -> dict[str, Any]:
        """Return what the replay buffer is made with."""
        raise NotImplementedError

    def _connect_replay(self) -> None:
        """Let the buffer draw with this model's horizon, discount and generator."""
        raise NotImplementedError

    def _excluded_save_params(self) -> list[str]:
        derived = ["batch_norm_stats", "batch_norm_stats_target", "_actor", "_learner", "_room_for_a_window"]
        return [*super()._excluded_save_params(), *derived]

    @classmethod
    def load(cls, *args: Any, **kwargs: Any) -> Self:
        """Load a model as SB3 does; arguments given here replace the saved ones and are checked as at construction.

        ``buffer_size=1`` spares the memory of a model that is to act only: the buffer then holds one window of n steps.
        """
        if "buffer_size" in kwargs:
            kwargs["_room_for_a_window"] = True
        if "target_update_interval" in kwargs:
            kwargs["target_update_unit"] = "step"  # the saved interval may have had another unit
        try:
            model = super().load(*args, **kwargs)
        except RuntimeError as error:  # the weights do not fit
            changed = [name for name in OF_THE_NETWORKS if name in kwargs]
            if not changed:
                raise
            raise InputError(changed[0], "not that of the networks", kwargs[changed[0]], "the saved value") from error
        for name in set(OF_THE_NETWORKS) & set(kwargs):
            if getattr(model, name) != kwargs[name]:  # the networks brought their own
                raise InputError(name, "not that of the networks", kwargs[name], repr(getattr(model, name)))
        return model

    def load_replay_buffer(self, path: str | pathlib.Path | io.BufferedIOBase, truncate_last_traj: bool = True) -> None:
        """Load a replay buffer, to draw as this model does: by its class, horizon, discount and generator; see SB3.

        :raises InputError: for the transitions of another env, and for a buffer whose rows cannot be taken over
        """
        before = self.replay_buffer
        super().load_replay_buffer(path, truncate_last_traj)
        loaded, self.replay_buffer = self.replay_buffer, before
        assert loaded is not None
        self.replay_buffer = fitted(loaded, self, self._replay_arguments())
        self._connect_replay()
