"""Any Gymnasium vector environment as an SB3 ``VecEnv``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from stable_baselines3.common.env_util import is_wrapped
from stable_baselines3.common.vec_env.base_vec_env import VecEnv, VecEnvIndices, VecEnvObs, VecEnvStepReturn

from sb3_course.config.errors import InputError
from sb3_course.config.warn import warn_user
from sb3_course.envs._vector_base import CourseVectorEnv

#: These can be reset one by one, whatever their mode.
_RESET_ONE_BY_ONE = (SyncVectorEnv, AsyncVectorEnv, CourseVectorEnv)


def to_sb3(vector_env: VectorEnv[Any, Any, Any]) -> VecEnv:
    """Return `vector_env` as an SB3 ``VecEnv``, for any algorithm and ``VecEnv`` wrapper of SB3.

    ``SAME_STEP`` environments and those that can be reset one by one (Gymnasium's ``SyncVectorEnv`` and
    ``AsyncVectorEnv``, this package's, every one whose mode is ``DISABLED``) are adapted exactly. Others spend a step
    on each reset: SB3 sees it as an episode of one step with reward 0 from the last observation, marked
    ``info["autoreset"]``, and a warning says so.

    :raises InputError: for what is not a Gymnasium vector environment
    """
    if not isinstance(vector_env, VectorEnv):
        want = "a gymnasium.vector.VectorEnv, as from gymnasium.make_vec"
        raise InputError("vector_env", "is not a vector environment", type(vector_env).__name__, want)
    return GymnasiumVecEnv(vector_env)


class GymnasiumVecEnv(VecEnv):
    """What `to_sb3` returns."""

    def __init__(self, vector_env: VectorEnv[Any, Any, Any]) -> None:
        self.vector_env = vector_env
        mode = vector_env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        self._mode = AutoresetMode(mode)
        self._one_by_one = self._mode is not AutoresetMode.SAME_STEP and (
            self._mode is AutoresetMode.DISABLED or isinstance(vector_env.unwrapped, _RESET_ONE_BY_ONE)
        )
        if self._mode is AutoresetMode.NEXT_STEP and not self._one_by_one:
            warn_user(
                f"{vector_env} spends a step on every reset, which SB3 sees as an episode of one step with reward 0; "
                "make it with autoreset_mode SAME_STEP, or vectorization_mode='sync', if it can."
            )
        self._over = np.zeros(vector_env.num_envs, np.bool_)
        self._last: dict[int, tuple[Any, bool]] = {}  # of those that are over: observation and whether it was cut off
        self._actions: np.ndarray | None = None
        super().__init__(vector_env.num_envs, vector_env.single_observation_space, vector_env.single_action_space)

    # -- stepping -------------------------------------------------------------------------------------------------

    def reset(self) -> VecEnvObs:
        """Reset all environments, with the seed and the options that were set; see SB3."""
        options = self._options[0] or None
        if any(each != self._options[0] for each in self._options):
            raise InputError("options", "differ between environments", self._options, "the same for all")
        observations, infos = self.vector_env.reset(seed=self._seeds[0], options=options)
        self.reset_infos = per_env(infos, self.num_envs)
        self._over[:] = False
        self._reset_seeds()
        self._reset_options()
        first: VecEnvObs = _copy(observations)
        return first

    def step_async(self, actions: np.ndarray) -> None:
        """Take note of the actions."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Take the step; where an episode ended the observation is the next one's first, as SB3 expects."""
        observations, rewards, terminations, truncations, infos = self.vector_env.step(self._actions)
        rewards, dones = np.asarray(rewards, np.float32), np.asarray(terminations | truncations, np.bool_)
        steps = per_env(infos, self.num_envs)
        ended = np.flatnonzero(dones).tolist()
        for index in ended:
            info = steps[index]
            last = info.pop("final_obs", None)
            if last is not None:  # at the top are the next episode's infos, and those that wrappers add
                final_info = info.pop("final_info", {})
                self.reset_infos[index], info = info, {**info, **final_info}
                steps[index] = info
            info["terminal_observation"] = _row(observations, index) if last is None else last
            info["TimeLimit.truncated"] = bool(truncations[index] and not terminations[index])
        if self._one_by_one and ended:
            observations, infos = self.vector_env.reset(options=_Options(reset_mask=dones.copy()))
            for index, info in enumerate(per_env(infos, self.num_envs)):
                if dones[index]:
                    self.reset_infos[index] = info
        elif self._mode is AutoresetMode.NEXT_STEP and not self._one_by_one:
            dones = self._mark_resets(dones, steps)
        return _copy(observations), rewards, dones, steps

    def _mark_resets(self, dones: np.ndarray, steps: list[dict[str, Any]]) -> np.ndarray:
        """Close the steps that were resets: from the state an episode ended in, nothing more is to be had."""
        for index in np.flatnonzero(self._over).tolist():
            last, truncated = self._last[index]
            marks = {"autoreset": True, "terminal_observation": last, "TimeLimit.truncated": truncated}
            steps[index].update(marks)
        self._last = {
            index: (steps[index]["terminal_observation"], steps[index]["TimeLimit.truncated"])
            for index in np.flatnonzero(dones).tolist()
        }
        self._over, closed = dones, self._over
        return dones | closed

    def close(self) -> None:
        """Close the vector environment."""
        self.vector_env.close()

    def get_images(self) -> Sequence[np.ndarray | None]:
        """Return a picture of each environment, None without ``render_mode="rgb_array"``."""
        if self.render_mode != "rgb_array":
            return [None] * self.num_envs
        frames = self.vector_env.render()
        return [None] * self.num_envs if frames is None else list(frames)  # type: ignore[arg-type]

    # -- the environments inside ----------------------------------------------------------------------------------

    def has_attr(self, attr_name: str) -> bool:
        """Tell whether each environment has an attribute; a process that is asked for one it has not would end."""
        call = getattr(self.vector_env.unwrapped, "call", None)
        return hasattr(self.vector_env, attr_name) if call is None else all(call("has_wrapper_attr", attr_name))

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Return an attribute of each environment; of a batch that keeps one for all, that one each time."""
        chosen = self._get_indices(indices)
        own = getattr(self.vector_env.unwrapped, "get_attr", None)
        if own is not None:
            values = own(attr_name)
            return [values[index] for index in chosen]
        return [getattr(self.vector_env, attr_name) for _ in chosen]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute of each environment.

        :raises InputError: for a batch without environments inside
        """
        own = self._inside("set_attr")
        values = [value] * self.num_envs if indices is None else self.get_attr(attr_name)
        for index in self._get_indices(indices):
            values[index] = value
        own(attr_name, values)

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call a method of every environment.

        :raises InputError: for a batch without environments inside, or for some of them only
        """
        chosen = list(self._get_indices(indices))
        if chosen != list(range(self.num_envs)):
            raise InputError("indices", "a vector environment calls all or none", chosen, "None")
        return list(self._inside("call")(method_name, *method_args, **method_kwargs))

    def _inside(self, name: str) -> Any:
        method = getattr(self.vector_env.unwrapped, name, None)
        if method is None:
            got = type(self.vector_env.unwrapped).__name__
            raise InputError("vector_env", "has no environments inside", got, "vectorization_mode 'sync' or 'async'")
        return method

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: VecEnvIndices = None
    ) -> list[bool]:
        """Tell of each environment whether it is wrapped; those of a batch, or of other processes, are not."""
        envs = getattr(self.vector_env.unwrapped, "envs", None)
        return [envs is not None and is_wrapped(envs[index], wrapper_class) for index in self._get_indices(indices)]


class _Options(dict[str, Any]):
    """Options of which nothing can be taken away: Gymnasium 1.4 takes the mask out before its wrappers have seen it."""

    def pop(self, key: str, *default: Any) -> Any:
        """Return the option and keep it."""
        return self.get(key, *default)


def per_env(infos: dict[str, Any], num_envs: int) -> list[dict[str, Any]]:
    """Return Gymnasium's infos, arrays with masks ``_name``, as one dict for each environment."""
    separate: list[dict[str, Any]] = [{} for _ in range(num_envs)]
    for name, values in infos.items():
        if name.startswith("_") and name[1:] in infos:
            continue
        mask = infos.get("_" + name)
        which: Iterable[int] = range(num_envs) if mask is None else np.flatnonzero(mask).tolist()
        if isinstance(values, dict):
            inner = per_env(values, num_envs)
            for index in which:
                separate[index][name] = inner[index]
        elif hasattr(values, "__len__") and len(values) == num_envs:
            for index in which:
                separate[index][name] = values[index]
        else:  # one for all
            for index in which:
                separate[index][name] = values
    return separate


def _copy(observations: Any) -> Any:
    """Return observations that a vector environment working in place will not change."""
    if isinstance(observations, dict):
        return {name: _copy(values) for name, values in observations.items()}
    if isinstance(observations, tuple):
        return tuple(_copy(values) for values in observations)
    return np.array(observations)


def _row(observations: Any, index: int) -> Any:
    if isinstance(observations, dict):
        return {name: _row(values, index) for name, values in observations.items()}
    if isinstance(observations, tuple):
        return tuple(_row(values, index) for values in observations)
    return np.array(observations[index])
