"""SB3's ``DummyVecEnv`` without its copies of what cannot change."""

from __future__ import annotations

from copy import deepcopy
from functools import partial
from typing import Any

import numpy as np
from stable_baselines3.common.type_aliases import GymEnv
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn
from stable_baselines3.common.vec_env.util import dict_to_obs

from sb3_course.sb3.soundness import require_as_space

#: Of these there is no copy: nobody can change them.
_FIXED = frozenset({bool, int, float, complex, str, bytes, type(None), np.bool_, np.float32, np.float64, np.int64})


class LeanVecEnv(DummyVecEnv):
    """What ``DummyVecEnv`` returns, to the bit and in memory of its own, in half the time."""

    def step_wait(self) -> VecEnvStepReturn:
        """Step every environment, reset those that ended; see SB3."""
        infos, rewards, dones = [], self.buf_rews, self.buf_dones
        for index, (env, action) in enumerate(zip(self.envs, self.actions, strict=True)):
            obs, rewards[index], terminated, truncated, info = env.step(action)
            dones[index] = done = terminated or truncated
            info["TimeLimit.truncated"] = truncated and not terminated
            if done:
                info["terminal_observation"] = obs
                obs, self.reset_infos[index] = env.reset()
            self.buf_infos[index] = info
            infos.append({name: value if type(value) in _FIXED else _copied(value) for name, value in info.items()})
            self._save_obs(index, obs)
        return self._obs_from_buf(), rewards.copy(), dones.copy(), infos

    def _save_obs(self, env_idx: int, obs: Any) -> None:
        require_as_space(obs, self.observation_space, env_idx)
        if (only := self._only_array()) is None:
            super()._save_obs(env_idx, obs)
        else:
            only[env_idx] = obs

    def _obs_from_buf(self) -> VecEnvObs:
        if (only := self._only_array()) is not None:
            return only.copy()
        copies = type(self.buf_obs)((key, values.copy()) for key, values in self.buf_obs.items())
        observations: VecEnvObs = dict_to_obs(self.observation_space, copies)
        return observations

    def _only_array(self) -> np.ndarray | None:
        """Return the memory of observations that are one array, None of those that have parts."""
        parts: dict[Any, np.ndarray] = self.buf_obs  # SB3 has a whole one under None
        return parts.get(None)


def _copied(value: Any) -> Any:
    """Return a deep copy, in a tenth of the time of what an episode's end adds: an array, and `Monitor`'s numbers."""
    if type(value) is np.ndarray and not value.dtype.hasobject:
        return value.copy(order="K")
    if type(value) is dict and all(type(key) in _FIXED and type(part) in _FIXED for key, part in value.items()):
        return value.copy()
    return deepcopy(value)


def make_lean(env: GymEnv | None, wrapped: VecEnv) -> None:
    """Make the ``DummyVecEnv`` that SB3 has just put around `env` a lean one.

    A user's own stays what it is, and looks at what it is handed.

    :param env: what the user gave
    :param wrapped: what SB3 made of it
    """
    while isinstance(wrapped, VecEnvWrapper):
        wrapped = wrapped.venv
    if type(wrapped) is DummyVecEnv and not isinstance(env, VecEnv):
        wrapped.__class__ = LeanVecEnv
    elif isinstance(wrapped, DummyVecEnv) and not isinstance(wrapped, LeanVecEnv):
        vars(wrapped)["_save_obs"] = partial(_save_checked, wrapped)


def _save_checked(venv: DummyVecEnv, env_idx: int, obs: Any) -> None:
    """Keep an observation as the user's own ``DummyVecEnv`` does, which would stretch, cut and round it."""
    require_as_space(obs, venv.observation_space, env_idx)
    type(venv)._save_obs(venv, env_idx, obs)
