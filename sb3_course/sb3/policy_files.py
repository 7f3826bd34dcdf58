"""Files of a policy alone (`policy.save`, `MlpPolicy.load`): its arguments in JSON beside its tensors, no pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch as th
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.utils import get_device

from sb3_course.config.errors import InputError, OpaqueError
from sb3_course.saving.archives import read_json, size_of
from sb3_course.saving.files import atomic_path
from sb3_course.saving.model_file import classes_of, one_line
from sb3_course.saving.space_json import require_small_boxes
from sb3_course.saving.tensors import Allowance, read_tensors
from sb3_course.saving.values import decode, encode

_FORMAT, _FIELD, _WANT = 1, "policy", "a file that this version's policy.save wrote"
_PARTS: dict[str, type] = {"format": int, "arguments": str, "state_dict": dict}


class PolicyFiles(BasePolicy):
    """A mixin in front of one of SB3's policies, whose own files are pickles."""

    def save(self, path: str | Path) -> None:
        """Write the policy, atomically.

        Where JSON cannot express an argument it is pickled, as SB3 does; then it takes ``trust_pickle=True`` to load.

        :raises OSError: when the file cannot be written
        """
        arguments = self._get_constructor_parameters()
        arguments.pop("lr_schedule", None)  # a stand-in, of a constant 0: a policy alone does not learn
        with atomic_path(path) as temporary:
            try:
                text = json.dumps({name: encode(value) for name, value in arguments.items()}, allow_nan=False)
            except OpaqueError:
                super().save(str(temporary))
                return
            th.save({"format": _FORMAT, "arguments": text, "state_dict": self.state_dict()}, temporary)

    @classmethod
    def load(
        cls,
        path: str | Path,
        device: th.device | str = "auto",
        custom_objects: Mapping[str, Any] | None = None,
        trust_pickle: bool = False,
    ) -> Self:
        """Return the policy in a file, without unpickling anything in it.

        :param custom_objects: the classes of your own that the file names, under any name
        :param trust_pickle: unpickle as SB3 does, which runs whatever code the file contains
        :raises InputError: for a file that is damaged, of another policy, or that only pickle can read
        """
        with one_line(path):
            if trust_pickle:
                return super().load(str(path), device)
            saved, elements = cls._read(path)
            if not (
                isinstance(saved, dict) and all(isinstance(saved.get(name), kind) for name, kind in _PARTS.items())
            ):
                raise InputError(_FIELD, "is no file of a policy alone", str(path), _WANT)
            if saved["format"] != _FORMAT:
                raise InputError(_FIELD, "has another format", saved["format"], f"format {_FORMAT}")
            encoded = read_json(saved["arguments"].encode(), _FIELD)
            if not isinstance(encoded, dict):
                raise InputError(_FIELD, "its arguments are no mapping", type(encoded).__name__, _WANT)
            require_small_boxes(encoded, _FIELD)
            with Allowance(elements):
                arguments = decode(encoded, classes_of(custom_objects or {}))
                policy = cls(**{**arguments, "lr_schedule": lambda _: 0.0})
            policy.load_state_dict(saved["state_dict"])
            return policy.to(get_device(device))

    @staticmethod
    def _read(path: str | Path) -> tuple[Any, int]:
        with open(path, "rb") as file:
            raw = file.read(size_of(file))
        try:
            return read_tensors(str(path), raw)
        except InputError as error:
            want = (
                f"{_WANT}; or trust_pickle=True, if you trust whoever wrote it" if "more than" in error.what else _WANT
            )
            raise InputError(_FIELD, error.what, str(path), want) from None
