"""Weights of a file alone: `set_parameters(path)` and `policy.load(path)` meet no pickle, and take all or nothing."""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import stable_baselines3
import tampered
import torch as th
from torch import nn

from sb3_course import REINFORCE, DoubleDQN
from sb3_course.config.errors import InputError
from sb3_course.policy_gradient.noisy_sac import NoisyMlpPolicy
from sb3_course.sb3.policy_files import PolicyFiles


def make(seed: int = 0, **arguments: Any) -> Any:
    return DoubleDQN(
        "MlpPolicy", "CartPole-v1", buffer_size=50, learning_starts=5, device="cpu", seed=seed, **arguments
    )


def flat(model: Any) -> np.ndarray:
    return model.policy.parameters_to_vector()


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("good") / "model.zip"
    make().learn(20).save(path)
    return path


@pytest.mark.parametrize("kind", sorted(set(tampered.OF_TENSORS) - tampered.SLOW))
def test_set_parameters_refuses_a_file_that_was_tampered_with(kind: str, good: Path, tmp_path: Path) -> None:
    marker, path = tmp_path / "code ran", tmp_path / "model.zip"
    path.write_bytes(tampered.MODELS[kind](tampered.members_of(good), marker))
    model = make(seed=1).learn(10)
    before, moments = flat(model).copy(), str(model.policy.optimizer.state_dict())
    with pytest.raises(InputError) as caught:
        model.set_parameters(path)
    assert not marker.exists()
    assert "\n" not in str(caught.value)
    assert (flat(model) == before).all()
    assert str(model.policy.optimizer.state_dict()) == moments
    model.learn(10)  # and its backend still sees its weights
    assert (flat(model) != before).any()


def test_set_parameters_takes_our_files_and_sb3_s(good: Path, tmp_path: Path) -> None:
    model = make(seed=1)
    model.set_parameters(good)
    assert (flat(model) == flat(DoubleDQN.load(good))).all()
    with open(good, "rb") as file:
        make(seed=2).set_parameters(file)
    theirs = stable_baselines3.DQN("MlpPolicy", "CartPole-v1", buffer_size=50, device="cpu", seed=3)
    theirs.save(tmp_path / "theirs.zip")
    model.set_parameters(str(tmp_path / "theirs"))
    assert (flat(model) == flat(theirs)).all()


def policy_file(change: Any) -> Any:
    """Return what makes bytes of a good policy's file, one entry changed."""

    def make(saved: dict[str, Any], marker: Path) -> bytes:
        raw = io.BytesIO()
        th.save({**saved, **change(saved, marker)}, raw)
        return raw.getvalue()

    return make


NOT_READ, OTHER = (
    "policy: its tensors cannot be read: more than tensors.*trust_pickle=True",
    "policy: is no file of a policy alone",
)
POLICIES: dict[str, tuple[Any, str]] = {
    "a pickle": (lambda _, marker: pickle.dumps(tampered.Evil(marker)), "cannot be read|cannot be loaded"),
    "a pickled tensor": (policy_file(lambda _, marker: {"state_dict": {"a": tampered.Evil(marker)}}), NOT_READ),
    "an extra pickled key": (policy_file(lambda _, marker: {"more": tampered.Evil(marker)}), NOT_READ),
    "an argument missing": (policy_file(lambda *_: {"arguments": 0}), OTHER),
    "newer format": (policy_file(lambda *_: {"format": 2}), "policy: has another format.*got 2"),
    "NaN weights": (
        policy_file(lambda saved, _: {"state_dict": {key: each * np.nan for key, each in saved["state_dict"].items()}}),
        "policy: has weights that are not finite",
    ),
    "another network": (policy_file(lambda *_: {"state_dict": {"a": th.zeros(3)}}), "Missing key"),
    "a layer too many": (
        policy_file(lambda saved, _: {"state_dict": {**saved["state_dict"], "a": th.zeros(3)}}), "Unexpected key",
    ),
    "no mapping": (policy_file(lambda *_: {"arguments": "[1]"}), "policy: its arguments are no mapping"),
    "no JSON": (policy_file(lambda *_: {"arguments": "{"}), "policy: is no JSON"),
    "an argument that is none": (
        policy_file(lambda saved, _: {"arguments": saved["arguments"][:-1] + ', "shell": true}'}), "shell",
    ),
    "a class that starts programs": (
        policy_file(lambda *_: {"arguments": '{"activation_fn": {"$": "class", "name": "subprocess:Popen"}}'}),
        "names a class of another package.*subprocess:Popen",
    ),
    "layers of a terabyte": (
        policy_file(lambda saved, _: {"arguments": saved["arguments"].replace("[64, 64]", "[1048576, 1048576]")}),
        "model: .*larger than its tensors.*1048576",
    ),
    "truncated": (lambda saved, _: policy_file(lambda *_: {})(saved, _)[:1000], "cannot be read|cannot be loaded"),
    "empty": (lambda *_: b"", "cannot be read|cannot be loaded"),
}  # fmt: skip


@pytest.mark.parametrize("kind", POLICIES)
def test_a_policy_s_file_that_was_tampered_with_is_refused(kind: str, tmp_path: Path) -> None:
    policy, path, marker = make().policy, tmp_path / "policy.pt", tmp_path / "code ran"
    policy.save(path)
    saved = th.load(path, weights_only=True)
    assert set(saved) == {"format", "arguments", "state_dict"}
    change, words = POLICIES[kind]
    path.write_bytes(change(saved, marker))
    with pytest.raises(InputError, match=words) as caught:
        type(policy).load(path)
    assert not marker.exists()
    assert "\n" not in str(caught.value)


class OwnActivation(nn.ReLU):
    pass


def test_own_classes_of_a_policy_are_handed_over(tmp_path: Path) -> None:
    policy = make(policy_kwargs={"activation_fn": OwnActivation}).policy
    policy.save(tmp_path / "policy.pt")
    with pytest.raises(InputError, match="names a class of another package"):
        type(policy).load(tmp_path / "policy.pt")
    again = type(policy).load(tmp_path / "policy.pt", custom_objects={"mine": OwnActivation})
    assert again.activation_fn is OwnActivation
    assert (again.parameters_to_vector() == policy.parameters_to_vector()).all()


def test_a_file_that_sb3_pickled_is_trusted_on_request(tmp_path: Path) -> None:
    policy = make().policy
    super(PolicyFiles, policy).save(str(tmp_path / "old.pt"))  # as this package did up to version 0.1
    with pytest.raises(InputError, match="trust_pickle=True"):
        type(policy).load(tmp_path / "old.pt")
    again = type(policy).load(tmp_path / "old.pt", trust_pickle=True)
    assert (again.parameters_to_vector() == policy.parameters_to_vector()).all()


@pytest.mark.parametrize("model", [REINFORCE, NoisyMlpPolicy], ids=["ours", "in SB3's SAC"])
def test_policies_of_every_family_have_it(model: Any, tmp_path: Path) -> None:
    if model is REINFORCE:
        policy = REINFORCE("MlpPolicy", "Pendulum-v1", device="cpu").policy
    else:
        policy = stable_baselines3.SAC(model, "Pendulum-v1", buffer_size=5, device="cpu").policy
    policy.save(tmp_path / "policy.pt")
    again = type(policy).load(tmp_path / "policy.pt")
    seen = np.zeros((1, 3), np.float32)
    assert (again.predict(seen, deterministic=True)[0] == policy.predict(seen, deterministic=True)[0]).all()
