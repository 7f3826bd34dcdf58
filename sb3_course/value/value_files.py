"""What comes back from files into a model of the value family, and has to fit it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from sb3_course.config.errors import InputError
from sb3_course.replay.fitting import fitted
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


def fitting_buffer(model: Any, load: Callable[..., None], *args: Any) -> Any:
    """Return the replay buffer that `load` puts in the place of the model's, made to fit; the model keeps its own.

    :param load: SB3's
    :raises InputError: for the transitions of another env, and for a buffer whose rows cannot be taken over
    """
    before = model.replay_buffer
    load(*args)
    loaded, model.replay_buffer = model.replay_buffer, before
    return fitted(loaded, model, replay_arguments(model))
