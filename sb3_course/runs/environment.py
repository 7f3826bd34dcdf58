"""Environments of a run: made, monitored, wrapped, vectorised, normalised, stacked and seeded."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space, is_image_space_channels_first
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    VecEnv,
    VecEnvWrapper,
    VecFrameStack,
    VecNormalize,
    VecTransposeImage,
    unwrap_vec_normalize,
)

from sb3_course import registry
from sb3_course.config.errors import InputError
from sb3_course.config.named_classes import allowed_modules, find_class
from sb3_course.config.text import resolve
from sb3_course.runs.episode_player import EpisodePlayer
from sb3_course.runs.known_envs import env_arguments, find_env, given_arguments, longest_episode
from sb3_course.runs.run_wrappers import Courier, CutNotice, EpisodeCut, EpisodeMonitor
from sb3_course.sb3.interrupts import stand_apart
from sb3_course.sb3.masking import keeping_terminal_masks
from sb3_course.sb3.recorded_env import EpisodeRecorder
from sb3_course.sb3.reread import SpawnedVecEnv
from sb3_course.sb3.vec_env import LeanVecEnv

if TYPE_CHECKING:
    from sb3_course.runs.settings import Settings
    from sb3_course.runs.words import Wrapper

# Far from the training seeds (seed, seed + 1, ...): evaluations use seed + offset + steps trained so far, so that each
# is independent of those before it; the final score uses starts that are the same for every run of one seed.
EVALUATION_SEED_OFFSET = 1_000_000
FINAL_SEED_OFFSET = 500_000


def wrapped(env: Any, wrapper: Wrapper, field: str, base: type[Any]) -> Any:
    """Return an environment in a wrapper.

    :param env: one environment, or several as one
    :param wrapper: of a class below `base`
    :param field: the key that names it
    :raises InputError: when there is no such class, and when it refuses its arguments
    """
    cls = find_class(wrapper.name, field, base)
    try:
        return cls(env, **resolve(wrapper.kwargs, field))
    except InputError:
        raise
    except Exception as error:  # whatever a constructor raises, it is an answer to what was asked of it
        got, want = f"{wrapper.name} {dict(wrapper.kwargs)}", "arguments that it takes, and what it can wrap"
        raise InputError(field, cannot_be_made(error), got, want) from error


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
        stand_apart()
    find_env(settings.env)
    given = given_arguments(settings, scoring is not None)
    arguments = env_arguments(settings, scoring is not None)
    try:
        env = gym.make(settings.env, **{**arguments, **options})
    except Exception as error:  # whatever a constructor raises, it is an answer to what was asked of it
        named = "eval_env_kwargs" if given is settings.eval_env_kwargs else "env_kwargs"
        field, got = (named, dict(given)) if given else ("env", settings.env)
        raise InputError(field, cannot_be_made(error), got, f"what {settings.env} can be made with") from error
    recorder = EpisodeRecorder(env, between=scoring is not None)
    if scoring is None:
        env = monitor = EpisodeMonitor(recorder, **settings.monitor_kwargs)
    else:
        env = monitor = EpisodeMonitor(EpisodeCut(recorder, longest_episode(settings, scoring=True), scoring))
    for wrapper in settings.env_wrapper:
        env = wrapped(env, wrapper, "env_wrapper", gym.Wrapper)
    env = keeping_terminal_masks(env) if scoring is None else EpisodePlayer(env, monitor)
    recorder.outermost = env
    return env if failures is None else Courier(env, failures)


def _make_in_process(modules: tuple[str, ...], settings: Settings, failures: Path) -> gym.Env[Any, Any]:
    """Make one environment in a process that has not yet imported what the user's `--import` named."""
    registry.load_plugins(modules)
    return make_one(settings, failures)


def cannot_be_made(error: Exception) -> str:
    """Return in words that something cannot be made, and the first line of the reason."""
    lines = str(error).strip().splitlines()
    return f"cannot be made: {type(error).__name__}: {lines[0] if lines else 'no reason given'}"


def training_env(settings: Settings, failures: Path | None = None) -> VecEnv:
    """Return the training environments, environment i seeded with `seed + i`.

    :param settings: of the run
    :param failures: a folder where processes of environments leave the reason of a failure
    """
    make_one(settings).close()  # here, where an error still has its reason, and not in a worker
    # ARS rates one candidate in one environment; the zoo's `n_envs` is its number of processes, each with one.
    n_envs = 1 if registry.find(settings.algo).family == "evolution" else settings.n_envs
    venv: VecEnv
    if settings.vec_env == "subproc":
        failures = failures or Path(tempfile.gettempdir())
        make: Callable[[], gym.Env[Any, Any]] = partial(_make_in_process, allowed_modules(), settings, failures)
        venv = SpawnedVecEnv([make] * n_envs)
    else:
        # Ours look at every observation anyway, and take the faster one; others' take what SB3's own takes.
        side_by_side = LeanVecEnv if registry.find(settings.algo).source == "sb3_course" else DummyVecEnv
        venv = side_by_side([partial(make_one, settings)] * n_envs)
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
    """Wrap the environments: the user's wrappers inside, then stacked frames, and normalising outermost.

    A replay buffer keeps what was seen before it was normalised, which `VecNormalize` alone knows: no wrapper around
    it may change the observations.
    """
    for wrapper in settings.vec_env_wrapper:
        venv = wrapped(venv, wrapper, "vec_env_wrapper", VecEnvWrapper)
    field = "frame_stack"
    try:
        if settings.frame_stack > 1:
            venv = VecFrameStack(venv, settings.frame_stack)
        field = "normalize"
        if settings.normalize is not None:
            # The discount of the running return is the algorithm's own, as in the zoo.
            gamma = {"gamma": settings.hyperparameters["gamma"]} if "gamma" in settings.hyperparameters else {}
            venv = VecNormalize(_channels_first(venv), training=training, **{**gamma, **settings.normalize})
            venv.norm_reward = venv.norm_reward and training
    except (ValueError, AssertionError, TypeError, NotImplementedError) as error:
        want = "arguments that its class takes, for observations that it can change"
        raise InputError(field, cannot_be_made(error), getattr(settings, field), want) from error
    return venv


def _channels_first(venv: VecEnv) -> VecEnv:
    """Return environments whose pictures have their channels first, as SB3 would make them by a wrapper outermost."""
    space = venv.observation_space
    parts = space.spaces.values() if isinstance(space, spaces.Dict) else (space,)
    last = any(is_image_space(part) and not is_image_space_channels_first(part) for part in parts)  # type: ignore[arg-type]
    return VecTransposeImage(venv) if last else venv


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
    try:
        pairs = [(norm.ret_rms, _checked(norm.ret_rms, state["ret"]))]
        if norm.norm_obs:
            rms = norm.obs_rms
            both = [(rms[key], state["obs"][key]) for key in rms] if isinstance(rms, dict) else [(rms, state["obs"])]
            pairs += [(target, _checked(target, source)) for target, source in both]
        returns = np.array(state["returns"], dtype=float)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError("normalization", f"the statistics are damaged: {error}", want="what a run wrote") from None
    for target, (mean, var, count) in pairs:
        target.mean, target.var, target.count = mean, var, count
    if len(returns) == norm.num_envs:
        norm.returns = returns


def _moments(rms: Any) -> dict[str, Any]:
    return {"mean": np.array(rms.mean), "var": np.array(rms.var), "count": float(rms.count)}


def _checked(rms: Any, state: Mapping[str, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], float]:
    """Return mean, variance and count that fit `rms`."""
    mean, var = (_repeated(np.array(state[name], dtype=float), rms.mean.shape) for name in ("mean", "var"))
    count = float(state["count"])
    for name, values in {"mean": mean, "variance": var}.items():
        if values.shape != rms.mean.shape:
            raise InputError("normalization", f"the {name} has another shape", values.shape, str(rms.mean.shape))
        if not np.isfinite(values).all() or (name == "variance" and (values < 0).any()):
            raise InputError(
                "normalization", f"the {name} is not finite, or negative", values.min(), "what a run wrote"
            )
    if not (np.isfinite(count) and count >= 0):
        raise InputError("normalization", "the count is no count", count, "what a run wrote")
    return mean, var, count


def _repeated(values: np.ndarray[Any, Any], shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Statistics of single frames, from a run that stacked them after normalising, are those of each in the stack."""
    frames = shape[-1] // max(values.shape[-1], 1) if shape and values.ndim == len(shape) else 1
    return np.tile(values, frames) if frames > 1 else values


def statistics_path(model_path: Path) -> Path:
    """Return where the normalisation statistics of a model lie: beside it, `model.normalization.npz`."""
    return model_path.with_suffix(".normalization.npz")
