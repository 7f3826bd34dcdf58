"""What Gymnasium and SB3 ask of every environment, over every two options of the constructors together."""

import functools
import itertools
import json
import pickle
import subprocess
import sys
import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env, data_equivalence
from pairwise import pairwise
from stable_baselines3 import PPO
from stable_baselines3.common.env_checker import check_env as sb3_check_env
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv

import sb3_course.envs
from sb3_course.envs._base import CourseEnv

GRID, ONE_SHOT, BANDIT = "sb3_course/GridWorld-v0", "sb3_course/OneShot-v0", "sb3_course/Bandit-v0"
BIG_MAP = ["S..#.", ".B..S", "..#.G"]
OBSERVATIONS = ("discrete", "onehot", "coordinates", "image")


def combinations(**options: tuple[Any, ...]) -> list[dict[str, Any]]:
    """Return sets of options such that any two values of different ones share a set."""
    return [dict(zip(options, values, strict=True)) for values in pairwise(*options.values())]


GRID_OPTIONS = combinations(
    map=(None, BIG_MAP, ["SG"]), slip=(0.0, 0.2, 1.0), observation=OBSERVATIONS, end_on_bomb=(False, True)
) + combinations(goal_reward=(5,), bomb_reward=(-2.5, 0), step_reward=(-0.1, 1))
ONE_SHOT_OPTIONS = combinations(
    tau=(4, -1.5), zeta=(0.25, 2), beta=(1, 3.5), action_range=([-10, 10], [-2.0, 8.0])
) + combinations(tau_range=([-1, 3], (2.0, 5.0)), seed=(0, 7))
BANDIT_OPTIONS = (
    combinations(arms=(None, 2, 12), kind=("gaussian", "bernoulli"), seed=(0, 3))
    + combinations(means=([0.1, 0.9, 0.5],), kind=("gaussian", "bernoulli"), arms=(None, 3))
    + combinations(means=([-1, 2],), stds=(None, 0, 0.5, [0.1, 3.0]))
)
EVERY = [
    pytest.param(name, options, id=f"{name.split('/')[1]}-{json.dumps(options)}")
    for name, table in ((GRID, GRID_OPTIONS), (ONE_SHOT, ONE_SHOT_OPTIONS), (BANDIT, BANDIT_OPTIONS))
    for options in table
]
# One of each kind for what costs more time or does not depend on the other options.
SOME = [
    *((GRID, {"observation": observation, "slip": 0.2, "map": BIG_MAP}) for observation in OBSERVATIONS),
    (GRID, {}),
    (ONE_SHOT, {"tau_range": [-1.0, 3.0], "seed": 5}),
    (BANDIT, {"kind": "gaussian"}),
    (BANDIT, {"kind": "bernoulli", "arms": 4}),
]


def transitions(env: gym.Env, steps: int, seed: int | None = 0) -> list[Any]:
    """Return what ``steps`` random steps give; the actions have their own seed."""
    env.action_space.seed(11)
    seen: list[Any] = [env.reset(seed=seed)]
    for _ in range(steps):
        seen.append(env.step(env.action_space.sample()))
        if seen[-1][2] or seen[-1][3]:
            seen.append(env.reset())
    return seen


@pytest.mark.parametrize(("name", "options"), EVERY)
def test_both_checkers_pass(name: str, options: dict[str, Any]) -> None:
    env = gym.make(name, **options).unwrapped
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # The task's own action range: R has tau = 4, which no action in [-1, 1] reaches.
        warnings.filterwarnings("ignore", message=".*symmetric and normalized.*")
        check_env(env, skip_render_check=True)
        sb3_check_env(env)


@pytest.mark.parametrize(("name", "options"), SOME)
def test_checker_passes_with_rendering(name: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CourseEnv.metadata, "render_fps", 10_000)
    for mode in ("human", "rgb_array", "ansi"):
        env = gym.make(name, render_mode=mode, **options).unwrapped
        check_env(env)
        env.close()


@pytest.mark.parametrize(("name", "options"), SOME)
def test_types_are_python_types_and_nothing_is_shared(name: str, options: dict[str, Any]) -> None:
    env = gym.make(name, **options).unwrapped
    env.action_space.seed(0)
    seen = [env.reset(seed=0)[0]]
    for _ in range(30):
        observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
        assert type(reward) is float
        assert type(terminated) is bool
        assert truncated is False
        assert type(info) is dict
        assert observation in env.observation_space
        seen.append(observation)
        if terminated:
            seen.append(env.reset()[0])
    arrays = [observation for observation in seen if isinstance(observation, np.ndarray)]
    if arrays:
        assert len(arrays) == len(seen)
        assert not any(np.shares_memory(a, b) for a, b in itertools.combinations(arrays, 2))
    else:
        assert all(type(observation) is int for observation in seen)


@pytest.mark.parametrize(("name", "options"), EVERY)
def test_spec_survives_json(name: str, options: dict[str, Any]) -> None:
    env = gym.make(name, **options)
    assert env.spec is not None
    text = env.spec.to_json()
    again = gym.make(EnvSpec.from_json(text))
    assert again.spec is not None
    assert again.spec.to_json() == text
    assert again.observation_space == env.observation_space
    assert again.action_space == env.action_space
    assert data_equivalence(transitions(env, 20), transitions(again, 20), exact=True)


@pytest.mark.parametrize(("name", "options"), EVERY)
def test_pickle_continues_where_it_was(name: str, options: dict[str, Any]) -> None:
    env = gym.make(name, **options)
    transitions(env, 5)
    copy = pickle.loads(pickle.dumps(env))
    assert data_equivalence(transitions(env, 20, seed=None), transitions(copy, 20, seed=None), exact=True)


@pytest.mark.parametrize(("name", "options"), EVERY)
def test_reset_seed_decides_everything(name: str, options: dict[str, Any]) -> None:
    first, second = gym.make(name, **options), gym.make(name, **options)
    transitions(second, 7, seed=99)
    assert data_equivalence(transitions(first, 20, seed=4), transitions(second, 20, seed=4), exact=True)


@pytest.mark.parametrize(("name", "options"), [(GRID, {"slip": 0.5}), (BANDIT, {})])
def test_another_seed_gives_another_episode(name: str, options: dict[str, Any]) -> None:
    env = gym.make(name, **options)
    assert not data_equivalence(transitions(env, 20, seed=1), transitions(env, 20, seed=2))


@pytest.mark.parametrize(
    ("name", "options"), [(GRID, {"slip": 0.3, "map": BIG_MAP}), (ONE_SHOT, {"tau_range": [0, 5]}), (BANDIT, {})]
)
def test_other_processes_equal_local_environments(name: str, options: dict[str, Any], worker_server: bool) -> None:
    # The module before the colon is what registers the id in a fresh process.
    make = functools.partial(gym.make, f"sb3_course.envs:{name}", **options)
    count = 2 if name == GRID else 1
    fresh = name == GRID or not worker_server  # the others have what a server of processes has imported
    start_method = "spawn" if fresh else "forkserver"
    spawned, local = SubprocVecEnv([make] * count, start_method=start_method), DummyVecEnv([make] * count)
    try:
        for vector in (spawned, local):
            vector.seed(3)
        assert np.array_equal(spawned.reset(), local.reset())
        local.action_space.seed(0)
        for _ in range(25):
            actions = np.array([local.action_space.sample() for _ in range(count)])
            there, here = spawned.step(actions), local.step(actions)
            assert np.array_equal(there[0], here[0])
            assert np.array_equal(there[1].astype(np.float32), here[1])  # DummyVecEnv keeps rewards as float32
            assert np.array_equal(there[2], here[2])
    finally:
        spawned.close()


@pytest.mark.parametrize(("name", "options"), SOME)
def test_state_round_trip(name: str, options: dict[str, Any]) -> None:
    env, other = gym.make(name, **options).unwrapped, gym.make(name, **options).unwrapped
    transitions(env, 13)
    state = env.get_state()
    # Plain numbers and lists: JSON keeps them all.
    assert json.loads(json.dumps(state)) == state
    first = transitions(env, 25, seed=None)
    env.set_state(state)
    assert env.get_state() == state
    assert data_equivalence(first, transitions(env, 25, seed=None), exact=True)
    other.set_state(state)
    assert data_equivalence(first, transitions(other, 25, seed=None), exact=True)
    assert env.get_state() == other.get_state()
    assert env.get_state() != state, "25 steps left no trace in the state"


@pytest.mark.parametrize(("name", "options"), SOME)
def test_saved_state_is_a_copy(name: str, options: dict[str, Any]) -> None:
    env = gym.make(name, **options).unwrapped
    transitions(env, 3)
    state = env.get_state()
    before = json.dumps(state)
    transitions(env, 5, seed=None)
    assert json.dumps(state) == before
    env.set_state(state)
    transitions(env, 5, seed=None)
    assert json.dumps(state) == before


@pytest.mark.parametrize("name", [GRID, ONE_SHOT, BANDIT])
@pytest.mark.parametrize("damage", ["missing", "extra", "generator"])
def test_foreign_state_is_refused_and_changes_nothing(name: str, damage: str) -> None:
    env = gym.make(name).unwrapped
    transitions(env, 3)
    state = env.get_state()
    transitions(env, 4, seed=None)
    before = env.get_state()
    if damage == "missing":
        del state["np_random"]
    elif damage == "extra":
        state["surprise"] = 1
    else:
        state["np_random"]["bit_generator"] = "MT19937"
    with pytest.raises(ValueError, match=r"^state: has .* \(got .*, want .*\)$"):
        env.set_state(state)
    assert env.get_state() == before


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        (GRID, "state", 12),
        (GRID, "last_action", 4),
        (ONE_SHOT, "tau", float("nan")),
        (ONE_SHOT, "last_actions", "none"),
        (BANDIT, "pulls", [1, 2]),
        (BANDIT, "last_arm", 10),
        (BANDIT, "cumulative_regret", None),
    ],
)
def test_unfit_field_is_refused_and_changes_nothing(name: str, field: str, value: Any) -> None:
    env = gym.make(name).unwrapped
    transitions(env, 3)
    state = env.get_state()
    env.np_random.random()
    before = env.get_state()
    with pytest.raises(ValueError, match=rf"^{field}: .*\(got .*, want .*\)$"):
        env.set_state({**state, field: value})
    assert env.get_state() == before


def test_registration_is_idempotent_and_respects_what_is_there() -> None:
    before = {entry.id: gym.registry[entry.id] for entry in sb3_course.envs.ENVIRONMENTS}
    assert {GRID, ONE_SHOT, BANDIT} <= set(before)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sb3_course.envs.register_envs()
    assert all(gym.registry[name] is spec for name, spec in before.items())
    assert all(isinstance(spec.entry_point, str) for spec in before.values())
    assert before[GRID].max_episode_steps == 100


def test_import_needs_only_numpy_and_gymnasium() -> None:
    code = "import sys, sb3_course.envs; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {"numpy", "gymnasium", "sb3_course"} <= set(loaded)
    assert not {"torch", "stable_baselines3", "pygame", "matplotlib", "PIL", "scipy", "pandas"} & set(loaded)


@pytest.mark.parametrize("options", [{}, {"map": ["SG"]}, {"map": BIG_MAP}, {"map": ["S" + "." * 40 + "G"] * 2}])
def test_image_is_fit_for_the_cnn_policy(options: dict[str, Any]) -> None:
    env = gym.make(GRID, observation="image", **options)
    height, width, channels = env.observation_space.shape
    assert (env.observation_space.dtype, channels) == (np.uint8, 3)
    assert min(height, width) >= 36
    model = PPO("CnnPolicy", env, n_steps=8, batch_size=8, n_epochs=1, device="cpu")
    action, _ = model.predict(env.reset(seed=0)[0])
    env.step(action)
