"""Settings: which layer wins, what a file may say, and that a written config means the same when read."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sb3_course.config.errors import InputError
from sb3_course.config.text import NAMED, LinearRate, Named
from sb3_course.config.yaml_files import dump_yaml, load_yaml, parse_yaml
from sb3_course.runs.settings import Settings
from sb3_course.runs.words import Wrapper, read_normalize, read_wrappers
from sb3_course.train import make_parser, origin, read_settings


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


ZOO = """\
default: {n_timesteps: 300, policy: MlpPolicy, gamma: 0.5}
atari: {n_timesteps: 200, policy: CnnPolicy, frame_stack: 4}
CartPole-v1: &cart {n_timesteps: 100, gamma: 0.9}
"""


@pytest.mark.parametrize(
    ("env", "section", "n_timesteps", "frames", "policy", "hyperparameters"),
    [
        ("CartPole-v1", "CartPole-v1", 100, 1, None, {"gamma": 0.9}),
        ("ALE/Pong-v5", "atari", 200, 4, "CnnPolicy", {}),
        ("BreakoutNoFrameskip-v4", "atari", 200, 4, "CnnPolicy", {}),
        ("Acrobot-v1", "default", 300, 1, None, {"gamma": 0.5}),
    ],
)
def test_a_section_of_the_zoo_replaces_the_preset(
    tmp_path: Path, env: str, section: str, n_timesteps: int, frames: int, policy: str | None, hyperparameters: object
) -> None:
    (tmp_path / "zoo.yml").write_text(ZOO)
    options = vars(make_parser().parse(["--algo", "ppo", "--env", env, "--config", str(tmp_path / "zoo.yml")]))
    settings = read_settings(options)
    assert (settings.n_timesteps, settings.frame_stack, settings.policy) == (n_timesteps, frames, policy)
    assert settings.hyperparameters == hyperparameters
    assert settings.n_envs == 1  # our preset has 8
    assert origin(options, settings) == f"{tmp_path / 'zoo.yml'}, section {section}"


def test_where_settings_come_from(tmp_path: Path) -> None:
    (tmp_path / "flat.yaml").write_text("policy_kwargs: {net_arch: [8]}\n")
    (tmp_path / "whole.yaml").write_text("algo: dqn\nenv: CartPole-v1\nn_timesteps: 2000\n")
    for argv, words in {
        ("--algo", "dqn"): "presets/dqn.yml, section CartPole-v1",
        ("--algo", "dqn", "--env", "Taxi-v3"): "presets/dqn.yml, section default",
        ("--preset", "notes-dqn"): "the article notes-dqn",
        ("--config", "whole.yaml"): "whole.yaml",
        ("--algo", "dqn", "--config", "flat.yaml"): "flat.yaml over presets/dqn.yml, section CartPole-v1",
    }.items():
        options = vars(make_parser().parse([str(tmp_path / w) if w.endswith("yaml") else w for w in argv]))
        assert origin(options, read_settings(options)).removeprefix(f"{tmp_path}/") == words


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


# Text that a reader would take for something else, and any other.
TRAPS = ("1e5", "None", "true", "a,b", "8x8", "lin_1e-3", "nn.ReLU", "'q'", "dict(a=1)", "[1]", "", " a", "x y", "1+2")
texts = st.sampled_from(TRAPS) | st.text(st.characters(codec="utf-8"), max_size=8)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
values = st.recursive(
    json_values | st.sampled_from([float("inf"), -float("inf"), LinearRate(1e-3), *(Named(name) for name in NAMED)]),
    lambda inner: st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple),
    max_leaves=6,
)


def arguments(of: st.SearchStrategy[object]) -> st.SearchStrategy[dict[str, object]]:
    return st.dictionaries(st.sampled_from(["map_name", "shape", "b"]), of, max_size=3)


@given(arguments(json_values), st.lists(arguments(values), max_size=2), arguments(values), st.lists(texts, max_size=2))
def test_settings_equal_what_is_read_back_from_what_they_wrote(
    env: dict[str, object], wrappers: list[dict[str, object]], policy: dict[str, object], keys: list[str]
) -> None:
    settings = Settings(
        algo="dqn", env="FrozenLake-v1", n_timesteps=2000, env_kwargs=env, normalize={"norm_obs_keys": keys},
        env_wrapper=tuple(Wrapper("a.b:C", kwargs) for kwargs in wrappers), hyperparameters={"policy_kwargs": policy},
        vec_env_wrapper=tuple(Wrapper("a.b:V", kwargs) for kwargs in wrappers), eval_env_kwargs=env,
        callback=tuple(Wrapper("a.b:B", kwargs) for kwargs in wrappers), monitor_kwargs={"info_keywords": tuple(keys)},
        log_interval=-2, num_threads=2, tensorboard_log="1e5",
    )  # fmt: skip
    again = Settings.from_config(parse_yaml(dump_yaml(settings.to_config()), "config"))
    assert again == settings
    assert repr(again) == repr(settings)  # True against 1, -0.0


def test_text_for_the_environment_is_the_same_at_every_door(tmp_path: Path) -> None:
    typed = from_words("--algo", "q_table", "--env", "FrozenLake-v1", "--env-kwargs", "map_name:8x8", "a:'1e5'")
    assert typed.env_kwargs == {"map_name": "8x8", "a": "1e5"}
    (tmp_path / "config.yaml").write_text(dump_yaml(typed.to_config()))
    assert from_words("--config", str(tmp_path / "config.yaml")) == typed


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
    assert (settings.eval_freq, settings.save_freq) == (50, 100)
    assert Settings(algo="a2c", env="CartPole-v1", n_timesteps=1000, eval_freq=-1).eval_freq == 0
    assert settings.replace(seed=7).seed == 7
    with pytest.raises(InputError, match="seed"):
        settings.replace(seed=-7)


def test_without_any_budget_it_says_how_to_give_one() -> None:
    with pytest.raises(InputError, match="-n STEPS"):
        Settings(algo="a2c", env="CartPole-v1")
