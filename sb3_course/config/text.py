"""Words to values and values to words, read by a whitelist instead of `eval`."""

from __future__ import annotations

import ast
import importlib
import math
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Both are found here, too, by whoever imported them from `sb3_course.text`.
from sb3_course.config.errors import InputError as InputError
from sb3_course.config.errors import did_you_mean as did_you_mean
from sb3_course.config.named_classes import find_class, names_class

# ---------------------------------------------------------------------------------------------- named objects

# The text that a user writes -> where it lives. Classes of users' own modules go by their full name (`named_classes`).
_ACTIVATIONS = (
    "CELU", "ELU", "GELU", "Hardsigmoid", "Hardswish", "Hardtanh", "Identity", "LeakyReLU", "Mish", "ReLU", "ReLU6",
    "SELU", "Sigmoid", "SiLU", "Softplus", "Softsign", "Tanh",
)  # fmt: skip
_OPTIMIZERS = ("Adadelta", "Adagrad", "Adam", "Adamax", "AdamW", "ASGD", "NAdam", "RAdam", "RMSprop", "SGD")
_SB3 = {
    "RMSpropTFLike": "stable_baselines3.common.sb2_compat.rmsprop_tf_like",
    "NormalActionNoise": "stable_baselines3.common.noise",
    "OrnsteinUhlenbeckActionNoise": "stable_baselines3.common.noise",
    "ReplayBuffer": "stable_baselines3.common.buffers",
    "DictReplayBuffer": "stable_baselines3.common.buffers",
    "NStepReplayBuffer": "stable_baselines3.common.buffers",
    "HerReplayBuffer": "stable_baselines3.her.her_replay_buffer",
    "NatureCNN": "stable_baselines3.common.torch_layers",
    "FlattenExtractor": "stable_baselines3.common.torch_layers",
    "CombinedExtractor": "stable_baselines3.common.torch_layers",
}
NAMED: dict[str, str] = {
    **{f"nn.{name}": f"torch.nn:{name}" for name in _ACTIVATIONS},
    **{f"th.optim.{name}": f"torch.optim:{name}" for name in _OPTIMIZERS},
    **{name: f"{module}:{name}" for name, module in _SB3.items()},
    **{name: f"sb3_course.networks.images:{name}" for name in ("ImpalaCnn", "MinAtarCnn")},
}
_ALIASES: dict[str, str] = {
    **{name: name for name in NAMED},
    **{f"{prefix}nn.{name}": f"nn.{name}" for name in _ACTIVATIONS for prefix in ("th.", "torch.")},
    **{alias: f"nn.{name}" for name in _ACTIVATIONS for alias in (name, name.lower()) if alias != "identity"},
    "leaky_relu": "nn.LeakyReLU",
    **{f"{prefix}optim.{name}": f"th.optim.{name}" for name in _OPTIMIZERS for prefix in ("", "torch.")},
    **{alias: f"th.optim.{name}" for name in _OPTIMIZERS for alias in (name, name.lower())},
}
_LIBRARIES = ("nn", "th", "torch", "optim", "np", "numpy")
_CONSTANTS = {"true": True, "false": False, "none": None, "null": None}
_BARE = re.compile(r"(?:\d+(?=[A-Za-z]))?[A-Za-z_/.~][\w./:~+=@-]*\Z")  # `8x8` too
# `lin_0.001` is no Python; quoted strings are matched first, so that a schedule inside one is left alone.
_LINEAR = re.compile(
    r"""("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')|(?<![\w.])lin_(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)(?![\w.])"""
)
_ALLOWED = (
    "a number, word, 'text', True, False, None, list, tuple, dict(name=value), lin_<number>, "
    "or a named class such as nn.ReLU, th.optim.Adam or, after --import mymod, mymod.MyNet"
)


@dataclass(frozen=True)
class Named:
    """A class that a user named, kept as its name until `resolve` imports it.

    :param name: the canonical text, e.g. `nn.ReLU`, `th.optim.Adam` or `mymod.MyNet`
    """

    name: str

    def __repr__(self) -> str:
        return self.name


@dataclass(frozen=True)
class LinearRate:
    """A schedule that falls linearly from `initial` to 0 (`lin_0.001`, as in rl-baselines3-zoo).

    :param initial: the value at the start of training, when `progress_remaining` is 1
    """

    initial: float

    def __call__(self, progress_remaining: float) -> float:
        """Return the value when `progress_remaining` (1 at the start, 0 at the end) of training is left.

        SB3's own algorithms ask for less than 0 after a rollout that ends beyond the budget: nothing is left then.
        """
        return max(progress_remaining, 0.0) * self.initial

    def __repr__(self) -> str:
        return f"lin_{self.initial!r}"


def read_value(text: str, field: str = "value") -> Any:
    """Return the value a user wrote, reading a whitelist of forms and evaluating nothing.

    :param text: e.g. `1e-3`, `dict(net_arch=[64, 64])`, `lin_1e-3`, `nn.ReLU`, `(100, 'update')`, `auto`
    :param field: the name to report in the error
    :raises InputError: for anything outside the whitelist
    """
    text = text.strip()
    if len(text) > 10_000:
        raise InputError(field, "too long to be a value", f"{len(text)} characters", "at most 10,000")
    source = _LINEAR.sub(lambda match: match[1] or f"lin_({match['number']})", text)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's remarks on the style of `'\\d'` or `1if`
            node = ast.parse(source, mode="eval").body
        return _read_node(node, source)
    except _Refused as refusal:
        # `a-b` parses as a subtraction and `sb3_course.envs` as an attribute: at the top level both are plain words.
        if not refusal.final and _BARE.match(text):
            return text
        raise InputError(field, f"cannot read {refusal}", text, _ALLOWED) from None
    except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError):
        if _BARE.match(text):
            return text
        raise InputError(field, "cannot read", text, _ALLOWED) from None


def read_values(value: Any, field: str = "value") -> Any:
    """Return `value` with every string in it read by `read_value`, as the keys of a preset are.

    :raises InputError: for a string outside the whitelist
    """
    if isinstance(value, str):
        return read_value(value, field)
    if isinstance(value, Mapping):
        return {key: read_values(item, f"{field}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(read_values(item, field) for item in value)
    return value


class _Refused(Exception):
    def __init__(self, what: str, final: bool = False) -> None:
        super().__init__(what)
        self.final = final


def _read_node(node: ast.expr, text: str) -> Any:
    match node:
        case ast.Constant(value=bool() | int() | float() | str() | None as value):
            return value
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=ast.Constant(value=int() | float() as value)) if (
            not isinstance(value, bool)
        ):
            return -value if isinstance(sign, ast.USub) else value
        case ast.List(elts=items):
            return [_read_node(item, text) for item in items]
        case ast.Tuple(elts=items):
            return tuple(_read_node(item, text) for item in items)
        case ast.Dict(keys=keys, values=values):
            read = [None if key is None else _read_node(key, text) for key in keys]
            return _read_pairs(list(zip(read, values, strict=True)), text)
        case ast.Call(func=ast.Name(id="lin_"), args=[number], keywords=[]):
            return LinearRate(_finite(_read_node(number, text)))
        case ast.Call(func=ast.Name(id="dict"), args=[], keywords=pairs):
            return _read_pairs([(pair.arg, pair.value) for pair in pairs], text)
        case ast.Name() | ast.Attribute() | ast.BinOp():
            return _read_word(node, text)
    raise _Refused(f"{ast.get_source_segment(text, node)!r}", final=True)


def _read_pairs(pairs: list[tuple[Any, ast.expr]], text: str) -> dict[Any, Any]:
    result: dict[Any, Any] = {}
    for key, node in pairs:
        if not isinstance(key, str | int | float):
            raise _Refused(f"the key {key!r}", final=True)
        if key in result:
            raise _Refused(f"the repeated key {key!r}", final=True)
        result[key] = _read_node(node, text)
    return result


def _read_word(node: ast.expr, text: str) -> Any:
    """A word: a constant, a named class, or the word itself as a string."""
    word = (ast.get_source_segment(text, node) or "").strip()
    if word in _ALIASES:
        return Named(_ALIASES[word])
    if names_class(word):
        return Named(word)
    if isinstance(node, ast.Name) and not word.startswith("lin_"):
        return _CONSTANTS.get(word.lower(), word)
    root, dot, _ = word.partition(".")
    if word.startswith("lin_") or (dot and root in _LIBRARIES):
        raise _Refused(f"{word!r}{did_you_mean(word, _ALIASES)}", final=True)
    raise _Refused(f"{word!r}")


def _finite(number: Any) -> float:
    try:
        rate = math.nan if isinstance(number, bool) else float(number)
    except (TypeError, ValueError, OverflowError):
        rate = math.nan
    if not math.isfinite(rate):
        raise _Refused("the number of lin_", final=True)
    return rate


def resolve(value: Any, field: str = "value") -> Any:
    """Return `value` with every `Named` in it replaced by the class it names, importing torch or SB3 only then.

    :raises InputError: when there is no such class
    """
    if isinstance(value, Named):
        if value.name not in NAMED:
            return find_class(value.name, field)
        module, _, attribute = NAMED[value.name].partition(":")
        return getattr(importlib.import_module(module), attribute)
    if isinstance(value, Mapping):
        return {key: resolve(item, f"{field}.{key}") for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(resolve(item, field) for item in value)
    return value


# -------------------------------------------------------------------------------------------- values to words


def format_value(value: Any) -> str:
    """Return the text that `read_value` reads back as `value`."""
    return repr(plain(value, tuples=True))


def to_words(value: Any) -> Any:
    """Return a value as a preset has it, from which `read_values` makes it again.

    Text that would be read as something else is put in quotes: `'1e5'`.

    :raises InputError: for a value that no word says
    """
    if isinstance(value, Mapping):
        return {key: to_words(item) for key, item in value.items()}
    if isinstance(value, list):
        return [to_words(item) for item in value]
    if isinstance(value, str):
        return value if _reads_as_itself(value) else repr(value)
    return plain(value, tuples=False)


def _reads_as_itself(text: str) -> bool:
    try:
        return bool(read_value(text) == text)
    except InputError:
        return False


class _Infinite(float):
    """Written so that it is read as a number, and not as the word `inf`."""

    def __repr__(self) -> str:
        return "1e999" if self > 0 else "-1e999"


def plain(value: Any, tuples: bool) -> Any:
    """Return a value in terms of what YAML knows.

    :param value: any that `read_value` returns, or a list or mapping of them
    :param tuples: keep tuples, schedules and named classes as they are, for `repr`, in place of their words
    :raises InputError: for a value that no word says
    """
    if isinstance(value, Mapping):
        return {key: plain(item, tuples) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item, tuples) for item in value]
    if isinstance(value, tuple):
        return tuple(plain(item, True) for item in value) if tuples else format_value(value)
    if isinstance(value, Named | LinearRate):
        return value if tuples else repr(value)
    if getattr(value, "shape", None) == () and hasattr(value, "item"):  # a NumPy scalar, without importing NumPy here
        value = value.item()
    if tuples and isinstance(value, float) and math.isinf(value):
        return _Infinite(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise InputError("value", "cannot be written as text", value, _ALLOWED)
