"""Presets: every one of them is valid, and a user's own file is read with the same care."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
import torch as th
import yaml

from sb3_course import from_preset, registry
from sb3_course.config.errors import InputError
from sb3_course.config.parameters import ARGUMENTS, normalise
from sb3_course.config.text import LinearRate, Named, read_values
from sb3_course.networks.heads import DuelingHead
from sb3_course.runs import presets
from sb3_course.runs.known_envs import find_env

EVERY = [(algo, env) for algo in registry.ALGORITHMS for env in ("default", *presets.environments(algo))]
EVERY += [(algo, "ALE/Pong-v5") for algo in registry.ALGORITHMS if presets.section_of(algo, "ALE/Pong-v5") == "atari"]
OURS = ("sb3_course/GridWorld-v0", "sb3_course/OneShot-v0", "sb3_course/Bandit-v0")
TUNED = ("Acrobot-v1", "MountainCar-v0", "LunarLander-v3")  # SB3's classes have the zoo's hyperparameters for these
RUNGS = [name for name, row in registry.ALGORITHMS.items() if row.source == "sb3_course" and name != "q_table"]


def words(preset: dict[str, Any]) -> dict[str, Any]:
    """Return a preset with its words read and normalised, as `Settings` does."""
    verbatim = ("algo", "env", "policy", "env_wrapper", "noise_type")
    return normalise({key: value if key in verbatim else read_values(value, key) for key, value in preset.items()})


def hyperparameters(preset: dict[str, Any]) -> dict[str, Any]:
    """Return what the constructor takes of a preset."""
    noise = ("noise_type", "noise_std")
    return {key: preset[key] for key in preset if key in noise or (ARGUMENTS[key].group != "run" and key != "policy")}


@pytest.mark.parametrize(("algo", "env"), EVERY)
def test_every_preset_is_what_its_algorithm_takes(algo: str, env: str) -> None:
    preset = words(presets.load(algo, env))
    assert isinstance(preset["n_timesteps"], int)
    registry.check_params(algo, hyperparameters(preset))
    if env != "default":
        space = type(find_env(env).make().action_space).__name__
        assert space in registry.find(algo).action_spaces


FOLDER = Path(presets.__file__).parents[1] / "presets"


@pytest.mark.parametrize("algo", [*RUNGS, "q_table"])
def test_a_comment_says_where_each_section_of_ours_comes_from(algo: str) -> None:
    lines = (FOLDER / f"{algo}.yml").read_text(encoding="utf-8").splitlines()
    for env in presets.environments(algo):
        place = next(i for i, line in enumerate(lines) if line.startswith(f"{env}:"))
        follows = lines[place + 1].strip().startswith("<<: *minatar")  # as the first of MinAtar's
        assert follows or " # " in lines[place] or lines[place - 1].startswith("#"), env


@pytest.mark.parametrize("algo", registry.ALGORITHMS)
def test_rl_zoo3_reads_the_same_in_our_presets(algo: str) -> None:
    # As rl_zoo3 2.9.2 does: plain YAML 1.1, the section alone, a policy, rates as numbers or `lin_<number>`.
    sections = yaml.safe_load((FOLDER / f"{algo}.yml").read_text(encoding="utf-8"))
    assert set(sections) - {"atari"} == {"default", *presets.environments(algo)}
    for env, section in sections.items():
        assert isinstance(section["n_timesteps"], int), env
        assert "n_episodes" not in section, env
        assert section["policy"] in registry.find(algo).load().policy_aliases, env
        for key in ("learning_rate", "clip_range", "delta_std"):
            word = section.get(key, 0)
            assert isinstance(word, int | float) or float(word.split("_")[1]) > 0, (env, key)
        for wrapper in section.get("env_wrapper", []):
            assert ":" not in (wrapper if isinstance(wrapper, str) else next(iter(wrapper))), env
        kind = ("MlpPolicy", "CnnPolicy")
        ours = {key: value for key, value in section.items() if key != "policy" or value not in kind}
        assert presets.load(algo, "ALE/Pong-v5" if env == "atari" else env) == ours, env
        # What YAML 1.1 leaves as text is text for us as well, or rl_zoo3 would pass `1e-3` on.
        texts = {key: value for key, value in ours.items() if isinstance(value, str) and key != "policy"}
        assert all(isinstance(read_values(text, key), str | dict | LinearRate) for key, text in texts.items()), env


@pytest.mark.parametrize("algo", [name for name in registry.ALGORITHMS if registry.find(name).source == "sb3_course"])
def test_each_section_says_all_that_the_default_says(algo: str) -> None:
    default = yaml.safe_load((FOLDER / f"{algo}.yml").read_text(encoding="utf-8"))["default"]
    for env in presets.environments(algo):
        assert default.keys() - {"policy"} <= presets.load(algo, env).keys() | {"policy"}, env


def test_each_of_our_environments_has_a_preset_for_each_algorithm_that_fits() -> None:
    for algo, row in registry.ALGORITHMS.items():
        for env, space in zip(OURS, ("Discrete", "Box", "Discrete"), strict=True):
            fits = space in row.action_spaces and algo != "crossq"  # it did not learn OneShot; crossq.yml says so
            assert (env in presets.environments(algo)) == fits, (algo, env)


@pytest.mark.parametrize("env", TUNED)
@pytest.mark.parametrize("algo", RUNGS)
def test_each_rung_has_figures_of_its_own_where_sb3_s_algorithms_have_the_zoo_s(algo: str, env: str) -> None:
    assert env in presets.environments(algo)
    assert {env} <= set(presets.environments("dqn")) & set(presets.environments("a2c"))
    preset = words(presets.load(algo, env))
    if algo in ("c51", "rainbow"):  # the support is chosen for the rewards
        assert preset["v_min"] < 0 <= preset["v_max"]
    model = from_preset(algo, env)
    assert type(model) is registry.find(algo).load()
    assert model.get_env().reset().shape == (preset.get("n_envs", 1), *gym.make(env).observation_space.shape)
    model.get_env().close()


@pytest.mark.parametrize("algo", ["c51", "rainbow"])
def test_an_unknown_environment_has_a_support_from_its_own_returns(algo: str) -> None:
    assert not {"v_min", "v_max"} & presets.load(algo, "default").keys()
    with pytest.warns(UserWarning, match="section default"):
        model: Any = from_preset(algo, "CliffWalking-v1")
    assert (model.v_min, model.v_max) == ("auto", "auto")


SWITCHES = {"double": (False, True), "dueling": (False, True), "noisy": (False, True),
            "prioritized": (False, True), "n_steps": (1, 3), "n_atoms": (1, 51)}  # fmt: skip


@pytest.mark.parametrize("algo", [name for name in RUNGS if "double" in registry.constructor_arguments(name)])
def test_one_switch_of_a_preset_is_enough_for_an_ablation(algo: str) -> None:
    for switch, ways in SWITCHES.items():
        for way in ways:
            if (algo, switch, way) != ("neural_q", "n_steps", 3):  # its replay is one transition long
                model: Any = from_preset(algo, "CartPole-v1", **{switch: way})
                assert getattr(model, switch) == way
                if switch == "dueling":
                    assert any(isinstance(part, DuelingHead) for part in model.q_net.modules()) is way


def test_a_preset_of_lunar_lander_learns() -> None:
    model = from_preset("rainbow", "LunarLander-v3", learning_starts=32, n_timesteps=40)
    before = [parameter.clone() for parameter in model.q_net.parameters()]
    model.learn(model.preset.n_timesteps)
    assert not any(map(th.equal, before, model.q_net.parameters()))


def test_a_figure_of_the_zoo() -> None:
    preset = words(presets.load("dqn", "CartPole-v1"))
    assert (preset["n_timesteps"], preset["learning_rate"], preset["train_freq"]) == (50_000, 2.3e-3, 256)
    assert preset["policy_kwargs"] == {"net_arch": [256, 256]}
    assert words(presets.load("ppo", "CartPole-v1"))["clip_range"] == LinearRate(0.2)


def test_an_environment_without_a_section_gets_the_default() -> None:
    assert presets.load("dqn", "Nowhere-v0") == presets.load("dqn", "Elsewhere-v0")
    assert presets.load("dqn", "Nowhere-v0") != presets.load("dqn", "CartPole-v1")


def test_presets_do_not_share_their_lists() -> None:
    presets.load("td3", "Pendulum-v1")["train_freq"].append("x")
    assert presets.load("td3", "Pendulum-v1")["train_freq"] == [1, "episode"]


NOTES = {
    "env": "CartPole-v1",
    "policy_kwargs": {
        "net_arch": [100],
        "activation_fn": Named("nn.ReLU"),
        "ortho_init": False,
        "optimizer_kwargs": {"eps": 1e-8},
    },
    "learning_rate": 5e-4,
    "gamma": 0.98,
}
ARTICLES: dict[str, dict[str, Any]] = {
    "pytorch-dqn-tutorial": {
        "algo": "double_dqn",
        "double": False,
        "env": "CartPole-v1",
        "env_wrapper": ["sb3_course.envs.wrappers:ShapedCartPole", "sb3_course.envs.wrappers:NoDoneMask"],
        "policy_kwargs": {"net_arch": [50], "init_std": 0.1},
        "learning_rate": 0.01,
        "gamma": 0.9,
        "exploration_initial_eps": 0.1,
        "exploration_final_eps": 0.1,
        "batch_size": 32,
        "buffer_size": 2000,
        "learning_starts": 2000,
        "warmup": "policy",
        "target_update_interval": (100, "update"),
        "n_episodes": 400,
    },
    "notes-neural-q": {
        "algo": "neural_q",
        "env": "sb3_course/GridWorld-v0",
        "policy_kwargs": {"net_arch": [100], "optimizer_class": Named("th.optim.SGD")},
        "learning_rate": 0.01,
        "gamma": 0.9,
        "exploration_initial_eps": 0.1,
        "exploration_final_eps": 0.1,
        "n_episodes": 1000,
    },
    "notes-dqn": {
        "algo": "double_dqn",
        "double": False,
        "env": "CartPole-v1",
        "policy_kwargs": {"net_arch": [100]},
        "learning_rate": 5e-4,
        "gamma": 0.98,
        "exploration_initial_eps": 0.1,
        "exploration_final_eps": 0.1,
        "batch_size": 32,
        "buffer_size": 10_000,
        "learning_starts": 31,
        "warmup": "policy",
        "target_update_interval": (20, "episode", 1),
        "n_episodes": 300,
    },
    "notes-policy-gradient": {"algo": "vpg", **NOTES},
    "notes-reinforce": {"algo": "reinforce", **NOTES},
    "notes-actor-critic": {"algo": "actor_critic", "n_steps": 1, **NOTES},
    "one-shot": {
        "algo": "reinforce",
        "env": "sb3_course/OneShot-v0",
        "policy": "GaussianMlpPolicy",
        "policy_kwargs": {"net_arch": [5, 5], "activation_fn": Named("nn.ReLU"), "ortho_init": False},
        "learning_rate": 1e-3,
        "n_episodes": 10_000,
    },
    "numpy-dqn": {
        "algo": "numpy_dqn",
        "env": "CartPole-v1",
        "env_wrapper": [{"sb3_course.envs.wrappers:TerminalReward": {"reward": -1.0, "truncation": True}}],
        "policy_kwargs": {"net_arch": [24, 24], "init_bound": 0.5, "optimizer_class": Named("th.optim.SGD")},
        "learning_rate": 1e-3,
        "learning_rate_decay": 0.995,
        "learning_rate_decay_unit": "replay",
        "learning_rate_floor": 1e-4,
        "gamma": 0.95,
        "exploration_decay": 0.995,
        "decay_unit": "sample",
        "batch_size": 1,
        "gradient_steps": 20,
        "buffer_size": 1_000_000,
        "target_update_interval": (1, "update"),
        "loss": "l2",
    },
    "deep-q-learning": {
        "algo": "double_dqn",
        "double": False,
        "env": "CartPole-v1",
        "batch_size": 64,
        "buffer_size": 100_000,
        "train_freq": 1,
    },
}


def test_the_articles_figures() -> None:
    assert set(presets.names()) == set(ARTICLES)
    for name, figures in ARTICLES.items():
        preset = words(presets.article(name))
        assert {key: preset.get(key) for key in figures} == figures
        settings = {key: value for key, value in preset.items() if key not in ("algo", "env")}
        registry.check_params(preset["algo"], hyperparameters(settings))
    with pytest.raises(InputError, match="did you mean 'notes-dqn'"):
        presets.article("note-dqn")


# -------------------------------------------------------------------------------------------- a user's own file


def written(tmp_path: Path, text: str, name: str = "dqn.yml") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_section_is_all_there_is(tmp_path: Path) -> None:
    written(tmp_path, "default: {n_timesteps: 5, gamma: 0.5, batch_size: 1}\nE-v0: {n_timesteps: 3, gamma: 0.9}\n")
    assert presets.load("dqn", "E-v0", tmp_path) == {"gamma": 0.9, "n_timesteps": 3}
    assert presets.environments("dqn", tmp_path) == ("E-v0",)


def test_a_file_of_sections_and_a_flat_file(tmp_path: Path) -> None:
    path = written(tmp_path, "default: {gamma: 0.5}\nE-v0: {n_timesteps: !!float 1e5, learning_rate: lin_1e-3}\n")
    expected = {"env": "E-v0", "n_timesteps": 100_000, "learning_rate": LinearRate(1e-3)}  # as the zoo reads it
    assert words(presets.read_config(path, "E-v0")) == expected
    flat = written(tmp_path, "algo: dqn\nenv: E-v0\ngamma: 0.5\neval_freq: 10\n")
    assert presets.read_config(flat, None) == {"algo": "dqn", "env": "E-v0", "gamma": 0.5, "eval_freq": 10}


def test_a_presets_policy_is_left_to_the_observations_where_it_says_nothing_else(tmp_path: Path) -> None:
    written(tmp_path, "default: {policy: MlpPolicy}\nE-v0: {gamma: 0.9}\nF-v0: {policy: MlpPolicy}\natari: {}\n")
    found = {env: presets.load("dqn", env, tmp_path) for env in ("E-v0", "F-v0", "G-v0", "ALE/Pong-v5")}
    assert found == {"E-v0": {"gamma": 0.9}, "F-v0": {}, "G-v0": {}, "ALE/Pong-v5": {}}
    sections = [presets.section_of("dqn", env, tmp_path) for env in found]
    assert sections == ["E-v0", "F-v0", "default", "atari"]
    written(tmp_path, "default: {policy: LinearPolicy}\n")
    assert presets.load("dqn", "E-v0", tmp_path) == {"policy": "LinearPolicy"}
    path = written(tmp_path, "F-v0: {policy: CnnPolicy}\ndefault: {policy: MlpPolicy}\n")  # a user's own file
    assert presets.read_config(path, "F-v0")["policy"] == "CnnPolicy"
    assert "policy" not in presets.read_config(path, "G-v0")


def test_a_game_of_ataris_is_known_by_its_class_too(tmp_path: Path) -> None:
    gym.register("tests/Game-v0", "somebody.ale:AtariEnv")
    written(tmp_path, "default: {gamma: 0.5}\natari: {gamma: 0.9}\n")
    assert presets.section_of("dqn", "tests/Game-v0", tmp_path) == "atari"
    del gym.registry["tests/Game-v0"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("E-v1: {gamma: 0.5}\n", "has no entry for this environment; did you mean 'E-v1'?"),
        ("E-v0: {gamma: 1, gamma: 2}\n", "duplicate key 'gamma'"),
        ("", "wrong layout"),
    ],
)
def test_a_bad_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        presets.read_config(written(tmp_path, text), "E-v0")
    assert message in str(caught.value)


def test_a_bad_word_is_refused_by_its_key() -> None:
    with pytest.raises(InputError, match=r"^gamma: "):
        words({"gamma": "open('x')"})
    with pytest.raises(InputError, match=r"^batch_size: "):
        words({"batch_size": "1.5"})
    with pytest.raises(InputError, match=r"^algo: "):
        presets.load("no", "E-v0")
    with pytest.raises(InputError, match="cannot read the file"):
        presets.load("dqn", "E-v0", folder="no/such/folder")
