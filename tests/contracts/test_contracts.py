"""What SB3's users rely on, asked of every registered algorithm of ours: a new one is tested by being registered.

Of other libraries' algorithms only what our table says of them is asked: that the class is there, takes these actions
and no others, learns, and goes through a file. What it learns is its own library's business.
"""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch as th
from stable_baselines3 import HerReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback, CheckpointCallback, EvalCallback
from stable_baselines3.common.envs import BitFlippingEnv
from stable_baselines3.common.logger import configure
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecNormalize

from sb3_course.config.errors import InputError
from sb3_course.registry import constructor_arguments, find

STEPS = 48
pytestmark = pytest.mark.usefixtures("workers_from_one_server")


def parameters(model: Any) -> dict[str, Any]:
    return {key: value.detach().clone() for key, value in model.policy.state_dict().items()}


def same(one: dict[str, Any], two: dict[str, Any]) -> bool:
    return one.keys() == two.keys() and all(th.equal(one[key], two[key]) for key in one)


def samples(model: Any, n: int = 6) -> Any:
    space = copy.deepcopy(model.observation_space)  # the env draws from the model's own
    space.seed(1)
    rows = [space.sample() for _ in range(n)]
    if not isinstance(rows[0], dict):
        return np.stack(rows)
    return {key: np.stack([row[key] for row in rows]) for key in rows[0]}


def first(observations: Any) -> Any:
    return {k: v[0] for k, v in observations.items()} if isinstance(observations, dict) else observations[0]


# -- spaces, acting, files --------------------------------------------------------------------------------------------


def assert_saved_and_loaded(model: Any, path: Any) -> None:
    """The model and what is read back from its file predict alike, and the latter learns on."""
    model.save(path)
    loaded = type(model).load(path, env=model.get_env(), device="cpu")
    assert same(parameters(model), parameters(loaded))
    assert loaded.num_timesteps == model.num_timesteps
    observations = samples(model)
    expected, found = (each.predict(observations, deterministic=True)[0] for each in (model, loaded))
    assert (expected == found).all()
    loaded.learn(STEPS // 2, reset_num_timesteps=False)
    assert loaded.num_timesteps >= model.num_timesteps + STEPS // 2
    assert not same(parameters(model), parameters(loaded))


def test_learns_acts_and_goes_through_a_file_in_every_space_it_says_it_takes(
    case: Any, build: Any, tmp_path: Any
) -> None:
    model = build(*case)
    before = parameters(model)
    model.learn(STEPS)
    assert model.num_timesteps >= STEPS
    assert not same(before, parameters(model)), "nothing was learned"
    observations = samples(model)
    for deterministic in (True, False):
        actions, state = model.predict(observations, deterministic=deterministic)
        assert state is None
        assert len(actions) == 6
        assert all(model.action_space.contains(action) for action in actions)
        action, _ = model.predict(first(observations), deterministic=deterministic)
        assert np.shape(action) == np.shape(actions[0])
    assert_saved_and_loaded(model, tmp_path / "model")


def test_another_librarys_algorithm_learns_and_goes_through_a_file(theirs: str, build: Any, tmp_path: Any) -> None:
    model = build(theirs)
    before = parameters(model)
    assert not same(before, parameters(model.learn(STEPS)))
    assert_saved_and_loaded(model, tmp_path / "model")


def test_it_takes_the_action_spaces_of_its_row_and_no_others(row: str, build: Any, env_class: Any) -> None:
    observation = "Discrete" if row == "q_table" else "Box"
    for action in ("Box", "Discrete", "MultiDiscrete", "MultiBinary"):
        if action in find(row).action_spaces:
            build(row, env=env_class(observation, action))
        else:
            with pytest.raises(AssertionError):
                build(row, env=env_class(observation, action))


def test_deterministic_predictions_repeat_and_leave_training_alone(name: str, build: Any) -> None:
    class Ask(BaseCallback):
        def _on_step(self) -> bool:
            observations = samples(self.model)
            asked = [self.model.predict(observations, deterministic=True)[0] for _ in range(2)]
            assert (asked[0] == asked[1]).all()
            return True

    trained = [build(name).learn(STEPS, callback) for callback in (Ask(), None)]
    assert same(*map(parameters, trained))


def test_one_seed_gives_one_result_and_another_seed_another(name: str, build: Any) -> None:
    one, two, other = (parameters(build(name, seed=seed).learn(STEPS)) for seed in (3, 3, 4))
    assert same(one, two)
    assert not same(one, other)


def test_parameters_can_be_taken_out_and_put_into_another_model(name: str, build: Any) -> None:
    model, other = build(name, seed=0).learn(STEPS), build(name, seed=1)
    assert not same(parameters(model), parameters(other))
    other.set_parameters(model.get_parameters())
    assert same(parameters(model), parameters(other))
    observations = samples(model)
    expected, found = (each.predict(observations, deterministic=True)[0] for each in (model, other))
    assert (expected == found).all()
    other.learn(STEPS)
    assert not same(parameters(model), parameters(other))


# -- several envs -----------------------------------------------------------------------------------------------------


def copies(env_class: Any, name: str, n: int) -> list[Any]:
    observation = "Discrete" if name == "q_table" else "Box"
    return [partial(monitored, env_class, observation, find(name).action_spaces[0]) for _ in range(n)]


def monitored(env_class: Any, *spaces: str) -> Any:
    return Monitor(env_class(*spaces))


def test_four_envs_learn_side_by_side(name: str, build: Any, env_class: Any) -> None:
    model = build(name, env=DummyVecEnv(copies(env_class, name, 4)))
    before = parameters(model)
    model.learn(2 * STEPS)
    assert model.n_envs == 4
    assert not same(before, parameters(model))
    assert len(model.ep_info_buffer) > 4


def test_envs_in_processes_of_their_own(name: str, build: Any, env_class: Any) -> None:
    env = SubprocVecEnv(copies(env_class, name, 2), start_method="fork")
    try:
        if name == "a3c":  # its workers are processes already
            with pytest.raises(InputError, match="every worker needs an env of its own"):
                build(name, env=env).learn(STEPS)
        else:
            assert build(name, env=env).learn(STEPS).num_timesteps >= STEPS
    finally:
        env.close()


def test_normalised_observations_and_rewards(name: str, build: Any, env_class: Any, tmp_path: Any) -> None:
    if name == "q_table":  # a table has no scale
        with pytest.raises(ValueError, match="VecNormalize only supports"):
            VecNormalize(DummyVecEnv(copies(env_class, name, 2)))
        return
    env = VecNormalize(DummyVecEnv(copies(env_class, name, 2)))
    if name == "a3c":  # workers share no statistics
        with pytest.raises(InputError, match="every worker needs an env of its own"):
            build(name, env=env).learn(STEPS)
        return
    model = build(name, env=env).learn(STEPS)
    assert env.obs_rms.count > STEPS / 2
    model.save(tmp_path / "model")
    env.save(str(tmp_path / "statistics"))
    again = VecNormalize.load(str(tmp_path / "statistics"), DummyVecEnv(copies(env_class, name, 2)))
    loaded = type(model).load(tmp_path / "model", env=again, device="cpu")
    assert loaded.get_vec_normalize_env() is again
    loaded.learn(STEPS)


# -- callbacks --------------------------------------------------------------------------------------------------------


class Count(BaseCallback):
    """Counts every call and checks what a callback may look at."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = dict.fromkeys(("start", "rollout", "step", "ended", "end"), 0)

    def _on_training_start(self) -> None:
        self.calls["start"] += 1

    def _on_rollout_start(self) -> None:
        self.calls["rollout"] += 1

    def _on_step(self) -> bool:
        self.calls["step"] += 1
        assert len(self.locals["infos"]) == len(self.locals["rewards"]) == len(self.locals["dones"]) == 1
        assert self.num_timesteps == self.model.num_timesteps
        return True

    def _on_rollout_end(self) -> None:
        self.calls["ended"] += 1

    def _on_training_end(self) -> None:
        self.calls["end"] += 1


def test_callbacks_are_called(name: str, build: Any) -> None:
    count = Count()
    model = build(name).learn(STEPS, count)
    assert count.calls["start"] == count.calls["end"] == 1
    assert count.calls["step"] == model.num_timesteps
    assert count.calls["rollout"] >= count.calls["ended"] >= 1


def test_a_callback_that_returns_false_ends_training(name: str, build: Any) -> None:
    class Stop(BaseCallback):
        def _on_step(self) -> bool:
            return self.n_calls < 5

    assert build(name).learn(10_000, Stop()).num_timesteps < 100


def test_evaluations_checkpoints_and_logs(name: str, build: Any, env_class: Any, tmp_path: Any) -> None:
    observation, action = ("Discrete" if name == "q_table" else "Box"), find(name).action_spaces[0]
    evaluate = EvalCallback(
        Monitor(env_class(observation, action)), n_eval_episodes=2, eval_freq=40, verbose=0,
        log_path=str(tmp_path), best_model_save_path=str(tmp_path),
    )  # fmt: skip
    checkpoint = CheckpointCallback(40, str(tmp_path / "checkpoints"))
    model = build(name)
    model.set_logger(configure(str(tmp_path), ["csv"]))
    model.learn(STEPS, [evaluate, checkpoint], log_interval=1)
    assert len(evaluate.evaluations_results) >= 1
    assert (tmp_path / "best_model.zip").exists()
    assert list((tmp_path / "checkpoints").glob("*.zip"))
    model.logger.close()
    columns = (tmp_path / "progress.csv").read_text().partition("\n")[0].split(",")
    assert {column.partition("/")[0] for column in columns} >= {"rollout", "time", "train", "eval"}


# -- goals ------------------------------------------------------------------------------------------------------------


def test_hindsight_replay_with_whatever_else_the_algorithm_has(name: str, build: Any) -> None:
    cls = find(name).load()
    if "replay_buffer_class" not in constructor_arguments(name) or "MultiInputPolicy" not in cls.policy_aliases:
        return  # nothing to replay, or no policy for goals
    hindsight = {"replay_buffer_class": HerReplayBuffer, "replay_buffer_kwargs": {"n_sampled_goal": 2}}
    env = BitFlippingEnv(n_bits=3, continuous="Box" in find(name).action_spaces)
    # It draws from finished episodes only, and SB3's own env fails where a batch of one leaves no goal to replace.
    hindsight |= {"learning_starts": 20, "buffer_size": 100, "batch_size": 8}
    model = build(name, "Dict", env=env, **hindsight)
    before = parameters(model)
    model.learn(STEPS)
    assert not same(before, parameters(model))
    assert isinstance(model.replay_buffer, HerReplayBuffer)
    for switch, attribute in (("prioritized", "wants_priorities"), ("n_steps", "n_steps")):
        if switch in constructor_arguments(name) and getattr(model, switch) not in (False, 1):
            assert getattr(model.replay_buffer, attribute) == getattr(model, switch)
