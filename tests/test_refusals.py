"""What cannot be served is refused in the words of whoever gave it, and what SB3 lets pass passes."""

import re
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3 import A2C, DQN
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnvWrapper
from stable_baselines3.dqn import MlpPolicy as DqnPolicy

from sb3_course import (
    A3C,
    REINFORCE,
    ActorCritic,
    DoubleDQN,
    NeuralQ,
    NStepDQN,
    PrioritizedDQN,
    QTable,
    Rainbow,
    registry,
)
from sb3_course.config.commands import examples
from sb3_course.config.errors import InputError
from sb3_course.replay.episodes import EpisodeBuffer
from sb3_course.runs.display import parameter_table
from sb3_course.runs.environment import training_env
from sb3_course.runs.model import build_model
from sb3_course.train import HEADLINE_ALGO, main, make_parser, read_settings

BOX = spaces.Box(-1, 1, (2,))
SMALL = {"seed": 0, "device": "cpu", "policy_kwargs": {"net_arch": [4]}}
REPLAY = {"buffer_size": 100, "learning_starts": 10}


class Still(gym.Env):
    """Shows what it is told to from its second episode on; an episode has four steps."""

    def __init__(self, observation_space=BOX, action_space=None, shown=None):
        self.observation_space, self.action_space = observation_space, action_space or spaces.Discrete(2)
        self.shown, self.episode = shown, 0

    def _observation(self):
        return self.observation_space.sample() if self.shown is None or self.episode < 5 else self.shown

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left, self.episode = 4, self.episode + 1
        return self._observation(), {}

    def step(self, action):
        self.left -= 1
        return self._observation(), 1.0, self.left == 0, False, {}


@pytest.mark.parametrize("cls", [Rainbow, ActorCritic])
@pytest.mark.parametrize(
    ("space", "field", "words"),
    [
        (spaces.Text(5), "observation_space", "Text cannot be served"),
        (spaces.Graph(BOX, None), "observation_space", "Graph cannot be served"),
        (spaces.Tuple([BOX, BOX]), "observation_space", "Tuple cannot be served"),
        (spaces.Sequence(BOX), "observation_space", "Sequence cannot be served"),
        (spaces.Box(-1, 1, (0,)), "observation_space", "there is nothing to observe"),
        (spaces.MultiDiscrete([[2, 3], [4, 5]]), "observation_space", "MultiDiscrete of 2 dimensions"),
        (spaces.Dict({"x": BOX, "y": spaces.Tuple([BOX])}), r"observation_space\['y'\]", "Tuple cannot be served"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, spaces.Space) else "",
)
def test_an_observation_space_that_cannot_be_served_is_named_with_a_way_out(cls, space, field, words):
    with pytest.raises(InputError, match=rf"^{field}: {words} \(got .*, want .*"):
        cls("MlpPolicy", Still(space), device="cpu")


TABLE = spaces.MultiDiscrete([[2, 3], [4, 5]])
FOUR = "Box or Discrete or MultiDiscrete or MultiBinary"


@pytest.mark.parametrize(
    ("cls", "space", "words"),
    [
        (
            ActorCritic,
            TABLE,
            r"a table of choices \(got MultiDiscrete\(.*, want one dimension of them: gymnasium",
        ),
        (
            A3C,
            spaces.Tuple([spaces.Discrete(2)]),
            rf"A3C only supports {FOUR} as action spaces \(got Tuple\(.*, want {FOUR}\)",
        ),
        (REINFORCE, spaces.Text(3), rf"REINFORCE only supports {FOUR} as action spaces \(got Text\("),
        (Rainbow, BOX, r"Rainbow only supports Discrete as action spaces \(got Box\(.*, want Discrete\)"),
        (QTable, spaces.Graph(BOX, None), r"QTable only supports Discrete .* want Discrete\)"),
        (DoubleDQN, TABLE, r"DoubleDQN only supports Discrete .*got MultiDiscrete.* want Discrete\)"),
    ],
    ids=str,
)
def test_an_action_space_that_cannot_be_served_is_named_in_one_line(cls, space, words):
    with pytest.raises(InputError, match=rf"^action_space: {words}") as refused:
        cls("MlpPolicy", Still(action_space=space), device="cpu")
    assert isinstance(refused.value, AssertionError)  # SB3's contract
    assert "\n" not in str(refused.value)


def test_an_env_put_in_later_is_looked_at_too():
    model = DoubleDQN("MlpPolicy", Still(), **SMALL, **REPLAY)
    with pytest.raises(InputError, match=r"^action_space: DoubleDQN only supports Discrete"):
        model.set_env(Still(action_space=spaces.Tuple([spaces.Discrete(2)])))


@pytest.mark.parametrize("cls", [Rainbow, ActorCritic])
def test_a_policy_that_does_not_exist_is_named_with_the_nearest(cls):
    with pytest.raises(
        InputError, match=r"^policy: unknown; did you mean 'MlpPolicy'\? \(got 'mlpPolicy', want MlpPolicy, "
    ):
        cls("mlpPolicy", "CartPole-v1", device="cpu")


@pytest.mark.parametrize("backend", ["numpy", "torch"])
@pytest.mark.parametrize(
    ("cls", "kwargs", "actions"),
    [(DoubleDQN, REPLAY, spaces.Discrete(2)), (Rainbow, REPLAY, spaces.Discrete(2)), (REINFORCE, {}, None),
     (ActorCritic, {}, None), (REINFORCE, {}, BOX), (ActorCritic, {}, BOX)],
    ids=str,
)  # fmt: skip
def test_an_observation_that_is_not_finite_is_blamed_on_itself(cls, kwargs, backend, actions):
    model = cls("MlpPolicy", Still(action_space=actions, shown=np.full(2, np.nan)), backend=backend, **SMALL, **kwargs)
    with pytest.raises(FloatingPointError, match=r"observation: not finite at step .* correct the environment's obs"):
        model.learn(400)


@pytest.mark.parametrize(
    ("cls", "words"),
    [
        (PrioritizedDQN, r"prioritized replay keeps both observations \(got True, want False, or prioritized=False\)"),
        (NStepDQN, r"n-step replay keeps both observations \(got True, want False, or n_steps=1\)"),
    ],
)
def test_memory_cannot_be_saved_where_there_are_priorities_or_windows(cls, words):
    with pytest.raises(InputError, match=rf"^optimize_memory_usage: {words}$"):
        cls("MlpPolicy", "CartPole-v1", optimize_memory_usage=True, **SMALL)
    kwargs = {"optimize_memory_usage": True, "replay_buffer_kwargs": {"handle_timeout_termination": False}}
    assert DoubleDQN("MlpPolicy", "CartPole-v1", **kwargs, **SMALL).replay_buffer.optimize_memory_usage


@pytest.mark.parametrize("algo", ["a2c", "ppo"])
def test_a_presets_gsde_against_a_policy_with_its_own_spread_says_how_to_leave_it_out(algo, capsys, tmp_path):
    words = ["--algo", algo, "--env", "Pendulum-v1", "-n", "64", "-f", str(tmp_path)]
    assert main([*words, "-params", "policy:GaussianMlpPolicy"]) == 2
    said = capsys.readouterr().err
    assert "use_sde: GaussianMlpPolicy has its own distribution of actions (got True, want use_sde=False" in said
    assert not list(tmp_path.rglob("*"))
    remedy = said.partition("-params ")[2].split()[0]
    parameters = ["policy:GaussianMlpPolicy", remedy]
    settings = read_settings({"algo": algo, "env": "Pendulum-v1", "params": parameters})
    assert type(build_model(settings, training_env(settings)).policy).__name__ == "GaussianMlpPolicy"


@pytest.mark.parametrize("cls", [DoubleDQN, REINFORCE])
def test_verbose_may_be_said_in_yes_and_no(cls, capsys):
    cls("MlpPolicy", "CartPole-v1", verbose=False, **SMALL)
    assert capsys.readouterr().out == ""
    cls("MlpPolicy", "CartPole-v1", verbose=True, **SMALL)
    assert "backend" in capsys.readouterr().out


def test_a_truncation_of_which_the_last_observation_is_not_told_bootstraps_nothing():
    buffer = EpisodeBuffer(1)
    step = np.zeros((1, 2)), np.zeros((1, 1)), np.ones(1), np.ones(1, dtype=bool)
    buffer.add(*step, [{"TimeLimit.truncated": True}])
    buffer.add(*step, [{"TimeLimit.truncated": True, "terminal_observation": np.array([3.0, 4.0])}])
    batch = buffer.take_episodes()
    assert batch.open_rows.tolist() == [1]
    assert batch.open_observations.tolist() == [[3.0, 4.0]]


class Forgetful(VecEnvWrapper):
    """Ends its episodes by truncation and does not say what was seen last."""

    def reset(self):
        return self.venv.reset()

    def step_wait(self):
        observations, rewards, dones, infos = self.venv.step_wait()
        for done, info in zip(dones, infos, strict=True):
            info["TimeLimit.truncated"] = bool(done)
            info.pop("terminal_observation", None)
        return observations, rewards, dones, infos


@pytest.mark.parametrize(
    ("cls", "kwargs"), [(DoubleDQN, REPLAY), (Rainbow, REPLAY), (REINFORCE, {}), (ActorCritic, {})]
)
def test_an_env_that_does_not_tell_what_was_seen_last_trains(cls, kwargs):
    model = cls("MlpPolicy", Forgetful(DummyVecEnv([Still, Still])), **SMALL, **kwargs).learn(60)
    assert model._n_updates > 0


def test_sb3s_own_policy_and_file_are_refused_in_words(tmp_path):
    with pytest.raises(InputError, match=r"^policy: .*got 'DQNPolicy', want 'MlpPolicy'"):
        DoubleDQN(DqnPolicy, "CartPole-v1")
    with pytest.raises(InputError, match=r"^policy: its outputs .*got 'ActorCriticPolicy', want an alias or"):
        ActorCritic(ActorCriticPolicy, "CartPole-v1")
    for theirs in (DQN("MlpPolicy", "CartPole-v1", **SMALL, **REPLAY), A2C("MlpPolicy", "CartPole-v1", device="cpu")):
        theirs.save(tmp_path / "theirs")
        with pytest.raises(InputError, match=r"model: has no manifest: only pickle .* want .*SB3's own class"):
            Rainbow.load(tmp_path / "theirs")
        with pytest.raises(InputError, match="path: the model in it has another class's policy"):
            Rainbow.load(tmp_path / "theirs", trust_pickle=True)


SHORTER = "The number of environments used is greater than the target network update interval"


@pytest.mark.parametrize(
    ("cls", "interval", "warned"),
    [
        (DoubleDQN, 1, True), (DoubleDQN, 2, True), (DoubleDQN, 3, False), (DoubleDQN, (1, "update"), False),
        (DoubleDQN, (2, "step"), True), (Rainbow, 1, True), (NeuralQ, 1, False), (QTable, 1, False),
    ],
)  # fmt: skip
def test_a_target_shorter_than_a_step_of_all_envs_is_warned_of_but_on_the_online_rungs(cls, interval, warned):
    env, small = make_vec_env("sb3_course/GridWorld-v0", 3), {"device": "cpu", "buffer_size": 100}
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        cls("MlpPolicy", env, target_update_interval=interval, **small)
    assert any(SHORTER in str(warning.message) for warning in seen) == warned


def test_rainbow_is_loaded_with_a_memory_of_one_and_with_a_word_for_verbose(tmp_path):
    """rl-baselines3-zoo's enjoy does the first."""
    Rainbow("MlpPolicy", "CartPole-v1", **SMALL, **REPLAY).save(tmp_path / "model")
    loaded = Rainbow.load(tmp_path / "model", env=make_vec_env("CartPole-v1", 2), buffer_size=1, verbose=True)
    assert loaded.replay_buffer.buffer_size == loaded.n_steps == 3  # slots: one window, for each env
    assert loaded.verbose is True
    assert loaded.predict(np.zeros(4, np.float32), deterministic=True)[0] in (0, 1)


def test_the_help_of_train_names_one_default_algorithm():
    flags, marked, _ = make_parser().format_help().partition(examples("train"))
    assert marked
    words = set(re.findall(r"[a-z0-9_]+", f"{flags} {parameter_table()}"))
    assert words & set(registry.ALGORITHMS) == {HEADLINE_ALGO}
