"""What environments return, looked at before anything is learned from it: finite, and as their spaces say."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite, prod
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import SubprocVecEnv

from sb3_course.config.errors import InputError
from sb3_course.functional.finite import all_finite
from sb3_course.sb3.observations import arrays_of

_REMEDIES = {"reward": "correct the environment's reward", "observation": "correct the environment's observations"}
_NUMBERS = "fiub"


class ObservationError(InputError):
    """An observation of another shape or type than its space says."""

    step: int | None = None

    def at(self, step: int) -> None:
        """Say at which step it came, unless that is said."""
        if self.step is None:
            self.step, before = step, self.what
            self.what = f"{before} at step {step}"
            self.args = (str(self).replace(before, self.what, 1),)


@contextmanager
def observed(model: BaseAlgorithm, ahead: int) -> Iterator[None]:
    """Add the step to what is said of an observation, and put NumPy's word on worker processes in our own.

    :param model: that learns
    :param ahead: steps that it has not counted yet
    """
    try:
        yield
    except ObservationError as error:
        error.at(model.num_timesteps + ahead)
        raise
    except ValueError as error:
        if "must have the same shape" not in str(error) or not isinstance(model.env.unwrapped, SubprocVecEnv):  # type: ignore[union-attr]
            raise
        want = f"shape {model.observation_space.shape} of each"
        told = ObservationError("observation", "differs in shape from environment to environment", want=want)
        told.at(model.num_timesteps + ahead)
        raise told from error


def require_as_space(observation: Any, space: spaces.Space[Any], env: int, key: str = "") -> None:
    """Refuse an observation that SB3 would stretch, cut or round until it fits its space.

    Lists and other precisions of the same kind of number are what they say.

    :param observation: what one environment returned
    :param space: its observation space
    :param env: the environment's index
    :raises ObservationError: naming the environment, what came and what its space says
    """
    if type(observation) is np.ndarray and observation.dtype == space.dtype and observation.shape == space.shape:
        return
    field = f"observation[{key!r}]" if key else "observation"
    if isinstance(space, spaces.Dict):
        if not isinstance(observation, dict) or not observation.keys() >= space.spaces.keys():
            got = list(observation) if isinstance(observation, dict) else _described(observation)
            raise ObservationError(field, f"env {env} returns not what its space says", got, f"a dict of {list(space)}")
        for name, part in space.spaces.items():
            require_as_space(observation[name], part, env, name)
        return
    shape, kind = space.shape or (), np.dtype(space.dtype).kind
    want = f"shape {shape} and type {space.dtype}, or another observation_space"
    if isinstance(observation, tuple) and len(observation) == 2 and isinstance(observation[1], dict):
        raise ObservationError(field, f"env {env} returns (observation, info)", _described(observation), want)
    try:
        array = np.asarray(observation)
    except ValueError:  # parts of different shapes
        array = np.asarray(None)
    one = array.size == 1 and prod(shape) == 1  # a single number may come in any number of brackets, as SB3 takes it
    if not (array.shape == shape or one) or array.dtype.kind not in (_NUMBERS if kind == "f" else "iub"):
        raise ObservationError(field, f"env {env} returns another shape or type", _described(observation), want)


def _described(value: Any) -> str:
    array = value if isinstance(value, np.ndarray) else None
    if array is None and isinstance(value, list | int | float | np.generic):
        array = np.array(value, dtype=object) if isinstance(value, list) and _ragged(value) else np.asarray(value)
    return type(value).__name__ if array is None else f"shape {array.shape} and type {array.dtype}"


def _ragged(value: list[Any]) -> bool:
    return len({np.shape(part) if not isinstance(part, list) else len(part) for part in value}) > 1


def require_sound_step(
    step: int,
    space: spaces.Space[Any],
    observations: Any,
    rewards: np.ndarray,
    dones: np.ndarray,
    infos: list[dict[str, Any]],
) -> None:
    """Stop at the first thing in a step of a vectorised environment that nothing can be learned from.

    :param step: how many steps there have been
    :param space: of the observations
    :raises FloatingPointError: for NaN and infinity, naming the step, the environment and the quantity
    :raises ObservationError: for another shape or type than the space says
    """
    if not all_finite(rewards):
        _stop("reward", rewards, step)
    require_sound_observations(step, space, observations)
    if any(dones.tolist()):
        for env, info in enumerate(infos):
            last = info.get("terminal_observation") if dones[env] else None
            if last is not None and not all(map(all_finite, arrays_of(last))):
                _stop("observation", next(part for part in arrays_of(last) if not all_finite(part)), step, env)


def require_sound_observations(step: int, space: spaces.Space[Any], observations: Any, field: str = "") -> None:
    """The same for the observations of a step or a reset, (E, …)."""
    if isinstance(space, spaces.Dict):
        for name, part in space.spaces.items():
            require_sound_observations(step, part, observations[name], f"observation[{name!r}]")
        return
    if observations.shape[1:] != space.shape or observations.dtype.kind not in _NUMBERS:
        got, want = f"{observations.shape[1:]} of {observations.dtype}", f"{space.shape} of {space.dtype}"
        raise ObservationError(field or "observation", f"another shape or type at step {step}", got, want)
    if not all_finite(observations):
        _stop(field or "observation", observations, step)


def _stop(what: str, values: np.ndarray, step: int, env: int | None = None) -> None:
    """Raise the error that names the first of `values` (E, …), or of those of environment `env`, that is not finite."""
    finite = np.isfinite(np.asarray(values, dtype=np.float64))
    env = int(np.argmin(finite.reshape(len(finite), -1).all(axis=1))) if env is None else env
    value = float(np.asarray(values, dtype=np.float64)[~finite][0])
    remedy = _REMEDIES[what.partition("[")[0]]
    raise FloatingPointError(f"{what}: not finite at step {step} of env {env} (got {value}); {remedy}")


class SoundSteps(BaseAlgorithm):
    """A mixin: the first number that is not finite ends training, before anything is stored or learned from it."""

    def _setup_learn(self, *args: Any, **kwargs: Any) -> tuple[int, BaseCallback]:
        """Look at the first observations, after a reset if there is one; see SB3."""
        with observed(self, ahead=0):
            made = super()._setup_learn(*args, **kwargs)
        require_sound_observations(self.num_timesteps, self.observation_space, self._last_obs)
        return made

    def _require_sound(self, observations: Any, rewards: np.ndarray, dones: np.ndarray, infos: list[Any]) -> None:
        require_sound_step(self.num_timesteps, self.observation_space, observations, rewards, dones, infos)

    def _require_finite(self, what: str, values: float | np.ndarray, remedy: str, *observations: Any) -> None:
        """Stop at the first number that is not finite: gradient clipping lets NaN pass.

        :param observations: what `values` were computed from: the blame is theirs where they are not finite
        """
        if isfinite(values) if isinstance(values, float) else all_finite(values):
            return
        for part in arrays_of(observations):
            if not np.isfinite(part).all():
                what, remedy = "observation", _REMEDIES["observation"]
                values = part[~np.isfinite(part)][:1]
        raise FloatingPointError(f"{what}: not finite at step {self.num_timesteps} (got {values}); {remedy}")
