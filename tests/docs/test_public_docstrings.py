"""Every public name has an entry in the reference: what it is, its arguments, what it refuses, where it is from."""

from __future__ import annotations

import importlib
import inspect
import re
from typing import Any

import gymnasium as gym
import pytest
from api_entries import entries
from pages import ROOT
from torch import nn

import sb3_course
from sb3_course import registry
from sb3_course.value.munchausen import Munchausen

ROOMS = ("envs", "runs", "tuning", "functional", "replay", "networks")
PACKAGES = ("sb3_course", *(f"sb3_course.{room}" for room in ROOMS))
#: Public names that are no functions and classes: tables and types, whose lines in the source say what they are.
PLAIN = {
    "__version__", "ENVIRONMENTS", "MINATAR", "SPACES", "LOSSES", "RISKS", "Loss",
}  # fmt: skip
PUBLIC = [
    (f"{package}.{name}", getattr(importlib.import_module(package), name))
    for package in PACKAGES
    for name in importlib.import_module(package).__all__
    if name not in PLAIN
]
#: Modules whose inputs are of any shape: they add to those of others.
ANY_SHAPE = (".own_noise", ".starts")
#: What has an entry in the reference besides: of its classes only the members that a page names.
OTHERS = [
    (each.__name__, each)
    for each in entries()[1]
    if (inspect.isclass(each) or inspect.isroutine(each)) and all(each is not thing for _, thing in PUBLIC)
]
ALGORITHMS = [row for row in registry.ALGORITHMS.values() if row.source == "sb3_course"]


def texts(thing: Any) -> str:
    """Return the docstrings that say what a call of it takes: its own, and those of what it inherits from."""
    parts = thing.__mro__ if inspect.isclass(thing) else [thing]
    return "\n".join(inspect.getdoc(part) or "" for part in parts if part is not object)


def own_text(thing: Any) -> str:
    """Return its own docstring, not an inherited one."""
    text: str | None = thing.__dict__.get("__doc__") if inspect.isclass(thing) else thing.__doc__
    return inspect.cleandoc(text or "")


def arguments(thing: Any) -> list[str]:
    """Return the names of what a call of it takes."""
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    try:
        parameters = inspect.signature(thing).parameters.values()
    except ValueError:
        return []
    return [each.name for each in parameters if each.kind not in kinds and not each.name.startswith("_")]


def missing(thing: Any) -> list[str]:
    """Return the arguments of which no docstring says a word, in a list or in its text."""
    said = texts(thing)
    listed = set(re.findall(r":param (?:[^\s:]+ )?(\w+):", said)) | set(re.findall(r"`+([\w.]+)", said))
    shapes = set(re.findall(r"(\w+) ?\([A-Z…]", said))
    return [name for name in arguments(thing) if name not in listed | shapes]


def legend() -> str:
    """Return the letters of the reference's legend, as a class of a regular expression."""
    page = (ROOT / "docs" / "api" / "index.md").read_text("utf-8")
    listed = re.search(r"\*\*Legend\*\* of shapes: (.*?)\.\s", page, re.DOTALL)
    assert listed is not None
    words = [each.split()[0] for each in listed[1].split(",")]
    assert all(len(word) == 1 for word in words)
    assert len(set(words)) == len(words), "a letter with two meanings"
    return "[" + "".join(words) + "]'?"


#: Letters of the legend, numbers, products and sums of them, and … for any further dimensions.
TERM = rf"(?:\d+|\d*{legend()})"
DIMENSION = rf"(?:…|{TERM}(?: ?[·+] ?{TERM})*)"
#: A tuple that holds a letter or an ellipsis, or one number: no citation, no interval, no call.
SHAPE = re.compile(rf"(?<!\w)\((?:\d+,|(?=[^()]*[^\W\d]|[^()]*…)(?:…|{DIMENSION},|{DIMENSION}(?:, {DIMENSION})+))\)")
ARRAYS = re.compile(
    r"\b(?:ndarray|NDArray|ArrayLike|FloatArray|Array|Floats|Bools|Tensor|PyTorchObs|Scores|Errors|TransitionArrays)\b"
)
SYMBOLS = re.compile(r"[Σ∇∂·⊙√−²½←≈‖φψ^]|\b(?:arg)?max|\bexp\b| [=/|] ")
CODE = re.compile(r"""=["'{[]|\b[a-z_]+=[\w-]|\.\.\.""")
AUTHOR = r"[A-Z]\w+(?: et al\.|(?:, [A-Z]\w+)* & [A-Z]\w+)?"
YEAR = r"(?:19|20)\d\d[ab]?"
PLACE = r"(?:Eqs?\. \d|[Aa]lgorithm \w?\d|section [\d\"]|[Tt]able \w?\d|[Ff]igure \d|App\. \w|Methods\b)"
#: Where in the paper: behind its year, within the same brackets, or in front of its authors. Or its title, quoted.
SOURCE = re.compile(rf"{AUTHOR},? \(?{YEAR},? [^();]*?(?:{PLACE}|\"[A-Z])|{PLACE}\w* of {AUTHOR} \({YEAR}")


def equations(text: str) -> list[str]:
    """Return what stands between two backticks each and is mathematics, not Python."""
    return [
        each for each in re.findall(r"``(.+?)``", text, re.DOTALL) if SYMBOLS.search(each) and not CODE.search(each)
    ]


def shapes(text: str) -> int:
    """Return for how many arrays a docstring has a shape."""
    return len(SHAPE.findall(text)) + len(re.findall(rf"{SHAPE.pattern} each\b", text))


def arrays(thing: Any) -> set[str]:
    """Return which arguments and fields are arrays by their types, and `return` where the result is one."""
    taken = vars(thing).get("__init__", thing) if inspect.isclass(thing) else thing
    kinds = {name: str(kind) for name, kind in getattr(taken, "__annotations__", {}).items()}
    return {name for name, kind in kinds.items() if "Callable" not in kind and ARRAYS.search(kind)}


def flows(function: Any) -> int:
    """Return how many ways arrays go: in, out, both or none."""
    found = arrays(function)
    return bool(found - {"return"}) + ("return" in found)


def without_shape(thing: Any) -> list[str]:
    """Return the arrays in a list of arguments whose lines say no shape."""
    lines = dict(re.findall(r"^:param (\w+): (.*(?:\n .*)*)", own_text(thing), re.MULTILINE))
    return [name for name in sorted(arrays(thing) & set(lines)) if not shapes(lines[name])]


def methods(thing: type) -> list[tuple[Any, str]]:
    """Return the functions that a class defines for others, with what is said of each there and where it is inherited.

    What Gymnasium has defined is said of the whole environment.
    """
    found, whole = [], own_text(thing) if issubclass(thing, gym.Env) else ""
    for name, each in vars(thing).items():
        function = getattr(each, "fget", None) or getattr(each, "__func__", each)
        if inspect.isfunction(function) and (not name.startswith("_") or name == "__call__"):
            same = [vars(part).get(name) for part in thing.__mro__]
            text = "\n".join(inspect.getdoc(part) or "" for part in same if part is not None)
            found.append((function, f"{text}\n{whole}"))
    return found


def each_of(named: list[tuple[str, Any]]) -> pytest.MarkDecorator:
    """Run a test for each of some things, under its name."""
    return pytest.mark.parametrize("thing", [thing for _, thing in named], ids=[name for name, _ in named])


@each_of([*PUBLIC, *OTHERS])
def test_what_it_is_and_takes(thing: Any) -> None:
    text = own_text(thing)
    assert re.match(r"\S.*[.:]", text, re.DOTALL), "no sentence"
    refuses = re.search(r"raise (InputError|ValueError|refusal)\b", inspect.getsource(thing))
    said = inspect.getsource(thing) if inspect.isclass(thing) else text
    assert not refuses or ":raises" in said, "it refuses, and does not say so"
    assert not missing(thing)
    if "sb3_course.functional" in thing.__module__ and not inspect.isclass(thing):
        assert equations(text), "no equation"


@each_of([*PUBLIC, *(row for row in OTHERS if not inspect.isclass(row[1]) or row[1] is Munchausen)])
def test_where_arrays_go_in_or_out_it_says_their_shapes(thing: Any) -> None:
    text = own_text(thing)
    for function, said in methods(thing) if inspect.isclass(thing) else [(thing, text)]:
        assert shapes(said) >= flows(function), f"{function.__name__}: no shapes"
        assert not without_shape(function), function.__name__
    assert not without_shape(thing)
    module = inspect.isclass(thing) and issubclass(thing, nn.Module) and thing.forward is not nn.Module.forward
    if (module and not thing.__module__.endswith(ANY_SHAPE)) or getattr(thing, "__name__", "") == "mlp":
        assert shapes(text) >= 2, "no shapes of inputs and outputs"


@each_of([*PUBLIC, *OTHERS])
def test_who_names_an_equation_names_its_paper(thing: Any) -> None:
    whole = own_text(thing)
    for text in [whole, *(f"{said}\n{whole}" for _, said in methods(thing))] if inspect.isclass(thing) else [whole]:
        if re.search(rf"\b{PLACE}", text):
            assert re.search(rf"{AUTHOR},? \(?{YEAR}\b", " ".join(text.split())), "an equation of no paper"


@pytest.mark.parametrize("row", ALGORITHMS, ids=lambda row: row.name)
def test_an_algorithm_says_its_idea_its_equation_and_its_source(row: registry.Algorithm) -> None:
    text = " ".join(own_text(row.load()).split())
    assert SOURCE.search(text), "no paper with its section or equation"
    assert any(re.search(r" [=←≈] ", each) for each in equations(text)), "no equation"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("(Mnih et al. 2015, Methods) and (Sutton & Barto 2018, Eq. 6.8)", 0),
        ("[−1, 1], f(A, B), (2015, 3), (k, n), (Z, X)", 0),
        ("(B, A, N) and (…, N) -> (…), (B,) each", 5),
        ("(B·N, F'), (B, 2K), (N + 1,), (1,)", 4),
    ],
)
def test_a_shape_is_a_tuple_of_the_legend(text: str, found: int) -> None:
    assert shapes(text) == found


def test_code_is_no_equation_and_a_year_no_source() -> None:
    assert not equations("``Rainbow(..., noisy=False)``, ``policy_kwargs={'eps': 1e-4}``, ``n_steps=1``, ``alpha``")
    assert equations("``y = r + γ · max_a' Q(s', a')``")
    assert not SOURCE.search("(Hessel et al. 2018). The paper's Eq. 9, in 2019; section 3 of it.")
    assert SOURCE.search('(Hessel et al. 2018, section "The Integrated Agent")')
    assert SOURCE.search("table D6 of Clark, Towers, Evers & Hare (2024")


def test_every_public_name_is_on_a_page() -> None:
    text = "\n".join(path.read_text("utf-8") for path in (ROOT / "docs" / "api").glob("*.md"))
    whole = set(re.findall(r"automodule:: (\S+)\n   :members:\n   :imported-members:", text))
    assert whole == set(PACKAGES) - {"sb3_course"}
    named = {name.rpartition(".")[2] for name in re.findall(r"auto(?:class|function|exception):: (\S+)", text)}
    elsewhere = {name for package in whole for name in importlib.import_module(package).__all__}
    assert set(sb3_course.__all__) - {"__version__"} <= named | elsewhere
    tables = {name.rpartition(".")[2] for name in re.findall(r"autodata:: (\S+)", text)}
    assert tables == PLAIN - {"__version__"} | {"ALGORITHMS"}
