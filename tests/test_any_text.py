"""Any text for a config, any change in a manifest: read to the same, or refused in one line."""

import copy
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sb3_course import DoubleDQN
from sb3_course.config.errors import InputError
from sb3_course.config.yaml_files import dump_yaml, load_yaml, parse_yaml
from sb3_course.saving.manifest import MANIFEST

KEYS = st.text("abc_xyz", min_size=1, max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
SCRAPS = st.lists(
    st.sampled_from([*"{}[]:,-?&*!|>%@`'\"#\n \t", "a", "&a", "*a", "<<", "!!python/name:os", "---", "1e3", "0x", "~"]),
    max_size=20,
).map("".join)


def require_one_line(error: InputError) -> None:
    assert "\n" not in str(error)


@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_a_mapping_or_refused(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(raw)
    try:
        assert isinstance(load_yaml(path), dict)
    except InputError as error:
        require_one_line(error)


@given(SCRAPS)
def test_any_yaml_is_a_mapping_or_refused(text: str) -> None:
    try:
        assert isinstance(parse_yaml(text, "config"), dict)
    except InputError as error:
        require_one_line(error)


@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_what_is_written_is_read_back(data: dict[str, Any]) -> None:
    assert parse_yaml(dump_yaml(data), "config") == data


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("manifest") / "model.zip"
    DoubleDQN("MlpPolicy", "CartPole-v1", device="cpu", buffer_size=10, policy_kwargs={"net_arch": [4]}).save(path)
    return path


def changed(raw: Any, data: st.DataObject) -> Any:
    """Return JSON in which one thing, anywhere, is another or missing."""
    if isinstance(raw, dict | list) and raw and data.draw(st.integers(0, 5)):
        place = data.draw(st.sampled_from(sorted(raw) if isinstance(raw, dict) else range(len(raw))))
        made = copy.copy(raw)
        if data.draw(st.integers(0, 4)) == 0:
            del made[place]
        else:
            made[place] = changed(raw[place], data)
        return made
    return data.draw(VALUES | st.sampled_from([-1, 2**70, "os:system", "0x1p9999", ["x"], {"class": "os:system"}]))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_changed_manifest_is_a_model_or_refused(saved: Path, data: st.DataObject) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(saved) as old, zipfile.ZipFile(content, "w") as new:
        for name in old.namelist():
            raw = old.read(name)
            new.writestr(name, json.dumps(changed(json.loads(raw), data)) if name == MANIFEST else raw)
    content.seek(0)
    try:
        assert isinstance(DoubleDQN.load(content, device="cpu"), DoubleDQN)
    except InputError as error:
        require_one_line(error)
