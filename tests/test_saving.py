"""Files that are whole or not there, values as JSON, and model files whose manifest is enough to rebuild them."""

import io
import json
import math
import os
import re
import zipfile
from collections import deque
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import stable_baselines3
import torch as th
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.noise import NormalActionNoise, OrnsteinUhlenbeckActionNoise, VectorizedActionNoise
from stable_baselines3.common.save_util import load_from_zip_file
from stable_baselines3.common.type_aliases import TrainFreq, TrainFrequencyUnit
from stable_baselines3.common.utils import ConstantSchedule, FloatSchedule, LinearSchedule
from stable_baselines3.her.goal_selection_strategy import GoalSelectionStrategy

from sb3_course import registry
from sb3_course.config.errors import InputError, OpaqueError
from sb3_course.config.text import LinearRate
from sb3_course.saving import (
    MANIFEST,
    add_manifest,
    atomic_path,
    atomic_write,
    attributes_of,
    manifest_of,
    read_manifest,
    rng_state,
    save_model,
    set_rng_state,
)
from sb3_course.saving.space_json import space_from_json, space_to_json
from sb3_course.saving.values import class_name, decode, encode, library_class

# -------------------------------------------------------------------------------------------------------- files


def test_a_write_replaces_the_whole_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    atomic_write(path, "one")
    atomic_write(path, b"two")
    assert path.read_bytes() == b"two"
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a.npz"
    path.write_text("old")

    def fail_half_way() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        fail_half_way()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.npz"]


def test_a_failed_rename_or_an_unwritten_file_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "never"):
        pass
    with pytest.raises(FileNotFoundError):
        atomic_write(tmp_path / "no folder" / "a", b"")

    def refuse(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="disk full"):
        atomic_write(tmp_path / "a", b"x")
    assert os.listdir(tmp_path) == []


def test_the_file_is_synced_before_it_is_renamed_and_the_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    sync, replace = os.fsync, os.replace

    def spy_sync(descriptor: int) -> None:
        calls.append("folder" if os.path.isdir(f"/dev/fd/{descriptor}") else "file")
        sync(descriptor)

    def spy_replace(*paths: Any) -> None:
        calls.append("replace")
        replace(*paths)

    monkeypatch.setattr(os, "fsync", spy_sync)
    monkeypatch.setattr(os, "replace", spy_replace)
    atomic_write(tmp_path / "a", b"x")
    assert calls == ["file", "replace", "folder"]


def test_the_temporary_file_is_beside_the_target_and_keeps_its_suffix(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "a.npz") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".npz"
        np.savez(temporary, x=np.arange(3))
    assert np.load(tmp_path / "a.npz")["x"].tolist() == [0, 1, 2]


def test_a_link_stays_a_link_and_the_mode_is_the_usual_one(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("old")
    (tmp_path / "link").symlink_to("there")
    atomic_write(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there").read_text() == "new"
    (tmp_path / "plain").touch()
    assert (tmp_path / "there").stat().st_mode == (tmp_path / "plain").stat().st_mode


# --------------------------------------------------------------------------------------------------- generators


@pytest.mark.parametrize("name", ["PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"])
def test_a_generator_continues_after_json(name: str) -> None:
    kind = getattr(np.random, name)
    generator = np.random.Generator(kind(3))
    generator.integers(10, size=3, dtype=np.uint32)  # leaves half a word behind
    state = json.loads(json.dumps(rng_state(generator)))
    expected = [generator.integers(2**31, size=2, dtype=np.uint32).tolist(), generator.random(3).tolist()]
    other = np.random.Generator(kind(4))
    set_rng_state(other, state)
    assert [other.integers(2**31, size=2, dtype=np.uint32).tolist(), other.random(3).tolist()] == expected


def test_a_wrong_generator_state_is_refused() -> None:
    state = rng_state(np.random.default_rng(0))
    with pytest.raises(InputError, match="another generator"):
        set_rng_state(np.random.Generator(np.random.MT19937(0)), state)
    for damaged in ({}, {"bit_generator": "PCG64"}, {**state, "state": {"state": "x", "inc": 1}}):
        with pytest.raises(InputError, match="rng: "):
            set_rng_state(np.random.default_rng(0), damaged)


# ------------------------------------------------------------------------------------------------------- values


def same(a: Any, b: Any) -> bool:
    """Whether two values are equal to the last bit, types included."""
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray | np.generic):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, th.Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and same(a.float().numpy(), b.float().numpy())
    if isinstance(a, dict):
        return list(a) == list(b) and all(
            same(key, other) and same(a[key], b[other]) for key, other in zip(a, b, strict=True)
        )
    if isinstance(a, list | tuple | deque):
        bounded = getattr(a, "maxlen", None) == getattr(b, "maxlen", None)
        return bounded and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float):
        return (math.isnan(a) and math.isnan(b)) or (a == b and math.copysign(1, a) == math.copysign(1, b))
    return bool(a == b)


def through_json(value: Any) -> Any:
    return decode(json.loads(json.dumps(encode(value), allow_nan=False)))


dtypes = (
    hnp.boolean_dtypes() | hnp.integer_dtypes() | hnp.unsigned_integer_dtypes() | hnp.floating_dtypes()
    | hnp.complex_number_dtypes() | hnp.unicode_string_dtypes(max_len=3) | hnp.datetime64_dtypes()
)  # fmt: skip
arrays = dtypes.flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3))
)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | dtypes
keys = st.text() | st.integers() | st.booleans() | st.sampled_from(["$", "$kind"])
values = st.recursive(
    scalars | arrays | arrays.filter(lambda array: array.size > 0).map(lambda array: array.flat[0]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.builds(deque, st.lists(inner, max_size=3), st.none() | st.integers(3, 5))
        | st.dictionaries(keys, inner, max_size=3)
    ),
    max_leaves=5,
)


@settings(max_examples=200)
@given(values)
def test_values_round_trip_exactly(value: Any) -> None:
    assert same(through_json(value), value)


@pytest.mark.parametrize(
    "value",
    [
        th.arange(6, dtype=th.float32).reshape(2, 3).T,
        th.tensor(1.5, dtype=th.bfloat16),
        th.empty((0, 3)),
        th.tensor([True]),
        th.device("cuda:1"),
        Path("a/b"),
        LinearRate(1e-3),
        TrainFreq(4, TrainFrequencyUnit.EPISODE),
        TrainFrequencyUnit.STEP,
        GoalSelectionStrategy.FUTURE,
        {"optimizer_class": th.optim.Adam, "activation_fn": th.nn.ReLU},
        np.float32,
        np.dtype(">i2"),
        np.asfortranarray(np.arange(6).reshape(2, 3)),
    ],
    ids=str,
)
def test_known_objects_round_trip(value: Any) -> None:
    assert same(through_json(value), value)


def test_schedules_and_noise_round_trip() -> None:
    for schedule in (
        ConstantSchedule(0.1),
        LinearSchedule(1.0, 0.05, 0.1),
        FloatSchedule(0.1),
        FloatSchedule(LinearRate(0.1)),
        FloatSchedule(LinearSchedule(1, 0, 1)),
    ):
        again = through_json(schedule)
        assert type(again) is type(schedule)
        assert [again(x) for x in (1.0, 0.95, 0.3, 0.0)] == [schedule(x) for x in (1.0, 0.95, 0.3, 0.0)]
    normal = NormalActionNoise(np.zeros(2), np.ones(2))
    walk = OrnsteinUhlenbeckActionNoise(np.zeros(2), np.ones(2), theta=0.3)
    walk.noise_prev = np.array([1.0, 2.0])
    for noise in (normal, walk, VectorizedActionNoise(walk, 2)):
        again = through_json(noise)
        assert type(again) is type(noise)
        assert encode(again) == encode(noise)


class Local(th.nn.Module):
    """A user's own class."""


@pytest.mark.parametrize("value", [lambda x: x, object(), {1}, np.array([None]), io.BytesIO(), math])
def test_what_json_cannot_express_is_said_to_be_opaque(value: Any) -> None:
    with pytest.raises(OpaqueError):
        encode({"deep": [value]})


def test_a_class_made_inside_a_function_is_opaque_and_another_packages_is_not_imported() -> None:
    class Inner(th.nn.Module):
        pass

    with pytest.raises(OpaqueError, match="cannot be imported"):
        encode(Inner)
    encoded = encode(Local)
    with pytest.raises(InputError, match="class of another package"):
        decode(encoded)
    assert decode(encoded, {class_name(Local): Local}.__getitem__) is Local


@pytest.mark.parametrize(
    "name",
    [
        "os:system",
        "subprocess:Popen",
        "builtins:eval",
        "numpy:load",
        "torch:load",
        "torch.serialization:os.system",
        "torch.hub:load",
        "torch.utils.cpp_extension:load",
        "torch.optim:no_such",
        "torch.no_such:x",
        "stable_baselines3.common.save_util:cloudpickle.loads",
        "sb3_course.config.text:Named",
        "",
        ":",
    ],
)
def test_only_networks_optimizers_buffers_and_algorithms_are_found_by_name(name: str) -> None:
    with pytest.raises(InputError, match="manifest: "):
        library_class(name)


@pytest.mark.parametrize(
    "value",
    [
        {"$": "pickle", "data": "x"},
        {"$": "tuple", "items": 3},
        {"$": "ndarray", "dtype": "|O", "shape": [1], "data": "AAAAAAAAAAA="},
        {"$": "ndarray", "dtype": "<f4", "shape": [9], "data": "AAAAAA=="},
        {"$": "ndarray", "dtype": "<f4"},
        {"$": "Tensor", "dtype": "load", "shape": [1], "data": ""},
        {"$": "space", "value": {"space": "Graph"}},
        {"$": "space", "value": {"space": "Discrete"}},
        {"$": "TrainFrequencyUnit", "name": "no"},
        {"$": ["list"]},
        {"$": "ConstantSchedule", "state": 3},
    ],
)
def test_a_damaged_value_is_refused(value: Any) -> None:
    with pytest.raises(InputError, match="manifest: "):
        decode([value])


# ------------------------------------------------------------------------------------------------------- spaces

SPACES: list[gym.Space[Any]] = [
    spaces.Box(-np.inf, np.inf, (2, 3), np.float32),
    spaces.Box(np.array([-4.8, -np.inf], np.float32), np.array([4.8, 0.1], np.float32)),
    spaces.Box(0, 255, (36, 36, 3), np.uint8),
    spaces.Box(-np.inf, np.inf, (2,), np.int64),
    spaces.Box(np.array([0, 1]), np.array([2, 3]), dtype=np.float64),
    spaces.Box(0.0, 1.0, (), np.float16),
    spaces.Discrete(3, start=-1),
    spaces.MultiDiscrete([2, 3], start=[1, -1]),
    spaces.MultiDiscrete(np.array([[2, 3], [4, 5]]), dtype=np.int32),
    spaces.MultiBinary(3),
    spaces.MultiBinary([2, 3]),
    spaces.Dict([("z", spaces.Discrete(2)), ("a", spaces.Dict({"b": spaces.MultiBinary(1)}))]),
    spaces.Tuple([spaces.Discrete(2), spaces.Box(0, 1, (1,))]),
]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_a_space_survives_json(space: gym.Space[Any]) -> None:
    again = space_from_json(json.loads(json.dumps(space_to_json(space), allow_nan=False)))
    assert type(again) is type(space)
    assert again == space
    assert again.dtype == space.dtype
    if isinstance(space, spaces.Dict):
        assert list(again.spaces) == list(space.spaces)  # type: ignore[attr-defined]
    for name in ("low", "high", "bounded_below", "bounded_above", "n", "start", "nvec"):
        if hasattr(space, name):
            assert same(getattr(again, name), getattr(space, name)), name
    again.seed(3)
    space.seed(3)
    assert str(again.sample()) == str(space.sample())


def test_other_spaces_are_opaque() -> None:
    class Own(spaces.Discrete):
        pass

    for space in (spaces.Text(3), Own(2), spaces.Tuple([spaces.Text(3)])):
        with pytest.raises(OpaqueError):
            encode(space)


# ------------------------------------------------------------------------------------------------------- models


def trained(name: str) -> BaseAlgorithm:
    """Return a model that has learned a little."""
    row = registry.find(name)
    env = "FrozenLake-v1" if name == "q_table" else "CartPole-v1" if "Discrete" in row.action_spaces else "Pendulum-v1"
    known = registry.constructor_arguments(name)
    wanted = {"n_steps": 16, "batch_size": 8} if "n_epochs" in known or "cg_damping" in known else {}
    if "buffer_size" in known and known["buffer_size"].default > 1000:
        wanted = {"buffer_size": 100, "learning_starts": 16, "batch_size": 8}
    if name == "ppo":
        wanted["policy_kwargs"] = {"net_arch": [8], "activation_fn": th.nn.ELU}
        wanted["clip_range"] = LinearRate(0.2)
    model: BaseAlgorithm = row.load()("MlpPolicy", env, seed=0, device="cpu", **wanted)
    return model.learn(30)


def rebuilt(manifest: dict[str, Any], archive: io.BytesIO) -> BaseAlgorithm:
    """Return a model made of a manifest and tensors alone; SB3's pickles are not read."""
    attributes = attributes_of(manifest)
    cls = library_class(manifest["class"])
    model = cls(policy=attributes["policy_class"], env=None, device="cpu", _init_setup_model=False)
    vars(model).update(attributes)
    model._setup_model()
    _, tensors, variables = load_from_zip_file(archive, load_data=False, device="cpu")
    model.set_parameters(tensors, exact_match=True, device="cpu")
    for name, value in (variables or {}).items():
        getattr(model, name).data = value.data
    return model  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", registry.ALGORITHMS)
def test_manifest_and_tensors_are_enough_to_rebuild_every_algorithm(name: str) -> None:
    model = trained(name)
    archive = io.BytesIO()
    save_model(model, archive)
    manifest = read_manifest(archive)
    assert manifest["opaque"] == []
    assert registry.name_of(library_class(manifest["class"])) == name
    assert manifest["policy"]["alias"] in ("MlpPolicy", "TablePolicy")

    archive.seek(0)
    stock = type(model).load(archive, device="cpu")  # stock SB3, pickles and all
    archive.seek(0)
    ours = rebuilt(manifest, archive)
    observations = np.array([model.observation_space.sample() for _ in range(20)])
    expected = model.predict(observations, deterministic=True)[0]
    assert np.array_equal(stock.predict(observations, deterministic=True)[0], expected)
    assert np.array_equal(ours.predict(observations, deterministic=True)[0], expected)
    assert set(attributes_of(manifest)) <= set(vars(stock))
    # All that SB3 reads from its pickles is in the manifest.
    archive.seek(0)
    data, _, _ = load_from_zip_file(archive, device="cpu")
    assert data is not None
    assert set(data) == set(manifest["attributes"])
    # Saved again, a rebuilt model says what a model that stock SB3 loaded says.
    assert manifest_of(ours)["attributes"] == manifest_of(stock)["attributes"]


@pytest.fixture(scope="module")
def dqn() -> BaseAlgorithm:
    return stable_baselines3.DQN("MlpPolicy", "CartPole-v1", buffer_size=10, device="cpu", seed=0)


def test_the_zip_is_sb3s_with_one_more_member(tmp_path: Path, dqn: BaseAlgorithm) -> None:
    import hashlib

    save_model(dqn, tmp_path / "ours")
    dqn.save(tmp_path / "stock")
    assert sorted(os.listdir(tmp_path)) == ["ours.zip", "stock.zip"]
    with zipfile.ZipFile(tmp_path / "ours.zip") as ours, zipfile.ZipFile(tmp_path / "stock.zip") as stock:
        assert ours.namelist() == [*stock.namelist(), MANIFEST]
        for name in ("policy.pth", "policy.optimizer.pth", "_stable_baselines3_version"):
            assert ours.read(name) == stock.read(name)
        digests = read_manifest(tmp_path / "ours.zip")["tensors"]
        assert set(digests) == {name for name in ours.namelist() if name.endswith(".pth")}
        for name, digest in digests.items():
            assert hashlib.sha256(ours.read(name)).hexdigest() == digest
    add_manifest(tmp_path / "stock.zip", dqn)
    assert read_manifest(tmp_path / "stock.zip")["attributes"] == read_manifest(tmp_path / "ours.zip")["attributes"]
    with pytest.raises(InputError, match="already has a manifest"):
        add_manifest(tmp_path / "stock.zip", dqn)


def test_paths_follow_sb3s_rules(tmp_path: Path, dqn: BaseAlgorithm) -> None:
    save_model(dqn, str(tmp_path / "new" / "folder" / "a"))
    save_model(dqn, tmp_path / "b.model")
    (tmp_path / "c.zip").mkdir()
    with pytest.warns(UserWarning, match="is a folder"):
        save_model(dqn, tmp_path / "c")
    for name in ("new/folder/a.zip", "b.model", "c.zip_2"):
        assert read_manifest(tmp_path / name)["format"] == 1
    with open(tmp_path / "d", "wb") as file:
        save_model(dqn, file)
    assert (tmp_path / "d").read_bytes()[:2] == b"PK"
    with pytest.raises(InputError, match=r"^path: is none"):
        save_model(dqn, 3)  # type: ignore[arg-type]


def test_a_save_that_fails_leaves_the_old_model(
    tmp_path: Path, dqn: BaseAlgorithm, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.zip"
    path.write_text("old")
    monkeypatch.setattr(dqn, "get_parameters", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        save_model(dqn, path)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.zip"]


def test_an_algorithms_own_save_may_call_it_and_exclude_and_include_are_sb3s(tmp_path: Path) -> None:
    class Own(stable_baselines3.DQN):
        def save(self, path: Any, exclude: Any = None, include: Any = None) -> None:
            save_model(self, path, exclude=exclude, include=include)

    model = Own("MlpPolicy", "CartPole-v1", buffer_size=10, device="cpu")
    model.learning_rate = lambda progress: 1e-3
    model.save(tmp_path / "a", exclude=["seed"], include=["_custom_logger"])
    manifest = read_manifest(tmp_path / "a.zip")
    assert manifest["class"] is None  # made inside a function
    assert manifest["opaque"] == ["learning_rate"]
    data, _, _ = load_from_zip_file(tmp_path / "a.zip")
    assert data is not None
    assert set(data) == set(manifest["attributes"]) | {"learning_rate"}
    assert "seed" not in data


def test_the_manifest_holds_no_pickle_and_names_the_versions(dqn: BaseAlgorithm) -> None:
    manifest = json.loads(json.dumps(manifest_of(dqn), allow_nan=False))
    assert ":serialized:" not in json.dumps(manifest)
    assert manifest["versions"]["stable_baselines3"] == stable_baselines3.__version__
    assert {"python", "torch", "numpy", "gymnasium"} <= set(manifest["versions"])
    assert manifest["attributes"]["action_space"]["value"]["n"] == 2


def test_a_file_without_a_good_manifest_is_refused(tmp_path: Path, dqn: BaseAlgorithm) -> None:
    dqn.save(tmp_path / "stock.zip")
    (tmp_path / "text.zip").write_text("x")
    for name, content in {"json": "{", "list": "[]", "new": '{"format": 99, "attributes": {}}'}.items():
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as zipped:
            zipped.writestr(MANIFEST, content)
    reasons = {
        "stock": "no manifest",
        "text": "cannot be read",
        "missing": "No such file",
        "json": "is no JSON",
        "list": "is no mapping",
        "new": "another format",
    }
    for name, reason in reasons.items():
        with pytest.raises(InputError, match=re.escape(reason)):
            read_manifest(tmp_path / f"{name}.zip")
