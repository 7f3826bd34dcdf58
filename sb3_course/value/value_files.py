"""What comes back from files into a model of the value family, and has to fit it."""

from __future__ import annotations

import io
from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from sb3_course.config.errors import InputError
from sb3_course.replay.buffer_files import load_buffer, save_buffer
from sb3_course.replay.fitting import fitted
from sb3_course.saving.files import atomic_path
from sb3_course.value.estimates import ARGUMENTS
from sb3_course.value.shown_to_sb3 import replay_arguments

#: Arguments that the weights of a file were made with.
OF_THE_NETWORKS = ("dueling", "noisy", "distribution", *ARGUMENTS)

_Model = TypeVar("_Model")


def load_fitting(load: Callable[..., _Model], *args: Any, **kwargs: Any) -> _Model:
    """Return what `load` returns, with arguments that replace the saved ones, or refuse those that do not fit.

    :param load: SB3's
    :raises InputError: for an argument that is not that of the networks in the file
    """
    if "buffer_size" in kwargs:
        kwargs["_room_for_a_window"] = True
    if "target_update_interval" in kwargs:
        kwargs |= {"target_update_unit": "step", "target_update_first": None}  # the saved interval may have had others
    try:
        model = load(*args, **kwargs)
    except InputError as error:
        changed = [name for name in OF_THE_NETWORKS if name in kwargs]
        if not (changed and isinstance(error.__cause__, RuntimeError)):  # the weights do not fit
            raise
        raise InputError(changed[0], "not that of the networks", kwargs[changed[0]], "the saved value") from error
    for name in set(OF_THE_NETWORKS) & set(kwargs):
        if getattr(model, name) != kwargs[name]:  # the networks brought their own
            raise InputError(name, "not that of the networks", kwargs[name], repr(getattr(model, name)))
    return model


class ReplayFiles(OffPolicyAlgorithm):
    """A mixin: the replay buffer goes to files of arrays, and comes back to draw as the model does."""

    @abstractmethod
    def _connect_replay(self) -> None:
        """Let the model learn from its buffer, and the buffer draw from the model's generator."""

    def save_replay_buffer(self, path: str | Path | io.BufferedIOBase) -> None:
        """Save the replay buffer as arrays, which need no pickle to be read, atomically.

        A buffer of a class of your own is pickled, as SB3 does; it takes ``trust_pickle=True`` to load.

        :param path: the file, `.npz` where it has no suffix
        :raises OSError: when the file cannot be written
        """
        if save_buffer(path, self.replay_buffer):
            return
        if isinstance(path, str | Path):
            path = Path(path) if Path(path).suffix else Path(path).with_name(f"{Path(path).name}.pkl")
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(path) as temporary:
                super().save_replay_buffer(temporary)
        else:
            super().save_replay_buffer(path)

    def load_replay_buffer(
        self, path: str | Path | io.BufferedIOBase, truncate_last_traj: bool = True, trust_pickle: bool = False
    ) -> None:
        """Load a replay buffer, to draw as this model does: by its class, horizon, discount and generator; see SB3.

        :param trust_pickle: unpickle as SB3 does, which runs whatever code the file contains
        :raises InputError: for a pickle, for the transitions of another env, and for a buffer whose rows cannot be
            taken over; the model keeps its own
        """
        before = self.replay_buffer
        try:
            if trust_pickle:
                super().load_replay_buffer(path, truncate_last_traj)
            else:
                self.replay_buffer = load_buffer(path, self, truncate_last_traj)
            loaded: Any = self.replay_buffer
        finally:
            self.replay_buffer = before
        self.replay_buffer = fitted(loaded, self, replay_arguments(self))
        self.replay_buffer.device = self.device  # SB3's promise, whatever the file's was
        self._connect_replay()
