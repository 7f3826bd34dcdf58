"""Runs shown by Weights & Biases: `train --track`, which follows TensorBoard's log as rl-baselines3-zoo's does."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import shlex
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from sb3_course.config.errors import InputError
from sb3_course.runs.settings import Settings

#: Flags of `--track`, and the arguments of `wandb.init` that they are.
WANDB = {"wandb_project_name": "project", "wandb_entity": "entity", "wandb_group": "group", "wandb_tags": "tags"}


def tracked_settings(settings: Settings, options: Mapping[str, Any]) -> Settings:
    """Return the settings, with a TensorBoard log where the run is tracked.

    :raises InputError: for a flag of `--track` without it, and where a package is missing
    """
    if "track" not in options:
        for name in {*WANDB} & {*options}:
            raise InputError(f"--{name.replace('_', '-')}", "needs --track", options[name], "--track beside it")
        return settings
    missing = [name for name in ("wandb", "tensorboard") if importlib.util.find_spec(name) is None]
    if missing:
        command = shlex.join([sys.executable, "-m", "pip", "install", *missing])
        raise InputError("--track", f"packages are missing: {', '.join(missing)}", want=command)
    return settings if settings.tensorboard_log else settings.replace(tensorboard_log="runs")


@contextlib.contextmanager
def tracking(settings: Settings, options: Mapping[str, Any]) -> Iterator[None]:
    """Let Weights & Biases follow a run for as long as the context lasts; nothing without `--track`.

    :param settings: as `tracked_settings` returned them
    :param options: of the command line
    """
    if "track" not in options:
        yield
        return
    wandb = importlib.import_module("wandb")
    given = {argument: options[name] for name, argument in WANDB.items() if name in options}
    name = f"{settings.env}__{settings.algo}__{settings.seed}"
    config = settings.to_config()
    run = wandb.init(**{"project": "sb3", "name": name, **given}, config=config, sync_tensorboard=True)
    try:
        yield
    finally:
        run.finish()
