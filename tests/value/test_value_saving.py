"""Models go through files and processes: save, load, continue, exchange."""

import copy
import json
import os
import pickle
import subprocess
import sys
import zipfile

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from pairwise import pairwise
from stable_baselines3 import DQN, HerReplayBuffer
from stable_baselines3.common.buffers import ReplayBuffer as SB3ReplayBuffer
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.envs import BitFlippingEnv, FakeImageEnv, SimpleMultiObsEnv
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecNormalize

from sb3_course import DoubleDQN, NeuralQ, QTable
from sb3_course.config.text import InputError
from sb3_course.registry import ALGORITHMS
from sb3_course.replay import ReplayBuffer
from sb3_course.replay.batch import rows_of

OWN = {name: row for name, row in ALGORITHMS.items() if row.source == "sb3_course" and row.family == "value"}
ENVS = {
    "box": lambda: gym.make("CartPole-v1"),
    "discrete": lambda: gym.make("sb3_course/GridWorld-v0"),
    "image": lambda: FakeImageEnv(screen_height=36, screen_width=36, n_channels=1),
    "dict": lambda: SimpleMultiObsEnv(channel_last=False),
}
# Features of images that are few: what is shown does not hang on how many, and NatureCNN has half a million weights.
FEW = {"image": {"features_dim": 16}, "dict": {"cnn_output_dim": 16}}
POLICY = {"box": "MlpPolicy", "discrete": "MlpPolicy", "image": "CnnPolicy", "dict": "MultiInputPolicy"}


def kinds():
    """Return rows of (name, observation, head) such that any two that are possible together share one."""
    alike = {}
    for name, row in OWN.items():
        served = tuple(kind for kind in ENVS if POLICY[kind] in row.load().policy_aliases)
        alike.setdefault(("discrete",) if name == "q_table" else served, []).append(name)
    return [
        row
        for served, names in alike.items()
        for row in pairwise(names, served, ["plain"] if names == ["q_table"] else ["plain", "state_action"])
    ]


KINDS = kinds()


def make(name="double_dqn", observation="box", head="plain", env=None, **kwargs):
    policy_kwargs = {} if name == "q_table" else {"net_arch": [8], "head": head}
    if observation in FEW:
        policy_kwargs["features_extractor_kwargs"] = FEW[observation]
    settings = {"seed": 0, "device": "cpu", "policy_kwargs": policy_kwargs}
    if name == "pqn":  # which has no replay
        settings |= {"n_steps": 4, "batch_size": 8, "n_epochs": 2}
    elif name not in ("q_table", "neural_q"):
        settings |= {"learning_starts": 10, "batch_size": 8, "buffer_size": 60, "target_update_interval": 10}
    return OWN[name].load()(POLICY[observation], env or ENVS[observation](), **(settings | kwargs))


def samples(observation, n=12):
    return drawn_from(ENVS[observation]().observation_space, n)


def drawn_from(space, n):
    space.seed(0)
    rows = [space.sample() for _ in range(n)]
    if isinstance(rows[0], dict):
        return {key: np.stack([row[key] for row in rows]) for key in rows[0]}
    return np.stack(rows)


def q_values(model, observations):
    with th.no_grad():
        return model.policy.q_net(model.policy.obs_to_tensor(observations)[0]).numpy()


def weights(model):
    return {key: value.numpy().copy() for key, value in model.policy.state_dict().items()}


def assert_same(mine, theirs):
    if isinstance(theirs, dict):
        assert mine.keys() == theirs.keys()
        for key in theirs:
            assert_same(mine[key], theirs[key])
    elif isinstance(theirs, list | tuple):
        assert len(mine) == len(theirs)
        for one, two in zip(mine, theirs, strict=True):
            assert_same(one, two)
    elif isinstance(theirs, th.Tensor | np.ndarray):
        np.testing.assert_array_equal(np.asarray(mine), np.asarray(theirs))
    else:
        assert mine == theirs


# -- another process ------------------------------------------------------------------------------------------------

SCRIPT = """
import pickle, pathlib, runpy, sys
here, folder = runpy.run_path(sys.argv[1]), pathlib.Path(sys.argv[2])
results = {}
for key in here["KINDS"]:
    model = here["OWN"][key[0]].load().load(here["path_of"](folder, key), device="cpu")
    found = here["fingerprint"](model, key[1])
    model.set_env(here["ENVS"][key[1]]())
    model.learn(30, reset_num_timesteps=False)
    results[key] = found, (model.num_timesteps, model._n_updates)
(folder / "results.pkl").write_bytes(pickle.dumps(results))
"""


def path_of(folder, key):
    return folder / f"{'-'.join(key)}.zip"


def counts(model):
    """Return how far a model is, of the counts that its class keeps."""
    return {name: getattr(model, name) for name in ("_n_updates", *set(model.counters) & {"_n_calls", "_n_finished"})}


def fingerprint(model, observation):
    seen = samples(observation)
    return (
        model.predict(seen, deterministic=True)[0],
        q_values(model, seen),
        copy.deepcopy(model.policy.optimizer.state_dict()),
        {"num_timesteps": model.num_timesteps, **counts(model)},
    )


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """Train and save one model of each kind, and let one new process load, ask and train them all."""
    folder = tmp_path_factory.mktemp("models")
    expected = {}
    for key in KINDS:
        model = make(*key).learn(25)
        model.save(path_of(folder, key))
        expected[key] = fingerprint(model, key[1])
    subprocess.run(
        [sys.executable, "-c", SCRIPT, __file__, folder],
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    return expected, pickle.loads((folder / "results.pkl").read_bytes())


@pytest.mark.parametrize("key", KINDS, ids="-".join)
def test_a_new_process_predicts_the_same_and_learns_on(elsewhere, key):
    expected, (found, (steps, updates)) = (results[key] for results in elsewhere)
    assert_same(found, expected)
    assert steps >= 25 + 30
    assert updates > expected[3]["_n_updates"]


# -- load -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path):
    """A saved Double DQN and its path."""
    model = make(n_steps=2, gamma=0.9).learn(25)
    model.save(tmp_path / "model.zip")
    return model, tmp_path / "model.zip"


def test_load_restores_every_argument(saved):
    model, path = saved
    loaded = DoubleDQN.load(path)
    for name in ("learning_rate", "gamma", "n_steps", "tau", "double", "loss", "backend", "target_update_interval"):
        assert getattr(loaded, name) == getattr(model, name), name
    assert (loaded.replay_buffer.n_steps, loaded.replay_buffer.gamma) == (2, 0.9)
    assert loaded.policy.networks[0] is loaded.policy.q_net is loaded.q_net


def test_arguments_given_to_load_take_effect(saved):
    _, path = saved
    loaded = DoubleDQN.load(
        path,
        env=ENVS["box"](),
        learning_rate=0.5,
        gamma=0.7,
        n_steps=4,
        target_update_interval=(3, "episode"),
        backend="torch",
        double=False,
        loss="mse",
        max_grad_norm=0.1,
    )
    assert (loaded.replay_buffer.n_steps, loaded.replay_buffer.gamma) == (4, 0.7)
    assert (loaded.double, loaded.loss, loaded.max_grad_norm) == (False, "mse", 0.1)
    loaded.learn(30)
    assert loaded.policy.optimizer.param_groups[0]["lr"] == 0.5
    assert (loaded.target_update_interval, loaded.target_update_unit) == (3, "episode")


@pytest.mark.parametrize("first", [20, (3, "episode"), (5, "update"), (4, "episode", 1)])
@pytest.mark.parametrize("then", [None, 30, (2, "episode"), (7, "update"), (40, "step"), (7, "update", 3)])
def test_the_targets_interval_survives_load_and_gives_way_to_another(tmp_path, first, then):
    make(target_update_interval=first).save(tmp_path / "model.zip")
    given = {} if then is None else {"target_update_interval": then}
    loaded = DoubleDQN.load(tmp_path / "model.zip", **given)
    wanted = first if then is None else then
    wanted = (wanted, "step") if isinstance(wanted, int) else wanted
    wanted = wanted if len(wanted) == 3 else (*wanted, None)
    assert (loaded.target_update_interval, loaded.target_update_unit, loaded.target_update_first) == wanted
    again = tmp_path / "again.zip"
    loaded.save(again)
    assert (DoubleDQN.load(again).target_update_unit, DoubleDQN.load(again).target_update_first) == wanted[1:]


@pytest.mark.parametrize(
    "bad",
    [{"dueling": True}, {"n_atoms": 51}, {"gamma": 2.0}, {"n_steps": 0}, {"backend": "jax"}, {"loss": "l3"}],
    ids=str,
)
def test_load_refuses_what_the_constructor_refuses(saved, bad):
    _, path = saved
    with pytest.raises(InputError, match=f"^{next(iter(bad))}: "):
        DoubleDQN.load(path, **bad)


def test_stock_sb3_reads_a_plain_model(saved):
    model, path = saved
    stock = DQN.load(path, env=ENVS["box"]())
    assert_same(weights(stock), weights(model))
    seen = samples("box", 100)
    assert_same(stock.predict(seen, deterministic=True)[0], model.predict(seen, deterministic=True)[0])
    assert_same(q_values(stock, seen), q_values(model, seen))
    stock.learn(30)


def test_the_file_carries_a_manifest(saved):
    _, path = saved
    with zipfile.ZipFile(path) as zipped:
        manifest = json.loads(zipped.read("manifest.json"))
    assert manifest["class"].endswith("DoubleDQN")
    assert manifest["attributes"]["double"] is True


def test_a_policy_is_saved_and_loaded_by_itself(tmp_path):
    for name, observation, head in KINDS:
        model = make(name, observation, head)
        model.policy.save(tmp_path / "policy.pth")
        policy = type(model.policy).load(tmp_path / "policy.pth")
        seen = samples(observation)
        assert_same(policy.predict(seen, deterministic=True)[0], model.policy.predict(seen, deterministic=True)[0])
        assert_same(dict(policy.state_dict()), dict(model.policy.state_dict()))


def test_parameters_go_from_one_model_into_another():
    one, two = make(seed=0).learn(25), make(seed=1)
    two.set_parameters(one.get_parameters())
    assert_same(weights(two), weights(one))
    assert_same(two.policy.optimizer.state_dict(), one.policy.optimizer.state_dict())
    before = weights(two)
    two.learn(25)
    assert not np.array_equal(weights(two)["q_net.q_net.0.weight"], before["q_net.q_net.0.weight"])


def test_vectors_and_replaced_modules_reach_the_learner():
    """`load_from_vector` and a policy that was put in by hand: the backend looks them up again."""
    model = make()
    model.policy.load_from_vector(np.full(model.policy.parameters_to_vector().size, 0.01, np.float32))
    model.learn(25)
    assert abs(model.policy.parameters_to_vector() - 0.01).max() < 0.1
    assert model._n_updates > 0


# -- replay ---------------------------------------------------------------------------------------------------------


def test_the_replay_buffer_goes_through_a_file(tmp_path):
    model = make(n_steps=3).learn(40)
    model.save(tmp_path / "model.zip")
    model.save_replay_buffer(tmp_path / "buffer.pkl")
    loaded = DoubleDQN.load(tmp_path / "model.zip", env=ENVS["box"]())
    assert loaded.replay_buffer.size() == 0
    loaded.load_replay_buffer(tmp_path / "buffer.pkl")
    assert_same(loaded.replay_buffer.get_state()["rows"], model.replay_buffer.get_state()["rows"])
    assert loaded.replay_buffer.rng is loaded.rng
    loaded.learn(20, reset_num_timesteps=False)
    assert loaded.replay_buffer.full


def test_a_loaded_buffer_learns_with_the_models_discount_and_horizon(tmp_path):
    """The file says what happened, the model how to learn from it: SB3's own γ is the model's, too."""
    make(n_steps=3, gamma=0.9).learn(40).save_replay_buffer(tmp_path / "buffer.pkl")
    other = make(n_steps=1, gamma=0.5)
    other.load_replay_buffer(tmp_path / "buffer.pkl")
    assert set(other._replay.sample_batch(50).discounts.tolist()) <= {0.0, 0.5}


# -- kinds of env ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", KINDS, ids="-".join)
def test_four_envs_learn_together(key):
    model = make(*key, env=DummyVecEnv([ENVS[key[1]]] * 4)).learn(48)
    assert model._n_updates > 0
    assert model.num_timesteps == 48
    if key[0] == "double_dqn":
        assert (model.replay_buffer.size(), model.replay_buffer.n_envs) == (12, 4)


def test_spawned_envs_learn_together(worker_server):
    """In processes of their own, whose spaces and generators come to us as pickles."""
    start = {"start_method": "forkserver" if worker_server else "spawn"}
    env = make_vec_env("CartPole-v1", 2, vec_env_cls=SubprocVecEnv, vec_env_kwargs=start)
    try:
        assert make(env=env, n_steps=3).learn(40)._n_updates > 0
    finally:
        env.close()


def test_vec_normalize_statistics_reach_the_learner(tmp_path):
    env = VecNormalize(DummyVecEnv([ENVS["box"]] * 2))
    model = make(env=env, n_steps=3).learn(60)
    raw, normalised = (model.replay_buffer.gather(np.arange(10), e) for e in (None, env))
    assert_same(normalised.observations, env.normalize_obs(raw.observations))
    assert model._vec_normalize_env is env
    model.save(tmp_path / "model.zip")
    env.save(tmp_path / "statistics.pkl")
    again = VecNormalize.load(tmp_path / "statistics.pkl", DummyVecEnv([ENVS["box"]] * 2))
    DoubleDQN.load(tmp_path / "model.zip", env=again).learn(30)


@pytest.mark.parametrize("name", ["double_dqn", "neural_q"])
def test_hindsight_experience_replay_serves_the_engine(tmp_path, name):
    env = BitFlippingEnv(n_bits=4, continuous=False)
    kwargs = {"buffer_size": 200, "learning_starts": 20, "batch_size": 8}
    model = OWN[name].load()(
        "MultiInputPolicy",
        env,
        seed=0,
        replay_buffer_class=HerReplayBuffer,
        replay_buffer_kwargs={"n_sampled_goal": 2, "goal_selection_strategy": "future"},
        **kwargs,
    )
    model.learn(80)
    assert model._n_updates > 0
    model.save(tmp_path / "model.zip")
    model.save_replay_buffer(tmp_path / "buffer.pkl")
    loaded = type(model).load(tmp_path / "model.zip", env=env)
    loaded.load_replay_buffer(tmp_path / "buffer.pkl")
    loaded.learn(20, reset_num_timesteps=False)


def test_memory_is_saved_with_sb3s_own_buffer():
    kwargs = {"optimize_memory_usage": True, "replay_buffer_kwargs": {"handle_timeout_termination": False}}
    model = make(**kwargs).learn(80)
    assert type(model.replay_buffer) is SB3ReplayBuffer
    assert model.replay_buffer.optimize_memory_usage
    assert model._n_updates > 0


@pytest.mark.parametrize("change", [{"n_steps": 3}, {"observation": "dict"}, {"replay_buffer_kwargs": None}], ids=str)
def test_saving_memory_is_refused_where_sb3s_buffers_cannot(change):
    """With n-step returns, Dict observations, or truncations kept apart from terminations: never ignored."""
    kwargs = {"optimize_memory_usage": True, "replay_buffer_kwargs": {"handle_timeout_termination": False}}
    with pytest.raises((NotImplementedError, AssertionError, ValueError)):
        make(**(kwargs | change))


def test_a_buffer_of_the_users_own_choice_is_kept():
    model = make(replay_buffer_class=SB3ReplayBuffer).learn(30)
    assert type(model.replay_buffer) is SB3ReplayBuffer
    model = make(replay_buffer_class=ReplayBuffer, replay_buffer_kwargs={"n_steps": 5, "gamma": 0.8}, n_steps=2)
    assert (model.replay_buffer.n_steps, model.replay_buffer.gamma) == (5, 0.8)
    assert model.replay_buffer_kwargs == {"n_steps": 5, "gamma": 0.8}


# -- state ----------------------------------------------------------------------------------------------------------


def train_on_a_rollout(model):
    """Let an algorithm without replay learn from five steps of one env, the fourth of which ends an episode."""
    seen = drawn_from(copy.deepcopy(model.observation_space), 6)
    for step in range(5):
        info = {"terminal_observation": rows_of(seen, step), "TimeLimit.truncated": True} if step == 3 else {}
        before, action = rows_of(seen, slice(step, step + 1)), np.array([[step % 2]])
        model.rollout_buffer.add(before, action, np.array([step / 2]), np.array([step == 3]), [info])
    model._last_obs = rows_of(seen, slice(5, 6))
    model.train()


@pytest.mark.parametrize("key", KINDS, ids="-".join)
def test_a_fresh_model_goes_on_bit_for_bit_from_a_state(key):
    """Weights, target, optimizer, buffer, counters and generators: every further update is the same."""
    extra = {"n_steps": 2, "tau": 0.5, "target_update_interval": (2, "update")} if key[0] == "double_dqn" else {}
    one, two = make(*key, seed=0, **extra).learn(25), make(*key, seed=1, **extra)
    state = pickle.loads(pickle.dumps(one.get_state()))
    two.set_state(state)
    two.set_logger(one.logger)
    for _ in range(3):
        for model in (one, two):
            th.set_rng_state(th.from_numpy(state["torch_rng"]))
            if key[0] == "pqn":
                train_on_a_rollout(model)
            else:
                model.train(2, batch_size=1 if key[0] != "double_dqn" else 8)
    assert_same(weights(two), weights(one))
    assert_same(two.policy.optimizer.state_dict(), one.policy.optimizer.state_dict())
    assert one._n_updates > 0
    assert {name: getattr(one, name) for name in one.counters} == {name: getattr(two, name) for name in one.counters}
    seen = samples(key[1], 4)
    for _ in range(10):
        one.exploration_rate = two.exploration_rate = 0.5
        assert_same(one.predict(seen)[0], two.predict(seen)[0])


def test_a_state_is_plain_arrays_numbers_and_texts():
    def check(tree):
        if isinstance(tree, dict):
            for value in tree.values():
                check(value)
        elif isinstance(tree, list | tuple):
            for value in tree:
                check(value)
        else:
            assert tree is None or isinstance(tree, np.ndarray | int | float | str), type(tree)

    check(make().learn(25).get_state())


def test_a_table_is_a_float_array_of_states_and_actions():
    model = make("q_table", "discrete").learn(50)
    states, actions = model.observation_space.n, model.action_space.n
    assert model.q_table.shape == (states, actions)
    model.q_table[:] = 9  # a copy: the model keeps its own
    assert abs(model.q_table).max() < 2
    assert isinstance(model, QTable)
    assert issubclass(NeuralQ, type(model).__mro__[1])
