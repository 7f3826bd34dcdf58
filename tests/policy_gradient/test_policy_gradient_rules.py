"""The learning rule: choices that come to the same, SB3's A2C, weights of the gradient by formula, refusals."""

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3 import A2C
from stable_baselines3.common.env_util import make_vec_env
from torch.nn.utils import parameters_to_vector

from sb3_course import REINFORCE, VPG, ActorCritic, ReinforceBaseline
from sb3_course.config.errors import InputError
from sb3_course.functional.returns import gae, reward_to_go, total_return
from sb3_course.replay.episodes import Trajectories
from sb3_course.sb3 import rollouts

FAMILY = (VPG, REINFORCE, ReinforceBaseline, ActorCritic)


def make(cls=REINFORCE, env="CartPole-v1", policy="MlpPolicy", **kwargs):
    return cls(policy, env, **({"seed": 0, "device": "cpu", "policy_kwargs": {"net_arch": [8]}} | kwargs))


def is_same(mine, theirs):
    """Whether two models have the same weights and the same optimizer, bit for bit."""
    states = [model.policy.optimizer.state_dict()["state"] for model in (mine, theirs)]
    pairs = list(zip(mine.policy.parameters(), theirs.policy.parameters(), strict=True))
    for key in states[1]:
        pairs += [(states[0][key][name], value) for name, value in states[1][key].items()]
    return all(th.equal(one, two) for one, two in pairs)


# -- choices that come to the same ------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_envs", [1, 3])
@pytest.mark.parametrize(
    ("cls", "choice", "plain"),
    [
        (REINFORCE, {"baseline": 0.0}, REINFORCE),
        (ReinforceBaseline, {"baseline": "none"}, REINFORCE),
        (VPG, {"psi": "reward_to_go"}, REINFORCE),
        (REINFORCE, {"psi": "total_return"}, VPG),
        (ReinforceBaseline, {"n_steps": 1, "psi": "gae", "gae_lambda": 0.0, "max_grad_norm": 0.5}, ActorCritic),
    ],
    ids=str,
)
def test_a_name_is_nothing_but_its_choices(cls, choice, plain, n_envs):
    mine, theirs = (
        make(one, make_vec_env("CartPole-v1", n_envs, seed=0), **kwargs).learn(300)
        for one, kwargs in ((cls, choice), (plain, {"n_steps": 1} if plain is ActorCritic else {}))
    )
    assert is_same(mine, theirs)
    assert mine._n_updates == theirs._n_updates > 2


@pytest.mark.parametrize(
    "choice",
    [
        {"baseline": 0.1}, {"baseline": "mean"}, {"baseline": "value"}, {"psi": "total_return"}, {"gamma": 0.98},
        {"episodes_per_update": 2}, {"discount_states": True}, {"normalize_advantage": True}, {"ent_coef": 0.01},
        {"max_grad_norm": 0.5},
    ],
    ids=str,
)  # fmt: skip
def test_every_choice_makes_a_difference(choice):
    mine, theirs = (make(**kwargs).learn(200) for kwargs in (choice, {}))
    name = "action_net.weight"
    assert not th.equal(mine.policy.state_dict()[name], theirs.policy.state_dict()[name])


# -- SB3's A2C --------------------------------------------------------------------------------------------------------


def follow_script(mine, theirs, seed):
    """Let both models take the same actions whatever their policies say."""
    scripts = [np.random.default_rng(seed) for _ in range(2)]
    space = mine.action_space

    def draw(script):
        if isinstance(space, spaces.Box):
            return script.normal(size=(mine.n_envs, *space.shape)).astype(np.float32)
        return script.integers(space.n, size=(mine.n_envs, 1))

    def forward(obs, deterministic=False):
        actions = th.as_tensor(draw(scripts[1]).reshape(mine.n_envs, *space.shape))
        values, log_prob, _ = theirs.policy.evaluate_actions(obs, actions)
        return actions, values, log_prob

    mine._sample = lambda observations, trusted: draw(scripts[0])
    theirs.policy.forward = forward


A2C_CASES = {
    "defaults": ("CartPole-v1", 1.0, {}),
    "entropy": ("CartPole-v1", 1.0, {"ent_coef": 0.05, "vf_coef": 0.7}),
    "hard clipping": ("CartPole-v1", 1.0, {"max_grad_norm": 0.01}),
    "lambda": ("CartPole-v1", 0.8, {"max_grad_norm": 1e6, "gamma": 0.9}),
    "continuous": ("Pendulum-v1", 0.95, {"ent_coef": 0.01, "max_grad_norm": 1e6}),
}


class Ends(gym.Wrapper):
    """Terminates some episodes before the time limit of three steps truncates them."""

    def step(self, action):
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, reward, terminated or bool(observation[0] > 0.02), truncated, info


@pytest.mark.parametrize("name", A2C_CASES)
@pytest.mark.parametrize(("n_updates", "backend"), [(1, "torch"), (20, "torch"), (20, "auto")])
def test_it_is_sb3s_a2c_on_the_same_rollouts(name, n_updates, backend):
    """RMSprop, clipping, entropy, truncated and terminated episodes; to rounding, as A2C sums in another order."""
    env_id, gae_lambda, kwargs = A2C_CASES[name]
    kwargs = {"n_steps": 5, "learning_rate": 1e-3, "gae_lambda": gae_lambda, "seed": 0, "device": "cpu", **kwargs}
    limit = {"env_kwargs": {"max_episode_steps": 3}, "wrapper_class": Ends}
    rmsprop = {"optimizer_class": th.optim.RMSprop, "optimizer_kwargs": {"alpha": 0.99, "eps": 1e-5}}
    mine = ActorCritic(
        "MlpPolicy", make_vec_env(env_id, 4, seed=0, **limit), policy_kwargs=rmsprop, backend=backend, **kwargs
    )
    theirs = A2C("MlpPolicy", make_vec_env(env_id, 4, seed=0, **limit), **kwargs)
    follow_script(mine, theirs, seed=1)
    start, endings = parameters_to_vector(mine.policy.parameters()).detach(), set()

    def note(seen, _):
        endings.update(
            (bool(d), info["TimeLimit.truncated"]) for d, info in zip(seen["dones"], seen["infos"], strict=True)
        )
        return True

    mine.learn(20 * n_updates, note)
    theirs.learn(20 * n_updates)
    assert endings == {(False, False), (True, False), (True, True)}
    np.testing.assert_array_equal(mine._last_obs, theirs._last_obs)
    assert mine._n_updates == theirs._n_updates == n_updates
    close = 1e-6 if n_updates == 1 else 1e-4
    one, two = (parameters_to_vector(model.policy.parameters()).detach() for model in (mine, theirs))
    assert (one - two).norm() < close * (two - start).norm()
    if backend == "torch":
        one, two = (parameters_to_vector([p.grad for p in model.policy.parameters()]) for model in (mine, theirs))
        assert (one - two).norm() < close * two.norm()
        for own, other in zip(mine.policy.parameters(), theirs.policy.parameters(), strict=True):
            assert (own.grad - other.grad).norm() < 10 * close * other.grad.norm()


# -- sums and means ---------------------------------------------------------------------------------------------------


def batch_of(*episodes, opened=()):
    """Return trajectories with the given rewards in states 0, 1, 2, …, the action always 1; `opened` ones go on."""
    lengths = [len(episode) for episode in episodes]
    steps = np.concatenate([np.arange(length) for length in lengths])
    last = np.cumsum(lengths) - 1
    ends = np.isin(np.arange(len(steps)), last)
    behind = np.array([lengths[i] for i in opened]) if opened else None
    rewards, actions = np.concatenate([np.array(episode, float) for episode in episodes]), np.ones((len(steps), 1), int)
    return Trajectories(steps, actions, rewards, ends, steps, last[list(opened)], behind, len(episodes))


def tabular(tabular_vec_env, cls=REINFORCE, n_states=12, **kwargs):
    """Return a model with a table of logits 0 and V(s) = s."""
    P = {s: {a: [(1.0, s, 0.0, True)] for a in (0, 1)} for s in range(n_states)}
    env = tabular_vec_env(P, np.eye(n_states)[0], 1, seed=0)
    model = make(cls, env, policy_kwargs={"net_arch": []}, **kwargs)
    with th.no_grad():
        for parameter in model.policy.parameters():
            parameter.zero_()
        if model.policy.critic:
            model.policy.value_net.weight.copy_(th.arange(float(n_states)))
    model._backend.bind()
    return model


def test_episodes_of_unequal_length_count_alike_and_a_mean_over_steps_would_flip_the_sign(tabular_vec_env):
    """One choice: 1 at once, or 2 after ten steps; ½ each, so that dJ/dθ = ¼(2 − 1)."""
    model = tabular(tabular_vec_env, gamma=1.0)
    short, long = batch_of([1.0]), batch_of([0.0] * 9 + [2.0])
    short.actions[0] = 0
    first = [-float(model._gradient(batch)[1][0, 1]) for batch in (short, long)]  # along the logit of "long"
    assert np.mean(first) == pytest.approx(0.25)
    assert np.mean([first[0] / 1, first[1] / 10]) == pytest.approx(-0.2)
    both = model._gradient(batch_of([1.0], [0.0] * 9 + [2.0]))[1]
    assert float(both[1, 1]) == pytest.approx(-first[1] / 2)


def test_rollouts_of_n_steps_are_averaged_over_steps(tabular_vec_env):
    model = tabular(tabular_vec_env, ActorCritic, n_steps=3, vf_coef=0.5, gamma=0.5)
    _, grad, _ = model._gradient(batch_of([1.0], [2.0, 4.0]))
    np.testing.assert_allclose(grad[:, 1], -0.5 * np.array([1.0, 2.5, 3.0]) / 3, rtol=1e-6)
    np.testing.assert_allclose(grad[:, 2], -0.5 * 2 * np.array([1.0, 2.5, 3.0]) / 3, rtol=1e-6)


# -- Ψ by formula -----------------------------------------------------------------------------------------------------

EPISODES = ([1.0, 2.0, -1.0], [4.0], [0.5, 0.0])


@pytest.mark.parametrize("psi", ["reward_to_go", "total_return"])
def test_the_running_mean_is_that_of_the_returns_of_earlier_updates(psi, tabular_vec_env):
    model, seen = tabular(tabular_vec_env, baseline="mean", psi=psi, gamma=0.9), []
    for batch in (batch_of([5.0, 1.0]), batch_of(*EPISODES), batch_of([-2.0])):
        returns = (reward_to_go if psi == "reward_to_go" else total_return)(batch.rewards, batch.ends, 0.9)
        np.testing.assert_allclose(model._weigh(batch, None)[0], returns - (np.mean(seen) if seen else 0.0), rtol=1e-12)
        seen.extend(returns if psi == "reward_to_go" else returns[batch.ends])  # an episode has one G(τ)


def test_the_total_return_has_the_factor_in_it_and_the_reward_to_go_has_not(tabular_vec_env):
    """A reward of 1 at t = 2, γ = ½: G(τ) = ¼ whatever the step; γ^t·G_t is ¼ too, from 1, ½ and ¼ times ¼, ½ and 1."""
    for cls, factor, expected in (
        (VPG, False, [0.25, 0.25, 0.25]), (VPG, True, [0.25, 0.25, 0.25]),
        (REINFORCE, False, [0.25, 0.5, 1.0]), (REINFORCE, True, [0.25, 0.25, 0.25]),
    ):  # fmt: skip
        model = tabular(tabular_vec_env, cls, gamma=0.5, discount_states=factor)
        np.testing.assert_array_equal(model._weigh(batch_of([0.0, 0.0, 1.0]), None)[0], expected)


def test_the_running_mean_of_total_returns_counts_a_long_episode_once(tabular_vec_env):
    model = tabular(tabular_vec_env, VPG, gamma=1.0, baseline="mean")
    model._weigh(batch_of([6.0], [1.0, 1.0, 1.0]), None)
    assert (model._return_mean, model._n_returns) == (4.5, 2)


@pytest.mark.parametrize("cls", FAMILY)
def test_discounting_states_and_normalising_by_formula(cls, tabular_vec_env):
    batch, gamma = batch_of(*EPISODES, opened=[1]), 0.9
    kwargs = {"gamma": gamma} | ({"n_steps": 6} if cls is ActorCritic else {})
    plain, discounted, normalised = (
        tabular(tabular_vec_env, cls, **kwargs, **choice)._weigh(batch, batch.steps.astype(float))[0]
        for choice in ({}, {"discount_states": True}, {"normalize_advantage": True})
    )
    factors = 1.0 if cls is VPG else gamma ** np.array([0, 1, 2, 0, 0, 1])
    np.testing.assert_allclose(discounted, plain * factors, rtol=1e-12)
    np.testing.assert_allclose(normalised, (plain - plain.mean()) / plain.std(), rtol=1e-6)


@pytest.mark.parametrize("cls", FAMILY)
def test_only_a_critics_advantage_bootstraps_a_truncated_episode(cls, tabular_vec_env):
    """V(s) = s: behind the first episode lies 3, behind the second 1."""
    model = tabular(tabular_vec_env, cls, gamma=0.9)
    ended, truncated = batch_of(*EPISODES), batch_of(*EPISODES, opened=[0, 1])
    values = ended.steps.astype(float) if model.policy.critic else None
    weighed = [model._weigh(batch, values, model._outputs(batch)[1]) for batch in (ended, truncated)]
    psi, targets = (np.array(both) for both in zip(*weighed, strict=True))
    more = np.array([0, 0, 0.9 * 3, 0.9 * 1, 0, 0]) * (cls is ActorCritic)
    np.testing.assert_allclose(psi[1] - psi[0], more, atol=1e-6)
    np.testing.assert_allclose(targets[1] - targets[0], more, atol=1e-6)
    if cls is ActorCritic:
        following = np.array([1.0, 2.0, 0.0, 0.0, 1.0, 0.0])
        np.testing.assert_allclose(psi[0], gae(ended.rewards, values, following, ended.ends, 0.9, 0.0))


# -- refusals ---------------------------------------------------------------------------------------------------------


def test_an_episode_without_an_end_is_refused_by_who_needs_its_end(monkeypatch):
    monkeypatch.setattr(rollouts, "ENDLESS", 60)
    env = gym.make("Pendulum-v1", max_episode_steps=-1)
    for cls in (VPG, REINFORCE, ReinforceBaseline):
        with pytest.raises(
            InputError, match=r"^max_episode_steps: .*got '60 steps'.*an algorithm with n_steps"
        ) as refusal:
            make(cls, env).learn(40)
        assert "\n" not in str(refusal.value)
    assert make(ActorCritic, env, n_steps=1).learn(100)._n_updates == 100
    with pytest.raises(InputError, match="got '90 steps'"):
        make(REINFORCE, env).learn(90)


@pytest.mark.parametrize(
    ("cls", "choice", "words"),
    [
        (REINFORCE, {"psi": "gae"}, "baseline: .*psi='gae'.*got 'none'"),
        (ActorCritic, {"baseline": "mean"}, "baseline: .*psi='gae'.*got 'mean'"),
        (REINFORCE, {"n_steps": 5}, "n_steps: psi='reward_to_go' needs whole episodes .*got 5"),
        (ReinforceBaseline, {"n_steps": 5}, "n_steps: .*whole episodes"),
        (VPG, {"baseline": "median"}, "baseline: "),
        (VPG, {"psi": "q"}, "psi: "),
        (REINFORCE, {"episodes_per_update": 0}, "episodes_per_update: "),
    ],
    ids=str,
)
def test_contradictions_are_refused_in_one_line(cls, choice, words):
    with pytest.raises(InputError, match=f"^{words}") as refusal:
        make(cls, **choice)
    assert "\n" not in str(refusal.value)


def test_nothing_remains_of_training_after_an_episode_beyond_the_budget():
    model = REINFORCE("MlpPolicy", "CartPole-v1", learning_rate=lambda left: 1e-3 * left, seed=0)
    before = {name: value.clone() for name, value in model.policy.state_dict().items()}
    model.learn(1)
    assert model.num_timesteps > 1
    assert model._current_progress_remaining == 0.0
    assert model.policy.optimizer.param_groups[0]["lr"] == 0.0
    assert all(th.equal(value, before[name]) for name, value in model.policy.state_dict().items())
