"""What a run has learned, drawn by its environment: values in a GridWorld, a policy in OneShot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv

from sb3_course.config.errors import InputError
from sb3_course.envs import GridWorldEnv, OneShotEnv
from sb3_course.networks.noisy import noise_free
from sb3_course.runs.environment import close_env, evaluation_env, set_normalization_state
from sb3_course.runs.folder import RunFolder
from sb3_course.runs.settings import Settings
from sb3_course.saving.files import atomic_path


def draw_learned(folder: RunFolder, settings: Settings, model: Any, statistics: dict[str, Any] | None) -> Path | None:
    """Draw `values.png` or `policy.png` and return its path; None where the environment has no such picture.

    :param folder: of the run
    :param settings: of the run
    :param model: that has learned
    :param statistics: of `normalization_state`
    """
    from sb3_course.runs.known_envs import find_env

    entry = str(find_env(settings.env).entry_point)
    if not entry.endswith((f":{GridWorldEnv.__name__}", f":{OneShotEnv.__name__}")):
        return None  # without making an environment
    venv = evaluation_env(settings, "rgb_array")
    try:
        if statistics is not None:
            set_normalization_state(venv, statistics)
        vectorised: Any = venv.unwrapped
        env = vectorised.envs[0].unwrapped
        if venv.action_space != env.action_space:  # a wrapper's actions are not the picture's
            return None
        if isinstance(env, GridWorldEnv):
            env.q_values, path = grid_values(model, venv, env), folder.values
            env.state = None
        else:
            env.policy, path = gaussian_of(model, venv.reset()), folder.policy
            env.last_actions.clear()
        return _write(path, env.render())
    finally:
        close_env(venv)


def _write(path: Path, frame: Any) -> Path:
    from PIL import Image

    with atomic_path(path) as temporary:
        Image.fromarray(frame).save(temporary, format="PNG")
    return path


def grid_values(model: Any, venv: VecEnv, env: GridWorldEnv) -> np.ndarray:
    """Return what is learned of every cell that one can stand in, (S, 4); 0 of the others."""
    values = np.zeros((env.rows * env.columns, 4))
    for state, cell in enumerate("".join(env.map)):
        if cell != "#":
            env.begin_in(state)
            values[state] = action_values(model, venv.reset())[0]
    env.begin_in(None)
    return values


def return_distribution(model: Any, observations: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the returns that a model holds possible of each action, and their probabilities, (B, A, N) each.

    :param model: ours with a return distribution, or sb3-contrib's QRDQN
    :param observations: of a `VecEnv`, (B, …)
    :raises InputError: for a model that learns no distribution of the return
    """
    policy = model.policy
    policy.set_training_mode(False)
    tensors = policy.obs_to_tensor(observations)[0]
    with th.no_grad(), noise_free(policy):
        if hasattr(policy, "quantile_net"):
            returns = policy.quantile_net(tensors).transpose(1, 2)
            found = returns, th.full_like(returns, 1 / returns.shape[2])
        elif hasattr(getattr(policy, "q_net", None), "estimate"):
            found = policy.q_net.estimate.returns(policy.q_net.outputs(tensors))
        else:
            found = (th.zeros(1, 1, 1),) * 2
    returns, shares = (each.cpu().numpy() for each in found)
    if returns.shape[2] == 1:
        want = "c51, quantile_dqn, iqn, rainbow, btr or qrdqn"
        raise InputError("RUN", "this model learns no distribution of the return", type(model).__name__, want)
    return returns, shares


def action_values(model: Any, observations: Any) -> np.ndarray:
    """Return Q(s, a) of a value-based model, else π(a|s), (B, A); of a policy that tells neither, 1 for its choice.

    :param model: any algorithm with Discrete actions
    :param observations: of a `VecEnv`, (B, …)
    """
    policy = model.policy
    policy.set_training_mode(False)
    tensors = policy.obs_to_tensor(observations)[0]
    with th.no_grad(), noise_free(policy):
        if hasattr(policy, "q_net"):
            return np.asarray(policy.q_net(tensors).cpu().numpy())
        if hasattr(policy, "quantile_net"):
            return np.asarray(policy.quantile_net(tensors).mean(dim=1).cpu().numpy())
        if hasattr(policy, "get_distribution"):
            return np.asarray(policy.get_distribution(tensors).distribution.probs.cpu().numpy())
    chosen, space = model.predict(observations, deterministic=True)[0], model.action_space
    assert isinstance(space, spaces.Discrete)
    return np.asarray(np.eye(int(space.n))[chosen - int(space.start)])


def gaussian_of(model: Any, observations: Any) -> tuple[float, float]:
    """Return mean and standard deviation of the policy's Gaussian; 0 for a policy that has none, at its action."""
    policy = model.policy
    policy.set_training_mode(False)
    if hasattr(policy, "get_distribution"):
        with th.no_grad(), noise_free(policy):
            normal = policy.get_distribution(policy.obs_to_tensor(observations)[0]).distribution
        return float(normal.mean[0]), float(normal.stddev[0])
    return float(np.asarray(model.predict(observations, deterministic=True)[0]).reshape(-1)[0]), 0.0
