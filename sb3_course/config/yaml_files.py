"""Safe YAML files: no code, no repeated keys, and numbers as people write them."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import yaml

from sb3_course.config.errors import InputError
from sb3_course.config.text import plain

_MAX_NODES, _MAX_LENGTH = 100_000, 4 << 20


class _Loader(yaml.SafeLoader):
    """Safe YAML that refuses duplicate keys and reads `1e-3` as a number (YAML 1.1 wants `1.0e-3`)."""

    def get_single_node(self) -> yaml.Node | None:
        """Refuse a document that aliases make far larger than its text, before anything is built from it."""
        node: yaml.Node | None = super().get_single_node()
        if node is not None and _size(node, {}) > _MAX_NODES:
            raise yaml.MarkedYAMLError(problem="aliases make it larger than any config", problem_mark=node.start_mark)
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen: set[Hashable] = set()
        for key, _ in node.value:
            mark = (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else id(key)
            if mark in seen:
                raise yaml.MarkedYAMLError(problem=f"duplicate key {key.value!r}", problem_mark=key.start_mark)
            seen.add(mark)
        return node


def _size(node: yaml.Node, known: dict[int, float]) -> float:
    """Return how many values a node stands for, once for each time that it is named; infinity within itself."""
    if id(node) in known:
        return known[id(node)]
    known[id(node)] = float("inf")  # until it is known: whoever meets it again is inside of it
    parts = node.value if isinstance(node, yaml.CollectionNode) else ()
    flat = [part for item in parts for part in (item if isinstance(item, tuple) else (item,))]
    known[id(node)] = 1 + sum(_size(part, known) for part in flat)
    return known[id(node)]


class _Dumper(yaml.SafeDumper):
    """Puts in quotes what `_Loader` would take for a number."""


for _side in (_Loader, _Dumper):
    _side.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d[\d_]*)(\.[\d_]*)?[eE][-+]?\d+\Z"), list("-+0123456789")
    )


def parse_yaml(text: str, field: str) -> dict[str, Any]:
    """Return the mapping written in `text`, naming the line of whatever is wrong.

    :raises InputError: when it is not YAML, has a duplicate key or an unsafe tag, or is no mapping of names to values
    """
    try:
        data = yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = f" on line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise InputError(field, f"{error.problem or 'not YAML'}{line}", want="YAML without repeated keys") from None
    except (yaml.YAMLError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise InputError(field, f"not YAML: {error}", want="a mapping of names to values") from None
    if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
        raise InputError(field, "wrong layout", data, "a mapping of names to values")
    return data


def load_yaml(path: str | Path, field: str | None = None) -> dict[str, Any]:
    """Return the mapping in a YAML file, read by a safe loader.

    :param path: the file
    :param field: the name to report in the error (default: the path)
    :raises InputError: when the file cannot be read or is malformed
    """
    field = str(path) if field is None else field
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(_MAX_LENGTH + 1)
        if len(text) > _MAX_LENGTH:
            raise ValueError
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a text file, or a very long one"
        raise InputError(field, f"cannot read the file: {reason}", str(path), "a readable YAML file") from None
    return parse_yaml(text, field)


def dump_yaml(data: Mapping[str, Any]) -> str:
    """Return YAML text that `load_yaml` reads back; tuples, schedules and named classes become their words."""
    words = plain(data, tuples=False)
    return yaml.dump(words, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
