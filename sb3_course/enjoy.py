"""Look at what a run learnt: `python -m sb3_course.enjoy RUN_OR_MODEL`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sb3_course.config.errors import InputError
from sb3_course.config.yaml_files import load_yaml
from sb3_course.runs.door import Parser, begin, load_own, run_door
from sb3_course.runs.shown import model_of, pictures_in, write_picture
from sb3_course.tuning.counting import count

if TYPE_CHECKING:
    from gymnasium import Space
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.vec_env import VecEnv

    from sb3_course.runs.settings import Settings


def make_parser() -> Parser:
    """Return the parser."""
    parser = Parser.of("enjoy", __doc__)
    add = parser.add_argument
    add("model", metavar="RUN_OR_MODEL", help="a run folder, or a model.zip inside one")
    add("--best", "--load-best", action="store_true", help="the best model of the run's evaluations, not the final one")
    add("--load-checkpoint", metavar="STEPS", help="the model of the checkpoint after so many steps")
    add("--load-last-checkpoint", action="store_true", help="the model of the newest checkpoint")
    add("--import", metavar="MODULE", nargs="+", dest="plugins", help="own environments and algorithms")
    add("--trust-pickle", action="store_true", help="load the file as SB3 does, which runs whatever code is in it")
    add("--env", metavar="ID", help="another environment than the run's")
    add("--env-kwargs", metavar="K:V", nargs="+", help="arguments of the environment, over the run's own: slip:0.2 ...")
    add("--episodes", metavar="N", help="whole episodes (default: 5)")
    add("--seed", metavar="N", help="seed of the environment (default: 0)")
    add("--num-threads", metavar="N", help="threads of torch (default: the run's)")
    add("-P", "--progress", action="store_true", help="progress bar")
    add("--stochastic", action="store_true", help="sample actions instead of taking the policy's mode")
    add("--risk", metavar="MEASURE", help="of a learnt distribution, what the greedy choice compares: cvar:0.25, "
        "cvar_seeking:0.25, wang:-0.75, cpw:0.71, mean_variance:0.1 or mean (default: the model's own)")  # fmt: skip
    add("--render", choices=("human",), help="show a window")
    add("--gif", metavar="FILE", help="write the episodes as a moving picture")
    add("--mp4", metavar="FILE", help="write them as a video (extra: video)")
    add("--png", metavar="FILE", help="write the last state as a picture")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    return run_door(lambda: _enjoy(vars(make_parser().parse(argv))), "enjoy")


def _enjoy(options: dict[str, Any]) -> int:
    load_own(options)
    model_path, settings = _find(Path(options["model"]), options)
    episodes, seed = count(options, "episodes", 5), count(options, "seed", 0, 0)
    if "num_threads" in options:
        settings = settings.replace(num_threads=count(options, "num_threads", 1))
    pictures = pictures_in(options)
    from sb3_course.runs.display import episodes_bar
    from sb3_course.runs.environment import evaluation_env, set_normalization_state, statistics_path
    from sb3_course.runs.evaluation import evaluate
    from sb3_course.runs.model import load_model
    from sb3_course.runs.threads import torch_threads
    from sb3_course.saving.arrays import load_state

    if "risk" in options:
        from sb3_course.value.risk_words import parse

        parse(options["risk"], "--risk")  # before anything is loaded
    begin()
    render_mode = "rgb_array" if pictures else options.get("render")
    venv = evaluation_env(settings, render_mode)
    try:
        model = load_model(settings, model_path, None, trust_pickle=options.get("trust_pickle", False))
        _check_fit(settings, model, venv)
        if "risk" in options:
            from sb3_course.runs.risk_reader import RiskReader

            model = RiskReader(model, options["risk"])
        if statistics_path(model_path).exists():
            set_normalization_state(venv, load_state(statistics_path(model_path)))
        frames: list[Any] = []
        with torch_threads(settings.num_threads), episodes_bar(options.get("progress", False)) as told:
            score = evaluate(
                model, venv, episodes, seed, deterministic=not options.get("stochastic", False),
                watch=(lambda env: frames.append(env.render())) if render_mode else None, told=told,
            )  # fmt: skip
        fps: Any = venv.metadata.get("render_fps", 30)
    finally:
        venv.close()
    for kind, path in pictures.items():
        write_picture(kind, path, frames, fps)
    print(f"{settings.algo} on {settings.env}: {score.mean:.1f} ± {score.std:.1f} over {episodes} episodes")
    print(f"returns: {' '.join(f'{each:.5g}' for each in score.returns)}")
    return 0


def _find(path: Path, options: dict[str, Any]) -> tuple[Path, Settings]:
    """Return the model file and the settings of the run that it belongs to."""
    from sb3_course.runs.folder import RunFolder
    from sb3_course.runs.settings import Settings

    if path.is_dir():
        folder = RunFolder.existing(path, "RUN_OR_MODEL")
        model = model_of(folder, options)
    else:
        # A model lies in its run's folder, a checkpoint's model in checkpoints/<steps>/ below it.
        homes = [home for home in path.absolute().parents[:3] if (home / "config.yaml").is_file()]
        if not path.is_file() or not homes:
            what = "belongs to no run (no config.yaml near it)" if path.is_file() else "no such file or folder"
            raise InputError("RUN_OR_MODEL", what, str(path), "the folder of a run or a model in it")
        folder, model = RunFolder(homes[0]), path
    if not model.is_file():
        raise InputError("RUN_OR_MODEL", f"has no {model.name} yet", str(path), "a finished run or a checkpoint")
    config = load_yaml(folder.config)
    if "env" in options:
        config["env"] = options["env"]
    if "env_kwargs" in options:
        from sb3_course.runs.words import read_pairs

        key = "eval_env_kwargs" if config.get("eval_env_kwargs") else "env_kwargs"  # what evaluations are made with
        config[key] = {**config.get(key, {}), **read_pairs(options["env_kwargs"], "--env-kwargs")}
    return model, Settings.from_config(config)


def _check_fit(settings: Settings, model: BaseAlgorithm, venv: VecEnv) -> None:
    if model.observation_space != _seen_by(model, venv) or model.action_space != venv.action_space:
        raise InputError("--env", "has other observations or actions than the model", settings.env, "the run's own")


def _seen_by(model: BaseAlgorithm, venv: VecEnv) -> Space[Any]:
    # SB3 stores images channels first; `predict` transposes what it is given.
    from gymnasium.spaces import Box
    from stable_baselines3.common.preprocessing import is_image_space
    from stable_baselines3.common.vec_env import VecTransposeImage

    space = venv.observation_space
    if isinstance(space, Box) and is_image_space(space) and model.observation_space != space:
        return VecTransposeImage.transpose_space(space)
    return space


if __name__ == "__main__":
    sys.exit(main())
