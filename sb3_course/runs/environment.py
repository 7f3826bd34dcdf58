"""Environments of a run: made, monitored, wrapped, vectorised, normalised, stacked and seeded."""

from __future__ import annotations

import importlib
import signal
import tempfile
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    VecEnv,
    VecFrameStack,
    VecNormalize,
    unwrap_vec_normalize,
)

import sb3_course.envs  # noqa: F401  registers our environment ids, in spawned workers too
from sb3_course.config.errors import InputError, did_you_mean
from sb3_course.runs.episode_player import EpisodePlayer
from sb3_course.runs.presets import is_atari
from sb3_course.runs.run_wrappers import Courier, CutNotice, EpisodeCut, EpisodeMonitor
from sb3_course.sb3.reread import SpawnedVecEnv

if TYPE_CHECKING:
    from sb3_course.runs.settings import Settings
    from sb3_course.runs.words import Wrapper

# Far from the training seeds (seed, seed + 1, ...): evaluations use seed + offset + steps trained so far, so that each
# is independent of those before it; the final score uses starts that are the same for every run of one seed.
EVALUATION_SEED_OFFSET = 1_000_000
FINAL_SEED_OFFSET = 500_000

#: Steps after which an episode is cut in an evaluation, where the environment states no limit: a policy that has
#: learnt nothing may never reach an end. Atari's games end by themselves, after 108,000 frames.
LONGEST_EPISODE, LONGEST_ATARI_EPISODE = 10_000, 108_000


def find_env(env_id: str) -> gym.envs.registration.EnvSpec:
    """Return the specification of a registered environment.

    :param env_id: e.g. `CartPole-v1`, `sb3_course/GridWorld-v0`, `module:Name-v0`
    :raises InputError: when there is none, with the nearest name
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an outdated version is refused or works; which one is newer is no error
            module, _, name = env_id.rpartition(":")
            if module:
                importlib.import_module(module)  # which registers it
            spec = gym.spec(name)
        if spec.id in gym.registry:
            return spec
    except (gym.error.Error, ImportError, ValueError):
        pass
    hint = did_you_mean(env_id, gym.registry)
    raise InputError("env", f"no environment of this name is registered{hint}", env_id, "an id that gymnasium knows")


def longest_episode(settings: Settings) -> int:
    """Return how many steps an episode has at most: the environment's own limit, or the one for evaluations."""
    spec = find_env(settings.env)
    limit = settings.env_kwargs.get("max_episode_steps", spec.max_episode_steps)
    if isinstance(limit, int) and limit > 0:  # -1 takes the limit away
        return limit
    return LONGEST_ATARI_EPISODE if is_atari(settings.env) else LONGEST_EPISODE


def load_wrapper(wrapper: Wrapper) -> type[gym.Wrapper[Any, Any, Any, Any]]:
    """Return the class that a wrapper's name stands for.

    :raises InputError: when it cannot be imported or is no `gymnasium.Wrapper`
    """
    module, _, name = wrapper.name.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except ImportError as error:
        raise InputError("env_wrapper", f"cannot import the module: {error}", wrapper.name, "module:Class") from None
    except AttributeError:
        hint = did_you_mean(name, vars(importlib.import_module(module)))
        raise InputError("env_wrapper", f"no such class in {module}{hint}", name, "module:Class") from None
    if not (isinstance(found, type) and issubclass(found, gym.Wrapper)):
        raise InputError("env_wrapper", "is no gymnasium.Wrapper", wrapper.name, "a subclass of gymnasium.Wrapper")
    return found


def make_one(
    settings: Settings, failures: Path | None = None, scoring: CutNotice | None = None, **options: Any
) -> gym.Env[Any, Any]:
    """Return one environment: the plain one, then the monitor that scores it, then the wrappers.

    :param settings: of the run
    :param failures: given in a process of its own, see `Courier`
    :param scoring: given for evaluations, whose episodes have to end; told of those that are cut
    :param options: further arguments of `gym.make`, such as `render_mode`
    :raises InputError: when the environment or a wrapper refuses its arguments
    """
    if failures is not None:
        # Ctrl-C reaches every process of the terminal; only the parent decides what it means.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    find_env(settings.env)
    try:
        env = gym.make(settings.env, **{**settings.env_kwargs, **options})
    except Exception as error:  # whatever a constructor raises, it is an answer to what was asked of it
        got = dict(settings.env_kwargs) or settings.env
        raise InputError("env_kwargs" if settings.env_kwargs else "env", _reason(error), got) from error
    env = monitor = EpisodeMonitor(env if scoring is None else EpisodeCut(env, longest_episode(settings), scoring))
    for wrapper in settings.env_wrapper:
        try:
            env = load_wrapper(wrapper)(env, **wrapper.kwargs)
        except InputError:
            raise
        except Exception as error:
            raise InputError("env_wrapper", _reason(error), f"{wrapper.name} {dict(wrapper.kwargs)}") from error
    if scoring is not None:
        return EpisodePlayer(env, monitor)
    return env if failures is None else Courier(env, failures)


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"cannot be made: {type(error).__name__}: {lines[0] if lines else 'no reason given'}"


def training_env(settings: Settings, failures: Path | None = None) -> VecEnv:
    """Return the training environments, environment i seeded with `seed + i`.

    :param settings: of the run
    :param failures: a folder where processes of environments leave the reason of a failure
    """
    make_one(settings).close()  # here, where an error still has its reason, and not in a worker
    subproc = settings.vec_env == "subproc"
    failures = (failures or Path(tempfile.gettempdir())) if subproc else None
    makers: list[Callable[[], gym.Env[Any, Any]]] = [
        partial(make_one, settings, failures) for _ in range(settings.n_envs)
    ]
    venv: VecEnv = SpawnedVecEnv(makers) if subproc else DummyVecEnv(makers)
    try:
        venv = _finish(settings, venv, training=True)
    except BaseException:
        venv.close()
        raise
    venv.seed(settings.seed)
    return venv


def evaluation_env(settings: Settings, render_mode: str | None = None, n_envs: int = 1) -> VecEnv:
    """Return environments for evaluation: wrapped like the training ones, statistics frozen, rewards as they are.

    :param settings: of the run
    :param render_mode: of `gym.make`
    :param n_envs: how many play side by side
    """
    options: dict[str, Any] = {} if render_mode is None else {"render_mode": render_mode}
    notice = CutNotice()
    make = partial(make_one, settings, scoring=notice, **options)
    return _finish(settings, DummyVecEnv([make] * n_envs), training=False)


def close_env(venv: VecEnv) -> None:
    """Close environments even where one of their processes has died; none is left behind."""
    processes = getattr(venv.unwrapped, "processes", [])
    try:
        venv.close()
    except (EOFError, OSError):  # SB3 waits for an answer that a dead process will not give
        for process in processes:
            process.terminate()
            process.join()


def _finish(settings: Settings, venv: VecEnv, training: bool) -> VecEnv:
    try:
        if settings.normalize is not None:
            # The discount of the running return is the algorithm's own, as in the zoo.
            gamma = {"gamma": settings.hyperparameters["gamma"]} if "gamma" in settings.hyperparameters else {}
            venv = VecNormalize(venv, training=training, **{**gamma, **settings.normalize})
            venv.norm_reward = venv.norm_reward and training
        if settings.frame_stack > 1:
            venv = VecFrameStack(venv, settings.frame_stack)
    except (ValueError, AssertionError, TypeError, NotImplementedError) as error:
        field = "normalize" if settings.normalize is not None else "frame_stack"
        raise InputError(field, _reason(error), settings.normalize or settings.frame_stack) from error
    return venv


def normalization_state(venv: VecEnv) -> dict[str, Any] | None:
    """Return the running statistics of `VecNormalize` as plain arrays, or None without it."""
    norm = unwrap_vec_normalize(venv)
    if norm is None:
        return None
    state: dict[str, Any] = {"ret": _moments(norm.ret_rms), "returns": np.array(norm.returns)}
    if norm.norm_obs:
        rms = norm.obs_rms
        state["obs"] = {key: _moments(item) for key, item in rms.items()} if isinstance(rms, dict) else _moments(rms)
    return state


def set_normalization_state(venv: VecEnv, state: Mapping[str, Any]) -> None:
    """Put back what `normalization_state` returned; another number of environments keeps its own running returns."""
    norm = unwrap_vec_normalize(venv)
    if norm is None:
        raise InputError("normalization", "the environment does not normalise", want="the run's own settings")
    _set_moments(norm.ret_rms, state["ret"])
    if len(state["returns"]) == norm.num_envs:
        norm.returns = np.array(state["returns"])
    if norm.norm_obs:
        rms = norm.obs_rms
        pairs = [(rms[key], state["obs"][key]) for key in rms] if isinstance(rms, dict) else [(rms, state["obs"])]
        for target, source in pairs:
            _set_moments(target, source)


def _moments(rms: Any) -> dict[str, Any]:
    return {"mean": np.array(rms.mean), "var": np.array(rms.var), "count": float(rms.count)}


def _set_moments(rms: Any, state: Mapping[str, Any]) -> None:
    rms.mean, rms.var, rms.count = np.array(state["mean"]), np.array(state["var"]), float(state["count"])


def statistics_path(model_path: Path) -> Path:
    """Return where the normalisation statistics of a model lie: beside it, `model.normalization.npz`."""
    return model_path.with_suffix(".normalization.npz")
