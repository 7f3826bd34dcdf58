"""The learning rules against formulas written out, target synchronisation counted, and numbers that are not finite."""

import copy
import inspect
import warnings

import gymnasium as gym
import numpy as np
import pytest
import torch as th
import torch.nn.functional as F
from gymnasium import spaces
from stable_baselines3 import DQN
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.envs import FakeImageEnv
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn

from sb3_course import DoubleDQN, NeuralQ, PrioritizedDQN, QTable
from sb3_course.config.text import InputError
from sb3_course.value.value_algorithm import ValueAlgorithm

GRID = "sb3_course/GridWorld-v0"


class Transitions(BaseCallback):
    """Keep every transition of one env and a copy of something after every step."""

    def __init__(self, keep=lambda model: None):
        super().__init__()
        self.keep = keep
        self.seen, self.kept = [], []
        self.last = None

    def _on_training_start(self):
        self.last = self.model._last_obs.copy()

    def _on_step(self):
        # called before the update on this transition: what is kept is the result of all before
        self.kept.append(self.keep(self.model))
        done, info = self.locals["dones"][0], self.locals["infos"][0]
        following = info["terminal_observation"] if done else self.locals["new_obs"][0]
        terminated = bool(done) and not info.get("TimeLimit.truncated", False)
        transition = (self.last[0], self.locals["actions"][0], self.locals["rewards"][0], following, terminated)
        self.seen.append(copy.deepcopy(transition))
        self.last = self.locals["new_obs"].copy()
        return True


# -- QTable ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("env_kwargs", [{"id": GRID}, {"id": GRID, "slip": 0.2}, {"id": "FrozenLake-v1"}], ids=str)
@pytest.mark.parametrize("double", [False, True])
def test_the_table_moves_by_the_textbook_formula(env_kwargs, double):
    """Q[s, a] ← Q[s, a] + α·(r + γ·max Q[s', ·] − Q[s, a]), after every single transition, nothing else."""
    alpha, gamma = 0.3, 0.9
    env = gym.wrappers.TransformReward(gym.make(**env_kwargs), lambda reward: reward * 3 - 0.1)
    model = QTable(
        "MlpPolicy", env, learning_rate=alpha, gamma=gamma, exploration_initial_eps=1.0, seed=0, double=double
    )
    table = np.zeros((env.observation_space.n, env.action_space.n))
    np.testing.assert_array_equal(model.q_table, table)
    steps = Transitions(lambda model: model.q_table)
    model.learn(1500, callback=steps)
    assert sum(terminated for *_, terminated in steps.seen) > 3
    for before, (state, action, reward, following, terminated) in zip(steps.kept, steps.seen, strict=True):
        np.testing.assert_allclose(before, table, atol=1e-5)
        target = reward + gamma * table[following].max() * (not terminated)
        table[state, action] += alpha * (target - table[state, action])
    np.testing.assert_allclose(model.q_table, table, atol=1e-5)
    assert np.ptp(table) > 0.5


def test_the_table_follows_a_decaying_learning_rate():
    """α = 1/2, then 1/4, …: the schedule of SB3, evaluated at every step."""
    model = QTable("MlpPolicy", GRID, learning_rate=lambda left: 0.5 * left, seed=0)
    steps = Transitions(lambda model: model.q_table)
    model.learn(100, callback=steps)
    table = np.zeros_like(model.q_table)
    for i, (state, action, reward, following, terminated) in enumerate(steps.seen):
        target = reward + 0.99 * table[following].max() * (not terminated)
        table[state, action] += 0.5 * (1 - (i + 1) / 100) * (target - table[state, action])
    np.testing.assert_allclose(model.q_table, table, atol=1e-5)


@pytest.mark.parametrize("env", ["CartPole-v1", FakeImageEnv])
def test_a_table_refuses_observations_that_are_no_states(env):
    with pytest.raises(InputError, match=r"^observation_space: .*want Discrete") as refusal:
        QTable("MlpPolicy", env if isinstance(env, str) else env())
    assert isinstance(refusal.value, AssertionError)
    assert "\n" not in str(refusal.value)


# -- NeuralQ --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("loss", "of_torch"), [("mse", F.mse_loss), ("huber", F.smooth_l1_loss)])
@pytest.mark.parametrize("optimizer_class", [th.optim.SGD, th.optim.Adam])
@pytest.mark.parametrize("head", ["plain", "state_action"])
def test_neural_q_steps_on_every_transition_with_its_own_values_as_target(loss, of_torch, optimizer_class, head):
    """The semi-gradient step written out in torch: no replay, no target network, one transition."""
    policy_kwargs = {"net_arch": [8], "optimizer_class": optimizer_class, "head": head}
    model = NeuralQ(
        "MlpPolicy",
        "CartPole-v1",
        learning_rate=0.01,
        gamma=0.9,
        loss=loss,
        max_grad_norm=10,
        seed=0,
        policy_kwargs=policy_kwargs,
        exploration_initial_eps=0.5,
        exploration_final_eps=0.5,
    )
    net = copy.deepcopy(model.q_net)
    optimizer = optimizer_class(net.parameters(), lr=0.01)
    steps = Transitions()
    model.learn(150, callback=steps)
    for state, action, reward, following, terminated in steps.seen:
        with th.no_grad():
            bootstrap = 0 if terminated else 0.9 * net(th.tensor(following)[None]).max()
        estimate = net(th.tensor(state)[None])[0, action]
        optimizer.zero_grad()
        of_torch(estimate, th.as_tensor(reward + bootstrap)).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 10)
        optimizer.step()
    assert model._n_updates == 150
    for mine, theirs in zip(model.q_net.parameters(), net.parameters(), strict=True):
        th.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("cls", [NeuralQ, QTable])
def test_the_online_rungs_keep_one_transition_of_each_env(cls):
    for n_envs in (1, 3):
        model = cls("MlpPolicy", make_vec_env(GRID, n_envs), target_update_interval=(1, "step")).learn(30)
        assert model.replay_buffer.size() == 1
        assert model._n_updates == 30 // n_envs


# -- the engine -----------------------------------------------------------------------------------------------------


class NormalisedExtractor(BaseFeaturesExtractor):
    def __init__(self, observation_space):
        super().__init__(observation_space, features_dim=4)
        self.norm = nn.BatchNorm1d(4)

    def forward(self, observations):
        return self.norm(observations)


def make(env="CartPole-v1", cls=DoubleDQN, **kwargs):
    settings = {"learning_starts": 10, "batch_size": 8, "buffer_size": 300, "target_update_interval": 10, "seed": 0}
    settings |= {"train_freq": 4, "backend": "torch"}  # of which the expressions here are made
    return cls(
        "MlpPolicy", env, policy_kwargs={"net_arch": [8], **kwargs.pop("policy_kwargs", {})}, **(settings | kwargs)
    )


@pytest.mark.parametrize("double", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize(("loss", "of_torch"), [("huber", F.smooth_l1_loss), ("mse", F.mse_loss)])
def test_an_update_is_the_equation_of_double_dqn(double, weighted, loss, of_torch):
    """The target y = r + γ·Q_target(s', argmax Q_online(s', ·)), Huber, mean, clip, step: in torch."""
    model = make(double=double, loss=loss, gamma=0.9, learning_rate=0.01, train_freq=1000).learn(200)
    with th.no_grad():
        for parameter in model.q_net_target.parameters():
            parameter.add_(th.randn_like(parameter))
    batch = model.replay_buffer.sample_batch(16)
    if weighted:
        batch = batch._replace(weights=np.linspace(0, 1, 16, dtype=np.float32))
    net, target = copy.deepcopy(model.q_net), model.q_net_target
    optimizer = th.optim.Adam(net.parameters(), lr=0.01)
    optimizer.load_state_dict(copy.deepcopy(model.policy.optimizer.state_dict()))
    with th.no_grad():
        following = th.tensor(batch.next_observations)
        chooser = net if double else target
        values = target(following)[range(16), chooser(following).argmax(1)]
        y = th.tensor(batch.rewards) + th.tensor(batch.discounts) * values
    estimates = net(th.tensor(batch.observations))[range(16), batch.actions[:, 0]]
    expected = (of_torch(estimates, y, reduction="none") * th.tensor(batch.weights)).mean()
    optimizer.zero_grad()
    expected.backward()
    nn.utils.clip_grad_norm_(net.parameters(), 10)
    optimizer.step()
    assert model._update(batch) == pytest.approx(expected.item(), rel=1e-5)
    for mine, theirs in zip(model.q_net.parameters(), net.parameters(), strict=True):
        th.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-7)


class Numbered(gym.Env):
    """Counts its steps over all episodes: observation, reward; action spaces of any integer type."""

    def __init__(self, dtype=np.int64):
        self.observation_space, self.action_space = spaces.Box(-np.inf, np.inf, (1,)), spaces.Discrete(2, dtype=dtype)
        self.count = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.full(1, self.count, np.float32), {}

    def step(self, action):
        self.count += 1
        return np.full(1, self.count, np.float32), 1.0, False, False, {}


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int32])
def test_actions_of_any_integer_type_learn_alike(dtype):
    """Torch reads small integers as masks. The transitions are copied: spaces of other types draw other actions."""
    one, two = make(Numbered()).learn(40), make(Numbered(dtype)).learn(40)
    for name in ("observations", "next_observations", "actions", "rewards"):
        getattr(two.replay_buffer, name)[:] = getattr(one.replay_buffer, name)
    assert two.replay_buffer.actions.dtype == dtype
    two.set_parameters(copy.deepcopy(one.get_parameters()))
    for model in (one, two):
        model.set_rng(np.random.default_rng(0))
        model.train(3, 8)
    assert th.equal(*(model.q_net.q_net[0].weight for model in (one, two)))


@pytest.mark.parametrize(
    "again", [{"reset_num_timesteps": True}, {"reset_num_timesteps": False}, {"new_env": True}], ids=str
)
def test_no_window_reaches_over_a_reset_between_two_calls_of_learn(again):
    """Two calls of `learn`: if SB3 resets the env between them, the 12th step does not follow the 11th."""
    again = dict(again)
    model = make(Numbered(), n_steps=3, gamma=1.0, train_freq=1).learn(12)
    if again.pop("new_env", False):
        model.set_env(Numbered())
        again = {"reset_num_timesteps": False}
        continued = False
    else:
        continued = not again["reset_num_timesteps"]
    model.learn(12, **again)
    lengths = model.replay_buffer.gather(np.arange(model.replay_buffer.size())).rewards
    expected = np.full(len(lengths), 3.0)
    expected[-2:] = 2, 1
    if not continued:
        expected[10:12] = 2, 1
    np.testing.assert_array_equal(lengths, expected)


def test_batch_norm_learns_its_statistics_in_training_only_and_hands_them_to_the_target():
    """As SB3 issue 996: running statistics are no parameters, and must reach the target all the same."""
    model = make(policy_kwargs={"features_extractor_class": NormalisedExtractor}, tau=0.1, double=False)
    online, target = (net.features_extractor.norm for net in (model.q_net, model.q_net_target))
    model.predict(np.ones((5, 4), np.float32))
    assert not online.running_mean.any()
    model.learn(60)
    assert online.running_mean.any()
    model._backend.update_target(0.0)
    assert th.equal(online.running_mean, target.running_mean)
    before = online.running_mean.clone()
    model.predict(np.ones((5, 4), np.float32), deterministic=True)
    assert not model.policy.training
    model.predict(np.ones((5, 4), np.float32), deterministic=False)
    assert th.equal(online.running_mean, before)
    model.train(1, 8)
    assert model.q_net.training
    assert not model.q_net_target.training


# -- synchronisation ------------------------------------------------------------------------------------------------


def count_syncs(model, steps, **kwargs):
    """Run `learn` and return at which (step, update, episode) the target was moved, and by which τ."""
    synced = []
    model._backend.update_target = lambda tau: synced.append(
        (model.num_timesteps, model._n_updates, model._n_finished, tau)
    )
    model.learn(steps, **kwargs)
    return synced


def test_target_synchronised_by_steps():
    synced = count_syncs(make(target_update_interval=7, tau=0.3), 100)
    assert [step for step, *_ in synced] == list(range(7, 101, 7))
    assert {tau for *_, tau in synced} == {0.3}


@pytest.mark.parametrize(("interval", "every"), [(8, 8), (10, 8), (3, 4), (1, 4)])
def test_target_synchronised_by_steps_of_four_envs_as_sb3_counts_them(interval, every):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The number of environments used is greater")
        model = make(make_vec_env("CartPole-v1", 4), target_update_interval=interval)
    assert [step for step, *_ in count_syncs(model, 80)] == list(range(every, 81, every))


@pytest.mark.parametrize("interval", [1, 3])
def test_target_synchronised_by_updates(interval):
    model = make(target_update_interval=(interval, "update"), train_freq=5, gradient_steps=4)
    synced = count_syncs(model, 100)
    assert model._n_updates > 20
    assert [update for _, update, *_ in synced] == list(range(interval, model._n_updates + 1, interval))


@pytest.mark.parametrize(("interval", "first"), [((1,), 1), ((3,), 3), ((3, 1), 1), ((2, 5), 5)])
def test_target_synchronised_by_episodes(interval, first):
    model = make(target_update_interval=(interval[0], "episode", *interval[1:]))
    synced = count_syncs(model, 300)
    assert model._n_finished > 6
    assert [episode for *_, episode, _ in synced] == list(range(first, model._n_finished + 1, interval[0]))


def test_target_synchronised_by_steps_or_updates_from_a_first_one_on():
    synced = count_syncs(make(target_update_interval=(7, "step", 2)), 40)
    assert [step for step, *_ in synced] == [2, 9, 16, 23, 30, 37]
    synced = count_syncs(make(make_vec_env("CartPole-v1", 4), target_update_interval=(20, "step", 8)), 80)
    assert [step for step, *_ in synced] == [8, 28, 48, 68]
    synced = count_syncs(make(target_update_interval=(4, "update", 1), train_freq=1), 30)
    assert [update for _, update, *_ in synced] == list(range(1, synced[-1][1] + 1, 4))


def test_target_synchronised_by_episodes_that_end_together():
    """Four envs truncated in the same step are four episodes; a multiple of three is passed once or twice."""
    env = make_vec_env(GRID, 4, env_kwargs={"max_episode_steps": 5})
    model = make(env, target_update_interval=(3, "episode"), exploration_initial_eps=0, exploration_final_eps=0)
    counts = [episode for *_, episode, _ in count_syncs(model, 200)]
    assert counts == sorted(set(counts))
    assert len(counts) >= model._n_finished // 4
    passed = {count // 3 for count in counts}
    assert passed == {finished // 3 for finished in _finished(model) if finished // 3}


def _finished(model):
    """The number of finished episodes after every step, read from what was stored."""
    return np.cumsum(model.replay_buffer.dones[: model.replay_buffer.pos].sum(axis=1)).astype(int).tolist()


def test_synchronisation_counts_on_over_calls_of_learn():
    model = make(target_update_interval=7)
    first = count_syncs(model, 20)
    second = count_syncs(model, 20, reset_num_timesteps=False)
    assert [step for step, *_ in first + second] == [7, 14, 21, 28, 35]


def test_tau_zero_leaves_the_target_alone():
    model = make(tau=0.0, learning_rate=0.1)
    before = copy.deepcopy(model.q_net_target.state_dict())
    model.learn(60)
    assert all(th.equal(before[key], value) for key, value in model.q_net_target.state_dict().items())
    assert not th.equal(before["q_net.0.weight"], model.q_net.state_dict()["q_net.0.weight"])


# -- numbers that are not finite ------------------------------------------------------------------------------------


class BadReward(gym.Wrapper):
    """A reward that goes wrong at one step."""

    def __init__(self, env, at, value):
        super().__init__(env)
        self.left, self.value = at, value

    def step(self, action):
        observation, reward, *rest = super().step(action)
        self.left -= 1
        return observation, reward if self.left else self.value, *rest


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("at", [5, 40])
def test_a_reward_that_is_not_finite_stops_at_its_step_before_it_is_stored(value, at):
    model = make(BadReward(gym.make("CartPole-v1"), at, value))
    with pytest.raises(
        FloatingPointError, match=rf"^reward: not finite at step {at} of env 0 \(got -?(nan|inf)\); "
    ) as stop:
        model.learn(60)
    assert "\n" not in str(stop.value)
    assert model.replay_buffer.size() == at - 1
    assert np.isfinite(model.replay_buffer.rewards).all()


def test_a_loss_that_is_not_finite_stops_without_a_step():
    model = make()
    model.learn(30)
    model.replay_buffer.rewards[:] = np.nan
    before = copy.deepcopy(model.policy.state_dict())
    with pytest.raises(FloatingPointError, match=r"^loss: not finite at step 32 \(got nan\); lower learning_rate"):
        model.train(1, 8)
    assert all(th.equal(before[key], value) for key, value in model.policy.state_dict().items())


def test_a_gradient_that_is_not_finite_stops_without_a_step():
    """The output is finite where its slope is not."""

    class Steep(nn.Module):
        def forward(self, x):
            return th.sqrt(x * x)  # at 0 an infinite slope times zero: NaN

    model = make(policy_kwargs={"activation_fn": Steep})
    model.learn(12)
    before = copy.deepcopy(model.policy.state_dict())
    with th.no_grad():
        model.q_net.q_net[0].weight.zero_()
        model.q_net.q_net[0].bias.zero_()
    with pytest.raises(FloatingPointError, match=r"^gradient: not finite at step 12 \(got nan\); lower learning_rate"):
        model.train(1, 8)
    assert th.equal(model.q_net.q_net[2].weight, before["q_net.q_net.2.weight"])


# -- construction ---------------------------------------------------------------------------------------------------


def test_the_signature_shows_the_algorithms_own_defaults():
    parameters = inspect.signature(DoubleDQN).parameters
    assert parameters["double"].default is True
    assert parameters["learning_rate"].default == 3e-4
    assert inspect.signature(QTable).parameters["loss"].default == "l2"
    assert inspect.signature(NeuralQ).parameters["buffer_size"].default == 1
    for cls in (QTable, NeuralQ, DoubleDQN):
        assert cls.__doc__


def test_positional_arguments_are_those_of_sb3s_dqn():
    ours, theirs = (list(inspect.signature(cls).parameters.values()) for cls in (ValueAlgorithm, DQN))
    positional = [p for p in ours if p.kind is p.POSITIONAL_OR_KEYWORD]
    reference = [p for p in theirs if p.name != "_init_setup_model"]
    assert [(p.name, p.default) for p in positional] == [(p.name, p.default) for p in reference]
    assert list(inspect.signature(DoubleDQN).parameters) == [p.name for p in ours]
    model = DoubleDQN("MlpPolicy", "CartPole-v1", 0.5, 77, 12, 9, 0.4, 0.3, 6, 2)
    found = (model.learning_rate, model.buffer_size, model.learning_starts, model.batch_size, model.tau, model.gamma)
    assert found == (0.5, 77, 12, 9, 0.4, 0.3)
    assert (model.train_freq.frequency, model.gradient_steps, model.double) == (6, 2, True)


def test_a_positional_argument_wins_over_a_default_of_the_row():
    assert NeuralQ("MlpPolicy", GRID, 0.25, 7).buffer_size == 7


def test_a_row_of_defaults_can_be_extended_and_an_unknown_default_is_a_mistake():
    class Long(DoubleDQN, n_steps=3):
        pass

    model = Long("MlpPolicy", "CartPole-v1", buffer_size=50)
    assert (model.n_steps, model.double) == (3, True)
    assert Long("MlpPolicy", "CartPole-v1", buffer_size=50, n_steps=1, double=False).double is False
    with pytest.raises(TypeError, match="tripple"):
        type("Wrong", (DoubleDQN,), {}, tripple=True)


ALL_SWITCHES = {
    "double": True, "dueling": True, "noisy": True, "prioritized": True, "n_steps": 3, "n_atoms": 5,
}  # fmt: skip


@pytest.mark.parametrize("switches", [*({name: value} for name, value in ALL_SWITCHES.items()), ALL_SWITCHES], ids=str)
@pytest.mark.parametrize("cls", [DoubleDQN, NeuralQ])
def test_every_switch_serves_every_network(cls, switches):
    model = make(GRID, cls, buffer_size=50, **switches)
    before = copy.deepcopy(model.q_net.state_dict())
    model.learn(60)
    assert all(getattr(model, name) == value for name, value in switches.items())
    assert any(not th.equal(before[name], value) for name, value in model.q_net.state_dict().items())


@pytest.mark.parametrize("switch", [{"double": True}, {"prioritized": True}], ids=str)
def test_a_table_takes_the_switches_that_leave_it_a_table(switch):
    model = QTable("MlpPolicy", GRID, seed=0, exploration_initial_eps=1.0, exploration_final_eps=1.0, **switch).learn(
        500
    )
    assert model.q_table.any()


@pytest.mark.parametrize(
    ("switch", "field"),
    [({"dueling": True}, "head"), ({"noisy": True}, "noisy"), ({"n_atoms": 51}, "n_atoms")],
    ids=str,
)
def test_a_table_refuses_the_switches_that_need_a_network(switch, field):
    with pytest.raises(InputError, match=rf"^{field}: a table is one plain layer without bias") as refusal:
        QTable("MlpPolicy", GRID, **switch)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "bad",
    [
        {"learning_rate": -1.0}, {"learning_rate": "fast"}, {"buffer_size": 0}, {"batch_size": 0}, {"tau": 1.5},
        {"gamma": -0.1}, {"train_freq": 0}, {"train_freq": (1, "year")}, {"gradient_steps": -2}, {"n_steps": 0},
        {"target_update_interval": 0}, {"target_update_interval": (3, "year")}, {"exploration_fraction": 2.0},
        {"max_grad_norm": 0.0}, {"max_grad_norm": float("nan")}, {"loss": "l1"}, {"backend": "jax"}, {"seed": -1},
        {"double": 1}, {"v_min": 5.0, "v_max": 5.0}, {"learning_starts": -1},
    ],
    ids=str,
)  # fmt: skip
def test_a_bad_argument_is_named_in_one_line(bad):
    with pytest.raises(InputError, match=rf"^{next(iter(bad))}: ") as refusal:
        DoubleDQN("MlpPolicy", "CartPole-v1", **bad)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("action_space", [spaces.Box(-1, 1, (2,)), spaces.MultiDiscrete([2, 2]), spaces.MultiBinary(2)])
@pytest.mark.parametrize("cls", [DoubleDQN, NeuralQ, QTable])
def test_an_action_space_that_cannot_be_served_is_an_assertion_error(cls, action_space):
    env = gym.make(GRID)
    env.action_space = action_space
    with pytest.raises(AssertionError, match="only supports"):
        cls("MlpPolicy", env)


@pytest.mark.parametrize("bad", [{"net_arch": [8]}, {"bias": True}, {"head": "state_action"}], ids=str)
def test_a_table_refuses_to_be_anything_else(bad):
    with pytest.raises(InputError, match=rf"^{next(iter(bad))}: a table is one plain layer without bias"):
        QTable("MlpPolicy", GRID, policy_kwargs=bad)


def test_numbers_of_numpy_serve_as_arguments():
    number = np.int64(7)
    model = make(target_update_interval=number, batch_size=number, n_steps=number)
    assert [step for step, *_ in count_syncs(model, 30)] == [7, 14, 21, 28]


def test_an_unknown_head_is_refused_with_a_suggestion():
    with pytest.raises(InputError, match=r"^head: .*did you mean 'plain'"):
        make(policy_kwargs={"head": "plane"})


@pytest.mark.parametrize("init_std", [0.1, 0.0])
@pytest.mark.parametrize("head", ["plain", "state_action"])
def test_initial_weights_can_be_gaussian(init_std, head):
    model = make(policy_kwargs={"net_arch": [400], "init_std": init_std, "head": head})
    weight = model.q_net.state_dict()["q_net.0.weight" if head == "plain" else "q_net.net.0.weight"]
    assert weight.std() == pytest.approx(init_std, rel=0.1)
    assert th.equal(
        weight, model.q_net_target.state_dict()["q_net.0.weight" if head == "plain" else "q_net.net.0.weight"]
    )


def test_nothing_remains_of_training_after_a_rollout_beyond_the_budget():
    model = PrioritizedDQN("MlpPolicy", "CartPole-v1", learning_rate=lambda left: 1e-3 * left, train_freq=64,
                           learning_starts=0, seed=0)  # fmt: skip
    model.learn(100)
    assert (model.num_timesteps, model._n_updates) == (128, 2)
    assert model.policy.optimizer.param_groups[0]["lr"] == 0.0
    assert model.replay_buffer.beta == 1.0
