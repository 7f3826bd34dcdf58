"""Where `VecNormalize` has to stand: outermost, if what it has seen is to be kept in a replay buffer."""

from __future__ import annotations

from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper, VecNormalize

from sb3_course.config.errors import InputError


def require_normalized_outermost(env: VecEnv) -> None:
    """Refuse `VecNormalize` under a wrapper that changes the observations.

    SB3 stores what `VecNormalize` saw before it normalised, and normalises it again in each batch: frames stacked or
    transposed outside of it would be stored as they were inside.

    :param env: as the algorithm will use it, with what SB3 has put around it
    :raises InputError: naming the wrappers and their right order
    """
    outside: list[str] = []
    while isinstance(env, VecEnvWrapper) and not isinstance(env, VecNormalize):
        if env.observation_space != env.venv.observation_space:
            outside.append(type(env).__name__)
        env = env.venv
    if isinstance(env, VecNormalize) and outside:
        got = "(".join([*outside, "VecNormalize", "..."]) + ")" * (len(outside) + 1)
        want = "(".join(["VecNormalize", *outside, "..."]) + ")" * (len(outside) + 1)
        what = "a replay buffer cannot keep observations that change after they are normalised"
        raise InputError("env", what, got, f"VecNormalize outermost: {want}")
