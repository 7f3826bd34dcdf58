"""Imports go one way, and a few rules that no other tool checks."""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sources import dotted, package_files

from sb3_course.sb3.policy_aliases import POLICY_ALIASES


@dataclass(frozen=True)
class Layer:
    """Modules on one level; `only` and `lazily` name all that they may import besides the standard library."""

    modules: str
    only: str | None = None
    lazily: str = ""


# A module imports from the lines above its own and from its own package, at module level and inside functions alike.
# `lazily` is what may be imported inside a function or for type checkers only.
LAYERS = (
    Layer("_alias _lazy _old_names _version"),
    Layer("config"),
    Layer("saving"),
    Layer("envs", only="numpy gymnasium sb3_course._alias", lazily="pygame PIL"),
    Layer("functional", only="numpy", lazily="torch"),
    Layer("networks replay"),
    Layer("backends"),
    Layer("sb3"),
    Layer("value policy_gradient"),
    Layer("registry"),
    Layer("runs"),
    Layer("tuning"),
    Layer("pictures"),
    Layer("train enjoy tune compare plot inspect list zoo"),
    Layer("__main__"),  # all of them under one name
    Layer("__init__"),  # the public face
)
LEVELS = {module: level for level, layer in enumerate(LAYERS) for module in layer.modules.split()}

# These neither draw from NumPy's global generator nor seed it; a checkpoint reads and restores its state.
HARMLESS = {"BitGenerator", "Generator", "MT19937", "PCG64", "SeedSequence", "default_rng", "get_state", "set_state"}
IMPORTERS = {"__import__", "import_module", "importlib.import_module"}
MAX_LINES = 300
MAX_ROOT_MODULES = 14
# Several families have policies under SB3's own names, and under the aliases by which SB3's classes know them.
SHARED_NAMES = {"MlpPolicy", "CnnPolicy", "MultiInputPolicy"}
SHARED_NAMES |= {alias for aliases in POLICY_ALIASES.values() for alias in aliases}


@dataclass(frozen=True)
class Import:
    """One imported name; `lazy` when it is not imported together with the module that names it."""

    target: str
    line: int
    lazy: bool


def imports(tree: ast.AST, modules: set[str], lazy: bool = False) -> Iterator[Import]:
    """Yield each import below `tree`."""
    for node in ast.iter_child_nodes(tree):
        by_string = isinstance(node, ast.Call)
        yield from (Import(target, node.lineno, lazy or by_string) for target in targets(node, modules))
        for_type_checkers = isinstance(node, ast.If) and dotted(node.test).endswith("TYPE_CHECKING")
        function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from imports(node, modules, lazy or for_type_checkers or function)


def targets(node: ast.AST, modules: set[str]) -> list[str]:
    """Return the full names of the modules that one statement or call imports."""
    if isinstance(node, ast.Import):
        return [name.name for name in node.names]
    if isinstance(node, ast.ImportFrom):
        # `from package import name` means the module `package.name` where there is one; the version is no module's.
        module, names = "." * node.level + (node.module or ""), [name.name for name in node.names]
        full = [f"{module}.{name}" for name in names if (module, name) != ("sb3_course", "__version__")]
        return [name if name in modules else module for name in full]
    if isinstance(node, ast.Call) and dotted(node.func) in IMPORTERS and node.args:
        return [str(word.value) for word in node.args[:1] if isinstance(word, ast.Constant)]
    return []


def package_of(module: str) -> str:
    """Return the part of a full name that the table of layers lists."""
    return [*module.split("."), "__init__"][1]


def wrong_import(module: str, found: Import) -> str:
    """Say what is wrong with one import, or nothing."""
    top, _, _ = found.target.partition(".")
    if not top:
        return "code names modules in full, not relative to itself"
    if top in {"envs", "tuning"}:
        return f"{top} is a name for people at a prompt, code says sb3_course.{top}"
    own, target = package_of(module), package_of(found.target)
    if f"{found.target}.".startswith("sb3_course.backends.compiled.") and own != "backends":
        return f"{own} may not know compiled functions: it asks its backend for the best"
    if found.target == "sb3_course.sb3.handed_in" and own not in {"sb3", "__init__"}:
        return "only the public face hands in what lies above"
    layer = LAYERS[LEVELS[own]]
    if top in sys.stdlib_module_names or (top == "sb3_course" and target == own):
        return ""
    if layer.only is not None:
        allowed = {*layer.only.split(), *(layer.lazily.split() if found.lazy else ())}
        return "" if {top, found.target} & allowed else f"{own} may not import {found.target}"
    if top == "sb3_course" and not LEVELS.get(target, len(LAYERS)) < LEVELS[own]:
        return f"{own} may not import {found.target}"
    return ""


def global_randomness(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the line and the name of each function of NumPy's global generator."""
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Attribute) and dotted(node.value) in {"np.random", "numpy.random"}:
            names = [node.attr]
        elif isinstance(node, ast.ImportFrom) and node.module == "numpy.random":
            names = [name.name for name in node.names]
        yield from ((node.lineno, f"numpy.random.{name} is global") for name in names if name not in HARMLESS)


def first_line(tree: ast.Module) -> str:
    """Say what is wrong with the first line of a module, or nothing."""
    line = (ast.get_docstring(tree) or "").partition("\n")[0]
    begins = line[:1].isupper() or not line[:1].isalpha()
    return "" if line and begins and line.endswith((".", ":")) else "its first line is no sentence that says what it is"


def kinds_of_replay(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield each place that asks which kind of replay buffer it has."""
    for node in ast.walk(tree):
        asked = isinstance(node, ast.Call) and dotted(node.func) in {"isinstance", "issubclass"}
        if asked and "ReplayBuffer" in ast.unparse(node.args[1]):
            yield node.lineno, "value asks a replay buffer for what it does, not for its class"


def same_names(trees: dict[str, ast.Module], packages: set[str]) -> Iterator[tuple[str, int, str]]:
    """Yield the module and the line of each name of a module or a class that another one has as well."""
    modules: dict[str, str] = {}
    classes: dict[str, str] = {}
    for module, tree in trees.items():
        base = module.rpartition(".")[2].lstrip("_")
        if module not in packages and modules.setdefault(base, module) != module:
            yield module, 1, f"{modules[base]} has this name, too"
        own = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name not in SHARED_NAMES]
        for node in own:
            if classes.setdefault(node.name, module) != module:
                yield module, node.lineno, f"{classes[node.name]} has a class {node.name}, too"


def violations(root: Path) -> list[str]:
    """Return one line for each rule broken in a tree."""
    files = package_files(root)
    trees = {module: ast.parse(path.read_text(encoding="utf-8"), str(path)) for module, path in files.items()}
    packages = {module for module, path in files.items() if path.name == "__init__.py"}
    named = {module: path.relative_to(root).as_posix() for module, path in files.items()}
    lines = [f"{named[module]}:{line}: {message}" for module, line, message in same_names(trees, packages)]
    at_root = [module for module in files if module.count(".") == 1 and module not in packages]
    if len(at_root) > MAX_ROOT_MODULES:
        lines.append(f"{named[at_root[-1]]}:1: more than {MAX_ROOT_MODULES} modules outside the rooms")
    for module, path in files.items():
        text, tree = path.read_text(encoding="utf-8"), trees[module]
        found = [*global_randomness(tree), (1, first_line(tree))]
        if package_of(module) == "value":
            found += kinds_of_replay(tree)
        if package_of(module) in LEVELS:
            found += [(each.line, wrong_import(module, each)) for each in imports(tree, set(files))]
        else:
            found.append((1, f"{module} has no line in the table of layers"))
        if text.count("\n") > MAX_LINES:
            found.append((MAX_LINES, f"more than {MAX_LINES} lines"))
        name = path.relative_to(root).as_posix()
        lines += [f"{name}:{line}: {message}" for line, message in found if message]
    return list(dict.fromkeys(lines))


def test_the_tree_keeps_every_rule(project_root: Path) -> None:
    assert violations(project_root) == []


def test_the_walk_sees_the_whole_tree(project_root: Path) -> None:
    seen = set(package_files(project_root))
    assert {"sb3_course", "sb3_course._alias", "sb3_course.envs.registration", "sb3_course.tuning"} <= seen
    assert {package_of(module) for module in seen} <= set(LEVELS)


def small_tree(root: Path, name: str, code: str) -> Path:
    """Write a tree in which each package is empty and one file holds `code`."""
    packages = (
        "config", "functional", "networks", "replay", "backends", "backends/compiled", "value", "runs",
        "../envs", "../tuning",
    )  # fmt: skip
    for folder in (".", *packages):
        path = root / "sb3_course" / folder / "__init__.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('"""A package."""\n')
    (root / "sb3_course" / "config" / "parameters.py").write_text('"""A module."""\n')
    (root / name).write_text(code if code.startswith('"""') else f'"""A module."""\n{code}')
    return root


GOOD = {
    "sb3_course/functional/targets.py": "import math\nimport numpy as np\ndef f():\n    import torch\n",
    "sb3_course/value/learner.py": "import torch\nfrom sb3_course import config, __version__, functional\n",
    "sb3_course/runs/folder.py": "import os, sb3_course.registry\nfrom sb3_course.runs import files\n",
    "envs/bandit.py": "import gymnasium, numpy as np\nrng = np.random.default_rng(0)\ndef f():\n    import pygame\n",
    "sb3_course/backends/twins.py": "from sb3_course.backends import compiled\n",
    "sb3_course/__init__.py": "from sb3_course.envs.registration import register_envs\n",
    "sb3_course/train.py": "from sb3_course.tuning import study\nfrom sb3_course.value.value_family import DoubleDQN\n",
}

BAD = {
    "upwards": ("sb3_course/functional/a.py", "from sb3_course.value import learner\n"),
    "inside a function": ("sb3_course/replay/a.py", "def f():\n    from sb3_course.runs import folder\n"),
    "inside a method": ("sb3_course/value/a.py", "class A:\n    def f(self):\n        import sb3_course.registry\n"),
    "for type checkers": ("sb3_course/value/a.py", "if TYPE_CHECKING:\n    from sb3_course import train\n"),
    "by string": ("sb3_course/value/a.py", "importlib.import_module('sb3_course.registry')\n"),
    "under a condition": (
        "sb3_course/networks/a.py",
        "try:\n    import sb3_course.value\nexcept ImportError:\n    pass\n",
    ),
    "sideways": ("sb3_course/networks/a.py", "from sb3_course.replay import buffers\n"),
    "compiled functions": ("sb3_course/value/a.py", "from sb3_course.backends import compiled\n"),
    "one compiled function": (
        "sb3_course/runs/a.py",
        "def f():\n    import sb3_course.backends.compiled.batch_errors\n",
    ),
    "the face": ("sb3_course/runs/a.py", "from sb3_course import DoubleDQN\n"),
    "foundation": ("sb3_course/config/parameters.py", "from sb3_course import functional\n"),
    "torch in functional": ("sb3_course/functional/a.py", "import torch\n"),
    "SB3 in functional": ("sb3_course/functional/a.py", "def f():\n    import stable_baselines3\n"),
    "ours in envs": ("envs/a.py", "from sb3_course.functional import returns\n"),
    "pygame at once": ("envs/a.py", "import pygame\n"),
    "SB3 in envs": ("envs/a.py", "import stable_baselines3\n"),
    "handing in": ("sb3_course/runs/a.py", "from sb3_course.sb3.handed_in import hand_in\n"),
    "relative": ("sb3_course/runs/a.py", "from . import folder\n"),
    "short name": ("sb3_course/runs/a.py", "from envs.bandit import BanditEnv\n"),
    "short name at home": ("tuning/a.py", "import tuning.study\n"),
    "no line in the table": ("sb3_course/somewhere.py", "import math\n"),
    "global randomness": ("sb3_course/value/a.py", "import numpy as np\nx = np.random.rand(3)\n"),
    "global seed": ("envs/a.py", "from numpy.random import seed\n"),
    "no first line": ("sb3_course/runs/a.py", '""""""\nimport math\n'),
    "no sentence": ("sb3_course/runs/a.py", '"""tools"""\nimport math\n'),
    "a sentence without an end": ("sb3_course/runs/a.py", '"""Tools of a run\n\nand more."""\n'),
    "two modules of one name": ("sb3_course/runs/_parameters.py", "import math\n"),
    "compiled outside the backends": ("sb3_course/value/a.py", "from sb3_course.backends import compiled\n"),
    "a part of compiled": ("sb3_course/runs/a.py", "from sb3_course.backends.compiled.jit import available\n"),
    "kinds of replay": ("sb3_course/value/a.py", "isinstance(buffer, (ReplayBuffer, int))\n"),
    "kinds of replay by class": ("sb3_course/value/a.py", "issubclass(cls, replay.PrioritizedReplayBuffer)\n"),
    "too long": ("tuning/a.py", "pass\n" * (MAX_LINES + 1)),
}


def test_two_classes_of_one_name_are_caught_but_for_policies(tmp_path: Path) -> None:
    root = small_tree(tmp_path, "sb3_course/value/a.py", "class MlpPolicy: pass\nclass Law: pass\n")
    (root / "sb3_course" / "runs" / "b.py").write_text('"""A module."""\nclass MlpPolicy: pass\nclass Law: pass\n')
    (found,) = violations(root)
    assert found.startswith(("sb3_course/value/a.py:", "sb3_course/runs/b.py:"))
    assert found.endswith("has a class Law, too")


def test_too_many_modules_at_the_root_are_caught(tmp_path: Path) -> None:
    root = small_tree(tmp_path, "sb3_course/registry.py", "import math\n")
    for number in range(MAX_ROOT_MODULES):
        (root / "sb3_course" / f"m{number}.py").write_text('"""A module."""\n')
    assert any(f"more than {MAX_ROOT_MODULES} modules" in line for line in violations(root))


@pytest.mark.parametrize("name", GOOD)
def test_a_good_tree_passes(tmp_path: Path, name: str) -> None:
    assert violations(small_tree(tmp_path, name, GOOD[name])) == []


@pytest.mark.parametrize("rule", BAD)
def test_each_kind_of_mistake_is_caught(tmp_path: Path, rule: str) -> None:
    name, code = BAD[rule]
    found = violations(small_tree(tmp_path, name, code))
    assert len(found) == 1
    assert found[0].startswith(f"{name}:")
