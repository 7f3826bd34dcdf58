"""Settings: which layer wins, what a file may say, and that a written config means the same when read."""

from pathlib import Path

import pytest

from sb3_course.config.errors import InputError
from sb3_course.config.text import LinearRate, Named
from sb3_course.config.yaml_files import dump_yaml, load_yaml
from sb3_course.runs.settings import Settings
from sb3_course.runs.words import Wrapper, read_normalize, read_wrappers
from sb3_course.train import make_parser, read_settings


def from_words(*argv: str) -> Settings:
    return read_settings(vars(make_parser().parse(argv)))


def test_preset_below_config_below_command_line(tmp_path: Path) -> None:
    preset = from_words("--algo", "dqn")
    (tmp_path / "c.yaml").write_text("gamma: 0.5\nbatch_size: 16\n")
    settings = from_words("--algo", "dqn", "--config", str(tmp_path / "c.yaml"), "-params", "batch_size:8")
    assert preset.hyperparameters["gamma"] == 0.99
    assert settings.hyperparameters == {**preset.hyperparameters, "gamma": 0.5, "batch_size": 8}
    assert settings.n_timesteps == preset.n_timesteps == 50_000


def test_a_complete_config_leaves_the_preset_out(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("algo: dqn\nenv: CartPole-v1\nn_timesteps: 2000\n")
    settings = from_words("--config", str(tmp_path / "c.yaml"))
    assert settings.algo == "dqn"
    assert settings.hyperparameters == {}


def test_a_table_of_the_zoo(tmp_path: Path) -> None:
    (tmp_path / "zoo.yml").write_text(
        "CartPole-v1:\n  n_timesteps: !!float 5e4\n  policy: 'MlpPolicy'\n  learning_rate: !!float 2.3e-3\n"
        '  policy_kwargs: "dict(net_arch=[256, 256])"\n  train_freq: 256\n  n_envs: 1\n  normalize: false\n'
        "Acrobot-v1:\n  n_timesteps: 100\n"
    )
    settings = from_words("--algo", "dqn", "--env", "CartPole-v1", "--config", str(tmp_path / "zoo.yml"))
    assert settings.n_timesteps == 50_000
    assert settings.policy == "MlpPolicy"
    assert settings.hyperparameters["policy_kwargs"] == {"net_arch": [256, 256]}


def test_a_written_config_reads_back_equal(tmp_path: Path) -> None:
    settings = Settings(
        algo="dqn",
        env="CartPole-v1",
        n_timesteps=20_000,
        seed=3,
        n_envs=2,
        policy="MlpPolicy",
        hyperparameters={
            "learning_rate": LinearRate(1e-3),
            "train_freq": (1, "episode"),
            "policy_kwargs": {"net_arch": [8], "activation_fn": Named("nn.Tanh")},
        },
        env_kwargs={"max_episode_steps": 50},
        env_wrapper=(Wrapper("gymnasium.wrappers:TimeLimit", {"max_episode_steps": 9}),),
        normalize={},
        frame_stack=2,
    )
    (tmp_path / "config.yaml").write_text(dump_yaml(settings.to_config()))
    assert Settings.from_config(load_yaml(tmp_path / "config.yaml")) == settings


def test_an_article_is_complete_and_a_budget_in_steps_replaces_its_episodes() -> None:
    article = from_words("--preset", "notes-neural-q")
    assert (article.algo, article.env, article.n_episodes) == ("neural_q", "sb3_course/GridWorld-v0", 1000)
    shorter = from_words("--preset", "notes-neural-q", "-n", "300")
    assert (shorter.n_timesteps, shorter.n_episodes) == (300, None)


@pytest.mark.parametrize(
    "written",
    [
        "sb3_course.envs.wrappers.TerminalReward(reward=-2.0)",
        "sb3_course.envs.wrappers:TerminalReward(reward=-2.0)",
        {"sb3_course.envs.wrappers.TerminalReward": {"reward": -2.0}},
        [{"sb3_course.envs.wrappers.TerminalReward": {"reward": "-2.0"}}],
    ],
)
def test_wrappers_in_every_form(written: object) -> None:
    assert read_wrappers(written) == (Wrapper("sb3_course.envs.wrappers:TerminalReward", {"reward": -2.0}),)


@pytest.mark.parametrize(
    ("written", "meaning"),
    [
        (True, {}),
        ("true", {}),
        (False, None),
        ("dict(norm_reward=False)", {"norm_reward": False}),
        ("{'norm_obs': True, 'norm_reward': False}", {"norm_obs": True, "norm_reward": False}),
    ],
)
def test_normalize_in_every_form(written: object, meaning: object) -> None:
    assert read_normalize(written) == meaning


def test_defaults_that_depend_on_the_budget() -> None:
    settings = Settings(algo="a2c", env="CartPole-v1", n_timesteps=1000)
    assert (settings.eval_freq, settings.save_freq) == (50, 200)
    assert Settings(algo="a2c", env="CartPole-v1", n_timesteps=1000, eval_freq=-1).eval_freq == 0
    assert settings.replace(seed=7).seed == 7
    with pytest.raises(InputError, match="seed"):
        settings.replace(seed=-7)


def test_without_any_budget_it_says_how_to_give_one() -> None:
    with pytest.raises(InputError, match="-n STEPS"):
        Settings(algo="a2c", env="CartPole-v1")
