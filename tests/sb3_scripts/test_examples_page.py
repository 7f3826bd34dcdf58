"""The page "Examples" and the quickstart: train, save, load, evaluate, several envs, images, goals, parameters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from stable_baselines3.common.callbacks import BaseCallback, EvalCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.envs import BitFlippingEnv, FakeImageEnv, SimpleMultiObsEnv
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.results_plotter import X_TIMESTEPS, load_results, plot_results, ts2xy
from stable_baselines3.common.utils import set_random_seed
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecFrameStack, VecNormalize
from stable_baselines3.her.her_replay_buffer import HerReplayBuffer

from sb3_course import (
    PQN,
    REINFORCE,
    VPG,
    ActorCritic,
    CategoricalDQN,
    DoubleDQN,
    DuelingDQN,
    NeuralQ,
    NoisyDQN,
    NStepDQN,
    NumpyDQN,
    PrioritizedDQN,
    QTable,
    QuantileDQN,
    Rainbow,
    ReinforceBaseline,
)

VALUE = [DoubleDQN, DuelingDQN, PrioritizedDQN, NStepDQN, NoisyDQN, CategoricalDQN, QuantileDQN, Rainbow]
GRADIENT = [VPG, REINFORCE, ReinforceBaseline, ActorCritic]
SOME = [DoubleDQN, Rainbow, REINFORCE, ActorCritic]


@pytest.mark.parametrize("cls", [*VALUE, NumpyDQN, NeuralQ, PQN, *GRADIENT])
def test_one_line(cls: Any, quick: Any) -> None:
    model = quick(cls, "MlpPolicy", "CartPole-v1").learn(60)
    assert model.num_timesteps >= 60


@pytest.mark.parametrize(
    ("cls", "env_id"),
    [(QTable, "FrozenLake-v1"), *((cls, "CartPole-v1") for cls in (*SOME, QuantileDQN, NumpyDQN, PQN))],
)
def test_train_save_load_evaluate_and_enjoy(cls: Any, env_id: str, quick: Any) -> None:
    env = gym.make(env_id, render_mode="rgb_array")
    model = quick(cls, "MlpPolicy", env, verbose=1)
    model.learn(total_timesteps=int(1e2), progress_bar=True)
    model.save("trained")
    weights = {name: value.clone() for name, value in model.policy.state_dict().items()}
    del model
    model = cls.load("trained", env=env, print_system_info=True)
    assert all(th.equal(value, weights[name]) for name, value in model.policy.state_dict().items())
    mean_reward, std_reward = evaluate_policy(model, model.get_env(), n_eval_episodes=2)
    assert np.isfinite([mean_reward, std_reward]).all()
    vec_env = model.get_env()
    obs = vec_env.reset()
    for _ in range(5):
        action, _states = model.predict(obs, deterministic=True)
        obs, _rewards, _dones, _info = vec_env.step(action)
        assert vec_env.render("rgb_array").ndim == 3
    model.learn(50)  # and goes on


@pytest.mark.parametrize("cls", [DoubleDQN, NoisyDQN, ActorCritic])
def test_enjoy_in_the_gymnasium_env_itself(cls: Any, quick: Any) -> None:
    """The pages of the algorithms: the loop of Gymnasium, one observation at a time."""
    env = gym.make("CartPole-v1")
    model = quick(cls, "MlpPolicy", env)
    model.learn(total_timesteps=60, log_interval=4)
    obs, _info = env.reset(seed=0)
    for _ in range(40):
        action, _states = model.predict(obs, deterministic=True)
        assert action.shape == ()
        obs, _reward, terminated, truncated, _info = env.step(action)
        if terminated or truncated:
            obs, _info = env.reset()


def make_env(env_id: str, rank: int, seed: int = 0) -> Any:
    """Return what makes one env of several, each with a seed of its own."""

    def _init() -> gym.Env[Any, Any]:
        env = gym.make(env_id)
        env.reset(seed=seed + rank)
        return env

    set_random_seed(seed)
    return _init


@pytest.mark.parametrize("cls", [ActorCritic, DoubleDQN])
def test_envs_in_processes_of_their_own(cls: Any, quick: Any) -> None:
    vec_env = SubprocVecEnv([make_env("CartPole-v1", rank) for rank in range(2)], start_method="fork")
    try:
        model = quick(cls, "MlpPolicy", vec_env, verbose=1)
        model.learn(total_timesteps=100)
        obs = vec_env.reset()
        for _ in range(5):
            action, _states = model.predict(obs)
            obs, _rewards, _dones, _info = vec_env.step(action)
        assert obs.shape == (2, 4)
    finally:
        vec_env.close()


@pytest.mark.parametrize("cls", [DoubleDQN, Rainbow, NumpyDQN])
@pytest.mark.parametrize(("gradient_steps", "updates"), [(2, 2), (-1, 4)])
def test_several_envs_and_gradient_steps_for_each_step(cls: Any, gradient_steps: int, updates: int, quick: Any) -> None:
    vec_env = make_vec_env("CartPole-v1", n_envs=4, seed=0)
    model = quick(cls, "MlpPolicy", vec_env, train_freq=1, gradient_steps=gradient_steps)
    model.learn(total_timesteps=100)
    assert model._n_updates == updates * (100 - 20) // 4


@pytest.mark.parametrize("cls", [DoubleDQN, Rainbow, ActorCritic, REINFORCE])
def test_dict_observations(cls: Any, quick: Any) -> None:
    env = SimpleMultiObsEnv(random_start=False)
    model = quick(cls, "MultiInputPolicy", env)
    model.learn(total_timesteps=40)
    assert set(model.observation_space.spaces) == {"vec", "img"}


class SaveOnBestTrainingReward(BaseCallback):
    """Saves the model whenever the monitor's file shows a new best mean."""

    def __init__(self, check_freq: int, log_dir: str) -> None:
        super().__init__(verbose=1)
        self.check_freq, self.log_dir = check_freq, log_dir
        self.save_path = Path(log_dir) / "best_model"
        self.best_mean_reward = -np.inf

    def _init_callback(self) -> None:
        self.save_path.parent.mkdir(parents=True, exist_ok=True)

    def _on_step(self) -> bool:
        if self.n_calls % self.check_freq == 0:
            x, y = ts2xy(load_results(self.log_dir), "timesteps")
            if len(x) > 0 and (mean_reward := np.mean(y[-100:])) > self.best_mean_reward:
                self.best_mean_reward = mean_reward
                self.model.save(self.save_path)
        return True


@pytest.mark.parametrize("cls", SOME)
def test_a_monitors_file_is_read_while_training_and_plotted(cls: Any, quick: Any) -> None:
    import matplotlib.pyplot as plt

    Path("log").mkdir()
    env = Monitor(gym.make("CartPole-v1"), "log")
    model = quick(cls, "MlpPolicy", env)
    callback = SaveOnBestTrainingReward(check_freq=50, log_dir="log")
    model.learn(total_timesteps=150, callback=callback)
    assert callback.best_mean_reward > 5
    cls.load("log/best_model")
    plot_results(["log"], 150, X_TIMESTEPS, "ours on CartPole")
    plt.close("all")


@pytest.mark.parametrize("cls", SOME)
def test_a_separate_evaluation_env_with_arguments_of_its_own(cls: Any, quick: Any) -> None:
    train_env = make_vec_env("sb3_course/GridWorld-v0", n_envs=1, seed=0, env_kwargs={"observation": "onehot"})
    options = {"observation": "onehot", "slip": 0.2}
    eval_env = make_vec_env("sb3_course/GridWorld-v0", n_envs=3, seed=0, env_kwargs=options)
    callback = EvalCallback(
        eval_env, best_model_save_path="eval", log_path="eval", eval_freq=50, n_eval_episodes=3, deterministic=True,
        render=False,
    )  # fmt: skip
    quick(cls, "MlpPolicy", train_env).learn(150, callback=callback)
    evaluations = np.load("eval/evaluations.npz")
    assert evaluations["timesteps"].tolist()[:3] == [50, 100, 150]
    assert evaluations["results"].shape == (len(evaluations["timesteps"]), 3)
    cls.load("eval/best_model")


@pytest.mark.parametrize("cls", [DoubleDQN, ActorCritic])
def test_stacked_frames(cls: Any, quick: Any) -> None:
    """The games of Atari in the documentation; here images of the same kind, which need no ROM."""
    vec_env = make_vec_env(lambda: FakeImageEnv(screen_height=40, screen_width=40, n_channels=1), n_envs=2)
    vec_env = VecFrameStack(vec_env, n_stack=4)
    model = quick(cls, "CnnPolicy", vec_env)
    model.learn(total_timesteps=48)
    action, _states = model.predict(vec_env.reset(), deterministic=False)
    vec_env.step(action)
    assert model.observation_space.shape == (4, 40, 40)  # channels first for the convolutions


@pytest.mark.parametrize("cls", SOME)
def test_normalised_inputs_and_their_statistics(cls: Any, quick: Any) -> None:
    vec_env = VecNormalize(make_vec_env("CartPole-v1", n_envs=1), norm_obs=True, norm_reward=True, clip_obs=10.0)
    model = quick(cls, "MlpPolicy", vec_env)
    model.learn(total_timesteps=100)
    folder = Path()
    model.save(folder / "model")
    vec_env.save(folder / "vec_normalize.pkl")
    mean = vec_env.obs_rms.mean.copy()
    del model, vec_env
    vec_env = VecNormalize.load(str(folder / "vec_normalize.pkl"), make_vec_env("CartPole-v1", n_envs=1))
    vec_env.training, vec_env.norm_reward = False, False
    model = cls.load(folder / "model", env=vec_env)
    evaluate_policy(model, vec_env, n_eval_episodes=1)
    np.testing.assert_array_equal(vec_env.obs_rms.mean, mean)
    assert mean.any()


@pytest.mark.parametrize("cls", [DoubleDQN, Rainbow, QuantileDQN])
def test_hindsight(cls: Any, quick: Any) -> None:
    env = BitFlippingEnv(n_bits=4, continuous=False, max_steps=4)
    hindsight = {"n_sampled_goal": 4, "goal_selection_strategy": "future"}
    model = quick(
        cls, "MultiInputPolicy", env, replay_buffer_class=HerReplayBuffer, replay_buffer_kwargs=hindsight,
        policy_kwargs={"net_arch": [16, 16]}, gamma=0.95, learning_rate=1e-3,
    )  # fmt: skip
    model.learn(100)
    model.save("her_model")
    model = cls.load("her_model", env=env)  # which needs its ``compute_reward``
    obs, _info = env.reset()
    for _ in range(10):
        action, _ = model.predict(obs, deterministic=True)
        obs, _reward, terminated, truncated, _info = env.step(action)
        if terminated or truncated:
            obs, _info = env.reset()
    model.learn(30)


def linear_schedule(initial_value: float) -> Any:
    """Return a learning rate that falls to 0."""
    return lambda progress_remaining: progress_remaining * initial_value


@pytest.mark.parametrize("cls", [DoubleDQN, Rainbow, ActorCritic, NeuralQ])
def test_a_schedule_of_the_learning_rate(cls: Any, quick: Any) -> None:
    model = quick(cls, "MlpPolicy", "CartPole-v1", learning_rate=linear_schedule(0.001))
    for reset in (True, True, False):
        model.learn(total_timesteps=100, reset_num_timesteps=reset)
        # The last update is a few steps from the end, where the rate would be 0.
        assert 0 <= model.policy.optimizer.param_groups[0]["lr"] < 5e-5


@pytest.mark.parametrize("cls", [DoubleDQN, Rainbow, PrioritizedDQN])
def test_advanced_saving_and_loading(cls: Any, quick: Any) -> None:
    model = quick(cls, "MlpPolicy", "CartPole-v1", learning_rate=1e-3)
    model.learn(total_timesteps=60)
    model.save("model")
    loaded_model = cls.load("model")
    assert loaded_model.replay_buffer.size() == 0  # it is no part of the model
    model.save_replay_buffer("replay")
    loaded_model.load_replay_buffer("replay")
    assert loaded_model.replay_buffer.size() == 60
    policy = model.policy
    policy.save("policy")
    env = model.get_env()
    before = evaluate_policy(policy, env, n_eval_episodes=2, deterministic=True)
    saved_policy = type(policy).load("policy")
    after = evaluate_policy(saved_policy, env, n_eval_episodes=2, deterministic=True)
    assert len(before) == len(after) == 2
    observations = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    np.testing.assert_array_equal(*(p.predict(observations, deterministic=True)[0] for p in (policy, saved_policy)))


@pytest.mark.parametrize("cls", [ActorCritic, REINFORCE, DoubleDQN])
def test_parameters_are_read_changed_and_put_back(cls: Any, quick: Any) -> None:
    """An evolution of candidates around the learned parameters, each put in by ``load_state_dict(strict=False)``."""
    model = quick(cls, "MlpPolicy", "CartPole-v1", policy_kwargs={"net_arch": [32]}, learning_rate=0.05)
    model.learn(total_timesteps=100)
    acts = ("policy", "shared_net", "action", "q_net.")
    mean = {key: value for key, value in model.policy.state_dict().items() if any(word in key for word in acts)}
    vec_env, generator = model.get_env(), th.Generator().manual_seed(0)
    observations = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    population, acted = [], set()
    for _ in range(4):
        noise = {key: th.randn(value.shape, generator=generator) for key, value in mean.items()}
        candidate = {key: value + noise[key] for key, value in mean.items()}
        model.policy.load_state_dict(candidate, strict=False)
        chosen = model.predict(observations, deterministic=True)[0]
        with th.no_grad():  # torch's own opinion of the parameters just put in
            theirs = model.policy._predict(th.tensor(observations), deterministic=True)
        np.testing.assert_array_equal(chosen, theirs.numpy())
        acted.add(chosen.tobytes())
        fitness, _ = evaluate_policy(model, vec_env, n_eval_episodes=1)
        population.append((candidate, fitness))
    assert len(acted) > 1
    top = sorted(population, key=lambda pair: pair[1], reverse=True)[:2]
    mean = {name: th.stack([candidate[name] for candidate, _ in top]).mean(dim=0) for name in mean}
    model.set_parameters({"policy": {**model.get_parameters()["policy"], **mean}}, exact_match=False)
    assert all(th.equal(model.policy.state_dict()[name], value) for name, value in mean.items())


@pytest.mark.parametrize("cls", [ActorCritic, DoubleDQN, Rainbow])
def test_a_compiled_policy(cls: Any, quick: Any) -> None:
    model = quick(cls, "MlpPolicy", "CartPole-v1")
    model.policy = th.compile(model.policy, backend="eager")
    model.learn(total_timesteps=40)
    assert model.predict(np.zeros(4, np.float32), deterministic=True)[0] in (0, 1)


def test_pictures_of_a_trained_agent(quick: Any) -> None:
    from PIL import Image

    model = quick(ActorCritic, "MlpPolicy", DummyVecEnv([lambda: gym.make("CartPole-v1", render_mode="rgb_array")]))
    model.learn(50)
    images, obs = [], model.env.reset()
    for _ in range(6):
        images.append(Image.fromarray(model.env.render(mode="rgb_array")))
        action, _ = model.predict(obs)
        obs, _, _, _ = model.env.step(action)
    images[0].save("agent.gif", save_all=True, append_images=images[1:])
    with Image.open("agent.gif") as picture:
        assert picture.n_frames > 1  # equal ones next to each other are one
