"""Say what a file is without loading it: `python -m sb3_course.inspect FILE ...`.

Models, replay buffers, states, run folders and configs; nothing in them is unpickled or run.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sb3_course.config.errors import InputError
from sb3_course.runs.door import REFUSED, Parser, run_door


def make_parser() -> Parser:
    """Return the parser."""
    parser = Parser.of("inspect", __doc__)
    parser.add_argument("files", metavar="FILE", nargs="+", help="a model.zip, a replay or state .npz, a run folder")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 2 if one of the files is damaged."""
    return run_door(lambda: _inspect(make_parser().parse(argv).files), "inspect")


def _inspect(files: Sequence[str]) -> int:
    damaged = 0
    for name in files:
        try:
            lines = list(describe(Path(name)))
        except InputError as error:
            damaged += 1
            print(f"error: {error}", file=sys.stderr)
            continue
        print(f"{_plain(name)}: {lines[0]}")
        print("".join(f"  {line}\n" for line in map(_plain, lines[1:])), end="")
    return REFUSED if damaged else 0


def _plain(text: str) -> str:
    """Return text in which nothing speaks to the terminal: files choose their own words."""
    return "".join(char if char.isprintable() else "?" for char in text)[:200]


def describe(path: Path) -> Iterator[str]:
    """Yield what a file is, and then a line for each thing that is known of it.

    :raises InputError: when it cannot be read, or is damaged
    """
    if path.is_dir():
        yield from _run(path)
        return
    try:
        with open(path, "rb") as file:
            start = file.read(4)
    except OSError as error:
        raise InputError("FILE", f"cannot be read: {error.strerror}", str(path), "a file") from None
    if start[:2] == b"PK":
        yield from _archive(path)
    elif start[:1] == b"\x80":
        yield "a pickle, which runs whatever code is in it when it is loaded (trust_pickle=True)"
    elif path.suffix in (".yml", ".yaml"):
        yield from _config(path)
    else:
        raise InputError("FILE", "is neither a model, a buffer, a state nor a config", str(path), "what a run wrote")


def _archive(path: Path) -> Iterator[str]:
    import zipfile

    try:
        with zipfile.ZipFile(path) as zipped:
            names = zipped.namelist()
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise InputError("FILE", f"is cut short or damaged: {error}", str(path), "a whole file") from None
    if all(name.endswith(".npy") for name in names):
        yield from _arrays(path)
    elif "manifest.json" not in names and "data" in names:
        yield "a model of Stable-Baselines3: loading it unpickles, which runs whatever code is in it"
    else:
        yield from _model(path)


def _model(path: Path) -> Iterator[str]:
    from sb3_course.saving.manifest import read_manifest

    manifest = read_manifest(path)
    attributes = manifest["attributes"]
    yield f"a model of {_text(manifest['class'])}, format {manifest['format']}"
    yield f"steps taken: {_text(attributes.get('num_timesteps'))}"
    for name in ("observation_space", "action_space"):
        yield f"{name}: {_space(attributes.get(name))}"
    yield f"tensors: {', '.join(manifest['tensors'])}"
    if manifest["opaque"]:
        yield f"only pickle can read: {', '.join(manifest['opaque'])}"
    versions = manifest.get("versions")
    if isinstance(versions, dict):
        yield f"written with {', '.join(f'{name} {version}' for name, version in versions.items())}"


def _space(encoded: Any) -> str:
    from sb3_course.saving.space_json import require_small_boxes
    from sb3_course.saving.values import decode

    require_small_boxes(encoded, "model")
    return _text(decode(encoded))


def _text(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 120 else f"{text[:117]}..."


def _arrays(path: Path) -> Iterator[str]:
    from sb3_course.saving.archives import DAMAGE, first_words
    from sb3_course.saving.arrays import load_state
    from sb3_course.saving.elsewhere import require_whole

    try:
        with open(path, "rb") as file:
            state = load_state(file, keep=True)
            require_whole(state)
    except InputError:
        raise
    except DAMAGE as error:
        raise InputError("FILE", f"is damaged: {first_words(error)}", str(path), "a whole file") from None
    if "class" in state and "arguments" in state:
        inner = state.get("state")
        pos = inner.get("pos") if isinstance(inner, dict) else None
        yield f"a replay buffer of {_text(state['class'])}, format {_text(state.get('format'))}"
        yield f"environments: {_text(state.get('n_envs'))}, next slot: {_text(pos)}"
        yield f"made with {_text(state['arguments'])}"
        return
    yield f"a state with {', '.join(_shape(name, value) for name, value in state.items())}"


def _shape(name: str, value: Any) -> str:
    shape = getattr(value, "shape", None)
    return name if shape is None else f"{name} {shape} {value.dtype}"


def _run(path: Path) -> Iterator[str]:
    from sb3_course.runs.folder import RunFolder

    folder = RunFolder.existing(path, "FILE")
    status = folder.status()
    yield f"a run ({_text(status.get('state', 'unfinished'))})"
    yield from list(_config(folder.config))[1:]
    for name in ("timesteps", "mean", "reason"):
        if name in status:
            yield f"{name}: {_text(status[name])}"
    checkpoints = sorted(each.name for each in folder.checkpoints.glob("[0-9]*"))
    yield f"checkpoints: {', '.join(checkpoints) or 'none'}"


def _config(path: Path) -> Iterator[str]:
    from sb3_course.config.yaml_files import load_yaml

    config = load_yaml(path)
    yield f"a config of {len(config)} keys"
    for key in ("algo", "env", "n_timesteps", "seed"):
        if key in config:
            yield f"{key}: {_text(config[key])}"


if __name__ == "__main__":
    sys.exit(main())
