"""Sections in the style of rl-baselines3-zoo's files: each kind of key means what it means there, and trains.

Figures are the zoo's (hyperparams/, release 2.9.2), one section for each of its files; `benchmarks/zoo_files.py`
compares every section with rl_zoo3's own reading.
"""

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3 import HerReplayBuffer
from stable_baselines3.common.noise import NormalActionNoise, OrnsteinUhlenbeckActionNoise
from stable_baselines3.common.vec_env import DummyVecEnv

from sb3_course.config import named_classes
from sb3_course.config.text import LinearRate
from sb3_course.config.yaml_files import load_yaml
from sb3_course.registry import load_plugins
from sb3_course.runs import RunFolder, Settings, Watch, environment, execute, resume
from sb3_course.runs.environment import training_env
from sb3_course.runs.model import build_model, hyperparameters
from sb3_course.runs.tables import read_table
from sb3_course.runs.words import Wrapper
from sb3_course.train import main, make_parser, read_settings

GELU, TANH, RELU = th.nn.GELU, th.nn.Tanh, th.nn.ReLU
#: file: section, its text, what the run is, what the constructor is called with
SECTIONS: dict[str, tuple[str, str, dict[str, Any], dict[str, Any]]] = {
    "dqn": (
        "atari",
        "env_wrapper:\n  - stable_baselines3.common.atari_wrappers.AtariWrapper\nframe_stack: 4\npolicy: 'CnnPolicy'\n"
        "n_timesteps: !!float 1e7\nbuffer_size: 100000\nlearning_rate: !!float 1e-4\nexploration_final_eps: 0.01\n"
        "optimize_memory_usage: False",
        {
            "n_timesteps": 10_000_000, "frame_stack": 4, "policy": "CnnPolicy",
            "env_wrapper": (Wrapper("stable_baselines3.common.atari_wrappers:AtariWrapper"),),
        },
        {"buffer_size": 100_000, "learning_rate": 1e-4, "exploration_final_eps": 0.01, "optimize_memory_usage": False},
    ),
    "qrdqn": (
        "CartPole-v1",
        "n_timesteps: !!float 5e4\npolicy: 'MlpPolicy'\ntrain_freq: 256\ngradient_steps: 128\n"
        'policy_kwargs: "dict(net_arch=[256, 256], n_quantiles=10)"',
        {"n_timesteps": 50_000, "policy": "MlpPolicy"},
        {
            "train_freq": 256, "gradient_steps": 128, "policy_kwargs": {"net_arch": [256, 256], "n_quantiles": 10},
        },
    ),
    "a2c": (
        "BipedalWalker-v3",
        "normalize: true\nn_envs: 16\nn_timesteps: !!float 5e6\npolicy: 'MlpPolicy'\nent_coef: 0.0\nn_steps: 8\n"
        "use_rms_prop: True\nnormalize_advantage: False\nlearning_rate: lin_0.00096\ngamma: 0.99\nuse_sde: True\n"
        'policy_kwargs: "dict(log_std_init=-2, ortho_init=False)"',
        {"normalize": {}, "n_envs": 16, "n_timesteps": 5_000_000, "policy": "MlpPolicy"},
        {
            "ent_coef": 0.0, "n_steps": 8, "use_rms_prop": True, "normalize_advantage": False, "gamma": 0.99,
            "learning_rate": LinearRate(0.00096), "use_sde": True,
            "policy_kwargs": {"log_std_init": -2, "ortho_init": False},
        },
    ),
    "ppo": (
        "CarRacing-v3",
        "env_wrapper:\n  - gymnasium.wrappers.FrameStackObservation:\n      stack_size: 2\n"
        "  - sb3_course.envs.wrappers.TerminalReward\nframe_stack: 2\n"
        "normalize: \"{'norm_obs': False, 'norm_reward': True}\"\nn_timesteps: !!float 4e6\npolicy: 'CnnPolicy'\n"
        "learning_rate: lin_1e-4\nclip_range: 0.2\nsde_sample_freq: 4\nuse_sde: True\npolicy_kwargs: \"dict("
        "log_std_init=-2,\n    ortho_init=False,\n    activation_fn=nn.GELU,\n    net_arch=dict(pi=[256], vf=[256]),"
        '\n    )"',
        {
            "normalize": {"norm_obs": False, "norm_reward": True}, "frame_stack": 2, "n_timesteps": 4_000_000,
            "policy": "CnnPolicy",
            "env_wrapper": (
                Wrapper("gymnasium.wrappers:FrameStackObservation", {"stack_size": 2}),
                Wrapper("sb3_course.envs.wrappers:TerminalReward"),
            ),
        },
        {
            "learning_rate": LinearRate(1e-4), "clip_range": 0.2, "sde_sample_freq": 4, "use_sde": True,
            "policy_kwargs": {
                "log_std_init": -2, "ortho_init": False, "activation_fn": GELU, "net_arch": {"pi": [256], "vf": [256]},
            },
        },
    ),
    "ddpg": (
        "MountainCarContinuous-v0",
        "n_timesteps: 300000\npolicy: 'MlpPolicy'\nnoise_type: 'ornstein-uhlenbeck'\nnoise_std: 0.5\ntrain_freq: 1\n"
        'policy_kwargs: "dict(net_arch=[400, 300])"',
        {"n_timesteps": 300_000, "policy": "MlpPolicy"},
        {
            "train_freq": 1, "policy_kwargs": {"net_arch": [400, 300]},
            "action_noise": (OrnsteinUhlenbeckActionNoise, [0.5, 0.5]),
        },
    ),
    "td3": (
        "Pendulum-v1",
        "n_timesteps: 20000\npolicy: 'MlpPolicy'\ngamma: 0.98\nnoise_type: 'normal'\nnoise_std: 0.1\n"
        "train_freq: [1, 'episode']\ngradient_steps: -1",
        {"n_timesteps": 20_000, "policy": "MlpPolicy"},
        {
            "gamma": 0.98, "train_freq": (1, "episode"), "gradient_steps": -1,
            "action_noise": (NormalActionNoise, [0.1, 0.1]),
        },
    ),
    "sac": (
        "MountainCarContinuous-v0",
        "n_timesteps: !!float 50000\npolicy: 'MlpPolicy'\nent_coef: 'auto_0.1'\nlearning_starts: 0\ntau: 0.01\n"
        'policy_kwargs: "dict(log_std_init=-3.67, net_arch=[64, 64], use_expln=True)"',
        {"n_timesteps": 50_000, "policy": "MlpPolicy"},
        {
            "ent_coef": "auto_0.1", "learning_starts": 0, "tau": 0.01,
            "policy_kwargs": {"log_std_init": -3.67, "net_arch": [64, 64], "use_expln": True},
        },
    ),
    "tqc": (
        "FetchPush-v1",
        "n_timesteps: !!float 1e6\npolicy: 'MultiInputPolicy'\nreplay_buffer_class: HerReplayBuffer\n"
        "replay_buffer_kwargs: \"dict(goal_selection_strategy='future', n_sampled_goal=4)\"\n"
        'policy_kwargs: "dict(net_arch=[512, 512, 512], n_critics=2)"\ntop_quantiles_to_drop_per_net: 2\n'
        "env_kwargs: {max_episode_steps: 50}",
        {"n_timesteps": 1_000_000, "policy": "MultiInputPolicy", "env_kwargs": {"max_episode_steps": 50}},
        {
            "replay_buffer_class": HerReplayBuffer, "top_quantiles_to_drop_per_net": 2,
            "replay_buffer_kwargs": {"goal_selection_strategy": "future", "n_sampled_goal": 4},
            "policy_kwargs": {"net_arch": [512, 512, 512], "n_critics": 2},
        },
    ),
    "trpo": (
        "BipedalWalker-v3",
        "normalize: true\nn_envs: 2\nn_timesteps: !!float 1e6\npolicy: 'MlpPolicy'\nn_critic_updates: 20\n"
        "cg_max_steps: 25\ncg_damping: 0.1\nsub_sampling_factor: 1\nlearning_rate: !!float 1e-3",
        {"normalize": {}, "n_envs": 2, "n_timesteps": 1_000_000, "policy": "MlpPolicy"},
        {
            "n_critic_updates": 20, "cg_max_steps": 25, "cg_damping": 0.1, "sub_sampling_factor": 1,
            "learning_rate": 1e-3,
        },
    ),
    "ars": (
        "MountainCarContinuous-v0",
        'n_envs: 16\nn_timesteps: !!float 5e5\nnormalize: "dict(norm_obs=True, norm_reward=False)"\n'
        "policy: 'MlpPolicy'\nn_delta: 4\nn_top: 1\ndelta_std: 0.2\nzero_policy: False\nalive_bonus_offset: -1\n"
        'policy_kwargs: "dict(net_arch=[16], activation_fn=nn.Tanh)"',
        {
            "n_envs": 16, "n_timesteps": 500_000, "policy": "MlpPolicy",
            "normalize": {"norm_obs": True, "norm_reward": False},
        },
        {
            "n_delta": 4, "n_top": 1, "delta_std": 0.2, "zero_policy": False, "alive_bonus_offset": -1,
            "policy_kwargs": {"net_arch": [16], "activation_fn": TANH},
        },
    ),
    "crossq": (
        "default",
        "n_timesteps: !!float 1e6\npolicy: 'MlpPolicy'\npolicy_delay: 2\nbuffer_size: 1000000\n"
        'policy_kwargs: "dict(net_arch=dict(pi=[256, 256], qf=[1024, 1024]), activation_fn=nn.ReLU)"',
        {"n_timesteps": 1_000_000, "policy": None},  # here the observations decide
        {
            "policy_delay": 2, "buffer_size": 1_000_000,
            "policy_kwargs": {"net_arch": {"pi": [256, 256], "qf": [1024, 1024]}, "activation_fn": RELU},
        },
    ),
}  # fmt: skip
RUN = {"n_envs": 1, "normalize": None, "frame_stack": 1, "env_wrapper": (), "env_kwargs": {}, "vec_env_wrapper": (),
       "callback": (), "monitor_kwargs": {}}  # fmt: skip


def section_file(folder: Path, name: str, text: str) -> Path:
    path = folder / "zoo.yml"
    path.write_text(f"{name}:\n" + "".join(f"  {line}\n" for line in text.splitlines()), encoding="utf-8")
    return path


def read(algo: str, env: str, path: Path) -> Settings:
    return read_settings(vars(make_parser().parse(["--algo", algo, "--env", env, "-conf", str(path)])))


@pytest.mark.parametrize("algo", SECTIONS)
def test_every_key_of_a_section_means_what_it_means_in_the_zoo(tmp_path: Path, algo: str) -> None:
    name, text, run, arguments = SECTIONS[algo]
    env = {"atari": "ALE/Pong-v5", "default": "Nowhere-v0"}.get(name, name)
    settings = read(algo, env, section_file(tmp_path, name, text))
    assert {key: getattr(settings, key) for key in {*RUN, *run}} == {**RUN, **run}
    found = hyperparameters(settings, spaces.Box(-1, 1, (2,)))
    noise = found.get("action_noise")
    if noise is not None:
        found["action_noise"] = type(noise), noise._sigma.tolist()
    assert found == arguments
    assert {key: type(value) for key, value in found.items()} == {key: type(item) for key, item in arguments.items()}


# Small enough for a test; what a section says of these is checked above.
SMALL = {
    "dqn": ("CartPole-v1", "learning_starts:20", "buffer_size:1000", "policy:MlpPolicy"),
    "qrdqn": ("CartPole-v1", "learning_starts:20", "train_freq:8", "gradient_steps:2"),
    "a2c": ("MountainCarContinuous-v0",),
    "ppo": ("MountainCarContinuous-v0", "policy:MlpPolicy", "n_steps:32", "batch_size:32", "n_epochs:1"),
    "ddpg": ("MountainCarContinuous-v0", "learning_starts:40", "batch_size:8"),
    "td3": ("Pendulum-v1", "learning_starts:40", "gradient_steps:2", "batch_size:8"),
    "sac": ("MountainCarContinuous-v0", "batch_size:8", "learning_starts:60"),
    "tqc": ("Pendulum-v1", "policy:MlpPolicy", "replay_buffer_class:None", "replay_buffer_kwargs:None",
            "learning_starts:60", "batch_size:8"),
    "trpo": ("MountainCarContinuous-v0", "n_steps:32", "batch_size:32", "n_critic_updates:1"),
    "ars": ("MountainCarContinuous-v0", "n_delta:1"),
    "crossq": ("Pendulum-v1", "learning_starts:60", "batch_size:8", "buffer_size:1000"),
}  # fmt: skip


@pytest.mark.parametrize("algo", SECTIONS)
def test_a_section_of_each_file_trains(tmp_path: Path, algo: str, capfd: pytest.CaptureFixture[str]) -> None:
    _, text, _, _ = SECTIONS[algo]
    env, *params = SMALL[algo]
    # Env and wrappers are for Atari, CarRacing: not here.
    lines = [line for line in text.splitlines() if not line.startswith(("env_wrapper", "  - ", "      ", "frame_st"))]
    path = section_file(tmp_path, env, "\n".join(lines))
    status = main(["--algo", algo, "--env", env, "-conf", str(path), "-n", "64", "--n-envs", "1", "--eval-freq", "0",
                   "--final-episodes", "1", "--env-kwargs", "max_episode_steps:20", "--run-dir", str(tmp_path / "run"),
                   *(["-params", *params] if params else [])])  # fmt: skip
    assert (status, capfd.readouterr().err) == (0, "")
    run = RunFolder(tmp_path / "run")
    assert run.status()["state"] == "finished"
    assert len(read_table(run.progress)) >= 1


def test_ars_rates_its_candidates_in_one_environment_however_many_processes_the_zoo_would_take() -> None:
    settings = Settings(algo="ars", env="CartPole-v1", n_timesteps=100, n_envs=16)
    venv = training_env(settings)
    assert (venv.num_envs, settings.n_envs) == (1, 16)
    venv.close()


# ------------------------------------------------------------------------------------------- users' own classes

OWN = """
import gymnasium as gym
import torch as th
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import VecEnvWrapper

SEEN = []


class MyNet(BaseFeaturesExtractor):
    def __init__(self, space, width):
        super().__init__(space, width)
        self.layer = th.nn.Linear(space.shape[0], width)

    def forward(self, observations):
        return self.layer(observations)


class MyPolicy(ActorCriticPolicy):
    pass


class Half(gym.RewardWrapper):
    def reward(self, reward):
        return reward / 2


class Doubled(VecEnvWrapper):
    def reset(self):
        return self.venv.reset()

    def step_wait(self):
        observations, rewards, dones, infos = self.venv.step_wait()
        return observations, 2 * rewards, dones, infos


class Told(gym.Wrapper):
    def step(self, action):
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, reward, terminated, truncated, {**info, "is_success": True}


def make():
    return Told(gym.make("CartPole-v1").unwrapped)


class Count(BaseCallback):
    def __init__(self, every):
        super().__init__()
        self.every = every

    def _on_step(self):
        if self.n_calls % self.every == 0:
            SEEN.append((self.num_timesteps, float(self.locals["rewards"][0])))
        return True


class Tally(BaseCallback):
    count = 0

    def _on_step(self):
        self.count += 1
        SEEN.append(self.count)
        return True

    def get_state(self):
        return {"count": self.count}

    def set_state(self, state):
        self.count = state["count"]


gym.register("Own-v0", make, max_episode_steps=9)
"""


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Any]]:
    """Return a user's module in the current folder, which nobody has imported yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(named_classes, "_plugins", [])
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    (tmp_path / "own_zoo_classes.py").write_text(OWN)
    yield lambda: importlib.import_module("own_zoo_classes")
    forget()


def forget() -> None:
    """Be as a process that has not imported the module."""
    sys.modules.pop("own_zoo_classes", None)
    gym.registry.pop("Own-v0", None)
    named_classes._plugins.clear()


ALL_OF_IT = """
n_timesteps: 60
n_envs: 2
n_steps: 10
batch_size: 20
n_epochs: 1
policy: own_zoo_classes.MyPolicy
policy_kwargs: "dict(features_extractor_class=own_zoo_classes.MyNet, features_extractor_kwargs=dict(width=3))"
env_wrapper: own_zoo_classes.Half
vec_env_wrapper:
  - own_zoo_classes.Doubled
  - stable_baselines3.common.vec_env.VecCheckNan: {raise_exception: true}
monitor_kwargs: "dict(info_keywords=('is_success',))"
callback:
  - own_zoo_classes.Count: {every: 5}
"""


def test_own_classes_callbacks_and_wrappers_after_an_import(tmp_path: Path, own_module: Any) -> None:
    path = section_file(tmp_path, "Own-v0", ALL_OF_IT)
    argv = ["--algo", "ppo", "--env", "Own-v0", "--config", str(path), "--run-dir", "run", "--import",
            "own_zoo_classes", "--final-episodes", "1", "--eval-freq", "20"]  # fmt: skip
    assert main(argv) == 0
    own = own_module()
    # Half outside the monitor, twice outside that: the model sees 1, and the scores the environment's own 9.
    assert [(steps, 1.0) for steps in (10, 20, 30, 40, 50, 60)] == own.SEEN
    run = RunFolder(tmp_path / "run")
    assert run.status()["mean"] == 9.0
    for index in range(2):
        rows = [line.split(",") for line in (run.path / f"{index}.monitor.csv").read_text().splitlines()[1:]]
        assert rows[0] == ["r", "l", "t", "is_success"]
        assert [(row[0], row[1], row[3]) for row in rows[1:]] == [("9.0", "9", "True")] * 3
    settings = Settings.from_config(load_yaml(run.config))
    venv = training_env(settings)
    model = build_model(settings, venv)
    venv.close()
    assert type(model.policy) is own.MyPolicy
    assert type(model.policy.features_extractor) is own.MyNet
    assert model.policy.features_extractor.layer.out_features == 3


def test_the_state_of_a_callback_that_has_one_is_kept(tmp_path: Path, own_module: Any) -> None:
    load_plugins(["own_zoo_classes"])
    settings = Settings(
        algo="a2c", env="Own-v0", n_timesteps=60, eval_freq=20, final_episodes=1, eval_episodes=1,
        callback=(Wrapper("own_zoo_classes:Tally"),),
    )  # fmt: skip
    stop = iter([False] * 6 + [True] * 60)
    execute(settings, tmp_path / "run", Watch(stop=lambda: next(stop)))
    seen = own_module().SEEN
    assert seen == list(range(1, 32))  # the checkpoint lies before the rollout that was ended
    _, lost = resume(tmp_path / "run")
    assert seen == [*range(1, 32), *range(31, 61)]
    assert lost == ()


class Processes(DummyVecEnv):
    """What `SpawnedVecEnv` makes is made by a process that knows nothing of ours."""

    def __init__(self, makers: list[Callable[[], gym.Env[Any, Any]]]) -> None:
        forget()
        super().__init__(makers)


def test_a_process_imports_what_the_user_imported(
    tmp_path: Path, own_module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_plugins(["own_zoo_classes"])
    settings = Settings(
        algo="ppo", env="Own-v0", n_timesteps=10, vec_env="subproc", env_wrapper=(Wrapper("own_zoo_classes:Half"),)
    )
    monkeypatch.setattr(environment, "SpawnedVecEnv", Processes)
    monkeypatch.setattr(environment, "Courier", lambda env, _: env)
    monkeypatch.setattr(environment, "stand_apart", lambda: None)
    venv = training_env(settings, tmp_path)
    venv.reset()
    assert venv.step(np.array([0]))[1][0] == 0.5
    venv.close()


def test_without_the_import_nothing_of_a_module_runs(tmp_path: Path, own_module: Any, capfd: Any) -> None:
    gym.register("Own-v0", lambda: gym.make("CartPole-v1").unwrapped)
    for line in ALL_OF_IT.splitlines():
        if "own_zoo" in line:
            key = line.split(":")[0] if not line.startswith("  -") else ""
            text = f"n_timesteps: 60\n{line}" if key else f"n_timesteps: 60\ncallback:\n{line}"
            path = section_file(tmp_path, "Own-v0", text)
            assert main(["--algo", "ppo", "--env", "Own-v0", "-conf", str(path)]) == 2
            assert "--import" in capfd.readouterr().err
            assert "own_zoo_classes" not in sys.modules


# ------------------------------------------------------------------------------------------------- the flags


def test_the_zoos_flags(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = section_file(tmp_path, "CartPole-v1", "n_timesteps: 100\nn_steps: 10")
    argv = ["--algo", "a2c", "--env", "CartPole-v1", "-conf", str(path), "--eval-env-kwargs", "max_episode_steps:3",
            "--num-threads", "1", "--log-interval", "2", "-tb", str(tmp_path / "tb"), "-P", "--run-dir",
            str(tmp_path / "run")]  # fmt: skip
    assert main(argv) == 0
    assert "100%" in capfd.readouterr().err  # -P
    run = RunFolder(tmp_path / "run")
    assert {int(row["timesteps"]) for row in read_table(run.progress)} == {20, 40, 60, 80, 100}
    lengths = np.load(run.scores)["ep_lengths"]
    assert lengths.max() == lengths.min() == 3
    assert max(int(line.split(",")[1]) for line in (run.path / "monitor.csv").read_text().splitlines()[2:]) > 3
    assert [path.parent.name for path in (tmp_path / "tb" / "CartPole-v1").glob("*/events*")] == ["A2C_1"]
    again = Settings.from_config(load_yaml(run.config))
    assert (again.num_threads, again.log_interval, again.tensorboard_log) == (1, 2, str(tmp_path / "tb"))
    assert again.eval_env_kwargs == {"max_episode_steps": 3}


def test_minus_one_is_the_zoos_word_for_as_it_is() -> None:
    settings = Settings(algo="a2c", env="CartPole-v1", n_timesteps=100, log_interval=-1, num_threads=-1)
    assert (settings.log_interval, settings.num_threads) == (None, None)


def test_no_log_but_the_last_row(tmp_path: Path) -> None:
    argv = ["--algo", "a2c", "-n", "200", "--log-interval", "-2", "--final-episodes", "1", "--eval-freq", "0"]
    assert main([*argv, "--run-dir", str(tmp_path / "run")]) == 0
    assert len(read_table(tmp_path / "run" / "progress.csv")) == 1
