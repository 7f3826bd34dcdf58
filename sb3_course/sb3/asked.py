"""What the methods of an algorithm are asked for, refused in one line before anything begins."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import gymnasium as gym
import torch as th
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.save_util import recursive_getattr
from stable_baselines3.common.vec_env import VecEnv

from sb3_course.config import parameters
from sb3_course.config.errors import InputError, did_you_mean
from sb3_course.saving.files import require_path
from sb3_course.sb3.served_spaces import UnsupportedSpaceError

_UNKNOWN = re.compile(r"(?:unexpected keyword argument|invalid keyword argument) '(\w+)'")
_ENV = "a gymnasium environment, its id, or an SB3 VecEnv"


def check_learn(total_timesteps: Any, callback: Any, log_interval: Any, **flags: Any) -> None:
    """Refuse what `learn` cannot do.

    :param flags: `reset_num_timesteps` and `progress_bar`
    :raises InputError: naming the argument
    """
    parameters.check({"total_timesteps": total_timesteps})
    whole = isinstance(log_interval, int) and not isinstance(log_interval, bool)
    if log_interval is not None and not (whole and log_interval >= 1):
        raise InputError("log_interval", "not accepted", log_interval, "an integer >= 1, or None for no rows")
    for name, value in flags.items():
        if not isinstance(value, bool):
            raise InputError(name, "not accepted", value, "True or False")
    several = callback if isinstance(callback, list) else [callback]
    for each in several:
        known = each is None or isinstance(each, BaseCallback)
        if not known and (isinstance(callback, list) or not callable(each)):
            raise InputError("callback", "is none", each, "a BaseCallback, a list of them, or a function")


@contextmanager
def environment_named(env: Any) -> Iterator[None]:
    """Turn Gymnasium's refusals of an id into ours.

    :param env: what the user gave
    :raises InputError: for an id that nobody registered
    """
    try:
        yield
    except (gym.error.Error, ModuleNotFoundError) as error:
        if not isinstance(env, str):
            raise
        raise InputError("env", _first(error) + did_you_mean(env, gym.registry), env, _ENV) from error


def require_environment(env: Any) -> None:
    """Refuse what is no environment at all.

    :raises InputError: naming its type
    """
    if not isinstance(env, gym.Env | VecEnv) and not (hasattr(env, "step") and hasattr(env, "reset")):
        raise InputError("env", "is no environment", env, _ENV)
    if isinstance(env, type):
        raise InputError("env", "is a class", env.__name__, f"an object of it: {env.__name__}(...)")


def require_generator(rng: Any) -> None:
    """Refuse what draws no numbers.

    :raises InputError: naming it
    """
    if not any(callable(getattr(rng, name, None)) for name in ("random", "integers", "standard_normal")):
        raise InputError("rng", "draws no numbers", rng, "a numpy.random.Generator: numpy.random.default_rng(seed)")


def require_spaces(model: Any) -> None:
    """Refuse to build networks where no environment and no file has said for what.

    :raises InputError: when there is none
    """
    if getattr(model, "observation_space", None) is None:
        raise InputError("env", "there is none", None, _ENV)


def _require_rate(schedule: Callable[[float], Any], given: Any) -> None:
    """Refuse a schedule of the learning rate that gives none at the start of training.

    :raises InputError: naming what it gives
    """
    want = "a function of what remains of training, from 1 to 0, with a number > 0"
    try:
        rate = float(schedule(1.0))
    except (TypeError, ValueError) as error:
        raise InputError("learning_rate", f"the schedule fails: {_first(error)}", given, want) from error
    if not 0 <= rate < float("inf"):
        raise InputError("learning_rate", "the schedule gives no rate", rate, want)


@contextmanager
def building(model: Any) -> Iterator[None]:
    """Turn what the classes that a user named say of their arguments into one line, the cause kept.

    :param model: whose networks and buffers are built
    :raises InputError: naming the mapping that has the argument
    """
    try:
        yield
    except InputError:
        raise
    except (TypeError, ValueError, AssertionError, NotImplementedError) as error:
        if (told := _told(model, error)) is None:
            raise
        raise told from error


def _told(model: Any, error: Exception) -> InputError | None:
    given = {name: getattr(model, name, None) or {} for name in ("policy_kwargs", "replay_buffer_kwargs")}
    if isinstance(error, TypeError) and (found := _UNKNOWN.search(str(error))):
        for name, arguments in given.items():
            for field, inner in _mappings(name, arguments):
                if found[1] in inner:
                    return InputError(field, f"unknown argument {found[1]!r}", inner, "arguments that its class has")
    if isinstance(error, AssertionError):
        return UnsupportedSpaceError("policy", _first(error), model.policy_class.__name__, "one that fits the spaces")
    if given["policy_kwargs"]:
        what = f"no policy can be made: {_first(error)}"
        return InputError("policy_kwargs", what, given["policy_kwargs"], "arguments that its classes take")
    return None


def _mappings(name: str, arguments: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for key, value in arguments.items():
        if isinstance(value, Mapping):
            yield f"{name}.{key}", value
    yield name, arguments


def _first(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


class ParametersError(InputError, RuntimeError):
    """Weights that do not fit; torch's error too, which SB3's `load` looks for."""


def _check_parameters(model: BaseAlgorithm, given: Mapping[str, Any]) -> None:
    """Refuse what `set_parameters` would leave half done."""
    known = model._get_torch_save_params()[0]
    for name, values in given.items():
        try:
            own = recursive_getattr(model, name).state_dict()
        except AttributeError:
            what = f"the model has no such object{did_you_mean(name, known)}"
            raise ParametersError("parameters", what, name, ", ".join(known)) from None
        if not isinstance(values, Mapping):
            raise ParametersError(name, "is no state dict", values, f"what {name}.state_dict() returns")
        if "param_groups" in own and not values.keys() >= {"state", "param_groups"}:
            raise ParametersError(name, "is no optimizer's state", list(values), f"what {name}.state_dict() returns")
        for key, tensor in values.items():
            if not isinstance(tensor, th.Tensor) or not isinstance(own.get(key), th.Tensor):
                continue
            if tensor.shape != own[key].shape:
                want = f"{tuple(own[key].shape)}"
                raise ParametersError(f"{name}.{key}", "another shape", tuple(tensor.shape), want)
            if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
                raise ParametersError(f"{name}.{key}", "not finite", float("nan"), "finite weights")


class Asked(BaseAlgorithm):
    """A mixin: what is asked of an algorithm is looked at before SB3 is asked for it."""

    def _setup_lr_schedule(self) -> None:
        super()._setup_lr_schedule()
        _require_rate(self.lr_schedule, self.learning_rate)

    def set_random_seed(self, seed: int | None = None) -> None:
        """Seed what SB3 seeds; see there."""
        parameters.check({"seed": seed})
        super().set_random_seed(seed)

    def set_parameters(self, load_path_or_dict: Any, exact_match: bool = True, device: Any = "auto") -> None:
        """Load weights and optimizer state; see SB3.

        :raises InputError: naming what does not fit, before anything has changed
        """
        if isinstance(load_path_or_dict, Mapping):
            _check_parameters(self, load_path_or_dict)
        else:
            require_path(load_path_or_dict)
        try:
            super().set_parameters(load_path_or_dict, exact_match, device)
        except (RuntimeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            names = list(load_path_or_dict) if isinstance(load_path_or_dict, Mapping) else load_path_or_dict
            raise ParametersError("parameters", f"do not fit: {error}", names, "those of such a model") from error
