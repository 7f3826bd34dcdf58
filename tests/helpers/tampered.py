"""Files that somebody has tampered with: each kind made from a good one, none of which may load or run a line."""

import hashlib
import io
import json
import os
import pickle
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch as th

GIB = 1 << 30


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


def members_of(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as zipped:
        return {name: zipped.read(name) for name in zipped.namelist()}


def packed(members: dict[str, bytes], deflate: bool = False) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED) as zipped:
        for name, raw in members.items():
            zipped.writestr(name, raw)
    return archive.getvalue()


def signed(members: dict[str, bytes]) -> dict[str, bytes]:
    """Return the members with a manifest whose digests fit, as whoever tampers would leave them."""
    manifest = json.loads(members["manifest.json"])
    manifest["tensors"] = {
        name: hashlib.sha256(raw).hexdigest() for name, raw in members.items() if name.endswith(".pth")
    }
    manifest["data"] = hashlib.sha256(members["data"]).hexdigest()
    return {**members, "manifest.json": json.dumps(manifest).encode()}


def with_manifest(change: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, bytes], Path], bytes]:
    def make(members: dict[str, bytes], _: Path) -> bytes:
        manifest = json.loads(members["manifest.json"])
        change(manifest)
        return packed({**members, "manifest.json": json.dumps(manifest).encode()})

    return make


def with_attribute(name: str, value: Any) -> Callable[[dict[str, bytes], Path], bytes]:
    return with_manifest(lambda manifest: manifest["attributes"].update({name: value}))


def with_weights(change: Callable[[dict[str, Any]], Any], member: str = "policy.pth") -> Any:
    def make(members: dict[str, bytes], _: Path) -> bytes:
        values = th.load(io.BytesIO(members[member]), weights_only=True)
        values = change(values) or values
        raw = io.BytesIO()
        th.save(values, raw)
        return packed(signed({**members, member: raw.getvalue()}))

    return make


def raw_member(name: str, raw: bytes) -> Callable[[dict[str, bytes], Path], bytes]:
    return lambda members, _: packed({**members, name: raw})


def pickled_key(members: dict[str, bytes], marker: Path) -> bytes:
    import base64

    data = json.loads(members["data"])
    data["extra"] = {":type:": "x", ":serialized:": base64.b64encode(pickle.dumps(Evil(marker))).decode()}
    return packed(signed({**members, "data": json.dumps(data).encode()}))


def pickled_attribute(members: dict[str, bytes], marker: Path) -> bytes:
    import base64

    data = json.loads(members["data"])
    data["gamma"] = {":type:": "x", ":serialized:": base64.b64encode(pickle.dumps(Evil(marker))).decode()}
    manifest = json.loads(members["manifest.json"])
    del manifest["attributes"]["gamma"]
    manifest["opaque"].append("gamma")
    members = {**members, "data": json.dumps(data).encode(), "manifest.json": json.dumps(manifest).encode()}
    return packed(signed(members))


def pickled_tensor(members: dict[str, bytes], marker: Path) -> bytes:
    raw = io.BytesIO()
    th.save({"q_net.q_net.0.weight": Evil(marker)}, raw)
    return packed(signed({**members, "policy.pth": raw.getvalue()}))


def plain_pickle(members: dict[str, bytes], marker: Path) -> bytes:
    return packed(signed({**members, "policy.pth": pickle.dumps(Evil(marker))}))


def only_pickle(_: dict[str, bytes], marker: Path) -> bytes:
    return pickle.dumps(Evil(marker))


def stock_file(members: dict[str, bytes], marker: Path) -> bytes:
    members = members_of_bytes(pickled_key(members, marker))
    del members["manifest.json"]
    return packed(members)


def members_of_bytes(raw: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(raw)) as zipped:
        return {name: zipped.read(name) for name in zipped.namelist()}


def bomb_in(name: str) -> Callable[[dict[str, bytes], Path], bytes]:
    def make(members: dict[str, bytes], _: Path) -> bytes:
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zipped:
            for each, raw in members.items():
                if each != name:
                    zipped.writestr(each, raw)
            with zipped.open(name, "w", force_zip64=True) as member:
                for _ in range(GIB >> 24):
                    member.write(b" " * (1 << 24))
        return archive.getvalue()

    return make


def bomb_inside_tensors(members: dict[str, bytes], _: Path) -> bytes:
    """A tensor's own archive, deflated: small in the outer one, a gigabyte once torch unpacks it."""
    parts = members_of_bytes(members["policy.pth"])
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, raw in parts.items():
            if not name.endswith("/data/0"):
                zipped.writestr(name, raw)
                continue
            with zipped.open(name, "w", force_zip64=True) as member:
                for _ in range(GIB >> 24):
                    member.write(bytes(1 << 24))
    return packed(signed({**members, "policy.pth": inner.getvalue()}))


def twice(members: dict[str, bytes], _: Path) -> bytes:
    archive = io.BytesIO(packed(members))
    with zipfile.ZipFile(archive, "a") as zipped:
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            zipped.writestr("policy.pth", members["policy.pth"])
    return archive.getvalue()


def link_member(members: dict[str, bytes], _: Path) -> bytes:
    archive = io.BytesIO(packed({name: raw for name, raw in members.items() if name != "system_info.txt"}))
    info = zipfile.ZipInfo("system_info.txt")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(archive, "a") as zipped:
        zipped.writestr(info, "/etc/passwd")
    return archive.getvalue()


def flipped(member: str) -> Callable[[dict[str, bytes], Path], bytes]:
    def make(members: dict[str, bytes], _: Path) -> bytes:
        raw = bytearray(packed(members))
        at = raw.index(members[member]) + len(members[member]) // 2
        raw[at] ^= 4
        return bytes(raw)

    return make


def encrypted(members: dict[str, bytes], _: Path) -> bytes:
    raw = bytearray(packed(members))
    at = raw.rindex(b"PK\x01\x02")  # the archive's own table: tensors are archives, too
    raw[at + 8] |= 1
    return bytes(raw)


def without(*names: str) -> Callable[[dict[str, bytes], Path], bytes]:
    return lambda members, _: packed({name: raw for name, raw in members.items() if name not in names})


def cut(members: dict[str, bytes], _: Path) -> bytes:
    raw = packed(members)
    return raw[: len(raw) // 2]


def nan(values: dict[str, Any]) -> None:
    values["q_net.q_net.0.weight"][0, 0] = float("nan")


def infinite(values: dict[str, Any]) -> None:
    values["state"][0]["exp_avg"][0, 0] = float("inf")


def wider(values: dict[str, Any]) -> None:
    values["q_net.q_net.0.weight"] = th.zeros(64, 9)


def claimed(values: dict[str, Any]) -> None:
    values["q_net.q_net.0.weight"] = th.zeros(1).expand(1 << 28)


def foreign(values: dict[str, Any]) -> dict[str, Any]:
    return {"another": th.zeros(3)}


BOX = {"$": "space", "value": {"space": "Box", "shape": [5], "dtype": "<f4", "low": -1.0, "high": 1.0,
                               "bounded_below": True, "bounded_above": True}}  # fmt: skip
HUGE_BOX = {"$": "space", "value": {**BOX["value"], "shape": [1 << 32]}}  # type: ignore[dict-item]
DEEP = b'{"format": 1, "attributes": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
LONG = b'{"format": 1, "attributes": {"x": [' + b"0," * 7_000_000 + b"0]}}"


def popen(manifest: dict[str, Any]) -> None:
    manifest["attributes"]["policy_kwargs"] = {
        "features_extractor_class": {"$": "class", "name": "subprocess:Popen"},
        "features_extractor_kwargs": {"args": ["touch", "pwned"]},
    }


#: Model files: what was done -> bytes from the members of a good file and the folder that code would make.
MODELS: dict[str, Callable[[dict[str, bytes], Path], bytes]] = {
    "an extra pickled key": pickled_key,
    "a pickled attribute": pickled_attribute,
    "a pickled tensor": pickled_tensor,
    "a pickle in the place of tensors": plain_pickle,
    "a pickle in the place of the file": only_pickle,
    "a file of SB3's with a pickle": stock_file,
    "wrong class": with_manifest(lambda manifest: manifest.update({"class": "os:system"})),
    "class is no text": with_manifest(lambda manifest: manifest.update({"class": 3})),
    "a class that starts programs": with_manifest(popen),
    "zip bomb in data": bomb_in("data"),
    "zip bomb in the manifest": bomb_in("manifest.json"),
    "zip bomb in the tensors": bomb_in("policy.pth"),
    "zip bomb inside the tensors": bomb_inside_tensors,
    "path traversal": raw_member("../../evil.pth", b"x"),
    "an absolute path": raw_member("/tmp/evil.pth", b"x"),
    "duplicate members": twice,
    "a member that is a link": link_member,
    "an unknown member": raw_member("evil.pth", b"x"),
    "an encrypted member": encrypted,
    "truncated": cut,
    "bit-flipped tensors": flipped("policy.pth"),
    "bit-flipped manifest": flipped("manifest.json"),
    "bit-flipped data": flipped("data"),
    "newer format": with_manifest(lambda manifest: manifest.update({"format": 99})),
    "format is a truth value": with_manifest(lambda manifest: manifest.update({"format": True})),
    "foreign algorithm": with_manifest(
        lambda manifest: manifest.update({"class": "sb3_course.value.value_family:Rainbow"})
    ),
    "other spaces": with_attribute("observation_space", BOX),
    "a space of four billion numbers": with_attribute("observation_space", HUGE_BOX),
    "a space that is none": with_attribute("observation_space", 4),
    "more actions than outputs": with_attribute(
        "action_space", {"$": "space", "value": {"space": "Discrete", "n": 1 << 33, "start": 0, "dtype": "<i8"}}
    ),
    "other shapes": with_weights(wider),
    "another network": with_weights(foreign),
    "tensors larger than their memory": with_weights(claimed),
    "NaN weights": with_weights(nan),
    "an infinite moment": with_weights(infinite, "policy.optimizer.pth"),
    "manifest is no JSON": raw_member("manifest.json", b"{"),
    "manifest is no mapping": raw_member("manifest.json", b"[1, 2]"),
    "manifest names things twice": raw_member("manifest.json", b'{"format": 1, "format": 1}'),
    "manifest nested deep": raw_member("manifest.json", DEEP),
    "manifest of millions of numbers": raw_member("manifest.json", LONG),
    "manifest missing": without("manifest.json"),
    "weights missing": without("policy.pth"),
    "weights missing from the manifest, too": lambda members, _: packed(
        signed({name: raw for name, raw in members.items() if name != "policy.pth"})
    ),
    "layers of a terabyte": with_attribute("policy_kwargs", {"net_arch": [1 << 20, 1 << 20]}),
    "a hundred thousand layers": with_attribute("policy_kwargs", {"net_arch": [64] * 100_000}),
    "gamma is not finite": with_attribute("gamma", {"$": "float", "value": "nan"}),
    "gamma is a word": with_attribute("gamma", "high"),
    "a learning rate below zero": with_attribute("learning_rate", -1.0),
    "steps below zero": with_attribute("num_timesteps", -5),
    "steps are a word": with_attribute("num_timesteps", "many"),
    "an attribute that is a method": with_attribute("predict", 3),
    "an attribute that no file has": with_attribute("env", 3),
    "an unknown kind of value": with_attribute("gamma", {"$": "lambda", "value": "1"}),
    "an array of objects": with_attribute("_last_obs", {"$": "ndarray", "dtype": "|O", "shape": [1], "data": "AAAA"}),
    "attributes are a list": with_manifest(lambda manifest: manifest.update({"attributes": []})),
    "opaque is a number": with_manifest(lambda manifest: manifest.update({"opaque": 3})),
    "a replay buffer of a petabyte": with_attribute("buffer_size", 10**15),
    "empty": lambda *_: b"",
    "text": lambda *_: b"not a model\n",
    "an empty archive": lambda *_: packed({}),
}


# ------------------------------------------------------------------------------------------------- replay buffers


def arrays_of(raw: bytes) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(raw), allow_pickle=False) as file:
        return dict(file)


def as_npz(arrays: dict[str, Any], deflate: bool = False) -> bytes:
    raw = io.BytesIO()
    (np.savez_compressed if deflate else np.savez)(raw, **arrays)
    return raw.getvalue()


def with_plain(change: Callable[[dict[str, Any]], Any]) -> Callable[[bytes, Path], bytes]:
    def make(raw: bytes, _: Path) -> bytes:
        arrays = arrays_of(raw)
        plain = json.loads(arrays["plain.json"].tobytes())
        change(plain)
        return as_npz({**arrays, "plain.json": np.frombuffer(json.dumps(plain).encode(), np.uint8)})

    return make


def with_array(change: Callable[[dict[str, Any]], Any]) -> Callable[[bytes, Path], bytes]:
    def make(raw: bytes, _: Path) -> bytes:
        arrays = {name: array.copy() for name, array in arrays_of(raw).items()}
        change(arrays)
        return as_npz(arrays)

    return make


def evil_rows(raw: bytes, marker: Path) -> bytes:
    return as_npz({**arrays_of(raw), "state/rows": np.array([Evil(marker)], dtype=object)})


def lying_header(raw: bytes, _: Path) -> bytes:
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f4", "fortran_order": False, "shape": (1 << 40,)})
    return packed({**members_of_bytes(raw), "state/rows.npy": head.getvalue()})


#: Replay buffers: what was done -> bytes from those of a good file and the folder that code would make.
BUFFERS: dict[str, Callable[[bytes, Path], bytes]] = {
    "a pickle": lambda _, marker: pickle.dumps(Evil(marker)),
    "an array of objects": evil_rows,
    "a header of terabytes": lying_header,
    "a zip bomb": lambda raw, _: as_npz({**arrays_of(raw), "zeros": np.zeros(1 << 29, np.uint8)}, deflate=True),
    "truncated": lambda raw, _: raw[: len(raw) // 2],
    "bit-flipped": lambda raw, _: raw[: len(raw) // 2] + bytes([raw[len(raw) // 2] ^ 4]) + raw[len(raw) // 2 + 1 :],
    "empty": lambda *_: b"",
    "another class": with_plain(lambda plain: plain.update({"class": "os:system"})),
    "newer format": with_plain(lambda plain: plain.update({"format": 99})),
    "other spaces": with_plain(lambda plain: plain.update({"spaces": [BOX, plain["spaces"][1]]})),
    "other envs": with_plain(lambda plain: plain.update({"n_envs": 3})),
    "a slot that is not there": with_plain(lambda plain: plain["state"].update({"pos": 10**6})),
    "a buffer of a petabyte": with_plain(lambda plain: plain["arguments"].update({"buffer_size": 10**15})),
    "arguments missing": with_plain(lambda plain: plain.update({"arguments": {}})),
    "rows missing": with_array(lambda arrays: arrays.pop("state/rows")),
    "rows of another kind": with_array(lambda arrays: arrays.update({"state/rows": np.zeros((20, 1))})),
    "rewards that are not finite": with_array(lambda arrays: arrays["state/rows"]["rewards"].fill(np.nan)),
    "a member elsewhere": lambda raw, _: packed({**members_of_bytes(raw), "../evil.npy": b"x"}),
}


# ----------------------------------------------------------------------------------------------- checkpoints of a run


def evil_state(raw: bytes, marker: Path) -> bytes:
    return as_npz({**arrays_of(raw), "extra/evil": np.array([Evil(marker)], dtype=object)})


def attributes(plain: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = plain["model"]["attributes"]
    return found


#: `state.npz` of a checkpoint: what was done -> bytes from those of a good file and the folder that code would make.
STATES: dict[str, Callable[[bytes, Path], bytes]] = {
    **{kind: BUFFERS[kind] for kind in ("a pickle", "a zip bomb", "truncated", "bit-flipped", "empty")},
    "an array of objects": evil_state,
    "text": lambda *_: b"not a state\n",
    "no JSON": lambda raw, _: as_npz({**arrays_of(raw), "plain.json": np.frombuffer(b"{", np.uint8)}),
    "no mapping": lambda raw, _: as_npz({**arrays_of(raw), "plain.json": np.frombuffer(b"[1]", np.uint8)}),
    "a member elsewhere": lambda raw, _: packed({**members_of_bytes(raw), "../evil.npy": b"x"}),
    "the model missing": with_plain(lambda plain: plain.pop("model")),
    "attributes are a list": with_plain(lambda plain: plain["model"].update({"attributes": []})),
    "steps are a word": with_plain(lambda plain: attributes(plain).update({"num_timesteps": {"json": "many"}})),
    "steps below zero": with_plain(lambda plain: attributes(plain).update({"num_timesteps": {"json": -5}})),
    "gamma is a word": with_plain(lambda plain: attributes(plain).update({"gamma": {"json": "high"}})),
    "gamma is not finite": with_plain(
        lambda plain: attributes(plain).update({"gamma": {"json": {"$": "float", "value": "nan"}}})
    ),
    "an attribute that is a method": with_plain(lambda plain: attributes(plain).update({"predict": {"json": 3}})),
    "an attribute that is kept elsewhere": with_plain(lambda plain: attributes(plain).update({"env": {"json": 3}})),
    "an attribute of Python's": with_plain(lambda plain: attributes(plain).update({"__class__": {"json": 3}})),
    "a class that starts programs": with_plain(
        lambda plain: attributes(plain).update({"x": {"json": {"$": "class", "name": "subprocess:Popen"}}})
    ),
    "another kind of generator": with_plain(
        lambda plain: plain["model"]["own"]["rng"].update({"bit_generator": "MT19937"})
    ),
    "generators missing": with_plain(lambda plain: plain["model"].update({"generators": {}})),
    "Python's generator is damaged": with_plain(
        lambda plain: plain["model"]["generators"].update({"python": {"$": "tuple", "items": [3, 4, None]}})
    ),
    "environments are a word": with_plain(lambda plain: plain["env"].update({"envs": ["x"]})),
    "parts are a list": with_plain(lambda plain: plain["extra"].update({"parts": [1]})),
    "rows of a table are a word": with_plain(lambda plain: plain["extra"]["parts"]["progress"].update({"rows": "x"})),
}


#: Kinds of model files in which the tensors are wrong, or the archive: who reads weights alone looks at no attribute.
OF_TENSORS = (
    "a pickled tensor", "a pickle in the place of tensors", "a pickle in the place of the file", "zip bomb in data",
    "zip bomb in the manifest", "zip bomb in the tensors", "zip bomb inside the tensors", "path traversal",
    "an absolute path", "duplicate members", "a member that is a link", "an unknown member", "an encrypted member",
    "truncated", "bit-flipped tensors", "newer format", "other shapes", "another network",
    "tensors larger than their memory", "NaN weights", "an infinite moment", "manifest is no JSON", "weights missing",
    "weights missing from the manifest, too", "empty", "text", "an empty archive",
)  # fmt: skip
#: Kinds whose bytes take seconds to make.
SLOW = {name for name in MODELS if name.startswith("zip bomb")}
#: Kinds of replay buffers in which the arrays are wrong, or the archive.
OF_ARRAYS = (
    "a pickle", "an array of objects", "a header of terabytes", "a zip bomb", "truncated", "bit-flipped", "empty",
    "a member elsewhere",
)  # fmt: skip
#: `replay.npz` of a checkpoint.
REPLAYS: dict[str, Callable[[bytes, Path], bytes]] = {
    **{kind: BUFFERS[kind] for kind in OF_ARRAYS},
    "rows missing": with_array(lambda arrays: arrays.pop("rows")),
    "rows of another kind": with_array(lambda arrays: arrays.update({"rows": np.zeros((20, 1))})),
    "rewards that are not finite": with_array(lambda arrays: arrays["rows"]["rewards"].fill(np.nan)),
}


# ------------------------------------------------------------------------------------------------------------ configs


def layers(inner: str) -> str:
    names = "bcdefghij"
    return "a: &a {x: 1}\n" + "".join(
        f"{name}: &{name} {inner.format(', '.join([f'*{chr(ord(name) - 1)}'] * 10))}\n" for name in names
    )


#: Config files: what was done -> text, in which {marker} is the folder that code would make.
CONFIGS = {
    "a Python tag": "gamma: !!python/object/apply:os.mkdir [{marker}]\n",
    "a Python name": "gamma: !!python/name:os.system\n",
    "anchors that explode": layers("[{}]"),
    "merges that explode": layers("{{<<: [{}]}}"),
    "an anchor within itself": "a: &a [*a]\n",
    "nested deep": f"a: {'[' * 5000}{']' * 5000}\n",
}
