"""What `enjoy` shows and where it writes it: which model of a run, and pictures, still, moving, or as a video."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sb3_course.config.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from sb3_course.runs.folder import RunFolder

#: Flags that write a picture.
PICTURES = ("gif", "png", "mp4")
_WHICH = ("best", "load_checkpoint", "load_last_checkpoint")


def model_of(folder: RunFolder, options: Mapping[str, Any]) -> Path:
    """Return which model of a run the flags ask for: the final one, the best, or a checkpoint's.

    :raises InputError: for two at once, and for a checkpoint that is not there
    """
    asked = [name for name in _WHICH if name in options]
    if len(asked) > 1:
        first, second = (f"--{name.replace('_', '-')}" for name in asked[:2])
        raise InputError(first, f"cannot be combined with {second}", want="one of them")
    if "best" in asked:
        return folder.best_model
    if not asked:
        return folder.model
    flag = f"--{asked[0].replace('_', '-')}"
    there = sorted(path.parent.name for path in folder.checkpoints.glob("*/model.zip"))
    there = sorted((name for name in there if name.isdecimal()), key=int)
    if not there:
        raise InputError(flag, "the run has no checkpoint", str(folder.path), "a run with --save-freq > 0")
    steps = str(options["load_checkpoint"]) if "load_checkpoint" in options else there[-1]
    if steps not in there:
        raise InputError(flag, f"there is no such checkpoint{did_you_mean(steps, there)}", steps, ", ".join(there))
    return folder.checkpoints / steps / "model.zip"


def pictures_in(options: Mapping[str, Any]) -> dict[str, Path]:
    """Return where pictures go, by kind, before anything is played.

    :raises InputError: for a place that cannot be written, and where what makes videos is missing
    """
    found = {name: Path(options[name]) for name in PICTURES if name in options}
    for name, path in found.items():
        if path.suffix.lower() not in ("", f".{name}"):
            raise InputError(f"--{name}", "writes another format", str(path), f"a name that ends in .{name}")
        if not path.parent.is_dir():
            raise InputError(f"--{name}", "no such folder", str(path.parent), "a folder that exists")
        if path.is_dir() or not os.access(path.parent, os.W_OK):
            raise InputError(f"--{name}", "cannot be written", str(path), "a file that you may write")
    if found and "render" in options:
        raise InputError("--render", "cannot be combined with --gif, --mp4 or --png", "human", "one of them")
    if "mp4" in found and importlib.util.find_spec("moviepy") is None:
        raise InputError("--mp4", "the package moviepy is missing", want="pip install moviepy, or --gif")
    return found


def write_picture(kind: str, path: Path, frames: Sequence[Any], fps: float) -> None:
    """Write frames as a picture: all of them, moving, or the last one (`png`).

    :param kind: one of `PICTURES`
    :param path: the file
    :param frames: (H, W, 3) arrays of bytes
    :param fps: frames in a second
    :raises InputError: where there are none
    """
    from PIL import Image

    from sb3_course.saving.files import atomic_path

    shown = [frame for frame in frames if frame is not None]
    if not shown:
        raise InputError(f"--{kind}", "the environment draws no pictures", str(path), "one with rgb_array")
    with atomic_path(path) as temporary:
        if kind == "mp4":
            _write_video(Path(temporary), shown, fps)
        elif kind == "gif":
            first, *rest = (Image.fromarray(frame) for frame in shown)
            first.save(temporary, format="GIF", save_all=True, append_images=rest, duration=1000 / fps, loop=0)
        else:
            Image.fromarray(shown[-1]).save(temporary, format="PNG")


def _write_video(path: Path, frames: Sequence[Any], fps: float) -> None:
    from moviepy.video.io.ImageSequenceClip import ImageSequenceClip

    even = [frame[: frame.shape[0] // 2 * 2, : frame.shape[1] // 2 * 2] for frame in frames]  # as the codec wants it
    named = path.with_name(f"{path.name}.mp4")  # which says what is written
    try:
        ImageSequenceClip(even, fps=fps).write_videofile(str(named), codec="libx264", audio=False, logger=None)
        named.replace(path)
    finally:
        named.unlink(missing_ok=True)
