"""The words of the argument ``risk``, and risk-sensitive actions of sb3-contrib's QRDQN."""

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from sb3_contrib import QRDQN
from stable_baselines3 import DQN
from stable_baselines3.common.envs import FakeImageEnv, SimpleMultiObsEnv

from sb3_course.config.text import InputError
from sb3_course.functional import CPW, CVaR, Mean, MeanVariance, UpperCVaR, Wang
from sb3_course.value.risk_words import FORMS, parse, risk_predict

SAFE, RISKY = 0, 1


def qrdqn(env="CartPole-v1", policy="MlpPolicy", n_quantiles=4, **kwargs):
    settings = {"seed": 0, "device": "cpu", "buffer_size": 100, "learning_starts": 10}
    return QRDQN(policy, env, policy_kwargs={"n_quantiles": n_quantiles, **kwargs}, **settings)


def with_quantiles(*arms):
    """A QRDQN whose quantiles are the same in every state, one list for each arm."""
    model = qrdqn(n_quantiles=len(arms[0]), net_arch=[])
    (layer,) = model.policy.quantile_net.quantile_net
    with th.no_grad():
        layer.weight.zero_()
        layer.bias.copy_(th.tensor(arms).T.flatten())  # (N, A)
    return model


# -- words ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "measure"),
    [
        ("mean", Mean()), ("cvar:0.25", CVaR(0.25)), ("cvar", CVaR(0.25)), ("cvar:1", CVaR(1)), ("cvar:.1", CVaR(0.1)),
        ("cvar_seeking:0.1", UpperCVaR(0.1)), ("wang:-0.75", Wang(-0.75)), ("wang:+0.75", Wang(0.75)),
        ("wang", Wang(-0.75)), ("cpw:0.71", CPW(0.71)), ("cpw", CPW(0.71)), ("mean_variance:0.1", MeanVariance(0.1)),
        ("mean_variance:-1e-2", MeanVariance(-0.01)), (" CVaR : 0.25 ", CVaR(0.25)),
        ("Mean-Variance:2", MeanVariance(2)),
    ],
)  # fmt: skip
def test_words_name_measures_and_measures_give_their_word(word, measure):
    assert parse(word) == measure
    assert parse(str(measure)) == measure
    assert parse(measure) is measure


def test_every_form_of_the_help_text_is_read():
    for word in FORMS.replace(" or ", ", ").split(", "):
        assert str(parse(word)) == word


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ("cvra:0.25", "did you mean 'cvar'"), ("wangs:1", "did you mean 'wang'"), ("meanvariance:1", "'mean_variance'"),
        ("", "unknown risk measure"), (":", "unknown risk measure"), ("0.25", "unknown risk measure"),
        ("cvar:0", "from 1e-06 to 1"), ("cvar:1.1", "from 1e-06 to 1"), ("cvar:-0.25", "from 1e-06 to 1"),
        ("cvar:", "alpha is wrong or missing"), ("cvar:a", "alpha is wrong or missing"),
        ("cvar:nan", "from 1e-06 to 1"),
        ("cvar:0.1:0.2", "alpha"), ("cpw:0.2", "from 0.28 to 10"), ("wang:inf", "from -10 to 10"),
        ("mean_variance", "c is wrong or missing"), ("mean:0.5", "takes no number"), ("mean:", "takes no number"),
        (0.25, "not a risk measure"), (None, "not a risk measure"), (["mean"], "not a risk measure"),
    ],
)  # fmt: skip
def test_bad_words_are_refused_in_one_line(bad, says):
    with pytest.raises(InputError, match=r"^risk: ") as caught:
        parse(bad)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"^eval_risk: "):
        parse(bad, "eval_risk")


# -- QRDQN ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("risk", "action"),
    [
        ("mean", RISKY), ("cvar:0.25", SAFE), ("cvar:0.5", SAFE), ("cvar:1", RISKY), ("cvar_seeking:0.25", RISKY),
        ("wang:-0.75", SAFE), ("wang:0.75", RISKY), ("mean_variance:0.1", SAFE), ("mean_variance:-0.1", RISKY),
        ("cpw:0.71", RISKY), (CVaR(0.1), SAFE),
    ],
)  # fmt: skip
def test_hand_set_quantiles_are_chosen_by_risk(risk, action):
    model = with_quantiles([1.0, 1.0, 1.0, 1.0], [6.0, -10.0, 6.0, 6.0])  # means 1 and 2; not in order
    observation = model.observation_space.sample()
    chosen, state = risk_predict(model, observation, risk)
    assert chosen == action
    assert chosen.shape == ()
    assert state is None
    batch, _ = risk_predict(model, np.stack([observation] * 3), risk)
    np.testing.assert_array_equal(batch, [action] * 3)


def test_the_default_is_averse():
    model = with_quantiles([1.0, 1.0, 1.0, 1.0], [6.0, -10.0, 6.0, 6.0])
    assert risk_predict(model, model.observation_space.sample())[0] == SAFE
    assert model.predict(model.observation_space.sample(), deterministic=True)[0] == RISKY


@pytest.mark.parametrize(
    ("policy", "make"),
    [
        ("MlpPolicy", lambda: gym.make("CartPole-v1")),
        ("CnnPolicy", lambda: FakeImageEnv(screen_height=36, screen_width=36, n_channels=1)),
        ("MultiInputPolicy", lambda: SimpleMultiObsEnv(channel_last=False, random_start=False)),
    ],
)
def test_mean_is_the_models_own_predict_for_every_kind_of_observation(policy, make):
    model = qrdqn(make(), policy)
    space = model.observation_space
    space.seed(0)
    singles = [space.sample() for _ in range(8)]
    batch = (
        {k: np.stack([o[k] for o in singles]) for k in singles[0]}
        if isinstance(singles[0], dict)
        else np.stack(singles)
    )
    for observation in (singles[0], batch):
        expected, _ = model.predict(observation, deterministic=True)
        actions, _ = risk_predict(model, observation, "mean")
        assert actions.dtype == expected.dtype
        np.testing.assert_array_equal(actions, expected)
        explored, _ = risk_predict(model, observation, deterministic=False)
        assert explored.shape == expected.shape


def test_a_trained_and_loaded_model_chooses_by_the_brute_force_tail(tmp_path):
    model = qrdqn(n_quantiles=25)
    model.learn(300)
    model.save(tmp_path / "model")
    loaded = QRDQN.load(tmp_path / "model", device="cpu")
    batch = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
    with th.no_grad():
        quantiles = loaded.policy.quantile_net(th.tensor(batch)).numpy()  # (B, N, A)
    tail = np.sort(quantiles, axis=1)[:, :5].mean(1)
    clear = np.abs(tail[:, 0] - tail[:, 1]) > 1e-5
    actions, _ = risk_predict(loaded, batch, "cvar:0.2")
    np.testing.assert_array_equal(actions[clear], tail.argmax(1)[clear])
    np.testing.assert_array_equal(risk_predict(model, batch, "cvar:0.2")[0], actions)
    np.testing.assert_array_equal(risk_predict(loaded, batch, "cvar:0.2")[0], actions)


def test_exploration_tosses_one_coin_an_env_and_repeats_with_the_seed():
    model = with_quantiles([1.0, 1.0], [0.0, 0.0])
    batch = np.stack([model.observation_space.sample()] * 2000)

    def risky_share(rate, seed=0):
        model.exploration_rate = rate
        model.set_random_seed(seed)
        return risk_predict(model, batch, deterministic=False)[0]

    assert not risky_share(0.0).any()
    assert 0.45 < risky_share(1.0).mean() < 0.55
    assert 0.2 < risky_share(0.5).mean() < 0.3
    np.testing.assert_array_equal(risky_share(0.5), risky_share(0.5))
    assert (risky_share(0.5) != risky_share(0.5, seed=1)).any()


def test_predicting_leaves_the_global_generators_alone():
    model = with_quantiles([1.0, 1.0], [0.0, 0.0])
    before = np.random.get_state()[1].copy(), th.get_rng_state()  # noqa: NPY002
    for deterministic in (True, False):
        risk_predict(model, model.observation_space.sample(), deterministic=deterministic)
    np.testing.assert_array_equal(np.random.get_state()[1], before[0])  # noqa: NPY002
    assert th.equal(th.get_rng_state(), before[1])


def test_a_model_without_quantiles_is_refused():
    model = DQN("MlpPolicy", "CartPole-v1", buffer_size=10, device="cpu")
    with pytest.raises(InputError, match="model: has no quantiles"):
        risk_predict(model, model.observation_space.sample())
    with pytest.raises(InputError, match=r"^risk: "):
        risk_predict(model, model.observation_space.sample(), "cvar:2")
