"""Evaluations on several environments: the scores of one, whatever is played beside an episode."""

from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.atari_wrappers import EpisodicLifeEnv, FireResetEnv

from sb3_course.registry import find
from sb3_course.runs import Settings, execute
from sb3_course.runs.choosers import ROWS, Together
from sb3_course.runs.environment import evaluation_env, set_normalization_state
from sb3_course.runs.evaluation import Evaluation, evaluate
from sb3_course.runs.model import build_model
from sb3_course.runs.words import Wrapper

SHORT = {"env_kwargs": {"max_episode_steps": 60}}
#: What lies around the environment, and the algorithm that plays it.
CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "torch": ("dqn", "CartPole-v1", {}),
    "numpy": ("double_dqn", "CartPole-v1", {}),
    "numpy, other widths": ("actor_critic", "CartPole-v1", {"hyperparameters": {"policy_kwargs": {"net_arch": [37]}}}),
    "noise": ("rainbow", "CartPole-v1", {"hyperparameters": {"n_atoms": 7, "v_max": 50.0}}),
    "continuous, where every bit counts": ("sac", "Pendulum-v1", SHORT),
    "statistics": ("ppo", "Pendulum-v1", {**SHORT, "normalize": {}}),
    "frames": ("a2c", "Pendulum-v1", {**SHORT, "frame_stack": 3}),
    "shaped": ("dqn", "CartPole-v1", {"env_wrapper": (Wrapper("sb3_course.envs.wrappers:ShapedCartPole"),)}),
    "cut": (
        "reinforce", "Pendulum-v1",
        {"env_wrapper": (Wrapper("gymnasium.wrappers:TimeLimit", {"max_episode_steps": 7}),)},
    ),
    "a table": ("q_table", "sb3_course/Bandit-v0", {}),
}  # fmt: skip


def scores_of(settings: Settings, model: Any, n_envs: int, episodes: int = 11, **options: Any) -> Evaluation:
    venv = evaluation_env(settings, n_envs=n_envs)
    if settings.normalize is not None:
        moments = {"mean": np.array([0.3, -0.1, 1.0]), "var": np.array([0.5, 0.4, 9.0]), "count": 100.0}
        returns = {"mean": np.array(0.0), "var": np.array(1.0), "count": 100.0}
        set_normalization_state(venv, {"obs": moments, "ret": returns, "returns": np.zeros(1)})
    try:
        return evaluate(model, venv, episodes, seed=5, **options)
    finally:
        venv.close()


@pytest.mark.parametrize("case", CASES)
def test_several_environments_score_what_one_does(case: str) -> None:
    algo, env, options = CASES[case]
    settings = Settings(algo=algo, env=env, n_timesteps=1000, **options)
    venv = evaluation_env(settings)
    model = build_model(settings, venv)
    alone = scores_of(settings, model, 1)
    venv.close()
    assert len(set(alone.returns)) > 1, "episodes differ"
    for n_envs in (3, ROWS):
        together = scores_of(settings, model, n_envs)
        assert (together.returns, together.lengths) == (alone.returns, alone.lengths), n_envs
    # An episode is the same one, however many are asked for.
    assert scores_of(settings, model, 4, episodes=5).returns == alone.returns[:5]


def test_rows_are_computed_as_they_are_alone() -> None:
    """Bit for bit, what returns alone might not show."""
    model = find("sac").load()("MlpPolicy", "Pendulum-v1", seed=0, device="cpu")
    observations = np.random.default_rng(0).normal(size=(11, 3)).astype(np.float32)
    episodes, steps = list(range(11)), [3] * 11
    choose = Together(model)
    actions = choose(observations, episodes, steps)
    for env, episode in enumerate(episodes):
        np.testing.assert_array_equal(choose(observations[env : env + 1], [episode], [3])[0], actions[env])
    some = choose(observations, [e if e % 3 else None for e in episodes], steps)
    np.testing.assert_array_equal(some[1::3], actions[1::3])


@pytest.mark.parametrize(("algo", "env"), [
    ("dqn", "CartPole-v1"), ("double_dqn", "CartPole-v1"), ("ppo", "CartPole-v1"), ("actor_critic", "CartPole-v1"),
    ("sac", "Pendulum-v1"), ("noisy_dqn", "CartPole-v1"),
])  # fmt: skip
def test_draws_belong_to_an_episode_and_leave_no_trace(algo: str, env: str) -> None:
    settings = Settings(algo=algo, env=env, n_timesteps=1000, **(SHORT if env == "Pendulum-v1" else {}))
    venv = evaluation_env(settings)
    model = build_model(settings, venv)
    venv.close()
    if hasattr(model, "exploration_rate"):
        model.exploration_rate = 0.0 if algo == "noisy_dqn" else 0.5

    def generators() -> list[Any]:
        own = model.rng.bit_generator.state["state"] if hasattr(model, "rng") else None
        keys = np.random.get_state()  # noqa: NPY002
        return [own, str(model.action_space.np_random.bit_generator.state), str(keys), th.get_rng_state().tolist()]

    before = generators()
    alone = scores_of(settings, model, 1, episodes=4, deterministic=False)
    assert scores_of(settings, model, 3, episodes=4, deterministic=False).returns == alone.returns
    assert generators() == before
    assert len(set(alone.returns)) > 1
    assert alone.returns != scores_of(settings, model, 4, episodes=4).returns, "something was drawn"


class Counting:
    """A policy with a memory: it goes right in every third step of an episode."""

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> Any:
        count = np.zeros(len(observation), int) if state is None else state
        count = np.where(episode_start, 0, count) + 1
        return (count % 3 == 0).astype(int), count


def test_a_memory_belongs_to_an_episode() -> None:
    settings = Settings(algo="dqn", env="CartPole-v1", n_timesteps=1000)
    alone = scores_of(settings, Counting(), 1)
    assert len(set(alone.returns)) > 1
    assert scores_of(settings, Counting(), 4) == alone
    assert alone == scores_of(settings, Counting(), 1, episodes=11)


class Lives(gym.Env[Any, Any]):
    """Three lives of a random length above three; the score is what all three lasted."""

    observation_space, action_space = spaces.Box(0, 1, (1,)), spaces.Discrete(3)
    ale: Any

    def get_action_meanings(self) -> list[str]:
        return ["NOOP", "FIRE", "UP"]

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.ale, self.left, self.steps = self, 3, 0
        return np.array([self.np_random.random()], np.float32), {}

    def lives(self) -> int:
        return self.left

    def step(self, action: Any) -> Any:
        self.steps += 1
        if self.np_random.random() < 0.2 and self.steps > 3:  # no life is lost while a game is begun
            self.left, self.steps = self.left - 1, 0
        return np.array([self.np_random.random()], np.float32), 1.0, self.left == 0, False, {}


@pytest.fixture
def lives_env() -> Iterator[str]:
    gym.register("tests/Lives-v0", Lives, max_episode_steps=500)
    yield "tests/Lives-v0"
    del gym.registry["tests/Lives-v0"]


def test_a_lost_life_begins_no_episode(lives_env: str) -> None:
    name = f"{EpisodicLifeEnv.__module__}:{EpisodicLifeEnv.__name__}"
    plain = Settings(algo="dqn", env=lives_env, n_timesteps=1000)
    model = build_model(plain, venv := evaluation_env(plain))
    venv.close()
    lives = plain.replace(env_wrapper=(Wrapper(name),))
    expected = scores_of(plain, model, 1)  # what is drawn does not depend on the actions
    assert len(set(expected.lengths)) > 3
    assert scores_of(lives, model, 1) == scores_of(lives, model, 3) == expected


@pytest.mark.parametrize("n_envs", [1, 3])
def test_an_evaluation_begins_new_games_where_the_last_one_left_wrappers(lives_env: str, n_envs: int) -> None:
    # AtariWrapper's: one begins a game only after one that was over, the other takes two steps in every game.
    wrappers = [Wrapper(f"{each.__module__}:{each.__name__}") for each in (EpisodicLifeEnv, FireResetEnv)]
    plain = Settings(algo="dqn", env=lives_env, n_timesteps=1000)
    model = build_model(plain, venv := evaluation_env(plain))
    venv.close()
    expected = scores_of(plain, model, 1)
    venv = evaluation_env(plain.replace(env_wrapper=tuple(wrappers)), n_envs=n_envs)
    for episodes in (11, 11, 2, 11):
        assert evaluate(model, venv, episodes, seed=5).returns == expected.returns[:episodes]
    venv.close()


def test_a_run_scores_the_same_on_any_number_of_environments() -> None:
    settings = Settings(
        algo="a2c", env="CartPole-v1", n_timesteps=100, eval_freq=50, eval_episodes=3, final_episodes=9, n_eval_envs=1,
        normalize={},
    )  # fmt: skip
    one, several = execute(settings), execute(settings.replace(n_eval_envs=4))
    assert one.evaluations == several.evaluations
    assert one.final == several.final
    assert one.final is not None
    assert len(set(one.final.returns)) > 1


def test_neighbouring_runs_share_no_episode() -> None:
    settings = Settings(algo="dqn", env="Pendulum-v1", n_timesteps=1000)
    starts = []
    for seed in (500_000, 500_001):
        venv, seen = evaluation_env(settings, n_envs=2), []

        class Nothing:
            def predict(self, observation: Any, *_: Any, **__: Any) -> tuple[Any, None]:
                return np.zeros((len(observation), 1), np.float32), None

        evaluate(
            Nothing(), venv, 6, seed, watch=lambda env, seen=seen: env.steps or seen.append(env.unwrapped.state[0])
        )
        venv.close()
        starts.append(seen)
    assert len(set(starts[0] + starts[1])) == 12
