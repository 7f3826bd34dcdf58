"""Dueling and noisy policies in Stable-Baselines3's own DQN, by their short names."""

import copy
import importlib
import inspect
import pickle
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from forks import failures
from stable_baselines3 import DQN
from stable_baselines3.common.callbacks import BaseCallback, EvalCallback
from stable_baselines3.common.envs import FakeImageEnv, SimpleMultiObsEnv

import sb3_course
from sb3_course.networks import noisy_layers
from sb3_course.sb3.policy_aliases import POLICY_ALIASES, register_in, register_policies
from sb3_course.value import sb3_policies

ALIASES = list(POLICY_ALIASES["stable_baselines3.dqn.dqn:DQN"])
NOISY = [alias for alias in ALIASES if "Noisy" in alias]
SMALL = {"net_arch": [16]}


def cart_pole():
    return gym.make("CartPole-v1")


def env_for(alias):
    if "Cnn" in alias:
        return FakeImageEnv(screen_height=36, screen_width=36, n_channels=1)
    if "MultiInput" not in alias:
        return cart_pole()
    state = np.random.get_state()  # noqa: NPY002 - this env draws its pictures from NumPy's generator when it is made
    np.random.seed(0)  # noqa: NPY002
    env = SimpleMultiObsEnv(random_start=False)
    np.random.set_state(state)  # noqa: NPY002
    return env


def make(alias="NoisyMlpPolicy", env=None, seed=0, **kwargs):
    settings = {"learning_starts": 20, "batch_size": 8, "buffer_size": 500, "train_freq": 4, "learning_rate": 1e-3}
    settings |= {"target_update_interval": 10, "policy_kwargs": SMALL}
    return DQN(alias, env or env_for(alias), seed=seed, device="cpu", **(settings | kwargs))


def weights(model):
    return {key: tensor.clone() for key, tensor in model.policy.state_dict().items()}


def same(one, two):
    return one.keys() == two.keys() and all(th.equal(one[key], two[key]) for key in one)


def named(target):
    module, _, cls = target.partition(":")
    return getattr(importlib.import_module(module), cls)


def samples(network):
    return th.cat([layer.noise for layer in noisy_layers(network)])


# -- in SB3's own class ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alias", ALIASES)
def test_trains_saves_loads_and_predicts(tmp_path, alias):
    model = make(alias)
    before = weights(model)
    model.learn(40)
    assert model._n_updates == 5
    after = weights(model)
    trained = [
        key for key, _ in model.q_net.named_parameters() if not th.equal(before[f"q_net.{key}"], after[f"q_net.{key}"])
    ]
    assert len(trained) == len(list(model.q_net.parameters()))  # every weight, σ included, has learned
    assert ("Noisy" in alias) == bool(noisy_layers(model.q_net)) == bool(noisy_layers(model.q_net_target))
    assert ("Dueling" in alias) == hasattr(model.q_net.q_net, "advantage")

    model.save(tmp_path / "model.zip")
    loaded = DQN.load(tmp_path / "model.zip", env=env_for(alias), device="cpu")
    assert type(loaded.policy) is getattr(sb3_policies, alias)
    assert same(weights(loaded), after)
    seen = model.get_env().observation_space
    seen.seed(0)
    for _ in range(5):
        observation = seen.sample()
        for deterministic in (True, False):
            model.exploration_rate = loaded.exploration_rate = 0.0
            expected = model.predict(observation, deterministic=deterministic)[0]
            assert loaded.predict(observation, deterministic=deterministic)[0] == expected
    loaded.learn(30, reset_num_timesteps=False)
    assert loaded._n_updates > model._n_updates

    model.policy.save(tmp_path / "policy.pt")
    policy = type(model.policy).load(tmp_path / "policy.pt", device="cpu")
    assert same(dict(policy.state_dict()), after)


@pytest.mark.parametrize(
    "kwargs", [{"head": "plain"}, {"head": "dueling"}, {"head": "dueling", "rescale_gradient": True}]
)
def test_noise_of_sigma_zero_trains_as_the_plain_network(kwargs):
    silent = SMALL | kwargs | {"noisy_kwargs": {"sigma0": 0.0, "noise": "activations"}, "optimizer_class": th.optim.SGD}
    plain = make("DuelingMlpPolicy", policy_kwargs=silent | {"noisy": False}).learn(60)
    # σ itself has a gradient; held at zero it leaves everything else as it was.
    noisy = make("NoisyMlpPolicy", policy_kwargs=silent)
    for layer in noisy_layers(noisy.policy):
        layer.sigma.requires_grad_(False)
    noisy.learn(60)
    trained = weights(plain)
    assert same({key: value for key, value in weights(noisy).items() if key in trained}, trained)


def test_options_of_a_named_policy_can_be_given():
    options = {"noisy_kwargs": {"kind": "independent"}, "head": "plain", "net_arch": [7]}
    model = make("NoisyDuelingMlpPolicy", policy_kwargs=options)
    assert [layer.kind for layer in noisy_layers(model.q_net)] == ["independent"] * 2
    assert not noisy_layers(make("NoisyMlpPolicy", policy_kwargs={"noisy": False}).policy)


# -- the life of a sample -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alias", ["NoisyMlpPolicy", "NoisyDuelingMlpPolicy"])
def test_every_gradient_step_has_noise_of_its_own_and_so_has_the_target(alias):
    model, seen = make(alias).learn(21), []
    model.q_net.register_forward_hook(lambda *_: seen.append(samples(model.q_net)))
    model.q_net_target.register_forward_hook(lambda *_: seen.append(samples(model.q_net_target)))
    model.train(gradient_steps=4, batch_size=8)
    assert len(seen) == 8  # the target and the online network, four times
    for i, one in enumerate(seen):
        for other in seen[:i]:
            assert not (one == other).any()


def test_collection_holds_the_sample_of_the_last_gradient_step():
    class Watch(BaseCallback):
        def _on_step(self):
            held.append((self.model._n_updates, samples(self.model.q_net)))
            return True

    held = []
    make(train_freq=5, gradient_steps=2).learn(60, callback=Watch())
    first = dict(held)
    assert len(first) > 5
    for n_updates, sample in held:
        assert th.equal(sample, first[n_updates])
    for one, two in zip(list(first.values()), list(first.values())[1:], strict=False):
        assert not (one == two).any()


@pytest.mark.parametrize("alias", ["NoisyMlpPolicy", "NoisyDuelingMlpPolicy", "NoisyMultiInputPolicy"])
@pytest.mark.parametrize("deterministic", [True, False])
def test_evaluating_every_step_leaves_the_run_bit_equal(alias, deterministic):
    without = make(alias).learn(80)

    class Look(BaseCallback):
        def _on_step(self):
            # DQN's own predict tosses NumPy's coin, which is SB3's business; the policy's must leave no trace.
            self.model.policy.predict(self.model._last_obs, deterministic=deterministic)
            self.model.policy.predict(self.model._last_obs, deterministic=not deterministic)
            return True

    callbacks = [Look()]
    if deterministic:
        callbacks.append(
            EvalCallback(
                gym.wrappers.TimeLimit(env_for(alias), 20), n_eval_episodes=1, eval_freq=1, verbose=0, warn=False
            )
        )
    evaluated = make(alias).learn(80, callback=callbacks)
    assert same(weights(evaluated), weights(without))


@pytest.mark.parametrize("alias", NOISY)
def test_deterministic_predictions_repeat_and_are_free_of_noise(alias):
    sigma = {"policy_kwargs": SMALL | {"noisy_kwargs": {"sigma0": 30.0}}}
    model = make(alias, **sigma)
    space = model.get_env().observation_space
    space.seed(0)
    seen = [model.policy.obs_to_tensor(space.sample())[0] for _ in range(40)]

    def actions(deterministic):
        model.policy.set_training_mode(False)
        return [int(model.policy._predict(observation, deterministic)) for observation in seen]

    quiet, loud, sample = actions(True), actions(False), samples(model.policy)
    for layer in noisy_layers(model.policy):
        layer.sample_noise(np.random.default_rng(5).standard_normal)
    other = samples(model.policy)
    assert actions(True) == quiet
    assert actions(False) != loud or "Cnn" in alias  # random pictures look much alike
    assert th.equal(samples(model.policy), other)
    assert not th.equal(sample, other)
    for layer in noisy_layers(model.policy):
        layer.zero_noise()
    assert actions(False) == quiet


def test_runs_repeat_under_sb3s_seed_and_differ_under_another():
    one, two, three = (make(seed=seed).learn(60) for seed in (0, 0, 1))
    assert same(weights(one), weights(two))
    assert not (samples(one.q_net) == samples(three.q_net)).any()
    assert not (samples(make(seed=None).q_net) == samples(make(seed=None).q_net)).any()


def test_noise_costs_the_weights_no_draws():
    noisy, plain = make("NoisyMlpPolicy"), make("MlpPolicy")
    for key, value in weights(plain).items():
        assert th.equal(weights(noisy)[key], value)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda policy: pickle.loads(pickle.dumps(policy))])
def test_a_copy_of_a_policy_draws_for_itself(duplicate):
    policy = make().policy
    other = duplicate(policy)
    before, seen = samples(policy), th.zeros(1, 4)
    assert th.equal(samples(other), before)
    other.q_net.train()
    other.q_net(seen)
    assert not (samples(other) == before).any()
    assert th.equal(samples(policy), before)
    policy.q_net.train()
    policy.q_net(seen)
    assert th.equal(samples(other), samples(policy))  # its generator went along


# -- registration ---------------------------------------------------------------------------------------------------

CHECK = """
from stable_baselines3.dqn.dqn import DQN as same
assert same is stable_baselines3.DQN
class Mine(stable_baselines3.DQN): pass
for cls in (stable_baselines3.DQN, Mine):
    assert {aliases} <= set(cls.policy_aliases), cls.policy_aliases
    policy = cls("DuelingMlpPolicy", "CartPole-v1", device="cpu").policy
    assert type(policy).__name__ == "DuelingMlpPolicy" and hasattr(policy.q_net.q_net, "advantage")
assert "DuelingMlpPolicy" not in stable_baselines3.PPO.policy_aliases
assert list(stable_baselines3.DQN.policy_aliases)[:3] == ["MlpPolicy", "CnnPolicy", "MultiInputPolicy"]
"""


ORDERS = (
    "import stable_baselines3, sb3_course",
    "import sb3_course; from stable_baselines3 import DQN; import stable_baselines3",
    "import sb3_course.value.q_policies, stable_baselines3",
    "import sb3_course.value.q_network, stable_baselines3",
    "import sb3_course.value.sb3_policies, stable_baselines3",
    "import sb3_course.networks, sb3_course.replay, stable_baselines3",
    "import sb3_course, sb3_contrib, stable_baselines3",
    "import stable_baselines3.dqn.policies; import sb3_course, stable_baselines3",
)


ACTORS = """import sb3_course.policy_gradient.{}, stable_baselines3 as sb3
for cls in (sb3.A2C, sb3.PPO, sb3.DDPG, sb3.TD3, sb3.SAC):
    cls("NoisyMlpPolicy", "Pendulum-v1", device="cpu")
assert "GaussianMlpPolicy" in sb3.A2C.policy_aliases and "GaussianMlpPolicy" not in sb3.SAC.policy_aliases
"""


def test_aliases_are_there_whatever_is_imported_first():
    """Those of DQN, and of the actors' algorithms."""
    check = CHECK.format(aliases=repr(set(ALIASES)))
    broken = ORDERS[0] + check + 'assert "NoSuchPolicy" in stable_baselines3.DQN.policy_aliases'  # it can fail
    actors = [ACTORS.format(name) for name in ("gaussian", "noisy_td3")]
    found = failures(*(order + check for order in ORDERS), *actors, broken)
    assert list(found) == [broken], found


def test_aliases_come_later_where_torch_is_not_imported_yet():
    order = "import sb3_course, sys; assert 'torch' not in sys.modules; import stable_baselines3"
    code = order + CHECK.format(aliases=repr(set(ALIASES)))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_row_of_the_table_is_a_policy_of_that_name():
    for algorithm, row in POLICY_ALIASES.items():
        for alias, target in row.items():
            policy = named(algorithm).policy_aliases[alias]
            assert policy is named(target)
            assert policy.__name__ == alias
            assert policy.__doc__


def test_a_module_keeps_its_loader_and_its_source():
    spec = sys.modules["stable_baselines3.dqn.dqn"].__spec__
    assert type(spec.loader).__module__.endswith("importlib_external") or "import" in type(spec.loader).__module__
    assert "class DQN" in inspect.getsource(DQN)
    assert sb3_course.__version__


def test_a_name_somebody_has_taken_stays_theirs(monkeypatch):
    module = sys.modules["stable_baselines3.dqn.dqn"]
    monkeypatch.setattr(DQN, "policy_aliases", {"NoisyMlpPolicy": None})
    register_in(module, POLICY_ALIASES)
    assert DQN.policy_aliases["NoisyMlpPolicy"] is None
    assert DQN.policy_aliases["DuelingMlpPolicy"] is sb3_policies.DuelingMlpPolicy


def test_an_algorithm_is_any_class_with_aliases(tmp_path, monkeypatch):
    """The table is open: a row for another algorithm, in a module that is not imported yet."""
    (tmp_path / "late_algorithm.py").write_text("class Late:\n    policy_aliases = {}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    target = {"Short": "sb3_course.value.sb3_policies:NoisyMlpPolicy"}
    register_policies({"late_algorithm:Late": target})
    import late_algorithm

    assert late_algorithm.Late.policy_aliases == {"Short": sb3_policies.NoisyMlpPolicy}
    del sys.modules["late_algorithm"]
