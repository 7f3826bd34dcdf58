"""Words to values and back, and errors of one line."""

import contextlib
import math
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sb3_course.config.errors import InputError, did_you_mean
from sb3_course.config.text import NAMED, LinearRate, Named, format_value, read_value, read_values, resolve
from sb3_course.config.yaml_files import dump_yaml, load_yaml

VALUES = {
    "1": 1,
    "-1": -1,
    "+2": 2,
    "1_000": 1000,
    "1e-3": 1e-3,
    "-1.5e-3": -1.5e-3,
    ".5": 0.5,
    "True": True,
    "false": False,
    "None": None,
    "null": None,
    "auto": "auto",
    "auto_0.1": "auto_0.1",
    "'a b'": "a b",
    "ornstein-uhlenbeck": "ornstein-uhlenbeck",
    "CartPole-v1": "CartPole-v1",
    "sb3_course.envs.wrappers:ShapedCartPole": "sb3_course.envs.wrappers:ShapedCartPole",
    "sb3_contrib.common.wrappers.TimeFeatureWrapper": "sb3_contrib.common.wrappers.TimeFeatureWrapper",
    "logs/a-1.yml": "logs/a-1.yml",
    "8x8": "8x8",
    r"'it\'s lin_1'": "it's lin_1",
    "(1e999, -1e999)": (math.inf, -math.inf),
    "(100, 'update')": (100, "update"),
    "[1, episode]": [1, "episode"],
    "{'norm_obs': True, 2: 3}": {"norm_obs": True, 2: 3},
    "dict(net_arch=[256, 256], n=dict(a=-1))": {"net_arch": [256, 256], "n": {"a": -1}},
    "lin_1e-3": LinearRate(1e-3),
    "lin_0.00083": LinearRate(0.00083),
    "lin_.5": LinearRate(0.5),
    "dict(lr=lin_2.5e-4, s='lin_0.1')": {"lr": LinearRate(2.5e-4), "s": "lin_0.1"},
    "nn.ReLU": Named("nn.ReLU"),
    "ReLU": Named("nn.ReLU"),
    "relu": Named("nn.ReLU"),
    "torch.nn.Tanh": Named("nn.Tanh"),
    "leaky_relu": Named("nn.LeakyReLU"),
    "th.optim.Adam": Named("th.optim.Adam"),
    "torch.optim.Adam": Named("th.optim.Adam"),
    "Adam": Named("th.optim.Adam"),
    "dict(activation_fn=nn.ELU, optimizer_class=RMSpropTFLike)": {
        "activation_fn": Named("nn.ELU"),
        "optimizer_class": Named("RMSpropTFLike"),
    },
}

REFUSED = [
    "",
    "a b",
    "1 + 2",
    "1+2",
    "[1+2]",
    "os.system('x')",
    "__import__('os')",
    "dict(a=open('x'))",
    "dict([1])",
    "dict(a=1, a=2)",
    "dict(**{'a': 1})",
    "{1: 2, 1: 3}",
    "{[1]: 2}",
    "[os.system]",
    "nn.Rellu",
    "th.load",
    "torch.nn.functional.relu",
    "().__class__",
    "lambda: 1",
    "[x for x in y]",
    "f'{1}'",
    "b'x'",
    "1j",
    "{1, 2}",
    "[*a]",
    "-inf",
    "not True",
    "1.5.2",
    "[-True]",
    "lin_",
    "lin_nan",
    "lin_1e999",
    "lin_1" + "0" * 400,
    "lin_x",
    "x\0y",
    "(" * 5000,
    "1" * 5000,
    "[" * 20_000,
]


@pytest.mark.parametrize("text", VALUES)
def test_a_value_is_read(text: str) -> None:
    value = read_value(text)
    assert value == VALUES[text]
    assert type(value) is type(VALUES[text])


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: text[:20])
def test_anything_else_is_refused_in_one_line_that_says_what_is_allowed(text: str) -> None:
    with pytest.raises(InputError) as caught:
        read_value(text, "policy_kwargs")
    message = str(caught.value)
    assert message.startswith("policy_kwargs: ")
    assert "want a number, word" in message or "want at most" in message
    assert message.isprintable()


def test_a_misspelt_class_is_answered_with_the_right_one() -> None:
    with pytest.raises(InputError, match=r"did you mean 'nn\.ReLU'\?"):
        read_value("dict(activation_fn=nn.Rellu)")


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"))
    | st.floats(-1e9, 1e9).map(LinearRate)
    | st.sampled_from([Named(name) for name in NAMED]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(plain)
def test_format_value_is_the_inverse_of_read_value(value: Any) -> None:
    again = read_value(format_value(value))
    assert again == value
    assert repr(again) == repr(value)  # -0.0, True against 1


@given(st.text())
def test_no_text_raises_anything_but_an_input_error(text: str) -> None:
    with contextlib.suppress(InputError):
        format_value(read_value(text))


def test_reading_prints_no_remark_of_pythons(recwarn: pytest.WarningsRecorder) -> None:
    assert read_value(r"'a\d'") == r"a\d"
    with pytest.raises(InputError):
        read_value("[1if 2else 3]")
    assert len(recwarn) == 0


def test_every_name_resolves_to_a_class_of_that_name() -> None:
    for name in NAMED:
        cls = resolve(Named(name))
        assert isinstance(cls, type)
        assert cls.__name__ == name.split(".")[-1]


def test_resolve_reaches_into_containers_and_leaves_the_rest() -> None:
    import torch

    rate = LinearRate(0.1)
    value = {"a": [Named("nn.ReLU"), 1], "b": (Named("th.optim.SGD"),), "c": rate}
    assert resolve(value) == {"a": [torch.nn.ReLU, 1], "b": (torch.optim.SGD,), "c": rate}


def test_a_linear_rate_falls_to_zero_and_survives_pickling() -> None:
    rate = pickle.loads(pickle.dumps(LinearRate(0.001)))
    assert [rate(1.0), rate(0.5), rate(0.0), rate(-0.28)] == [0.001, 0.0005, 0.0, 0.0]
    assert repr(rate) == "lin_0.001"


def test_read_values_reads_every_string() -> None:
    assert read_values({"a": "1e-3", "b": ["nn.ReLU", 2], "c": {"d": "dict(e=1)"}}) == {
        "a": 1e-3,
        "b": [Named("nn.ReLU"), 2],
        "c": {"d": {"e": 1}},
    }


# ------------------------------------------------------------------------------------------------------- errors


def test_an_error_says_field_what_got_and_want() -> None:
    error = InputError("gamma", "not accepted", 1.5, "a number <= 1")
    assert str(error) == "gamma: not accepted (got 1.5, want a number <= 1)"
    assert str(InputError("a", "b")) == "a: b"
    assert str(InputError("a", "b", None)) == "a: b (got None)"
    assert isinstance(error, ValueError)


@given(st.text(), st.text(), st.text())
def test_an_error_is_always_one_printable_line(field: str, what: str, got: str) -> None:
    assert str(InputError(field, what, got, want="\r\nx\x1b[0m")).isprintable()


def test_an_error_survives_a_broken_repr_and_pickling() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError

    error = pickle.loads(pickle.dumps(InputError("a", "b", Broken(), "c")))
    assert str(error) == "a: b (got <Broken>, want c)"
    assert (error.field, error.what, error.got, error.want) == ("a", "b", "<Broken>", "c")


def test_did_you_mean_ignores_case_and_stays_silent_when_nothing_is_close() -> None:
    assert did_you_mean("cartpole", ["CartPole-v1", "Acrobot-v1"]) == "; did you mean 'CartPole-v1'?"
    assert did_you_mean("zzz", ["CartPole-v1"]) == ""


# --------------------------------------------------------------------------------------------------------- YAML


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "a.yml"
    path.write_text(text, encoding="utf-8")
    return path


def test_yaml_numbers_are_numbers(tmp_path: Path) -> None:
    text = "a: 1e-3\nb: !!float 1e5\nc: 1e5\nd: 1_000\ne: .inf\nf: lin_1e-3\ng: -2E+3\nh: 1.5\n"
    data = load_yaml(written(tmp_path, text))
    assert data == {"a": 1e-3, "b": 1e5, "c": 1e5, "d": 1000, "e": math.inf, "f": "lin_1e-3", "g": -2e3, "h": 1.5}


def test_yaml_merge_keys_work_and_may_be_overridden(tmp_path: Path) -> None:
    data = load_yaml(written(tmp_path, "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\n"))
    assert data["b"] == {"x": 1, "y": 3}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "duplicate key 'a' on line 3"),
        ("s:\n  x: 1\n  x: 2\n", "duplicate key 'x' on line 3"),
        ("a: [1\n", "line 2"),
        ("a: b: c\n", "line 1"),
        ("- 1\n", "a mapping"),
        ("", "a mapping"),
        ("1: 2\n", "a mapping"),
        ("a: !!python/object/apply:os.system [echo]\n", "line 1"),
        ("a: !!float x\n", "not YAML"),
        ("? [1]\n: 2\n", "line"),
        ("a: 2001-99-99\n", "not YAML"),
    ],
)
def test_bad_yaml_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(InputError) as caught:
        load_yaml(path, "config")
    assert message in str(caught.value)
    assert str(caught.value).startswith("config: ")
    assert str(caught.value).isprintable()


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "binary.yml").write_bytes(b"\xff\xfe\x00")
    for name, reason in {"none.yml": "No such file", ".": "directory", "binary.yml": "not a text file"}.items():
        with pytest.raises(InputError, match=reason):
            load_yaml(tmp_path / name)


texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]))
yaml_plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@given(data=st.dictionaries(texts, yaml_plain, max_size=4))
def test_yaml_round_trip(data: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "round.yml"
    path.write_text(dump_yaml(data), encoding="utf-8")
    again = load_yaml(path)
    assert again == data
    assert repr(again) == repr(data)


@pytest.mark.parametrize("text", ["1e5", "-1E+3", "1_0e2", "1.5e3", "null", "true", "~", "0x1F", "12:30"])
def test_yaml_text_that_looks_like_something_else_stays_text(tmp_path: Path, text: str) -> None:
    assert load_yaml(written(tmp_path, dump_yaml({"a": text, "b": [text]}))) == {"a": text, "b": [text]}


def test_yaml_writes_words_for_what_yaml_cannot_say(tmp_path: Path) -> None:
    import numpy as np

    value = {
        "target_update_interval": (100, "update"),
        "learning_rate": LinearRate(1e-3),
        "policy_kwargs": {"net_arch": [64], "activation_fn": Named("nn.ReLU"), "betas": (0.9, np.float64(0.5))},
        "n": np.int64(3),
    }
    again = read_values(load_yaml(written(tmp_path, dump_yaml(value))))
    assert again == value
    with pytest.raises(InputError, match="cannot be written"):
        dump_yaml({"a": object()})


def test_importing_the_tables_imports_nothing_heavy() -> None:
    modules = "sb3_course.config.text, sb3_course.config.parameters, sb3_course.registry, sb3_course.runs.presets"
    heavy = "'torch', 'stable_baselines3', 'sb3_contrib', 'pydantic'"
    code = f"import sys, {modules}; print([name for name in ({heavy}) if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
