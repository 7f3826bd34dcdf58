"""Checkpoints of any SB3 algorithm: a folder, complete or absent, from which training goes on bit for bit.

`model.zip` holds weights and optimizers, `replay.npz` what was seen, `state.npz` everything else: attributes,
generators, environments, and what the caller hands in. Large arrays of what was seen are files in `blocks/`, which
checkpoints of one folder share by hard links: each writes what is new since the last one.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.save_util import recursive_getattr

from sb3_course.config.errors import InputError
from sb3_course.config.warn import warn_user
from sb3_course.saving.archives import DAMAGE, first_words
from sb3_course.saving.arrays import load_state, save_state
from sb3_course.saving.blocks import divided, joined
from sb3_course.saving.elsewhere import require_whole
from sb3_course.saving.files import replace_folder, require_path
from sb3_course.saving.manifest import save_model
from sb3_course.saving.model_file import one_line, read_parameters, require_sound
from sb3_course.sb3.callback_state import callback_states, set_callback_states
from sb3_course.sb3.env_state import env_state, set_env_state
from sb3_course.sb3.model_state import model_state, replay_state, set_model_state, set_replay_state

STATE, REPLAY, BLOCKS, MODEL = "state.npz", "replay.npz", "blocks", "model.zip"
#: Of each folder of checkpoints the newest two that this process has written, or read from end to end.
_KNOWN: dict[Path, list[str]] = {}


def write_checkpoint_folder(
    model: BaseAlgorithm,
    path: Path,
    extra: Mapping[str, Any] | None = None,
    save: Callable[[BaseAlgorithm, Path], object] = save_model,
    environments: bool = True,
) -> None:
    """Write a checkpoint, whole or not at all; exact where a rollout begins or training has ended.

    :param model: any SB3 algorithm
    :param path: the folder; one that is there is replaced
    :param extra: what else is to be kept, as `save_state` takes it
    :param save: writes the model's file
    :param environments: whether their states are kept; without them they are reset, which is not exact
    """
    # Under a temporary name until everything is in it: a folder with the final name is always complete.
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        save(model, temporary / MODEL)
        if (seen := replay_state(model)) is not None:
            large = divided(seen.large, temporary / BLOCKS, _known_blocks(path))
            save_state(temporary / REPLAY, {**seen.small, **large})
        env = model.get_env() if environments else None
        state = {"model": model_state(model), "env": None if env is None else env_state(env), "extra": extra or {}}
        save_state(temporary / STATE, state)
        replace_folder(temporary, path)  # which is there where training was resumed from it and comes by again
        _know(path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _know(path: Path, whole: bool = True) -> None:
    """Remember that a checkpoint's blocks are whole: the next one beside it may link to them.

    Others it leaves alone: a damaged block has the name of the whole one, too.
    """
    known = _KNOWN.setdefault(path.parent.resolve(), [])
    known[:] = [*(each for each in known if each != path.name), *([path.name] if whole else [])][-2:]


def _known_blocks(path: Path) -> list[Path]:
    """Return the blocks beside a new checkpoint that it may link to, its own earlier ones included."""
    return [path.with_name(each) / BLOCKS for each in _KNOWN.get(path.parent.resolve(), ())]


def read_replay(path: Path) -> dict[str, Any] | None:
    """Return what a checkpoint holds of what was seen, all of it looked at, or None where there was nothing.

    :param path: the checkpoint's folder
    :raises InputError: when it is damaged
    """
    if not (path / REPLAY).exists():
        return None
    _know(path, whole=False)
    state = joined(load_state(path / REPLAY), path / BLOCKS)
    require_whole(state)
    _know(path)
    return state


class Restorer:
    """Puts a model back where a checkpoint was taken: before `learn`, and once more where its rollout begins.

    SB3's `learn` prepares what a run in the middle has prepared long ago; the second time undoes that.

    :param path: the checkpoint's folder
    :param state: of its `state.npz`, where that has been read
    :param seen: of its `replay.npz`, likewise
    :raises InputError: when it is damaged
    """

    _callbacks: Sequence[object] = ()

    def __init__(
        self, path: str | Path, state: dict[str, Any] | None = None, seen: dict[str, Any] | None = None
    ) -> None:
        require_path(path)
        self.path, self._seen = Path(path), seen
        state = load_state(self.path / STATE) if state is None else state
        if not {"model", "env", "extra"} <= state.keys():
            what = "is no checkpoint that training can go on from"
            raise InputError("checkpoint", what, str(path), "a folder that save_checkpoint wrote")
        self._model, self._env = state["model"], state["env"]
        self.extra: dict[str, Any] = state["extra"]
        with one_line(self.path, "checkpoint", "one that save_checkpoint wrote"):
            self.extra.get("parts", {}).keys()  # all are mappings, and it says how far it is
            require_sound({"num_timesteps": self.timesteps, "_total_timesteps": self.budget}, "checkpoint")
        self.total_timesteps: int | None = None
        self.lost = ""

    @property
    def timesteps(self) -> int:
        """The steps taken before it."""
        steps: int = self._model["attributes"]["num_timesteps"]["json"]
        return steps

    @property
    def budget(self) -> int:
        """The steps that training was to take."""
        steps: int = self._model["attributes"]["_total_timesteps"]["json"]
        return steps

    def restore(self, model: Any, callbacks: Sequence[object] = ()) -> str:
        """Put everything back, and return what could not be, or an empty word.

        Environments that cannot be put back are reset at the next `learn`.

        :param callbacks: whose counters are put back, and the environments that they evaluate on
        """
        self._callbacks = callbacks
        for each in set_callback_states(callbacks, self.extra.get("callbacks", [])):
            warn_user(f"resume is not exact for this environment: {each}")
        set_weights(model, self.path / MODEL)
        self._restore_replay(model)
        env = model.get_env()
        lost = "there is no environment" if env is None else "the checkpoint has none"
        if env is not None and self._env is not None:
            lost = set_env_state(env, self._env)
        self.again(model)
        if lost:
            self.lost = lost
            model._last_obs = None
            warn_user(f"resume is not exact for this environment: {lost}; it is reset")
        return lost

    def _restore_replay(self, model: Any) -> bool:
        """Put back what was seen, and return whether there was anything."""
        seen = read_replay(self.path) if self._seen is None else self._seen
        self._seen = None  # which may be large
        if seen is None:
            return False
        try:
            set_replay_state(model, seen)
        except InputError:
            raise
        except (*DAMAGE, AttributeError) as error:  # of another buffer, or not what it was
            raise InputError("checkpoint", f"{REPLAY} does not fit: {first_words(error)}", str(self.path)) from error
        return True

    def again(self, model: Any) -> None:
        """Put back all but weights, replay and environments; what a reset has shown stays."""
        set_callback_states(self._callbacks, self.extra.get("callbacks", []), envs=False)
        shown = {name: getattr(model, name) for name in _SHOWN}
        set_model_state(model, self._model, self.total_timesteps)
        if self.lost:
            vars(model).update(shown)


#: What the environments have shown last.
_SHOWN = ("_last_obs", "_last_original_obs", "_last_episode_starts")


def set_weights(model: Any, path: Path) -> None:
    """Give a model the weights and optimizers of a file, without unpickling anything.

    :raises InputError: when they do not fit
    """
    try:
        parameters, variables = read_parameters(path)
        model.set_parameters(parameters, exact_match=True, device=model.device)
        for name, value in variables.items():
            if value is not None:
                recursive_getattr(model, name).data = value.data.to(model.device)
    except InputError:
        raise
    except Exception as error:  # a damaged zip, missing members, other shapes: many types, one meaning
        raise InputError("checkpoint", f"{MODEL} cannot be read: {error}".splitlines()[0], str(path)) from error


def save_checkpoint(model: BaseAlgorithm, path: str | Path, callbacks: Sequence[BaseCallback] = ()) -> None:
    """Write all that training depends on into a folder; exact after `learn`, and where a rollout begins.

    :param model: any SB3 algorithm, ours or SB3's own
    :param path: the folder; one that is there is replaced
    :param callbacks: whose counters are kept, and the environments that they evaluate on
    """
    write_checkpoint_folder(model, Path(path), {"callbacks": callback_states(callbacks)})


def restore_checkpoint(model: Any, path: str | Path, callbacks: Sequence[BaseCallback] = ()) -> RestoreCallback:
    """Put a model where `save_checkpoint` found it, and return what `learn` needs as a callback to go on bit for bit.

    ``model.learn(n, callback=[*callbacks, restored], reset_num_timesteps=False)``. Environments go on in their
    episodes where an `EpisodeRecorder` is around each; where one cannot, a warning says so.

    :param model: made as the one of the checkpoint was
    :param path: what `save_checkpoint` wrote
    :param callbacks: made as those of the checkpoint were
    :raises InputError: when the checkpoint is damaged, or another model's
    """
    restorer = Restorer(path)
    restorer.restore(model, callbacks)
    return RestoreCallback(restorer)


class RestoreCallback(BaseCallback):
    """Puts a model back once more where its first rollout begins.

    :param restorer: that has put it back before
    :param then: called afterwards
    """

    def __init__(self, restorer: Restorer, then: Callable[[], object] = lambda: None) -> None:
        super().__init__()
        self._restorer: Restorer | None = restorer
        self._then = then

    def _on_rollout_start(self) -> None:
        if self._restorer is not None:
            self._restorer.again(self.model)
            self._restorer = None
            self._then()

    def _on_step(self) -> bool:
        return True
