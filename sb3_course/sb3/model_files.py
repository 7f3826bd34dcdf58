"""Model files of our algorithms: `save`, `load` and `set_parameters` as SB3's, but that no pickle is met."""

from __future__ import annotations

import io
import pathlib
from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any, Self

import torch as th
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.type_aliases import GymEnv

from sb3_course.config import parameters
from sb3_course.config.errors import InputError
from sb3_course.saving.manifest import save_model
from sb3_course.saving.model_file import load_plain, one_line, read_parameters


class ModelFiles(BaseAlgorithm):
    """A mixin in front of one of SB3's algorithms."""

    def _bind(self) -> None:
        """Notice whatever a user may have done to the networks and the optimizer."""

    def set_parameters(
        self, load_path_or_dict: Any, exact_match: bool = True, device: th.device | str = "auto"
    ) -> None:
        """Load weights and optimizer state, those of a file without unpickling anything; see SB3.

        :raises InputError: for a file that is damaged or does not fit; the model is then as it was
        """
        if isinstance(load_path_or_dict, Mapping):
            super().set_parameters(load_path_or_dict, exact_match, device)  # type: ignore[arg-type]
            self._bind()
            return
        with one_line(load_path_or_dict):
            found, _ = read_parameters(load_path_or_dict)
            before = deepcopy(self.get_parameters())
            try:
                self.set_parameters(found, exact_match, device)
            except Exception:
                self.set_parameters(before)
                raise

    def save(
        self,
        path: str | pathlib.Path | io.BufferedIOBase,
        exclude: Iterable[str] | None = None,
        include: Iterable[str] | None = None,
    ) -> None:
        """Save the model as SB3 does, atomically and with a manifest that needs no pickle to be read."""
        save_model(self, path, exclude=exclude, include=include)

    @classmethod
    def load(
        cls,
        path: str | pathlib.Path | io.BufferedIOBase,
        env: GymEnv | None = None,
        device: th.device | str = "auto",
        custom_objects: dict[str, Any] | None = None,
        print_system_info: bool = False,
        force_reset: bool = True,
        trust_pickle: bool = False,
        **kwargs: Any,
    ) -> Self:
        """Load a model as SB3 does, but without unpickling anything that a file contains.

        Arguments given here replace the saved ones and are checked as at construction.

        :param custom_objects: attributes in place of the file's, by name, and the classes of your own that it names
        :param trust_pickle: unpickle as SB3 does, which runs whatever code the file contains
        :raises InputError: for a file that is damaged, of another class, or that only pickle can read
        """
        parameters.check(kwargs)
        rest: dict[str, Any] = {"env": env, "device": device, "print_system_info": print_system_info}
        rest |= {"force_reset": force_reset, **kwargs}
        try:
            if not trust_pickle:
                return load_plain(cls, super().load, path, custom_objects, **rest)
            with one_line(path):
                return super().load(path, custom_objects=custom_objects, **rest)
        except InputError as error:
            if error.field != "policy":
                raise
            want = f"a file that {cls.__name__}.save wrote; SB3's own classes load SB3's files"
            raise InputError("path", f"the model in it has another class's policy, {error.got}", path, want) from error
