"""What cannot be served is refused in the words of whoever gave it, and what SB3 lets pass passes."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3 import A2C, DQN
from stable_baselines3.dqn import MlpPolicy as DqnPolicy

from sb3_course import REINFORCE, ActorCritic, DoubleDQN, PrioritizedDQN, Rainbow
from sb3_course.config.errors import InputError
from sb3_course.policy_gradient.episodes import EpisodeBuffer

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
        (spaces.MultiDiscrete([[2, 3], [4, 5]]), "observation_space", "MultiDiscrete of 2 dimensions"),
        (spaces.Dict({"x": BOX, "y": spaces.Tuple([BOX])}), r"observation_space\['y'\]", "Tuple cannot be served"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, spaces.Space) else "",
)
def test_an_observation_space_that_cannot_be_served_is_named_with_a_way_out(cls, space, field, words):
    with pytest.raises(InputError, match=rf"^{field}: {words} \(got .*, want .*"):
        cls("MlpPolicy", Still(space), device="cpu")


def test_a_table_of_choices_as_an_action_is_refused():
    env = Still(action_space=spaces.MultiDiscrete([[2, 3], [4, 5]]))
    with pytest.raises(InputError, match=r"^action_space: a table of choices") as refused:
        ActorCritic("MlpPolicy", env, device="cpu")
    assert isinstance(refused.value, AssertionError)


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


def test_memory_cannot_be_saved_where_there_are_priorities():
    with pytest.raises(InputError, match=r"^optimize_memory_usage: prioritized replay keeps both observations"):
        PrioritizedDQN("MlpPolicy", "CartPole-v1", optimize_memory_usage=True, **SMALL)


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


def test_sb3s_own_policy_and_file_are_refused_in_words(tmp_path):
    with pytest.raises(InputError, match=r"policy: .*got 'DQNPolicy', want 'MlpPolicy'"):
        DoubleDQN(DqnPolicy, "CartPole-v1")
    for theirs in (DQN("MlpPolicy", "CartPole-v1", **SMALL, **REPLAY), A2C("MlpPolicy", "CartPole-v1", device="cpu")):
        theirs.save(tmp_path / "theirs")
        with pytest.raises(InputError, match="path: the model in it has another class's policy"):
            Rainbow.load(tmp_path / "theirs")
