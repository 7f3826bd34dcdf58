"""What an environment returns is looked at before it is learned from: the step, the environment and the quantity."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv

from sb3_course import ActorCritic, DoubleDQN
from sb3_course.config.errors import InputError
from sb3_course.sb3.soundness import ObservationError

SMALL = {"device": "cpu", "policy_kwargs": {"net_arch": [4]}}


class Odd(gym.Env[Any, Any]):
    """Two numbers a step, until one step at which something else comes; step 0 is the reset."""

    observation_space = spaces.Box(-1, 1, (2,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, at: int = -1, shown: Any = None, reward: float = 0.0, ends: bool = False) -> None:
        self.at, self.shown, self.reward, self.ends, self.steps = at, shown, reward, ends, 0

    def see(self) -> Any:
        return self.shown if self.steps == self.at and self.shown is not None else np.zeros(2, np.float32)

    def reset(self, **_: Any) -> Any:
        return self.see(), {}

    def step(self, _: Any) -> Any:
        self.steps += 1
        odd = self.steps == self.at
        return self.see(), self.reward if odd else 0.0, odd and self.ends, False, {}


def make(cls: Any, env: Any) -> Any:
    more = {"buffer_size": 50, "learning_starts": 4} if cls is DoubleDQN else {}
    return cls("MlpPolicy", env, **SMALL, **more)


WRONG = {
    "fewer numbers": (np.zeros(1, np.float32), r"another shape or type at step {step} \(got 'shape \(1,\) and type"),
    "a number alone": (np.float32(0), r"another shape or type at step {step} \(got 'shape \(\) and type float32'"),
    "with its info": ((np.zeros(2), {}), r"\(observation, info\) at step {step} "),
    "no numbers": (np.array(["a", "b"]), r"another shape or type at step {step} \(got 'shape \(2,\) and type <U1'"),
    "nothing": ([None, None], r"another shape or type at step {step} "),
    "rows of two lengths": ([[1.0], [1.0, 2.0]], r"another shape or type at step {step} "),
}


@pytest.mark.parametrize("shown", WRONG)
@pytest.mark.parametrize("at", [0, 3])
@pytest.mark.parametrize(("cls", "own"), [(DoubleDQN, False), (DoubleDQN, True), (ActorCritic, True)])
def test_another_shape_or_type_is_named_with_its_env_and_step(cls: Any, own: bool, at: int, shown: str) -> None:
    value, words = WRONG[shown]
    env = DummyVecEnv([Odd, lambda: Odd(at, value)]) if own else Odd(at, value)
    n_envs = 2 if own else 1
    with pytest.raises(ObservationError, match=f"env {n_envs - 1} returns " + words.format(step=at * n_envs)) as told:
        make(cls, env).learn(20)
    assert told.value.field == "observation"
    assert "want shape (2,) and type float32" in str(told.value)
    assert "\n" not in str(told.value)


def test_another_precision_and_a_list_are_taken() -> None:
    for shown in (np.zeros(2), [0.0, 0.5], [0, 1]):
        make(DoubleDQN, Odd(3, shown)).learn(8)


@pytest.mark.usefixtures("worker_server")
@pytest.mark.parametrize("vec_env", [DummyVecEnv, SubprocVecEnv])
@pytest.mark.parametrize("cls", [DoubleDQN, ActorCritic])
def test_the_environment_of_a_number_that_is_not_finite_is_named(cls: Any, vec_env: Any) -> None:
    spoiled = np.array([0, np.nan], np.float32)
    cases = [({"reward": float("inf")}, "reward"), ({"shown": spoiled}, "observation")]
    for keys, quantity in cases:
        env = vec_env([Odd, lambda keys=keys: Odd(3, **keys)])
        try:
            with pytest.raises(FloatingPointError, match=rf"^{quantity}: not finite at step 6 of env 1 \(got "):
                make(cls, env).learn(20)
        finally:
            env.close()


def test_the_last_observation_of_an_episode_is_looked_at() -> None:
    model = make(DoubleDQN, Odd(3, np.full(2, np.nan, np.float32), ends=True))
    with pytest.raises(FloatingPointError, match=r"^observation: not finite at step 3 of env 0 \(got nan\)"):
        model.learn(20)
    assert model.replay_buffer.size() == 2


@pytest.mark.usefixtures("worker_server")
def test_processes_that_differ_in_shape_are_told() -> None:
    env = SubprocVecEnv([Odd, lambda: Odd(3, np.zeros(3, np.float32))])
    try:
        with pytest.raises(ObservationError, match=r"differs in shape from environment to environment at step 6"):
            make(DoubleDQN, env).learn(20)
    finally:
        env.close()


def test_an_env_of_another_api_is_told() -> None:
    class Old(Odd):
        def reset(self, **_: Any) -> Any:
            return self.see()

    class Four(Odd):
        def step(self, _: Any) -> Any:
            return self.see(), 0.0, False, {}

    for env, method in ((Old(), "reset"), (Four(), "step")):
        with pytest.raises(InputError, match=rf"^env\.{method}: answers otherwise than Gymnasium's API says"):
            make(DoubleDQN, env).learn(8)


def test_who_looks_at_steps_in_a_way_of_his_own_is_asked() -> None:
    looked: list[int] = []

    class Looking(DoubleDQN):
        def _require_sound(self, *step: Any) -> None:
            looked.append(self.num_timesteps)
            super()._require_sound(*step)

    make(Looking, Odd()).learn(6)
    patched = make(DoubleDQN, Odd())
    patched._require_sound = lambda *step: looked.append(-1)
    patched.learn(3)
    assert looked == [1, 2, 3, 4, 5, 6, -1, -1, -1]
