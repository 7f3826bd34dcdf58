"""Acting, callbacks and everything else that SB3's users do with a model."""

import warnings

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from pairwise import pairwise
from stable_baselines3.common.callbacks import BaseCallback, CheckpointCallback, EvalCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.envs import FakeImageEnv, SimpleMultiObsEnv
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.logger import configure
from stable_baselines3.common.utils import set_random_seed

from sb3_course import DoubleDQN
from sb3_course.registry import ALGORITHMS
from sb3_course.value.exploration import epsilon_greedy

OWN = {name: row.load() for name, row in ALGORITHMS.items() if row.source == "sb3_course" and row.family == "value"}
GRID = "sb3_course/GridWorld-v0"


def dict_env():
    """Return an environment that shows the same vectors and pictures each time: SB3's draws them globally."""
    set_random_seed(0)
    return SimpleMultiObsEnv(channel_last=False, random_start=False)


ENVS = {
    "box": lambda: gym.make("CartPole-v1"),
    "discrete": lambda: gym.make(GRID),
    "image": lambda: FakeImageEnv(screen_height=36, screen_width=36, n_channels=1),
    "dict": dict_env,
}
POLICY = {"box": "MlpPolicy", "discrete": "MlpPolicy", "image": "CnnPolicy", "dict": "MultiInputPolicy"}


def kinds(name):
    """Return the kinds of observation that an algorithm serves."""
    served = [kind for kind in ENVS if POLICY[kind] in OWN[name].policy_aliases]
    return ["discrete"] if name == "q_table" else served


KINDS = [(name, kind) for name in OWN for kind in kinds(name)]


def make(name="double_dqn", kind="box", env=None, **kwargs):
    settings = {"seed": 0, "device": "cpu"}
    if name == "pqn":  # which has no replay
        settings |= {"n_steps": 4, "batch_size": 8, "n_epochs": 2}
    elif name not in ("q_table", "neural_q"):
        settings |= {"learning_starts": 10, "batch_size": 8, "buffer_size": 100, "target_update_interval": 10}
    if name != "q_table":
        settings["policy_kwargs"] = {"net_arch": [8]}
    return OWN[name](POLICY[kind], env or ENVS[kind](), **(settings | kwargs))


def batch_of(observation, n):
    if isinstance(observation, dict):
        return {key: np.stack([value] * n) for key, value in observation.items()}
    return np.stack([observation] * n)


def same_weights(one, two):
    states = one.policy.state_dict(), two.policy.state_dict()
    return states[0].keys() == states[1].keys() and all(th.equal(states[0][key], states[1][key]) for key in states[0])


# -- predict --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("case", "exploration_rate", "deterministic"), pairwise(KINDS, [0.0, 0.5, 1.0], [True, False]))
def test_predict_returns_one_action_or_one_of_each_env(case, exploration_rate, deterministic):
    name, kind = case
    model = make(name, kind)
    model.exploration_rate = exploration_rate
    observation, _ = ENVS[kind]().reset(seed=0)
    state = (np.zeros(1),)
    action, returned = model.predict(observation, state=state, deterministic=deterministic)
    assert np.shape(action) == ()
    assert returned is state
    assert model.action_space.contains(action.item())
    for n in (1, 5):
        actions, _ = model.predict(batch_of(observation, n), deterministic=deterministic)
        assert actions.shape == (n,)
        assert np.issubdtype(actions.dtype, np.integer)
        assert all(model.action_space.contains(action) for action in actions)


def test_predict_is_greedy_without_exploration_and_transposes_images():
    model = make("double_dqn", "image")
    picture, _ = ENVS["image"]().reset(seed=0)
    assert picture.shape == (36, 36, 1)
    greedy = int(model.q_net(th.tensor(picture.transpose(2, 0, 1))[None]).argmax())
    assert model.predict(picture)[0] == greedy
    assert model.predict(picture, deterministic=True)[0] == greedy


def test_an_evaluation_without_exploration_draws_nothing():
    model = make()
    before = str(model.rng.bit_generator.state), str(model.action_space.np_random.bit_generator.state)
    model.exploration_rate = 1.0
    model.predict(np.zeros((3, 4), np.float32), deterministic=True)
    assert before == (str(model.rng.bit_generator.state), str(model.action_space.np_random.bit_generator.state))


def test_every_env_tosses_a_coin_of_its_own():
    """With ε = ½ and 1,000 envs some explore and some do not, in one call."""
    model = make()
    model.exploration_rate = 0.5
    observations = np.zeros((1000, 4), np.float32)
    greedy = model.predict(observations, deterministic=True)[0][0]
    share = (model.predict(observations)[0] != greedy).mean()  # half explore, and half of these hit the greedy action
    assert abs(share - 0.25) < 0.06


class Coins:
    """A generator whose coins are known."""

    def __init__(self, *coins):
        self.coins = np.array(coins)

    def random(self, size):
        assert size == len(self.coins)
        return self.coins


def test_epsilon_greedy_draws_a_random_action_only_for_those_who_explore():
    space = spaces.Discrete(100)
    space.seed(3)
    twin = spaces.Discrete(100)
    twin.seed(3)
    greedy = np.array([-1, -2, -3])
    actions = epsilon_greedy(Coins(0.2, 0.7, 0.1), 0.2, lambda: greedy, space, 3)
    assert actions.tolist() == [-1, -2, twin.sample()]  # a coin below ε explores, one equal to it does not
    assert greedy.tolist() == [-1, -2, -3]
    each = epsilon_greedy(Coins(0.5, 0.5, 0.5), np.array([0.0, 1.0, 0.6]), lambda: greedy, space, 3)
    assert each.tolist() == [-1, twin.sample(), twin.sample()]


def test_epsilon_greedy_asks_the_network_only_if_someone_needs_it():
    def never():
        raise AssertionError

    assert epsilon_greedy(Coins(0.0, 0.5), 1.0, never, spaces.Discrete(2), 2).shape == (2,)


def test_exploration_falls_along_its_schedule():
    rates = []

    class Watch(BaseCallback):
        def _on_step(self):
            rates.append(self.model.exploration_rate)
            return True

    model = make(exploration_fraction=0.5, exploration_initial_eps=0.8, exploration_final_eps=0.2)
    model.learn(100, callback=Watch())
    expected = [0.0] + [max(0.8 - 0.6 * step / 50, 0.2) for step in range(1, 100)]
    np.testing.assert_allclose(rates, expected, atol=1e-6)


# -- learning, over and over ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OWN)
def test_a_seed_repeats_a_run_and_another_does_not(name):
    wild = {"exploration_initial_eps": 1.0, "exploration_final_eps": 1.0}
    runs = [make(name, "discrete", seed=seed, **wild).learn(200) for seed in (3, 3, 4)]
    assert same_weights(runs[0], runs[1])
    assert not same_weights(runs[0], runs[2])


def test_a_run_owes_nothing_to_numpys_global_generator():
    runs = []
    for disturb in (False, True):
        model = make()
        if disturb:
            np.random.seed(99)  # noqa: NPY002
        runs.append(model.learn(60))
    assert same_weights(*runs)


@pytest.mark.parametrize("name", OWN)
def test_learning_goes_on_without_resetting_the_count(name):
    model = make(name, "discrete").learn(40)
    updates, last = model._n_updates, model._last_obs
    model.learn(40, reset_num_timesteps=False)
    assert model.num_timesteps == 80
    assert model._n_updates > updates
    assert model._last_obs is not last
    model.learn(20)
    assert model.num_timesteps == 20


def test_a_learn_shorter_than_the_warm_up_warns_and_learns_nothing():
    model = make(learning_starts=100)
    before = model.policy.parameters_to_vector()
    with pytest.warns(
        UserWarning, match=r"total_timesteps=60 ends before learning_starts=100: little or nothing will be learned"
    ):
        model.learn(60)
    np.testing.assert_array_equal(model.policy.parameters_to_vector(), before)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.learn(60, reset_num_timesteps=False)  # together they are long enough
    assert model._n_updates > 0


@pytest.mark.parametrize("bad", [-1, "many", float("nan"), float("inf")])
def test_a_bad_number_of_steps_is_refused(bad):
    with pytest.raises(ValueError, match=r"^total_timesteps: "):
        make().learn(bad)


def test_another_env_and_another_logger_can_be_set(tmp_path):
    model = make().learn(30)
    other = ENVS["box"]()
    model.set_env(other)
    model.set_logger(configure(str(tmp_path), ["csv"]))
    model.learn(30, log_interval=1)
    assert model.get_env().envs[0].unwrapped is other.unwrapped
    assert "train/loss" in (tmp_path / "progress.csv").read_text()
    with pytest.raises(AssertionError):
        model.set_env(make_vec_env("CartPole-v1", 2))
    with pytest.raises(ValueError, match="Observation spaces do not match"):
        model.set_env(gym.make("Acrobot-v1"))


def test_the_log_holds_what_sb3s_dqn_logs(tmp_path):
    model = make()
    model.set_logger(configure(str(tmp_path), ["csv"]))
    model.learn(200, log_interval=1)
    header = (tmp_path / "progress.csv").read_text().splitlines()[0].split(",")
    assert {"train/loss", "train/n_updates", "train/learning_rate", "rollout/exploration_rate"} <= set(header)


# -- callbacks ------------------------------------------------------------------------------------------------------


def test_callbacks_see_the_locals_that_sb3_promises():
    seen = []

    class Watch(BaseCallback):
        def _on_step(self):
            seen.append({"rewards", "dones", "infos", "new_obs", "actions", "env", "replay_buffer"} - set(self.locals))
            return len(seen) < 25

    model = make().learn(60, callback=Watch())
    assert seen == [set()] * 25
    assert model.num_timesteps == 25


@pytest.mark.parametrize("name", OWN)
def test_checkpoints_can_be_loaded(tmp_path, name):
    callback = CheckpointCallback(10, str(tmp_path), save_replay_buffer=True)
    make(name, "discrete").learn(30, callback=callback)
    assert sorted(path.name for path in tmp_path.glob("*.zip")) == [
        f"rl_model_{step}_steps.zip" for step in (10, 20, 30)
    ]
    loaded = OWN[name].load(tmp_path / "rl_model_20_steps.zip", env=ENVS["discrete"]())
    buffers = [*tmp_path.glob("rl_model_replay_buffer_20_steps.pkl")]
    assert len(buffers) == (name != "pqn")
    for buffer in buffers:
        loaded.load_replay_buffer(buffer)
    assert loaded.num_timesteps == 20
    loaded.learn(10, reset_num_timesteps=False)


class Noted(gym.Wrapper):
    """Writes down what is done."""

    def __init__(self, env):
        super().__init__(env)
        self.actions = []

    def step(self, action):
        self.actions.append(int(action))
        return self.env.step(action)


@pytest.mark.filterwarnings("ignore:Training and eval env are not of the same type")
@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_evaluating_at_every_step_leaves_the_run_bit_equal(tmp_path, name, kind):
    """Weights, optimizer and every action: whoever watches changes nothing."""
    if kind == "image":
        steps, episode = 20, 3
    else:
        steps, episode = 30, 4
    runs, envs = [], []
    for watched in (False, True):
        env = Noted(ENVS[kind]())
        envs.append(env)
        env.observation_space.seed(0)
        judge = gym.wrappers.TimeLimit(ENVS[kind](), episode)
        callback = EvalCallback(
            judge, eval_freq=1, n_eval_episodes=1, best_model_save_path=str(tmp_path), verbose=0, warn=False
        )
        runs.append(make(name, kind, env=env).learn(steps, callback=callback if watched else None))
    assert same_weights(*runs)
    assert runs[0]._n_updates > 0
    assert len(envs[0].actions) >= steps
    assert envs[0].actions == envs[1].actions
    assert (tmp_path / "best_model.zip").exists()


@pytest.mark.parametrize("name", OWN)
def test_evaluate_policy_serves_every_rung(name):
    model = make(name, "discrete").learn(50)
    mean, deviation = evaluate_policy(model, gym.make(GRID, max_episode_steps=20), n_eval_episodes=2, warn=False)
    assert np.isfinite([mean, deviation]).all()


def test_training_mode_is_on_for_what_is_learned_from_and_off_for_all_else():
    model = make(backend="torch")
    modes = []
    outputs = type(model.q_net).outputs

    class Spy(type(model.q_net)):
        def outputs(self, observations):
            modes.append((self is model.q_net, self.training, len(observations)))
            return outputs(self, observations)

    model.q_net.__class__ = model.q_net_target.__class__ = Spy
    model.learn(60)
    assert {mode for mode in modes if mode[0] and mode[2] == 1} == {(True, False, 1)}  # acting
    target, choice, learning = (False, False, 8), (True, False, 8), (True, True, 8)
    assert [mode for mode in modes if mode[2] == 8] == [target, choice, learning] * model._n_updates


def test_the_public_class_is_the_registered_one():
    assert OWN["double_dqn"] is DoubleDQN
