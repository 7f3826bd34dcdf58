"""The quick way to act does what SB3's `predict` does: transposes, takes lists, and explains what it cannot take."""

import re

import numpy as np
import pytest
import torch as th
from stable_baselines3.common.envs import FakeImageEnv, SimpleMultiObsEnv

from sb3_course import REINFORCE, DoubleDQN, NoisyDQN, Rainbow
from sb3_course.config.errors import InputError

both = pytest.mark.parametrize("cls", [DoubleDQN, REINFORCE])
either = pytest.mark.parametrize("deterministic", [True, False])
PICTURE = {"screen_height": 12, "screen_width": 10, "n_channels": 3, "discrete": True}


def make(cls, env="CartPole-v1", **policy_kwargs):
    replay = {"buffer_size": 10} if cls is DoubleDQN else {}
    policy_kwargs = {"net_arch": [16]} | policy_kwargs
    model = cls("MlpPolicy", env, seed=0, device="cpu", backend="numpy", policy_kwargs=policy_kwargs, **replay)
    assert model._backend.quick
    return model


def likeliest(model, observations):
    """Return the best actions by the torch policy's own outputs."""
    with th.no_grad():
        outputs = (model.q_net if isinstance(model, DoubleDQN) else model.policy.actor_outputs)(th.tensor(observations))
    return outputs.argmax(1).numpy()


@both
def test_pictures_with_the_channels_last_are_turned_round(cls):
    model = make(cls, FakeImageEnv(**PICTURE), normalize_images=False)
    pictures = np.random.default_rng(1).integers(0, 256, (40, 12, 10, 3), dtype=np.uint8)
    turned = pictures.transpose(0, 3, 1, 2)
    expected = likeliest(model, turned.copy())
    assert len(set(expected)) > 1
    for given in (pictures, turned):
        np.testing.assert_array_equal(model.predict(given, deterministic=True)[0], expected)
        assert [int(model.predict(picture, deterministic=True)[0]) for picture in given] == expected.tolist()


def test_an_exploring_prediction_turns_pictures_round_too():
    model = make(DoubleDQN, FakeImageEnv(**PICTURE), normalize_images=False)
    pictures = np.random.default_rng(1).integers(0, 256, (40, 12, 10, 3), dtype=np.uint8)
    np.testing.assert_array_equal(model.predict(pictures)[0], likeliest(model, pictures.transpose(0, 3, 1, 2).copy()))
    model.exploration_rate = 1.0
    assert model.predict(pictures)[0].shape == (40,)
    assert model.predict(pictures[0])[0].shape == ()


@both
def test_lists_are_taken_where_sb3_takes_them(cls):
    model = make(cls)
    rows = np.random.default_rng(2).normal(size=(6, 4)).astype(np.float32)
    expected = likeliest(model, rows)
    np.testing.assert_array_equal(model.predict(rows.tolist(), deterministic=True)[0], expected)
    single = model.predict(rows[0].tolist(), deterministic=True)[0]
    assert (single.shape, int(single)) == ((), expected[0])
    assert model.predict(rows.tolist())[0].shape == (6,)
    picture = make(cls, FakeImageEnv(**PICTURE), normalize_images=False)
    raw = picture.observation_space.sample().tolist()
    for predict in (picture.policy.predict, picture.predict):
        with pytest.raises(AttributeError, match="'list' object has no attribute 'shape'"):
            predict(raw, deterministic=True)


@both
@either
def test_an_observation_with_its_info_is_explained_in_sb3s_words(cls, deterministic):
    model = make(cls)
    model.exploration_rate = 1.0
    explained = re.escape("You have passed a tuple to the predict() function instead of a Numpy array or a Dict.")
    with pytest.raises(ValueError, match=explained):
        model.predict((np.zeros(4, np.float32), {}), deterministic=deterministic)


@both
@either
def test_a_wrong_shape_is_one_line_with_the_remedy(cls, deterministic):
    model = make(cls)
    for wrong in (np.zeros(5, np.float32), np.zeros((2, 3, 4), np.float32), np.zeros((4, 1)), [0.0] * 3, 3):
        with pytest.raises(ValueError) as caught:  # noqa: PT011  what SB3 raises, in words of ours
            model.predict(wrong, deterministic=deterministic)
        told = "observation: has another shape than the observation space (got {}, want (4,), or (n, 4) for n of them; "
        assert str(caught.value).startswith(told.format(np.shape(wrong)))
        assert "\n" not in str(caught.value)


@both
@either
def test_of_a_table_and_of_pictures_too(cls, deterministic):
    with pytest.raises(
        InputError, match=r"another shape than the observation space \(got \(1, 3\), want \(\), or \(n,\)"
    ):
        make(cls, "sb3_course/GridWorld-v0").predict(np.zeros((1, 3), np.int64), deterministic=deterministic)
    picture = make(cls, FakeImageEnv(**PICTURE), normalize_images=False)
    raw = picture.observation_space.sample()
    for fits in (raw, raw[None], np.moveaxis(raw, 0, -1), np.moveaxis(raw, 0, -1)[None]):
        picture.predict(fits, deterministic=deterministic)
    for wrong in (raw[:, :-1], raw[0], raw[None, None], np.moveaxis(raw, 0, 1)):
        with pytest.raises(InputError, match="another shape than the observation space"):
            picture.predict(wrong, deterministic=deterministic)


def test_of_a_dict_each_part_and_as_many_of_each():
    model = DoubleDQN("MultiInputPolicy", SimpleMultiObsEnv(), buffer_size=10, device="cpu")
    seen = {name: np.zeros(space.shape, space.dtype) for name, space in model.observation_space.items()}
    several = {name: np.stack([part] * 3) for name, part in seen.items()}
    model.predict(seen), model.predict(several)
    with pytest.raises(InputError, match=r"^observation\['vec'\]: has another shape"):
        model.predict({**seen, "vec": np.zeros(7)})
    with pytest.raises(InputError, match=r"^observation: its parts are not equally many"):
        model.predict({**several, "vec": several["vec"][:2]})


@pytest.mark.parametrize("cls", [NoisyDQN, Rainbow])
def test_noisy_networks_act_by_their_means_without_torch(cls, monkeypatch):
    settings = {"seed": 0, "device": "cpu", "backend": "numpy", "buffer_size": 10, "policy_kwargs": {"net_arch": [16]}}
    model = cls("MlpPolicy", "CartPole-v1", **settings)
    rows = np.random.default_rng(2).normal(size=(200, 4)).astype(np.float32)
    expected = model.policy.predict(rows, deterministic=True)[0]
    assert len(set(expected)) > 1

    def never(*_args, **_kwargs):
        raise AssertionError("torch is asked")

    monkeypatch.setattr(th.nn.Module, "__call__", never)
    np.testing.assert_array_equal(model.predict(rows, deterministic=True)[0], expected)
    assert [int(model.predict(row, deterministic=True)[0]) for row in rows[:20]] == expected[:20].tolist()


@both
def test_a_state_may_be_a_number_an_array_or_a_list(cls):
    model = make(cls, "sb3_course/GridWorld-v0")
    expected = likeliest(model, np.array([3, 4]))
    for state in (3, np.int64(3), np.array(3)):
        action = model.predict(state, deterministic=True)[0]
        assert (action.shape, int(action)) == ((), expected[0])
    for states in ([3, 4], np.array([3, 4])):
        assert model.predict(states, deterministic=True)[0].tolist() == expected.tolist()
